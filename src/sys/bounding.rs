//! The capability sets that prctl(2) changes: bounding and ambient.

#![allow(unsafe_code)]

use nix::errno::Errno;

/// Whether capability `number` is in the bounding set; `None` when this kernel does not know the number.
pub fn has(number: u32) -> Option<bool> {
    // SAFETY: two integers; the call changes nothing.
    let rc = unsafe { libc::prctl(libc::PR_CAPBSET_READ, libc::c_ulong::from(number)) };
    Errno::result(rc).ok().map(|rc| rc == 1)
}

/// Takes capability `number` out of the bounding set of the calling thread.
///
/// # Errors
///
/// prctl(2): EPERM without `CAP_SETPCAP`, EINVAL for a number the kernel does not know.
pub fn drop(number: u32) -> Result<(), Errno> {
    // SAFETY: two integers; the call changes the calling thread's credentials only.
    let rc = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number)) };
    Errno::result(rc).map(|_| ())
}

/// Adds capability `number` to the ambient set of the calling thread, which a program that it executes keeps (Linux 4.3).
///
/// # Errors
///
/// prctl(2): EPERM when it is not both permitted and inheritable.
pub fn raise_ambient(number: u32) -> Result<(), Errno> {
    let (number, none) = (libc::c_ulong::from(number), 0 as libc::c_ulong);
    // SAFETY: five integers, the last two 0 as the call demands.
    let rc = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, number, none, none) };
    Errno::result(rc).map(|_| ())
}

/// Empties the ambient set of the calling thread (Linux 4.3).
///
/// # Errors
///
/// prctl(2): EINVAL on an older kernel.
pub fn clear_ambient() -> Result<(), Errno> {
    let none: libc::c_ulong = 0;
    // SAFETY: five integers, the last three 0 as the call demands.
    let rc = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, none, none, none) };
    Errno::result(rc).map(|_| ())
}
