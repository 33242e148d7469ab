//! Mount attributes of one mount.

#![allow(unsafe_code)]

use std::mem::size_of_val;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// Sets `MOUNT_ATTR_*` flags on the mount that `mount` is the root of, and on no mount below it.
///
/// # Errors
///
/// `mount_setattr(2)`, Linux 5.12: EINVAL when `mount` is not the root of a mount, EPERM without `CAP_SYS_ADMIN` or when a flag is locked.
pub fn set(mount: BorrowedFd<'_>, attr_set: u64) -> Result<(), Errno> {
    change(mount, attr_set, 0)
}

/// Sets them on every mount below it too: all or none.
///
/// # Errors
///
/// As [`set`].
pub fn set_all(mount: BorrowedFd<'_>, attr_set: u64) -> Result<(), Errno> {
    change(mount, attr_set, libc::AT_RECURSIVE)
}

fn change(mount: BorrowedFd<'_>, attr_set: u64, how: libc::c_int) -> Result<(), Errno> {
    let attr = libc::mount_attr { attr_set, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let (path, flags, size) = (c"".as_ptr(), libc::AT_EMPTY_PATH | how, size_of_val(&attr));
    // SAFETY: the path is a NUL-terminated literal and `attr` outlives the call; the kernel copies `size` bytes and keeps no pointer.
    let rc = unsafe { libc::syscall(libc::SYS_mount_setattr, mount.as_raw_fd(), path, flags, &raw const attr, size) };
    Errno::result(rc).map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    // A pipe is never the root of a mount in this namespace, so even a test run as root cannot change a real file system.
    #[test]
    fn what_is_not_a_mount_is_refused() {
        let (reader, _writer) = std::io::pipe().unwrap();
        assert!(super::set(reader.as_fd(), libc::MOUNT_ATTR_RDONLY).is_err());
    }
}
