//! Reading extended attributes: `nix` has no getxattr.

#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `XATTR_SIZE_MAX`, and one byte to spare.
const LARGEST: usize = 65536;

/// The value of an attribute of what `fd` refers to; `None` when it has no such attribute or its filesystem has none at all.
///
/// Goes through `/proc/self/fd`, because fgetxattr(2) takes no `O_PATH` descriptor.
///
/// # Errors
///
/// EACCES where a `user.*` attribute's owner does not let us read; ENOENT without `/proc`.
pub fn read_xattr(fd: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<Vec<u8>>> {
    let path = format!("/proc/self/fd/{}\0", fd.as_raw_fd());
    let mut value = vec![0u8; LARGEST];
    // SAFETY: `path` ends in the NUL just written and `name` is a C string; the kernel writes at most `value.len()` bytes
    // to `value`, which lives through the call.
    let size = unsafe { libc::getxattr(path.as_ptr().cast(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    match usize::try_from(size) {
        Ok(size) => {
            value.truncate(size);
            Ok(Some(value))
        }
        Err(_) => match io::Error::last_os_error() {
            error if matches!(error.raw_os_error(), Some(libc::ENODATA | libc::EOPNOTSUPP)) => Ok(None),
            error => Err(error),
        },
    }
}
