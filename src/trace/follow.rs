//! Every thread of an app followed, from the launcher's wait to the app's end, for whoever wants to know what it does.
//!
//! Source: ptrace(2), "Stopped states".

use std::io;

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::unistd::Pid;

use crate::jail::Gate;
use crate::jail::subject::End;
use crate::sys::ptrace::{Report, take, wait};

/// What is done with the threads.
pub(super) trait Follower {
    /// A thread stands still, and is to be let go.
    fn stopped(&mut self, tid: Pid, status: i32) -> Result<(), Errno>;

    /// A thread has ended, and is not waited for yet.
    fn ended(&mut self, _tid: Pid, _end: End) {}
}

/// Seizes the launcher and follows the app until it has ended. Where nobody may trace it, the gate is told, and nothing is seen.
pub(super) fn follow(gate: &Gate, follower: &mut impl Follower) {
    let options = Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL
        | Options::PTRACE_O_TRACESECCOMP
        | Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE;
    let seized = ptrace::seize(gate.pid, options);
    gate.seized(seized.map_err(io::Error::from));
    if seized.is_err() {
        return;
    }
    loop {
        let (tid, end) = match wait() {
            Ok((tid, Report::Stopped(status))) => {
                // ESRCH: it was killed while it stood there; its end is told next.
                let _ = follower.stopped(tid, status);
                continue;
            }
            Ok((tid, Report::Exited(code))) => (tid, End::Exited(code)),
            Ok((tid, Report::Killed(signal))) => (tid, End::Signaled(signal)),
            Err(Errno::EINTR) => continue,
            // ECHILD: all are gone, and the app's end has been taken by who judges it.
            Err(_) => return,
        };
        follower.ended(tid, end);
        if tid == gate.pid {
            // Its end is left for who judges it.
            return;
        }
        take(tid);
    }
}

/// Whether a `PTRACE_EVENT_STOP` is that of a thread which was stopped by a signal together with its process, and not of a new one.
pub(super) fn is_group_stop(signal: i32) -> bool {
    [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU].contains(&signal)
}
