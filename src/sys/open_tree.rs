//! A mount as a descriptor.

#![allow(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

/// Clones the mount at `path` (below `dir`; "" for `dir` itself) as a detached one, to be put somewhere with
/// [`move_mount`](super::move_mount::move_mount).
///
/// # Errors
///
/// `open_tree(2)`, Linux 5.2: EPERM without `CAP_SYS_ADMIN`, EINVAL for a mount that may not be cloned.
pub fn clone_mount(dir: BorrowedFd<'_>, path: &CStr, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | at(libc::AT_EMPTY_PATH);
    if recursive {
        flags |= at(libc::AT_RECURSIVE);
    }
    // SAFETY: `path` is NUL-terminated and outlives the call; `dir` is open while it is borrowed.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, dir.as_raw_fd(), path.as_ptr(), flags) };
    let fd = RawFd::try_from(Errno::result(fd)?).map_err(|_| Errno::EOVERFLOW)?;
    // SAFETY: the kernel has just made this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

const fn at(flag: libc::c_int) -> libc::c_uint {
    flag.cast_unsigned()
}
