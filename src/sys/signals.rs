//! Signal dispositions as a fresh program expects them.

#![allow(unsafe_code)]

use nix::errno::Errno;

/// Gives every signal its default action. Ignored signals stay ignored over an exec, and Rust's start-up code ignores SIGPIPE.
///
/// # Errors
///
/// sigaction(2); none for the numbers used here.
pub fn reset_all() -> Result<(), Errno> {
    for number in 1..=libc::SIGRTMAX() {
        if matches!(number, libc::SIGKILL | libc::SIGSTOP) {
            continue;
        }
        // SAFETY: SIG_DFL runs no code of ours, so nothing can be called in a wrong state.
        let before = unsafe { libc::signal(number, libc::SIG_DFL) };
        // glibc keeps two real-time signals to itself and answers EINVAL; nobody can have changed those.
        if before == libc::SIG_ERR && Errno::last() != Errno::EINVAL {
            return Err(Errno::last());
        }
    }
    Ok(())
}

/// Sends signal `number`, real-time signals included, to the process `pid`.
///
/// # Errors
///
/// kill(2): EINVAL for a number that is no signal, ESRCH for no process.
pub fn send(pid: libc::pid_t, number: i32) -> Result<(), Errno> {
    // SAFETY: two integers; the call reads and writes no memory of ours.
    let rc = unsafe { libc::kill(pid, number) };
    Errno::result(rc).map(drop)
}
