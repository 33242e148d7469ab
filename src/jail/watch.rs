//! Somebody who traces the app in the jail's place, from its launcher's first wait to its end.
//!
//! ptrace(2) binds a traced process to one thread, and the thread that builds the jail goes on to judge. So the watcher has a thread of its
//! own, which seizes the launcher while that waits, and through a gate they keep in step.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use nix::unistd::Pid;

/// What the watcher's thread does.
pub type Watcher = Box<dyn FnOnce(Gate) + Send>;

/// The watcher's side.
#[derive(Debug)]
pub struct Gate {
    /// The launcher, which becomes the app.
    pub pid: Pid,
    seized: Sender<io::Result<()>>,
    stopped: Sender<()>,
    go: Receiver<()>,
}

impl Gate {
    /// Says whether the launcher is traced now.
    pub fn seized(&self, result: io::Result<()>) {
        // Without a jail there is nobody to tell.
        let _ = self.seized.send(result);
    }

    /// Says that the app stands at its first instruction, and waits until it may go; false when it never may.
    pub fn stopped_at_exec(&self) -> bool {
        self.stopped.send(()).is_ok() && self.go.recv().is_ok()
    }
}

/// The jail's side.
pub(super) struct Watch {
    stopped: Receiver<()>,
    go: Sender<()>,
}

impl Watch {
    /// Starts the watcher's thread, and waits until the launcher is traced.
    pub(super) fn start(pid: Pid, watcher: Watcher) -> io::Result<(Self, JoinHandle<()>)> {
        let ((seized, is_seized), (stopped, is_stopped), (say_go, go)) = (channel(), channel(), channel());
        let gate = Gate { pid, seized, stopped, go };
        let thread = thread::Builder::new().name("tracer".to_owned()).spawn(move || watcher(gate))?;
        is_seized.recv().unwrap_or_else(|_| Err(io::Error::other("the tracer is gone")))?;
        Ok((Watch { stopped: is_stopped, go: say_go }, thread))
    }

    /// Waits for the stop at the exec; false when the launcher ended instead.
    pub(super) fn await_exec(&self) -> bool {
        self.stopped.recv().is_ok()
    }

    /// Lets the app go.
    pub(super) fn say_go(&self) {
        // A watcher that is gone has taken the app with it.
        let _ = self.go.send(());
    }
}
