//! A signal to a process that is known by descriptor: its number may belong to somebody else by now.

#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use nix::errno::Errno;
use nix::sys::signal::Signal;

/// Sends `signal` to the process behind `pidfd`.
///
/// # Errors
///
/// `pidfd_send_signal(2)`, since Linux 5.1: ESRCH when the process has ended and was waited for.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: Signal) -> Result<(), Errno> {
    let (number, info, flags) = (signal as libc::c_int, ptr::null::<libc::siginfo_t>(), 0_u32);
    // SAFETY: a descriptor that is borrowed for the call, a number, no siginfo to read, and no flags.
    let rc = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), number, info, flags) };
    Errno::result(rc).map(drop)
}
