//! Requests to a terminal that put words into a user's mouth.

#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

/// `ioctl_tty(2)`.
const TIOCSTI: u64 = 0x5412;
/// `TIOCLINUX` (`ioctl_console(2)`), and its question which modifier keys are down, which changes nothing.
const TIOCLINUX: u64 = 0x541C;
const SHIFT_STATE: u8 = 6;

/// Puts a space into a terminal's input, `TIOCSTI`. The bits of `more` are set in the request's number besides.
///
/// # Errors
///
/// `ioctl_tty(2)`: EIO where `dev.tty.legacy_tiocsti` is off and the caller lacks `CAP_SYS_ADMIN` (Linux 6.2), EPERM for a terminal of others.
pub fn push_input(terminal: &impl AsFd, more: u64) -> Result<(), Errno> {
    let byte = b' ';
    let request = TIOCSTI | more;
    // SAFETY: the kernel reads the one byte, which outlives the call, and writes nothing.
    let rc = unsafe { libc::syscall(libc::SYS_ioctl, terminal.as_fd().as_raw_fd(), request, &raw const byte) };
    Errno::result(rc).map(drop)
}

/// Asks a console something by `TIOCLINUX`, by which text can be pasted too.
///
/// # Errors
///
/// ENOTTY for what is no console, EPERM.
pub fn ask_console(console: &impl AsFd) -> Result<(), Errno> {
    let mut subcode = SHIFT_STATE;
    // SAFETY: the kernel reads the one byte and writes one in its place; it outlives the call.
    let rc = unsafe { libc::syscall(libc::SYS_ioctl, console.as_fd().as_raw_fd(), TIOCLINUX, &raw mut subcode) };
    Errno::result(rc).map(drop)
}
