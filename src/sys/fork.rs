//! A child process that tries something we would not do to ourselves.

#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

/// Runs `work` in a child process and gives what it returned. Whatever it does to itself ends with it.
///
/// # Errors
///
/// [`io::ErrorKind::Unsupported`] when this process has a second thread: a lock that such a thread holds would stay locked
/// in the child for ever. [`io::ErrorKind::BrokenPipe`] when the child ended before its work did. Else those of fork(2).
pub fn in_child(work: impl FnOnce() -> Vec<u8>) -> io::Result<Vec<u8>> {
    let (reader, writer) = io::pipe()?;
    let Some(pid) = copy()? else {
        drop(reader);
        end(|| {
            let _ = File::from(OwnedFd::from(writer)).write_all(&framed(work()));
        })
    };
    drop(writer);
    let mut bytes = Vec::new();
    let read = File::from(OwnedFd::from(reader)).read_to_end(&mut bytes);
    let status = waitpid(pid, None)?;
    read?;
    match (status, bytes.pop()) {
        (WaitStatus::Exited(_, 0), Some(END)) => Ok(bytes),
        (status, _) => Err(io::Error::new(io::ErrorKind::BrokenPipe, format!("the child ended early ({status:?})"))),
    }
}

/// Runs `work` in a child process and tells how that ended: with the code that `work` gave, or otherwise, where it became another program or was
/// killed.
///
/// # Errors
///
/// As [`in_child`].
pub fn outcome_of(work: impl FnOnce() -> u8) -> io::Result<WaitStatus> {
    let Some(pid) = copy()? else {
        let code = catch_unwind(AssertUnwindSafe(work)).unwrap_or(u8::MAX);
        // SAFETY: _exit(2) only ends the child; buffers and exit handlers stay the parent's.
        unsafe { libc::_exit(i32::from(code)) }
    };
    Ok(waitpid(pid, None)?)
}

/// A child that did something to itself, and stays for it, idle, until this is dropped or this process ends.
#[derive(Debug)]
pub struct Held {
    pid: Pid,
    line: Option<PipeWriter>,
}

impl Held {
    /// Its pid, which stays its own as long as this lives.
    pub fn pid(&self) -> Pid {
        self.pid
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // It waits for the end of this pipe.
        self.line = None;
        let _ = waitpid(self.pid, None);
    }
}

/// Runs `work` in a child process, which then stays.
///
/// # Errors
///
/// What `work` was refused, or as [`in_child`].
pub fn hold(work: impl FnOnce() -> Result<(), Errno>) -> io::Result<Held> {
    let ((mut answer, writer), (mut waiting, line)) = (io::pipe()?, io::pipe()?);
    let Some(pid) = copy()? else {
        drop((answer, line));
        end(|| {
            let errno = work().err().map_or(0, |errno| errno as i32);
            let mut writer = writer;
            let _ = writer.write_all(&errno.to_ne_bytes());
            drop(writer);
            // Nothing is ever written: this is the end of the parent's interest, or of the parent.
            let _ = waiting.read(&mut [0]);
        })
    };
    drop((writer, waiting));
    let held = Held { pid, line: Some(line) };
    let mut errno = [0; 4];
    answer.read_exact(&mut errno).map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the child ended early"))?;
    match i32::from_ne_bytes(errno) {
        0 => Ok(held),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// fork(2) of a process of one thread; nothing in the child.
fn copy() -> io::Result<Option<Pid>> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "only a process of one thread can be copied"));
    }
    // SAFETY: this is the process's only thread, as was just counted, and nothing in between started one; so no lock can be
    // held by a thread that the child lacks, and the child may allocate.
    match unsafe { libc::fork() } {
        0 => Ok(None),
        pid if pid > 0 => Ok(Some(Pid::from_raw(pid))),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The rest of the child's life.
fn end(work: impl FnOnce()) -> ! {
    // Unwinding further would run our caller a second time, in the child.
    let done = catch_unwind(AssertUnwindSafe(work));
    let code = i32::from(done.is_err());
    // SAFETY: _exit(2) only ends the child; buffers and exit handlers stay the parent's.
    unsafe { libc::_exit(code) }
}

/// Stands at the end of a whole answer.
const END: u8 = b'.';

fn framed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.push(END);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    // The test harness has threads, so what works is tested through `austere doctor`.
    #[test]
    fn a_process_with_threads_is_not_copied() {
        let other = std::thread::spawn(std::thread::park);
        assert_eq!(in_child(Vec::new).unwrap_err().kind(), io::ErrorKind::Unsupported);
        assert_eq!(hold(|| Ok(())).unwrap_err().kind(), io::ErrorKind::Unsupported);
        other.thread().unpark();
        other.join().unwrap();
    }
}
