//! A child in namespaces of its own.
//!
//! `clone(2)` and not `clone3(2)`: container engines answer the latter with ENOSYS, and nothing here needs what only it can do.

#![allow(unsafe_code)]

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::unistd::Pid;

/// Which side of the clone returned.
#[derive(Debug)]
pub enum Side {
    /// The new process: a copy of the calling thread alone.
    Child,
    /// The caller, with the child's pid and a pidfd for it.
    Parent(Pid, OwnedFd),
}

/// Clones the calling thread into a new process in the namespaces of `flags` (`CLONE_NEW*`).
///
/// The child has a copy of the memory, so it may go on in Rust; but a lock that another thread held stays held in it for ever.
/// The caller makes sure that it is the process's only thread, as every command does before it builds a jail.
///
/// # Errors
///
/// clone(2): EPERM without `CAP_SYS_ADMIN`, ENOSPC when a namespace limit is reached. `CLONE_PIDFD` needs Linux 5.2.
pub fn clone(flags: libc::c_int) -> Result<Side, Errno> {
    let mut pidfd: RawFd = -1;
    let flags = libc::c_long::from(flags | libc::CLONE_PIDFD | libc::SIGCHLD);
    let (stack, child_tid, tls) = (0_usize, 0_usize, 0_usize);
    // SAFETY: without CLONE_VM the child has its own copy of the address space and goes on on the same stack, as after fork(2); the kernel
    // writes one int to `pidfd`, which outlives the call. The two last arguments swap places between architectures; both are 0.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, stack, &raw mut pidfd, child_tid, tls) };
    match Errno::result(pid)? {
        0 => Ok(Side::Child),
        pid => {
            // SAFETY: in the parent the kernel has stored a new descriptor in `pidfd`, and nobody else owns it.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Side::Parent(Pid::from_raw(libc::pid_t::try_from(pid).map_err(|_| Errno::EOVERFLOW)?), pidfd))
        }
    }
}
