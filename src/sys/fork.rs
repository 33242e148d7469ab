//! A child process that tries something we would not do to ourselves.

#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

/// Runs `work` in a child process and gives what it returned. Whatever it does to itself ends with it.
///
/// # Errors
///
/// [`io::ErrorKind::Unsupported`] when this process has a second thread: a lock that such a thread holds would stay locked
/// in the child for ever. [`io::ErrorKind::BrokenPipe`] when the child ended before its work did. Else those of fork(2).
pub fn in_child(work: impl FnOnce() -> Vec<u8>) -> io::Result<Vec<u8>> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "only a process of one thread can be copied"));
    }
    let (reader, writer) = io::pipe()?;
    // SAFETY: this is the process's only thread, as was just counted, and nothing in between started one; so no lock can be
    // held by a thread that the child lacks, and the child may allocate.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        drop(reader);
        // Unwinding further would run our caller a second time, in the child.
        let done = catch_unwind(AssertUnwindSafe(|| {
            let _ = File::from(OwnedFd::from(writer)).write_all(&framed(work()));
        }));
        let code = i32::from(done.is_err());
        // SAFETY: _exit(2) only ends the child; buffers and exit handlers stay the parent's.
        unsafe { libc::_exit(code) }
    }
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    drop(writer);
    let mut bytes = Vec::new();
    let read = File::from(OwnedFd::from(reader)).read_to_end(&mut bytes);
    let status = waitpid(Pid::from_raw(pid), None)?;
    read?;
    match (status, bytes.pop()) {
        (WaitStatus::Exited(_, 0), Some(END)) => Ok(bytes),
        (status, _) => Err(io::Error::new(io::ErrorKind::BrokenPipe, format!("the child ended early ({status:?})"))),
    }
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
        other.thread().unpark();
        other.join().unwrap();
    }
}
