//! The letter slot: connections to ports of the host, carried to ports of the room.
//!
//! No bridge, no packet filter, no helper process: one thread, which has joined the room's network, carries the bytes of all connections. It ends
//! with the room, since the next jail can only be built by a process of one thread.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::{Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, socket};

use super::Room;

/// Connections at a time; further ones wait in the kernel's queue.
const MOST: usize = 256;
/// Bytes under way in each direction of a connection.
const BUFFER: usize = 16 << 10;

/// A port of the host that is taken for a port of a room.
#[derive(Debug)]
pub struct Slot {
    listener: TcpListener,
    port: u16,
}

impl Slot {
    /// Takes the host's address; connections wait until [`open`].
    ///
    /// # Errors
    ///
    /// bind(2): EADDRINUSE, EACCES for a low port, EADDRNOTAVAIL.
    pub fn bind(host: SocketAddr, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(host)?;
        listener.set_nonblocking(true)?;
        Ok(Slot { listener, port })
    }
}

/// Slots that are open, until this is dropped. The ports stay taken.
#[derive(Debug)]
pub struct Open {
    end: Option<PipeWriter>,
    carrier: Option<JoinHandle<()>>,
}

/// Carries connections from now on, in a thread of its own; nothing where there are no slots.
///
/// # Errors
///
/// pipe(2), dup(2) or the thread was refused.
pub fn open(slots: &[Slot], room: Arc<Room>) -> io::Result<Option<Open>> {
    if slots.is_empty() {
        return Ok(None);
    }
    let (reader, writer) = io::pipe()?;
    let slots: Vec<Slot> = slots
        .iter()
        .map(|slot| Ok(Slot { listener: slot.listener.try_clone()?, port: slot.port }))
        .collect::<io::Result<_>>()?;
    let carrier = thread::Builder::new().name("slots".to_owned()).spawn(move || {
        // Without a way into the room there is nobody to lead callers to; they wait until the end.
        if room.join().is_ok() {
            let _ = carry(&slots, &room, &reader);
        }
    })?;
    Ok(Some(Open { end: Some(writer), carrier: Some(carrier) }))
}

impl Drop for Open {
    fn drop(&mut self) {
        self.end = None;
        if let Some(carrier) = self.carrier.take() {
            let _ = carrier.join();
        }
    }
}

