//! What a command is about to do, told as it begins, so that a test knows what it interrupted.
//!
//! One write(2) for a line, so that what was told is there whatever ends the process next.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::OnceLock;

/// A part of `austere verify`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Finding the image and reading its documents.
    Open,
    /// Unpacking its layers, or finding them in the store.
    Unpack,
    /// Making the launcher and what it needs.
    Clone,
    /// In the launcher: building the root.
    Mount,
    /// Asking the kernel what holds, while the app stands at its first instruction.
    ReadBack,
    /// Letting the app go and asking it something.
    Probe,
    /// Stopping the app.
    Stop,
    /// Judging and reporting; the app is gone.
    Done,
}

impl Phase {
    fn line(self) -> &'static str {
        match self {
            Phase::Open => "open\n",
            Phase::Unpack => "unpack\n",
            Phase::Clone => "clone\n",
            Phase::Mount => "mount\n",
            Phase::ReadBack => "read-back\n",
            Phase::Probe => "probe\n",
            Phase::Stop => "stop\n",
            Phase::Done => "done\n",
        }
    }
}

static LOG: OnceLock<File> = OnceLock::new();

/// From now on every phase adds a line to the file at `path`.
///
/// # Errors
///
/// Those of open(2).
pub fn tell(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    LOG.get_or_init(|| file);
    Ok(())
}

/// Tells that `phase` begins, if anybody asked. The launcher may call it too: it has the descriptor until its exec.
pub fn begin(phase: Phase) {
    if let Some(mut log) = LOG.get() {
        // Whoever asked may have left, which changes nothing here.
        let _ = log.write(phase.line().as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_is_a_line_of_its_own() {
        begin(Phase::Open);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("phases");
        tell(&path).unwrap();
        begin(Phase::Mount);
        begin(Phase::ReadBack);
        assert_eq!(std::fs::read_to_string(path).unwrap(), "mount\nread-back\n");
    }
}
