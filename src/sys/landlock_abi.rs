//! Which Landlock the kernel has; the `landlock` crate keeps that number to itself.

#![allow(unsafe_code)]

use std::io;

/// `LANDLOCK_CREATE_RULESET_VERSION` of `<linux/landlock.h>`.
const VERSION: libc::c_uint = 1;

/// The highest Landlock ABI this kernel offers.
///
/// # Errors
///
/// ENOSYS before Linux 5.13 or when it was left out at build time, EOPNOTSUPP when it was left out at boot (`lsm=`).
pub fn landlock_abi() -> io::Result<i64> {
    let none = std::ptr::null::<u8>();
    // SAFETY: with the version flag the kernel wants a null pointer and size 0, reads nothing and makes no ruleset.
    let rc = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0usize, VERSION) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(rc) }
}