fn carry(slots: &[Slot], room: &Room, end: &PipeReader) -> io::Result<()> {
    let mut lines: Vec<Line> = Vec::new();
    loop {
        let mut asked = vec![PollFd::new(end.as_fd(), PollFlags::POLLIN)];
        let free = lines.len() < MOST;
        asked.extend(slots.iter().filter(|_| free).map(|slot| PollFd::new(slot.listener.as_fd(), PollFlags::POLLIN)));
        for line in &lines {
            asked.extend(line.interests().map(|(socket, events)| PollFd::new(socket, events)));
        }
        match poll(&mut asked, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let is_over = asked.first().is_some_and(|end| end.any() == Some(true));
        drop(asked);
        // Reading and writing again is cheap where nothing came, and there are few lines.
        lines.retain_mut(|line| line.step().is_ok_and(|()| !line.is_done()));
        if is_over {
            return Ok(());
        }
        for slot in slots.iter().filter(|_| free) {
            // An accept that fails (the caller left, descriptors ran out) leaves the next one a chance. Where the app does not answer, the caller
            // sees a connection that is closed, as behind any proxy whose server is not there.
            if let Ok((outside, _)) = slot.listener.accept()
                && let Ok(line) = Line::new(outside, room, slot.port)
            {
                lines.push(line);
            }
        }
    }
}

/// One connection.
#[derive(Debug)]
struct Line {
    outside: TcpStream,
    inside: TcpStream,
    connected: bool,
    forth: Flow,
    back: Flow,
}

impl Line {
    fn new(outside: TcpStream, room: &Room, port: u16) -> io::Result<Self> {
        outside.set_nonblocking(true)?;
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let inside = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
        match connect(inside.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(room.address(), port))) {
            Ok(()) | Err(Errno::EINPROGRESS) => {}
            Err(errno) => return Err(errno.into()),
        }
        let (forth, back) = (Flow::default(), Flow::default());
        Ok(Line { outside, inside: inside.into(), connected: false, forth, back })
    }

    /// What there is to wait for. A socket with nothing to wait for is left out: poll(2) would speak of its end again and again.
    fn interests(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let of = |reads: &Flow, writes: &Flow| {
            let mut events = PollFlags::empty();
            events.set(PollFlags::POLLIN, self.connected && reads.wants());
            events.set(PollFlags::POLLOUT, self.connected && writes.holds());
            events
        };
        let mut inside = of(&self.back, &self.forth);
        inside.set(PollFlags::POLLOUT, !self.connected || self.forth.holds());
        let both = [(self.outside.as_fd(), of(&self.forth, &self.back)), (self.inside.as_fd(), inside)];
        both.into_iter().filter(|(_, events)| !events.is_empty())
    }

    fn step(&mut self) -> io::Result<()> {
        if !self.connected {
            if let Some(error) = self.inside.take_error()? {
                return Err(error);
            }
            self.connected = self.inside.peer_addr().is_ok();
        }
        if self.connected {
            self.forth.step(&self.outside, &self.inside)?;
            self.back.step(&self.inside, &self.outside)?;
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.forth.is_shut && self.back.is_shut
    }
}

/// One direction of a connection.
#[derive(Debug, Default)]
struct Flow {
    bytes: Vec<u8>,
    sent: usize,
    is_ended: bool,
    is_shut: bool,
}

impl Flow {
    fn holds(&self) -> bool {
        self.sent < self.bytes.len()
    }

    fn wants(&self) -> bool {
        !self.is_ended && !self.holds()
    }

    /// Carries on until one side would have to be waited for.
    fn step(&mut self, mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
        // A sender who is fast must not keep the others waiting.
        for _ in 0..16 {
            if self.wants() {
                self.bytes.resize(BUFFER, 0);
                let read = ready(from.read(&mut self.bytes))?;
                self.bytes.truncate(read.unwrap_or(0));
                self.sent = 0;
                self.is_ended = read == Some(0);
            }
            if self.holds() {
                self.sent += ready(to.write(&self.bytes[self.sent..]))?.unwrap_or(0);
            }
            if self.holds() || !self.is_ended && self.bytes.is_empty() {
                return Ok(());
            }
            if self.is_ended {
                if !self.is_shut {
                    self.is_shut = true;
                    to.shutdown(Shutdown::Write)?;
                }
                return Ok(());
            }
        }
        Ok(())
    }
}

/// What was done at once; nothing where it would have had to wait.
fn ready(done: io::Result<usize>) -> io::Result<Option<usize>> {
    match done {
        Ok(count) => Ok(Some(count)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An app that answers each caller once, in capitals.
    fn app(callers: usize) -> (u16, JoinHandle<()>) {
        let app = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = app.local_addr().unwrap().port();
        let thread = thread::spawn(move || {
            for _ in 0..callers {
                let (mut connection, _) = app.accept().unwrap();
                let mut text = String::new();
                connection.read_to_string(&mut text).unwrap();
                connection.write_all(text.to_uppercase().as_bytes()).unwrap();
            }
        });
        (port, thread)
    }

    fn answer(address: SocketAddr, letter: &str) -> String {
        let mut caller = TcpStream::connect(address).unwrap();
        caller.write_all(letter.as_bytes()).unwrap();
        caller.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        caller.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn what_goes_in_comes_out_at_the_other_side() {
        let (port, echo) = app(2);
        let slots = [Slot::bind("127.0.0.1:0".parse().unwrap(), port).unwrap()];
        let address = slots[0].listener.local_addr().unwrap();
        let room = Arc::new(Room::host());
        let open = super::open(&slots, Arc::clone(&room)).unwrap();
        let long = "letter".repeat(200_000);
        assert!(answer(address, &long) == long.to_uppercase());
        drop(open);
        // The port is still taken, and leads into the next room; who calls meanwhile waits.
        let (caller, _open) = (thread::spawn(move || answer(address, "next")), super::open(&slots, room).unwrap());
        assert_eq!(caller.join().unwrap(), "NEXT");
        echo.join().unwrap();
    }

    #[test]
    fn a_caller_of_nobody_is_let_down() {
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let slots = [Slot::bind("127.0.0.1:0".parse().unwrap(), nobody).unwrap()];
        let _open = super::open(&slots, Arc::new(Room::host())).unwrap();
        let mut caller = TcpStream::connect(slots[0].listener.local_addr().unwrap()).unwrap();
        assert!(matches!(caller.read(&mut [0]), Ok(0) | Err(_)));
    }
}
