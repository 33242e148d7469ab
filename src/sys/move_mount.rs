//! A detached mount takes its place.

#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// Attaches the detached mount `mount` on the file or folder `target`, both given by descriptor: no path is looked up, so no symbolic
/// link can lead elsewhere.
///
/// # Errors
///
/// `move_mount(2)`, Linux 5.2: EPERM without `CAP_SYS_ADMIN`, ENOTDIR when one is a folder and the other is not.
pub fn move_mount(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH;
    let empty = c"".as_ptr();
    // SAFETY: both paths are the same NUL-terminated literal; both descriptors are open while they are borrowed.
    let rc = unsafe { libc::syscall(libc::SYS_move_mount, mount.as_raw_fd(), empty, target.as_raw_fd(), empty, flags) };
    Errno::result(rc).map(drop)
}
