//! What a judge needs of a started app, whichever way it was started.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::netns::Room;

/// A started app.
pub trait Subject {
    /// When its program was started.
    fn started(&self) -> Instant;

    /// The network it listens in. Probes hold on to it while the judge waits for the app.
    fn room(&self) -> Arc<Room>;

    /// Waits until the app has ended, for `timeout` at most; with a zero timeout, looks. An app that has ended stays ended: asked
    /// again, the answer is the same.
    ///
    /// # Errors
    ///
    /// The app cannot be watched any more. How it ended is then not known.
    fn wait_end(&mut self, timeout: Duration) -> io::Result<Option<End>>;

    /// Sends the image's stop signal, and SIGKILL if the app is still there after `grace`; that at once where there is none.
    ///
    /// # Errors
    ///
    /// As [`wait_end`](Subject::wait_end), or a signal that could not be sent.
    fn stop(&mut self, grace: Duration) -> io::Result<Stop>;

    /// Ends the app and all that it started, at once.
    fn kill(&mut self);

    /// The last that the app wrote.
    fn output(&self) -> Output;

    /// Gives all that the app writes, from its first byte, to an ear for each stream: standard output, standard error.
    fn listen(&mut self, ears: [Ear; 2]);

    /// What PID 1 is, and its children: for who does not end. Empty when it cannot be seen.
    fn processes(&self) -> Processes;

    /// Whether every thread of PID 1 and of all that it started waits for something to happen. False when it cannot be seen.
    fn is_at_rest(&self) -> bool;
}

/// How an app ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this code.
    Exited(i32),
    /// By a signal of this number.
    Signaled(i32),
}

/// How an app took its stop signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// How it ended.
    pub end: End,
    /// There was a grace, and it got its stop signal first.
    pub asked: bool,
    /// From the signal to the end.
    pub took: Duration,
    /// SIGKILL was needed.
    pub killed: bool,
    /// The app neither catches nor blocks its stop signal. The kernel then does not deliver it to PID 1 of a pid namespace
    /// (`pid_namespaces(7)`), so waiting would have changed nothing. `SigCgt` and `SigBlk` of `/proc/PID/status` say so.
    pub unheard: bool,
}

/// PID 1 of a jail and what it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Processes {
    /// The command line of PID 1.
    pub argv: Vec<String>,
    /// The names of its children.
    pub children: Vec<String>,
}

type Listener = dyn FnMut(&[u8]) + Send;

/// Gets the bytes of a stream as they come.
pub struct Ear(Box<Listener>);

impl Ear {
    /// An ear that does `hear` with every piece.
    pub fn new(hear: impl FnMut(&[u8]) + Send + 'static) -> Self {
        Ear(Box::new(hear))
    }

    /// Passes a piece on.
    pub fn hear(&mut self, bytes: &[u8]) {
        (self.0)(bytes);
    }
}

impl fmt::Debug for Ear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ear")
    }
}

/// The last bytes that an app wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// To its standard output.
    pub stdout: Vec<u8>,
    /// To its standard error.
    pub stderr: Vec<u8>,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Exited(code) => write!(f, "exit {code}"),
            End::Signaled(number) => match nix::sys::signal::Signal::try_from(*number) {
                Ok(signal) => f.write_str(signal.as_str()),
                Err(_) => write!(f, "signal {number}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_named_as_people_name_it() {
        assert_eq!(End::Exited(1).to_string(), "exit 1");
        assert_eq!(End::Signaled(libc::SIGSEGV).to_string(), "SIGSEGV");
        assert_eq!(End::Signaled(64).to_string(), "signal 64");
    }
}
