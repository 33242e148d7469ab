//! Writing extended attributes: `nix` has no setxattr.

#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Sets an attribute of what `fd` refers to, whether it had one or not.
///
/// Goes through `/proc/self/fd`, because fsetxattr(2) takes no `O_PATH` descriptor.
///
/// # Errors
///
/// EOPNOTSUPP where the filesystem has no such attributes; EPERM and EACCES as xattr(7) has them; ENOENT without `/proc`.
pub fn write_xattr(fd: BorrowedFd<'_>, name: &CStr, value: &[u8]) -> io::Result<()> {
    let path = format!("/proc/self/fd/{}\0", fd.as_raw_fd());
    // SAFETY: `path` ends in the NUL just written and `name` is a C string; the kernel reads `value.len()` bytes from
    // `value` and keeps no pointer.
    let rc = unsafe { libc::setxattr(path.as_ptr().cast(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::sys::read_xattr::read_xattr;

    #[test]
    fn what_is_written_is_read_back() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(read_xattr(file.as_fd(), c"user.austere").unwrap(), None);
        match write_xattr(file.as_fd(), c"user.austere", b"yes") {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => println!("SKIP user xattrs: {error}"),
            result => {
                result.unwrap();
                assert_eq!(read_xattr(file.as_fd(), c"user.austere").unwrap().as_deref(), Some(&b"yes"[..]));
            }
        }
    }
}
