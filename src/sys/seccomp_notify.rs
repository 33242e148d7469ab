//! The listener of a seccomp filter: calls that wait for an answer.
//!
//! Source: `seccomp_unotify(2)`.

#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// A call that waits.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    /// What the answer is addressed to.
    pub id: u64,
    /// The thread that made the call, as the listener's holder sees it.
    pub thread: i32,
    /// The audit architecture of the call.
    pub arch: u32,
    /// Its number there.
    pub number: u32,
    /// Its arguments.
    pub args: [u64; 6],
}

/// What becomes of a call that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done. Whoever may still change the caller's memory can make another call of it (`SECCOMP_USER_NOTIF_FLAG_CONTINUE`, Linux 5.5).
    Continue,
    /// It fails with this errno.
    Fail(Errno),
}

/// Takes the next call.
///
/// # Errors
///
/// ioctl(2): ENOENT when the caller was killed meanwhile, EINTR.
pub fn receive(listener: BorrowedFd<'_>) -> Result<Waiting, Errno> {
    let data = libc::seccomp_data { nr: 0, arch: 0, instruction_pointer: 0, args: [0; 6] };
    let mut waiting = libc::seccomp_notif { id: 0, pid: 0, flags: 0, data };
    // SAFETY: `waiting` is the kernel's own form of the answer, zeroed as it demands, and outlives the call, which writes no more than its size.
    let rc = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut waiting) };
    Errno::result(rc)?;
    let libc::seccomp_data { nr, arch, args, .. } = waiting.data;
    Ok(Waiting { id: waiting.id, thread: waiting.pid.cast_signed(), arch, number: nr.cast_unsigned(), args })
}

/// Whether the call still waits; if so, what was read of its caller before was read of nobody else.
pub fn still_waits(listener: BorrowedFd<'_>, id: u64) -> bool {
    // SAFETY: the kernel reads one u64, which outlives the call.
    let rc = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const id) };
    rc == 0
}

/// Answers the call `id`.
///
/// # Errors
///
/// ioctl(2): ENOENT when its caller is gone, EINVAL for `Continue` before Linux 5.5.
pub fn answer(listener: BorrowedFd<'_>, id: u64, answer: Answer) -> Result<(), Errno> {
    let (error, flags) = match answer {
        Answer::Continue => (0, 1),
        Answer::Fail(errno) => (-(errno as i32), 0),
    };
    let mut response = libc::seccomp_notif_resp { id, val: 0, error, flags };
    // SAFETY: `response` is the kernel's own form, and outlives the call, which only reads it.
    let rc = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut response) };
    Errno::result(rc).map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn what_is_no_listener_has_no_calls() {
        let (reader, _writer) = std::io::pipe().unwrap();
        assert_eq!(receive(reader.as_fd()).unwrap_err(), Errno::ENOTTY);
        assert_eq!(answer(reader.as_fd(), 1, Answer::Continue), Err(Errno::ENOTTY));
        assert!(!still_waits(reader.as_fd(), 1));
    }
}
