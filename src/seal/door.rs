//! The guard at the door: it holds the listener, lets one exec through, and refuses every other.

use std::io::{self, IoSlice, PipeReader, PipeWriter};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::{fmt, mem};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair};

use super::{Guarding, RefusedExec, TRIES};
use crate::sys::receive_fd;
use crate::sys::seccomp_notify::{self, Answer};

/// So many refusals are kept; an app that tries without end would fill the memory.
const KEPT: usize = 1000;

/// Both ends of the way by which the listener comes out of the jail.
#[derive(Debug)]
pub struct Hatch {
    inside: OwnedFd,
    outside: OwnedFd,
}

impl Hatch {
    /// Makes it, before the clone.
    ///
    /// # Errors
    ///
    /// socketpair(2).
    pub fn new() -> io::Result<Self> {
        let (inside, outside) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok(Hatch { inside, outside })
    }

    /// In the launcher: passes the listener out. It is kept by nobody in here.
    ///
    /// # Errors
    ///
    /// sendmsg(2).
    pub fn pass(&self, listener: OwnedFd) -> Result<(), Errno> {
        let rights = [listener.as_raw_fd()];
        sendmsg::<()>(
            self.inside.as_raw_fd(),
            &[IoSlice::new(b"l")],
            &[ControlMessage::ScmRights(&rights)],
            MsgFlags::MSG_NOSIGNAL,
            None,
        )?;
        drop(listener);
        Ok(())
    }

    /// In the parent, after the clone: sets the guard. The listener comes when the launcher is sealed.
    ///
    /// # Errors
    ///
    /// No pipe or no thread could be made.
    pub fn guard(self, guarding: Guarding) -> io::Result<Door> {
        let Hatch { inside, outside } = self;
        // Its other copy is the launcher's: what comes next is the listener or the launcher's end.
        drop(inside);
        let (stop, line) = io::pipe()?;
        let book = Arc::new(Mutex::new(Book::default()));
        let guard = Guard { guarding, stop, book: Arc::clone(&book) };
        let thread = thread::Builder::new().name("guard".to_owned()).spawn(move || guard.serve(&outside))?;
        Ok(Door { book, line: Some(line), thread: Some(thread) })
    }
}

type Ear = dyn FnMut(&RefusedExec) + Send;

/// What was refused so far, and who is told.
#[derive(Default)]
struct Book {
    refused: Vec<RefusedExec>,
    more: u64,
    ear: Option<Box<Ear>>,
}

/// The door of one app, seen from outside.
pub struct Door {
    book: Arc<Mutex<Book>>,
    line: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Door {
    /// Every exec that was refused so far, but for those beyond the first thousand, which are counted.
    pub fn refused(&self) -> (Vec<RefusedExec>, u64) {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        (book.refused.clone(), book.more)
    }

    /// Tells of every refusal as it happens, and first of those that there were already: the app is not held back for its listener.
    pub fn listen(&self, mut ear: impl FnMut(&RefusedExec) + Send + 'static) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.refused.iter().for_each(&mut ear);
        book.ear = Some(Box::new(ear));
    }

    /// Lets the guard go, once nobody is left who could be refused.
    pub fn finish(&mut self) {
        drop(self.line.take());
        if let Some(thread) = self.thread.take() {
            // It does not panic; if it did, the app stays sealed.
            let _ = thread.join();
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.finish();
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Door")
    }
}

/// The thread that answers.
struct Guard {
    guarding: Guarding,
    stop: PipeReader,
    book: Arc<Mutex<Book>>,
}

impl Guard {
    fn serve(self, hatch: &OwnedFd) {
        // Without a listener there is no seal; its read-back says so.
        let Some(listener) =
            self.wait(hatch.as_fd()).then(|| receive_fd::receive(hatch.as_fd()).ok().flatten()).flatten()
        else {
            return;
        };
        let mut tries = 0;
        while self.wait(listener.as_fd()) {
            let waiting = match seccomp_notify::receive(listener.as_fd()) {
                Ok(waiting) => waiting,
                // The caller was killed while it waited.
                Err(Errno::ENOENT | Errno::EINTR) => continue,
                Err(_) => return,
            };
            tries += 1;
            let own = tries == TRIES + 1;
            let refused = (tries > TRIES + 1).then(|| RefusedExec::of(&waiting));
            let noted = refused.filter(|_| seccomp_notify::still_waits(listener.as_fd(), waiting.id));
            let answer = if own { Answer::Continue } else { Answer::Fail(Errno::EACCES) };
            if let Some(noted) = noted {
                self.note(noted);
            }
            // ENOENT: the caller is gone, and with it its call.
            let _ = seccomp_notify::answer(listener.as_fd(), waiting.id, answer);
            if own && self.guarding == Guarding::Leaves {
                return;
            }
        }
    }

    /// Waits until there is something to read; false when the guard is let go, or nobody can come any more.
    fn wait(&self, fd: BorrowedFd<'_>) -> bool {
        loop {
            let mut fds = [PollFd::new(fd, PollFlags::POLLIN), PollFd::new(self.stop.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(_) => return false,
            }
            let has = |fd: &PollFd<'_>, flag| fd.revents().is_some_and(|events| events.intersects(flag));
            if has(&fds[0], PollFlags::POLLIN) {
                return true;
            }
            let over = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
            if has(&fds[0], over) || has(&fds[1], over | PollFlags::POLLIN) {
                return false;
            }
        }
    }

    fn note(&self, refused: RefusedExec) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut ear) = mem::take(&mut book.ear) {
            ear(&refused);
            book.ear = Some(ear);
        }
        if book.refused.len() < KEPT {
            book.refused.push(refused);
        } else {
            book.more += 1;
        }
    }
}
