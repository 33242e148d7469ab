//! Whether the kernel knows an answer that a seccomp filter can give.

#![allow(unsafe_code)]

use std::io;

/// Asks for one `SECCOMP_RET_*`.
///
/// # Errors
///
/// EOPNOTSUPP when this kernel does not know it, EINVAL before Linux 4.14, ENOSYS without seccomp.
pub fn seccomp_action(action: u32) -> io::Result<()> {
    // SAFETY: the kernel reads the four bytes of `action`, which live through the call, and changes nothing.
    let rc = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_and_unknown_actions_are_told_apart() {
        seccomp_action(libc::SECCOMP_RET_ERRNO).unwrap();
        assert_eq!(seccomp_action(0x1234_0000).unwrap_err().raw_os_error(), Some(libc::EOPNOTSUPP));
    }
}
