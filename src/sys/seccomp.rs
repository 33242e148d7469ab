//! seccomp(2), and the calls by which its effect is seen.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use libc::{c_long, c_ulong, sock_filter};

/// Puts the calling thread, and what it will start, behind `program`. There is no way back.
///
/// `flags` are `SECCOMP_FILTER_FLAG_*`; with `NEW_LISTENER` (Linux 5.0) the listener is returned. `no_new_privs` is not set
/// here: without it the caller needs `CAP_SYS_ADMIN`. Nothing is allocated.
///
/// # Errors
///
/// EACCES without `no_new_privs` and without `CAP_SYS_ADMIN`; EINVAL for a program the kernel finds wrong or flags it does
/// not know; EBUSY for a second listener; ESRCH when `TSYNC` found a thread it could not put behind the filter.
pub fn install(program: &[sock_filter], flags: c_ulong) -> io::Result<Option<OwnedFd>> {
    let len = u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let filter = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: `filter` points at `len` instructions that outlive the call; the kernel copies them and, though the field is
    // not const, writes none.
    let rc = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const filter) };
    if rc < 0 {
        return Err(io::Error::last_os_error());
    }
    if flags & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER == 0 {
        // With TSYNC the number of the thread that stood in the way is no success.
        return if rc == 0 { Ok(None) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) };
    }
    let fd = RawFd::try_from(rc).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: with NEW_LISTENER the kernel returns a descriptor made by this very call, so nobody else owns it.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// Calls that change nothing and touch no memory, whoever makes them: each is refused for its arguments, or has nothing to
/// do. None of them is ever refused by the kernel with EPERM for want of a capability; so an EPERM is a filter's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harmless {
    /// `unshare(0)`: shares nothing less.
    Unshare,
    /// `setns(-1, 0)`: EBADF.
    Setns,
    /// `keyctl(-1)`: EOPNOTSUPP.
    Keyctl,
    /// `add_key(NULL, NULL, NULL, 0, 0)`: EFAULT.
    AddKey,
    /// `kcmp(0, 0, 0, 0, 0)`: ESRCH, for no process is 0.
    Kcmp,
    /// `get_mempolicy(NULL, NULL, 0, NULL, 0)`: asks for nothing.
    GetMempolicy,
    /// `io_uring_register(-1, -1, NULL, 0)`: EBADF or EINVAL.
    IoUringRegister,
    /// `clone3(NULL, 0)`: EINVAL, for arguments have a size.
    Clone3,
    /// `getppid()`.
    Getppid,
    /// `gettid()`.
    Gettid,
    /// `sched_yield()`.
    SchedYield,
}

impl Harmless {
    /// The number on this architecture.
    pub fn number(self) -> c_long {
        match self {
            Harmless::Unshare => libc::SYS_unshare,
            Harmless::Setns => libc::SYS_setns,
            Harmless::Keyctl => libc::SYS_keyctl,
            Harmless::AddKey => libc::SYS_add_key,
            Harmless::Kcmp => libc::SYS_kcmp,
            Harmless::GetMempolicy => libc::SYS_get_mempolicy,
            Harmless::IoUringRegister => libc::SYS_io_uring_register,
            Harmless::Clone3 => libc::SYS_clone3,
            Harmless::Getppid => libc::SYS_getppid,
            Harmless::Gettid => libc::SYS_gettid,
            Harmless::SchedYield => libc::SYS_sched_yield,
        }
    }

    /// The first two arguments; the others are 0.
    pub fn args(self) -> [i64; 2] {
        match self {
            Harmless::Setns | Harmless::Keyctl => [-1, 0],
            Harmless::IoUringRegister => [-1, -1],
            _ => [0, 0],
        }
    }

    /// Makes the call. What it returns, or the negated errno. Nothing is allocated.
    pub fn call(self) -> i64 {
        let [a, b] = self.args();
        // SAFETY: every call of this closed list takes its arguments by value or, where it takes pointers, takes null and
        // answers EFAULT or leaves it alone; none makes a process, a descriptor or a mapping, or ends the caller.
        let rc = unsafe { libc::syscall(self.number(), a, b, 0_i64, 0_i64, 0_i64, 0_i64) };
        if rc >= 0 { rc } else { -i64::from(io::Error::last_os_error().raw_os_error().unwrap_or(0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_calls_do_what_is_said_of_them() {
        let errno = |call: Harmless| -call.call();
        assert_eq!(Harmless::Unshare.call(), 0);
        assert_eq!(Harmless::Setns.call(), -i64::from(libc::EBADF));
        for call in [Harmless::Keyctl, Harmless::AddKey, Harmless::Kcmp, Harmless::IoUringRegister, Harmless::Clone3] {
            let allowed = [libc::EOPNOTSUPP, libc::EFAULT, libc::ESRCH, libc::EBADF, libc::EINVAL, libc::ENOSYS];
            assert!(allowed.map(i64::from).contains(&errno(call)), "{call:?}: {}", errno(call));
        }
        assert!(Harmless::Getppid.call() >= 0);
    }

    #[test]
    fn a_program_the_kernel_would_not_take_is_refused() {
        let error = |program: &[sock_filter]| install(program, 0).unwrap_err().raw_os_error();
        // Also refused for want of no_new_privs, when the test has no capabilities; the order is the kernel's.
        assert!(matches!(error(&[]), Some(libc::EINVAL | libc::EACCES)));
        assert_eq!(error(&vec![sock_filter { code: 0, jt: 0, jf: 0, k: 0 }; 65536]), Some(libc::EINVAL));
    }
}
