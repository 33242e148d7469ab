//! Commands of others, with an end.

use std::io::{self, Read, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

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

/// Runs `command` with `input`, and ends it after `longest`.
pub(super) fn run(command: &mut Command, input: &[u8], longest: Duration) -> Result<Done, AgainstError> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|why| AgainstError::NoProgram { program: program.clone(), why })?;
    let (stdout, stderr) = (reader(child.stdout.take()), reader(child.stderr.take()));
    if let Some(mut stdin) = child.stdin.take() {
        // Who does not read it says why on the other streams.
        let _ = stdin.write_all(input);
    }
    let status = end(&mut child, longest).map_err(host(&format!("waiting for `{program}`")))?;
    Ok(Done { status, stdout: text(stdout), stderr: text(stderr) })
}

fn end(child: &mut Child, longest: Duration) -> io::Result<Option<ExitStatus>> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if begun.elapsed() > longest {
            child.kill()?;
            child.wait()?;
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

/// Runs a command that has to succeed, and gives what it said.
pub(super) fn ask(command: &mut Command, input: &[u8], longest: Duration) -> Result<String, AgainstError> {
    let done = run(command, input, longest)?;
    match done.status {
        Some(status) if status.success() => Ok(done.stdout.trim().to_owned()),
        Some(status) => {
            let program = command.get_program().to_string_lossy();
            let verb = command.get_args().next().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
            Err(AgainstError::Failed { command: format!("{program} {verb}"), status, why: done.last_line() })
        }
        None => Err(AgainstError::Unfinished {
            whose: command.get_program().to_string_lossy().into_owned(),
            why: format!("it was ended after {} s", longest.as_secs()),
        }),
    }
}
