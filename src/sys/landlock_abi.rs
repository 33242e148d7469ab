//! The version of Landlock that the running kernel offers.

#![allow(unsafe_code)]

use std::ptr;

use nix::errno::Errno;

/// `LANDLOCK_CREATE_RULESET_VERSION` of `linux/landlock.h`.
const VERSION: libc::c_uint = 1;

/// The Landlock ABI, 1 or more.
///
/// # Errors
///
/// `landlock_create_ruleset(2)`: ENOSYS where the kernel has none (before 5.13), EOPNOTSUPP where it is not among the active modules.
pub fn landlock_abi() -> Result<i32, Errno> {
    let (attributes, size) = (ptr::null::<libc::c_void>(), 0_usize);
    // SAFETY: with the VERSION flag the kernel demands a null pointer and size 0, and reads nothing.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, attributes, size, VERSION) };
    i32::try_from(Errno::result(version)?).map_err(|_| Errno::EOVERFLOW)
}
