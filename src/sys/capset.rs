//! The effective, permitted and inheritable capability sets of the calling thread.

#![allow(unsafe_code)]

use nix::errno::Errno;

/// `_LINUX_CAPABILITY_VERSION_3` of `linux/capability.h`: 64-bit sets in two halves.
const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

#[repr(C)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Makes `set` the permitted and the effective set, and `inheritable` the inheritable one.
///
/// # Errors
///
/// capset(2): EPERM when `set` holds a capability that is not permitted now.
pub fn capset(set: u64, inheritable: u64) -> Result<(), Errno> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let half = |shift: u32| {
        let bits = |set: u64| u32::try_from((set >> shift) & u64::from(u32::MAX)).unwrap_or(0);
        Data { effective: bits(set), permitted: bits(set), inheritable: bits(inheritable) }
    };
    let data = [half(0), half(32)];
    // SAFETY: version 3 makes the kernel read two `Data` from the second pointer; both live until the call returns, and `header` may be
    // written to.
    let rc = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) };
    Errno::result(rc).map(drop)
}
