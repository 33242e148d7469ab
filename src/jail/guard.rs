//! A process that ends the app when this one has died.
//!
//! The launcher's death signal ([`super::life`]) is the app's to lose: prctl(2) takes it away, and so does any change of its user, as `gosu`
//! and `su-exec` make one. So a child of this process waits beside it with two things: the app's pidfd, and one end of a pipe whose
//! other end only this process holds. It lets go of everything else, leaves the session, and heeds no signal that can be blocked; so what
//! ends austere from a terminal does not end it first.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, dup2_stdin, dup2_stdout, getppid, read, setsid};

use super::brood::Brood;
use crate::sys::clone::{Side, clone};
use crate::sys::close_range::close_from_then_exit;
use crate::sys::execve::exit_now;
use crate::sys::pidfd_send_signal::pidfd_send_signal;

/// The guard of one app. Dropped, it ends the app if that is still there, and is gone too.
#[derive(Debug)]
pub(super) struct Guard {
    line: Option<PipeWriter>,
    pid: Pid,
}

impl Guard {
    /// Starts the guard, from a process of one thread, before the app runs any code of its own.
    pub(super) fn start(app: &OwnedFd, brood: Option<&Brood>) -> io::Result<Self> {
        let (watch, line) = io::pipe()?;
        match clone(0)? {
            Side::Child => keep_watch(&watch, app, brood),
            Side::Parent(pid, _) => Ok(Guard { line: Some(line), pid }),
        }
    }

    /// Its pid.
    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Lets it go, once the app has ended; it is waited for when this is dropped.
    pub(super) fn release(&mut self) {
        self.line = None;
    }

    /// Whether it is there; it ends before its time only when it could not do its part.
    pub(super) fn check(&self) -> io::Result<()> {
        match waitid(Id::Pid(self.pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT)? {
            WaitStatus::StillAlive => Ok(()),
            end => Err(io::Error::other(format!("it is gone: {end:?}"))),
        }
    }
}

/// In the child.
fn keep_watch(watch: &PipeReader, app: &OwnedFd, brood: Option<&Brood>) -> ! {
    let austere = getppid();
    let _ = SigSet::all().thread_block();
    let _ = setsid();
    if dup2_stdin(watch).is_err() || dup2_stdout(app).is_err() {
        exit_now(1);
    }
    // Among what is closed are its own copy of the pipe's other end, and locks in the store.
    close_from_then_exit(2, || {
        while read(io::stdin().as_fd(), &mut [0]) == Err(Errno::EINTR) {}
        // ESRCH: the app had ended, and austere has seen to the rest.
        let ended = pidfd_send_signal(io::stdout().as_fd(), Signal::SIGKILL);
        if let Some(brood) = brood.filter(|_| getppid() != austere || ended.is_ok()) {
            brood.end();
        }
    })
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.release();
        let _ = waitpid(self.pid, None);
    }
}
