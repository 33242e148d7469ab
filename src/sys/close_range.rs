//! Many descriptors at once.

#![allow(unsafe_code)]

use nix::errno::Errno;

use super::execve::exit_now;

/// Marks every descriptor from `first` on close-on-exec.
///
/// # Errors
///
/// `close_range(2)`: ENOSYS before Linux 5.9, EINVAL before 5.11 (`CLOSE_RANGE_CLOEXEC`).
pub fn cloexec_from(first: u32) -> Result<(), Errno> {
    // SAFETY: the call takes three integers and changes flags only; no descriptor is closed, so no owner is left without its own.
    let rc = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    Errno::result(rc).map(drop)
}

/// Closes every descriptor from `first` on, does `work` and ends the process: whoever owned one of them never comes to use it again.
/// Without the work where they cannot be closed, with code 1.
pub fn close_from_then_exit(first: u32, work: impl FnOnce()) -> ! {
    // SAFETY: three integers. The descriptors lose their owners, but this process never returns to them: it ends below, by _exit(2).
    let rc = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    if rc != 0 {
        exit_now(1);
    }
    work();
    exit_now(0)
}
