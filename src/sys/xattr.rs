//! Extended attributes of open files and of names in open folders.
//!
//! A name is reached through `/proc/self/fd`, and never followed when it is a symbolic link: `setxattrat(2)` is younger
//! (Linux 6.13) than the kernels austere runs on.
//!
//! Source: xattr(7), setxattr(2), listxattr(2).
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Sets an attribute of an open file.
///
/// # Errors
///
/// fsetxattr(2): EPERM without the right for the name's namespace, ENOTSUP where the file system has none, ENOSPC or E2BIG.
pub fn set(fd: BorrowedFd<'_>, name: &CStr, value: &[u8]) -> io::Result<()> {
    // SAFETY: the name ends with NUL and the kernel reads `value.len()` bytes from `value`; both outlive the call.
    let rc = unsafe { libc::fsetxattr(fd.as_raw_fd(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets an attribute of `name` in the folder `dir`; a symbolic link is not followed.
///
/// # Errors
///
/// As [`set`]; ENOENT where `/proc` is not mounted.
pub fn set_at(dir: BorrowedFd<'_>, file: &CStr, name: &CStr, value: &[u8]) -> io::Result<()> {
    let path = through_proc(dir, Some(file))?;
    // SAFETY: both strings end with NUL and the kernel reads `value.len()` bytes from `value`; all outlive the call.
    let rc = unsafe { libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads an attribute of what `fd` refers to, even when it was opened with `O_PATH`; nothing when there is no such attribute.
///
/// # Errors
///
/// getxattr(2); ENOENT where `/proc` is not mounted.
pub fn get(fd: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<Vec<u8>>> {
    let path = through_proc(fd, None)?;
    // An attribute is never larger than this (XATTR_SIZE_MAX).
    let mut value = vec![0; 65_536];
    // SAFETY: both strings end with NUL; the kernel writes at most `value.len()` bytes into `value`, which outlives the call.
    let got = unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    if let Ok(len) = usize::try_from(got) {
        value.truncate(len);
        return Ok(Some(value));
    }
    match io::Error::last_os_error() {
        error if matches!(error.raw_os_error(), Some(libc::ENODATA | libc::ENOTSUP)) => Ok(None),
        error => Err(error),
    }
}

/// The names of all attributes of an open file that the caller may see.
///
/// # Errors
///
/// flistxattr(2); a file system without attributes has an empty list.
pub fn list(fd: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    // The list is never larger than this (XATTR_LIST_MAX).
    let mut names = vec![0; 65_536];
    // SAFETY: the kernel writes at most `names.len()` bytes into `names`, which outlives the call.
    let got = unsafe { libc::flistxattr(fd.as_raw_fd(), names.as_mut_ptr().cast(), names.len()) };
    let Ok(len) = usize::try_from(got) else {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::ENOTSUP) { Ok(Vec::new()) } else { Err(error) };
    };
    let names = names[..len].split_inclusive(|byte: &u8| *byte == 0);
    Ok(names.filter_map(|name| CStr::from_bytes_with_nul(name).ok().map(CStr::to_owned)).collect())
}

/// Removes an attribute of an open file.
///
/// # Errors
///
/// fremovexattr(2): ENODATA when it has none of that name, EPERM without the right for the name's namespace.
pub fn remove(fd: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    // SAFETY: the name ends with NUL and outlives the call.
    let rc = unsafe { libc::fremovexattr(fd.as_raw_fd(), name.as_ptr()) };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn through_proc(fd: BorrowedFd<'_>, file: Option<&CStr>) -> io::Result<CString> {
    let mut path = format!("/proc/self/fd/{}", fd.as_raw_fd()).into_bytes();
    if let Some(file) = file {
        path.push(b'/');
        path.extend(file.to_bytes());
    }
    CString::new(path).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn an_attribute_is_set_listed_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(dir.path().join("f")).unwrap();
        if let Err(error) = set(file.as_fd(), c"user.a", b"1\n2") {
            eprintln!("SKIP user attributes: {error}");
            return;
        }
        assert_eq!(get(file.as_fd(), c"user.a").unwrap().as_deref(), Some(&b"1\n2"[..]));
        assert!(list(file.as_fd()).unwrap().contains(&c"user.a".to_owned()));
        remove(file.as_fd(), c"user.a").unwrap();
        assert_eq!(get(file.as_fd(), c"user.a").unwrap(), None);
    }

    #[test]
    fn a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let target = std::fs::File::create(dir.path().join("f")).unwrap();
        std::os::unix::fs::symlink("f", dir.path().join("l")).unwrap();
        let folder = std::fs::File::open(dir.path()).unwrap();
        // User attributes are not for links, so the refusal shows that the link itself was meant.
        assert!(set_at(folder.as_fd(), c"l", c"user.a", b"1").is_err());
        assert_eq!(get(target.as_fd(), c"user.a").unwrap(), None);
        assert!(
            set_at(folder.as_fd(), c"f", c"user.a", b"1").is_ok() || get(target.as_fd(), c"user.a").unwrap().is_none()
        );
    }
}
