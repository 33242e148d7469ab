//! Resource limits by their number.

#![allow(unsafe_code)]

use nix::errno::Errno;

/// Sets a limit of the calling process; `nix` knows the limits by name only, and not all of them.
///
/// # Errors
///
/// `prlimit(2)`: EINVAL for a number that is no limit or a soft limit above the hard one, EPERM for a hard limit that is raised without
/// `CAP_SYS_RESOURCE`.
pub fn setrlimit(resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    let none = std::ptr::null_mut::<libc::rlimit64>();
    // SAFETY: `limit` outlives the call, which reads it and keeps no pointer; nothing is written through the null pointer.
    let rc = unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const limit, none) };
    Errno::result(rc).map(drop)
}
