//! The launcher, and with it the app, never outlives this process.
//!
//! `PR_SET_PDEATHSIG` alone leaves gaps: it does nothing when the parent died before the call, and changes of credentials clear it. So it is set
//! first thing and again after the last change, and each time a pipe is looked at whose other end only the parent holds. `getppid` is
//! no substitute: in a new pid namespace it is 0.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

use crate::refusal::Refusal;

/// The launcher's end.
#[derive(Debug)]
pub(super) struct Watch(PipeReader);

/// The parent's end: its closing is the parent's death.
#[derive(Debug)]
pub(super) struct Line(PipeWriter);

/// Both ends.
pub(super) fn line() -> io::Result<(Watch, Line)> {
    let (reader, writer) = io::pipe()?;
    Ok((Watch(reader), Line(writer)))
}

impl Line {
    /// Lets the launcher exec.
    pub(super) fn say_go(&mut self) -> io::Result<()> {
        self.0.write_all(b"g")
    }
}

impl Watch {
    /// Binds the launcher's life to the parent's.
    pub(super) fn bind(&self) -> Result<(), Refusal> {
        set_pdeathsig(Signal::SIGKILL).map_err(|errno| Refusal::host("prctl", "PR_SET_PDEATHSIG", errno))?;
        let mut line = [PollFd::new(self.0.as_fd(), PollFlags::empty())];
        poll(&mut line, PollTimeout::ZERO).map_err(|errno| Refusal::host("poll", "the parent", errno))?;
        match line[0].revents() {
            Some(events) if events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR) => {
                Err(Refusal::host("poll", "the parent, which is gone", Errno::ESRCH))
            }
            _ => Ok(()),
        }
    }

    /// Waits for the parent's word; its death counts as a refusal.
    pub(super) fn await_go(&self) -> Result<(), Refusal> {
        (&self.0).read_exact(&mut [0]).map_err(|_| Refusal::host("read", "the parent, which is gone", Errno::ESRCH))
    }
}
