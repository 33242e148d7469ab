//! How a child ended, by its pidfd; real-time signals included, for which `nix` has no name.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// The end of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It exited with this code.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
}

/// Takes the child's end if it has ended.
///
/// # Errors
///
/// waitid(2), `P_PIDFD` since Linux 5.4: ECHILD when it was waited for already.
pub fn try_wait(pidfd: BorrowedFd<'_>) -> Result<Option<Ended>, Errno> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let Ok(id) = libc::id_t::try_from(pidfd.as_raw_fd()) else { return Err(Errno::EBADF) };
    // SAFETY: the kernel writes one siginfo_t to `info`, which outlives the call, or leaves it as it is: zeros.
    let rc = unsafe { libc::waitid(libc::P_PIDFD, id, info.as_mut_ptr(), libc::WEXITED | libc::WNOHANG) };
    Errno::result(rc)?;
    // SAFETY: all zeros is a valid siginfo_t, and the kernel writes only valid ones.
    let info = unsafe { info.assume_init() };
    if info.si_signo == 0 {
        return Ok(None);
    }
    // SAFETY: waitid(2) fills the fields of SIGCHLD, to which si_status belongs.
    let status = unsafe { info.si_status() };
    Ok(Some(if info.si_code == libc::CLD_EXITED { Ended::Exited(status) } else { Ended::Signaled(status) }))
}
