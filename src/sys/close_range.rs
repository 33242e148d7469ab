//! Many descriptors at once.

#![allow(unsafe_code)]

use nix::errno::Errno;

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
