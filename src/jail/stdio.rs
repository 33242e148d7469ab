//! The app's standard streams: pipes that belong to its user, as engines make them, so that opening /dev/stdout works.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, dup2_stderr, dup2_stdin, dup2_stdout, fchown};

use super::Spec;
use super::subject::{Ear, Output};
use crate::ids;
use crate::measure::Measure;
use crate::process::Process;
use crate::refusal::Refusal;

/// Where the streams lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdio {
    /// Output is kept for the report; input is /dev/null, as for a container in the background.
    Captured,
    /// All three are passed through to this process's own, and output is kept too.
    Passed,
}

/// How much of each stream is kept: the end of it, in bytes.
const KEPT: usize = 64 * 1024;

/// What is kept of a stream, and who listens to it.
#[derive(Debug, Default)]
struct Kept {
    bytes: Vec<u8>,
    ear: Option<Ear>,
}

type Tail = Arc<Mutex<Kept>>;

/// The pipes; both ends of each until the clone, and the parent's afterwards.
#[derive(Debug)]
pub(super) struct Streams {
    stdin: Option<(PipeReader, PipeWriter)>,
    stdout: (PipeReader, PipeWriter),
    stderr: (PipeReader, PipeWriter),
    inodes: [Option<u64>; 3],
    complete: bool,
}

/// The parent's side, after the clone: threads that carry bytes.
#[derive(Debug)]
pub(super) struct Pumps {
    tails: [Tail; 2],
    threads: Vec<JoinHandle<()>>,
    inodes: [Option<u64>; 3],
}

impl Streams {
    /// Makes the pipes and gives them to the app's user.
    pub(super) fn new(kind: Stdio, spec: &Spec) -> io::Result<Self> {
        let owner = |pipe: &dyn AsFd| -> io::Result<()> {
            if spec.ids != ids::Mode::Single && spec.applies("stdio") {
                let (uid, gid) = (Uid::from_raw(spec.identity.uid), Gid::from_raw(spec.identity.gid));
                fchown(pipe.as_fd(), Some(uid), Some(gid))?;
            }
            Ok(())
        };
        let pipe = || {
            let pipe = io::pipe()?;
            owner(&pipe.1)?;
            io::Result::Ok(pipe)
        };
        let stdin = if kind == Stdio::Passed { Some(pipe()?) } else { None };
        let (stdout, stderr) = (pipe()?, pipe()?);
        let inodes = [
            stdin.as_ref().map(|(_, pipe)| inode(pipe)).transpose()?,
            Some(inode(&stdout.1)?),
            Some(inode(&stderr.1)?),
        ];
        Ok(Streams { stdin, stdout, stderr, inodes, complete: spec.applies("stdio") })
    }

    /// In the child, with the new root in place: makes them descriptors 0 to 2.
    pub(super) fn take(&self) -> Result<(), Refusal> {
        let refused = |errno: Errno| Refusal::host("dup2", "a standard stream", errno);
        if let Some((reader, _)) = &self.stdin {
            dup2_stdin(reader).map_err(refused)?;
        } else {
            // The jail's own, so that the second wall lets the app open /dev/stdin again.
            let null = open("/dev/null", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
                .map_err(|errno| Refusal::host("open", "/dev/null", errno))?;
            dup2_stdin(&null).map_err(refused)?;
        }
        dup2_stdout(&self.stdout.1).map_err(refused)?;
        if self.complete {
            dup2_stderr(&self.stderr.1).map_err(refused)?;
        }
        Ok(())
    }

    /// In the parent: closes the app's ends and starts to carry bytes.
    pub(super) fn pump(self, kind: Stdio) -> Pumps {
        let Streams { stdin, stdout: (stdout, _), stderr: (stderr, _), inodes, .. } = self;
        let tails: [Tail; 2] = Default::default();
        let passed = kind == Stdio::Passed;
        if let Some((_, mut to_app)) = stdin {
            // It ends with the process: a read from a terminal cannot be called off.
            thread::spawn(move || io::copy(&mut io::stdin(), &mut to_app));
        }
        let carry = |mut from: PipeReader, tail: &Tail, mut to: Box<dyn Write + Send>| {
            let tail = Arc::clone(tail);
            thread::spawn(move || carry(&mut from, &tail, passed.then_some(&mut *to)))
        };
        let threads =
            vec![carry(stdout, &tails[0], Box::new(io::stdout())), carry(stderr, &tails[1], Box::new(io::stderr()))];
        Pumps { tails, threads, inodes }
    }
}

fn inode(pipe: &PipeWriter) -> io::Result<u64> {
    Ok(std::fs::metadata(format!("/proc/self/fd/{}", pipe.as_fd().as_raw_fd()))?.ino())
}

fn carry(from: &mut PipeReader, tail: &Tail, mut to: Option<&mut (dyn Write + Send + '_)>) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        if let Some(to) = &mut to {
            // The reader of our own output may be gone; the app still runs, and its pipe must not fill up.
            let _ = to.write_all(&buffer[..count]).and_then(|()| to.flush());
        }
        let mut kept = tail.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ear) = &mut kept.ear {
            ear.hear(&buffer[..count]);
        }
        kept.bytes.extend_from_slice(&buffer[..count]);
        let surplus = kept.bytes.len().saturating_sub(KEPT);
        kept.bytes.drain(..surplus);
    }
}

impl Pumps {
    /// The ends of both streams so far.
    pub(super) fn output(&self) -> Output {
        let copy = |tail: &Tail| tail.lock().unwrap_or_else(PoisonError::into_inner).bytes.clone();
        Output { stdout: copy(&self.tails[0]), stderr: copy(&self.tails[1]) }
    }

    /// Lets somebody listen, who gets what came before first.
    pub(super) fn listen(&self, ears: [Ear; 2]) {
        for (tail, mut ear) in self.tails.iter().zip(ears) {
            let mut kept = tail.lock().unwrap_or_else(PoisonError::into_inner);
            ear.hear(&kept.bytes);
            kept.ear = Some(ear);
        }
    }

    /// Waits for the end of both streams: every process of the jail is gone by then.
    pub(super) fn finish(&mut self) {
        for thread in self.threads.drain(..) {
            // A pump does not panic; if one did, what it kept is still there.
            let _ = thread.join();
        }
    }

    /// Whether the streams are the pipes that were made, and belong to the app.
    pub(super) fn read_back(&self, app: &Process, ids: ids::Mode, identity: &ids::Identity) -> Measure {
        let asked = "pipes that belong to the app's user";
        let owner = match ids {
            ids::Mode::Real | ids::Mode::Mapped => identity.uid,
            ids::Mode::Single => nix::unistd::geteuid().as_raw(),
        };
        let mut wrong = Vec::new();
        for (number, inode) in self.inodes.iter().enumerate() {
            let Some(inode) = inode else { continue };
            match app.stream(number) {
                Ok(metadata) if metadata.ino() != *inode => wrong.push(format!("{number} is not its pipe")),
                Ok(metadata) if metadata.uid() != owner => {
                    wrong.push(format!("{number} belongs to {}, not {owner}", metadata.uid()));
                }
                Ok(_) => {}
                Err(error) => return Measure::unverified("stdio", asked, error.to_string()).giving(),
            }
        }
        let result = if wrong.is_empty() { Ok(asked.to_owned()) } else { Err(wrong.join(", ")) };
        Measure::judged("stdio", asked, result).giving()
    }
}
