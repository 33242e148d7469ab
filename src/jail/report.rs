//! What the launcher tells before its exec, through a pipe that the exec closes.

use std::io::{self, PipeReader, PipeWriter, Read, Write};

use nix::errno::Errno;

use crate::exec_memory;
use crate::landlock::{self, Tried};
use crate::refusal::Refusal;
use crate::seal;
use crate::seccomp::Observation;

/// The launcher's end.
#[derive(Debug)]
pub(super) struct Reporter(PipeWriter);

/// The parent's end.
#[derive(Debug)]
pub(super) struct Reports(PipeReader);

/// All that the launcher told.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// It got as far as trying its own walls.
    pub(super) witnessed: bool,
    /// What it saw of Landlock.
    pub(super) landlock: Option<landlock::Witness>,
    /// What it saw of the system call filter.
    pub(super) seccomp: Option<Observation>,
    /// What it saw of memory that can be executed, before and after.
    pub(super) exec_memory: Option<(exec_memory::Tried, exec_memory::Tried)>,
    /// What it saw of the seal.
    pub(super) seal: Option<seal::Witness>,
    /// `ip_unprivileged_port_start` as it stands inside.
    pub(super) port_start: Option<u16>,
    /// The kernel parameters that were asked for are in force inside.
    pub(super) sysctls: Option<bool>,
    /// The step that failed.
    pub(super) refusal: Option<Refusal>,
}

/// Both ends.
pub(super) fn channel() -> io::Result<(Reports, Reporter)> {
    let (reader, writer) = io::pipe()?;
    Ok((Reports(reader), Reporter(writer)))
}

/// First byte of what the walls answered; a refusal starts with a letter.
const WITNESS: u8 = 0;

/// Its length in bytes: that first one, then a flag before each answer.
const MESSAGE: usize = 45;

impl Reporter {
    /// Tells what the walls answered. Where the filter refuses write(2), nothing arrives, and the parent reports the walls as unverified.
    pub(super) fn witness(
        &self,
        port_start: Option<u16>,
        sysctls: Option<bool>,
        landlock: Option<landlock::Witness>,
        seccomp: Option<Observation>,
        seal: Option<seal::Witness>,
        executable: Option<(exec_memory::Tried, exec_memory::Tried)>,
    ) {
        let mut message = [0_u8; MESSAGE];
        // Every errno of Linux is below 134; 0 stands for none.
        let byte = |errno: Errno| u8::try_from(errno as i32).unwrap_or(u8::MAX);
        message[0] = WITNESS;
        if let Some(seen) = landlock {
            message[1] = 1;
            message[2..5].copy_from_slice(&[seen.before, seen.after, seen.allowed].map(u8::from));
            if let Some((first, second)) = seen.tried {
                message[31] = 1;
                let bytes = |seen: Tried| [seen.write, seen.connect, seen.reach, seen.execute].map(byte);
                message[32..36].copy_from_slice(&bytes(first));
                message[36..40].copy_from_slice(&bytes(second));
            }
        }
        if let Some(seen) = seccomp {
            message[5] = 1;
            message[6..14].copy_from_slice(&seen.refused.to_ne_bytes());
            message[14..22].copy_from_slice(&seen.allowed.to_ne_bytes());
        }
        if let Some(port) = port_start {
            message[22] = 1;
            message[23..25].copy_from_slice(&port.to_ne_bytes());
        }
        if let Some(hold) = sysctls {
            message[25..27].copy_from_slice(&[1, u8::from(hold)]);
        }
        if let Some(seen) = seal {
            message[27] = 1;
            message[28..31].copy_from_slice(&[seen.before, seen.by_path, seen.by_descriptor].map(byte));
        }
        if let Some((before, after)) = executable {
            message[40] = 1;
            let byte = |errno: i32| u8::try_from(errno).unwrap_or(u8::MAX);
            message[41..45].copy_from_slice(&[before.gain, before.memfd, after.gain, after.memfd].map(byte));
        }
        let _ = (&self.0).write_all(&message);
    }

    /// Tells which step failed. There is nobody else to tell when this fails too.
    pub(super) fn refuse(&self, refusal: &Refusal) {
        let _ = (&self.0).write_all(&refusal.to_bytes());
    }
}

impl Reports {
    /// Reads to the end: the exec, or the launcher's death.
    pub(super) fn read(mut self) -> io::Result<Report> {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes)?;
        let mut report = Report::default();
        let mut rest = &bytes[..];
        if let Some((message, after)) = rest.split_first_chunk::<MESSAGE>().filter(|(message, _)| message[0] == WITNESS)
        {
            report.witnessed = true;
            let flag = |place: usize| message[place] == 1;
            let number =
                |start: usize| message[start..].first_chunk::<8>().map_or(0, |bytes| i64::from_ne_bytes(*bytes));
            let errno = |place: usize| Errno::from_raw(message[place].into());
            let tried = |start: usize| Tried {
                write: errno(start),
                connect: errno(start + 1),
                reach: errno(start + 2),
                execute: errno(start + 3),
            };
            report.landlock = flag(1).then(|| landlock::Witness {
                before: flag(2),
                after: flag(3),
                allowed: flag(4),
                tried: flag(31).then(|| (tried(32), tried(36))),
            });
            report.seccomp = flag(5).then(|| Observation { refused: number(6), allowed: number(14) });
            report.port_start = flag(22).then(|| u16::from_ne_bytes([message[23], message[24]]));
            report.sysctls = flag(25).then(|| flag(26));
            let executable =
                |start: usize| exec_memory::Tried { gain: message[start].into(), memfd: message[start + 1].into() };
            report.exec_memory = flag(40).then(|| (executable(41), executable(43)));
            report.seal =
                flag(27).then(|| seal::Witness { before: errno(28), by_path: errno(29), by_descriptor: errno(30) });
            rest = after;
        }
        report.refusal = Refusal::from_bytes(rest);
        Ok(report)
    }
}
