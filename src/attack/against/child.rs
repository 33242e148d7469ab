//! Commands of others, with an end.

use std::io::{Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::{AgainstError, host};

/// What a command said. It has no status if it had to be ended.
#[derive(Debug)]
pub(super) struct Done {
    pub status: Option<ExitStatus>,
    pub stdout: String,
    pub stderr: String,
}

impl Done {
    /// The last line of its complaints, or of what it said otherwise.
    pub(super) fn last_line(&self) -> String {
        let says = |line: &&str| !line.is_empty() && !line.starts_with("See '");
        let last = |text: &str| text.lines().rev().map(str::trim).find(says).map(str::to_owned);
        last(&self.stderr).or_else(|| last(&self.stdout)).unwrap_or_else(|| "it said nothing".to_owned())
    }
}

/// How often a command is asked whether it has ended.
const PAUSE: Duration = Duration::from_millis(10);
/// For what runs no container.
pub(super) const SHORT: Duration = Duration::from_mins(1);

/// What somebody stops austere with.
const STOPS: [Signal; 3] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM];

/// Whoever runs commands of others: until this is dropped a signal ends the command and not austere, so that what was made can be removed.
#[derive(Debug)]
pub(super) struct Errands(SignalFd);

impl Errands {
    /// Call it in a process of one thread: others would take the signals.
    pub(super) fn new() -> Result<Self, AgainstError> {
        let stops = SigSet::from_iter(STOPS);
        let signals = stops
            .thread_block()
            .and_then(|()| SignalFd::with_flags(&stops, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK));
        Ok(Errands(signals.map_err(|errno| host("waiting for signals")(errno.into()))?))
    }

    /// Runs `command` with `input`, and ends it after `longest`, or when austere is to stop.
    pub(super) fn run(&self, command: &mut Command, input: &[u8], longest: Duration) -> Result<Done, AgainstError> {
        run(command, input, longest, || self.check())
    }

    /// An error where austere is to stop.
    fn check(&self) -> Result<(), AgainstError> {
        let taken = self.0.read_signal().map_err(|errno| host("reading a signal")(errno.into()))?;
        let signal = taken.and_then(|taken| Signal::try_from(taken.ssi_signo.cast_signed()).ok());
        signal.map_or(Ok(()), |signal| Err(AgainstError::Stopped(signal)))
    }

    /// Runs a command that has to succeed, and gives what it said.
    pub(super) fn ask(&self, command: &mut Command, input: &[u8], longest: Duration) -> Result<String, AgainstError> {
        let done = self.run(command, input, longest)?;
        match done.status {
            Some(status) if status.success() => Ok(done.stdout.trim().to_owned()),
            Some(status) => {
                let program = command.get_program().to_string_lossy();
                let verb =
                    command.get_args().next().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
                Err(AgainstError::Failed { command: format!("{program} {verb}"), status, why: done.last_line() })
            }
            None => Err(AgainstError::Unfinished {
                whose: command.get_program().to_string_lossy().into_owned(),
                why: format!("it was ended after {} s", longest.as_secs()),
            }),
        }
    }
}

impl Drop for Errands {
    fn drop(&mut self) {
        // Nothing is left that a signal would leave behind.
        let _ = SigSet::from_iter(STOPS).thread_unblock();
    }
}

/// Runs a command that removes something, whatever comes: in a group of its own, which Ctrl-C at a terminal does not reach.
pub(super) fn tidy(command: &mut Command) {
    let _ = run(command.process_group(0), b"", SHORT, || Ok(()));
}

fn run(
    command: &mut Command,
    input: &[u8],
    longest: Duration,
    check: impl Fn() -> Result<(), AgainstError>,
) -> Result<Done, AgainstError> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    check()?;
    let mut child = command.spawn().map_err(|why| AgainstError::NoProgram { program: program.clone(), why })?;
    let (stdout, stderr) = (reader(child.stdout.take()), reader(child.stderr.take()));
    if let Some(mut stdin) = child.stdin.take() {
        // Who does not read it says why on the other streams.
        let _ = stdin.write_all(input);
    }
    let status = end(&mut child, longest, check);
    if status.is_err() {
        // It may have ended already.
        let _ = child.kill();
        let _ = child.wait();
    }
    Ok(Done { status: status?, stdout: text(stdout), stderr: text(stderr) })
}

fn end(
    child: &mut Child,
    longest: Duration,
    check: impl Fn() -> Result<(), AgainstError>,
) -> Result<Option<ExitStatus>, AgainstError> {
    let begun = Instant::now();
    let failed = || host("waiting for a command");
    loop {
        let status = child.try_wait().map_err(failed())?;
        // Afterwards: Ctrl-C reaches the command as well, and may have ended it.
        check()?;
        if status.is_some() {
            return Ok(status);
        }
        if begun.elapsed() > longest {
            child.kill().and_then(|()| child.wait()).map_err(failed())?;
            return Ok(None);
        }
        thread::sleep(PAUSE);
    }
}

fn reader(stream: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            let _ = stream.read_to_end(&mut bytes);
        }
        bytes
    })
}

fn text(reader: JoinHandle<Vec<u8>>) -> String {
    String::from_utf8_lossy(&reader.join().unwrap_or_default()).into_owned()
}
