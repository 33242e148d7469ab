//! One TCP connection to an app that may answer late, never, or without end.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{backlog, tls};

/// How long a read may block before it is looked whether all is over.
const SLICE: Duration = Duration::from_millis(20);
/// How long a connection may take: it is either accepted or refused at once, unless the app's backlog is full.
const CONNECT: Duration = Duration::from_millis(250);
/// How much of a reply is looked through for what was expected.
const REPLY: usize = 1 << 20;

/// The end of patience, and the news that the app has ended.
pub(super) struct Watch<'a> {
    pub started: Instant,
    pub deadline: Instant,
    pub over: &'a AtomicBool,
}

impl Watch<'_> {
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Nothing is left to wait for: the time is up, or the app is gone.
    pub fn is_done(&self) -> bool {
        self.is_over() || Instant::now() >= self.deadline
    }
}

/// An attempt that did not succeed.
#[derive(Debug)]
pub(super) struct Miss {
    /// The connection was accepted.
    pub connected: bool,
    /// What was seen, for a person.
    pub why: String,
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
    /// Nothing went wrong but the time.
    pub late: bool,
}

impl Miss {
    pub fn after_connect(why: impl Into<String>) -> Self {
        Miss { connected: true, why: why.into(), status: None, late: false }
    }
}

/// What a connection speaks below what is said on it.
enum Stream {
    Plain(TcpStream),
    Tls(Box<tls::Stream>),
}

impl Stream {
    fn socket(&self) -> &TcpStream {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => &stream.sock,
        }
    }
}

/// A connection on which nothing blocks for longer than it should.
pub(super) struct Connection<'a> {
    stream: Stream,
    watch: &'a Watch<'a>,
    until: Instant,
}

impl<'a> Connection<'a> {
    /// Connects; what is done with the connection must be done before `until`.
    pub fn open(to: SocketAddr, watch: &'a Watch<'a>, until: Instant) -> Result<Self, Miss> {
        let patience = left(until).unwrap_or(Duration::from_millis(1)).min(CONNECT);
        let connected = TcpStream::connect_timeout(&to, patience).and_then(|stream| {
            stream.set_write_timeout(Some(CONNECT))?;
            Ok(stream)
        });
        match connected {
            Ok(stream) => Ok(Connection { stream: Stream::Plain(stream), watch, until }),
            Err(error) => Err(Miss { connected: false, why: plainly(&error), status: None, late: false }),
        }
    }

    /// Gives the connection another end.
    pub fn until(&mut self, until: Instant) {
        self.until = until;
    }

    /// The same connection with TLS on it.
    pub fn secure(self, to: SocketAddr) -> Result<Self, Miss> {
        let Stream::Plain(socket) = self.stream else { return Ok(self) };
        let stream = tls::over(socket, to).map_err(|error| Miss::after_connect(format!("no TLS: {error}")))?;
        let mut secured = Connection { stream: Stream::Tls(Box::new(stream)), ..self };
        secured.wait(|stream| match stream {
            Stream::Tls(stream) => tls::handshake(stream),
            Stream::Plain(_) => Ok(true),
        })?;
        Ok(secured)
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Miss> {
        let sent = match &mut self.stream {
            Stream::Plain(socket) => socket.write_all(bytes),
            Stream::Tls(stream) => tls::write(stream, bytes),
        };
        sent.map_err(|error| Miss::after_connect(format!("accepted, then {}", plainly(&error))))
    }

    /// Waits until the app has taken this connection and those before it. Where nobody is seen to listen any more, or the list cannot be read,
    /// there is nothing to wait for.
    pub fn be_taken(&self) -> Result<(), Miss> {
        let Ok(port) = self.stream.socket().peer_addr().map(|peer| peer.port()) else { return Ok(()) };
        let mut pause = Duration::from_micros(100);
        loop {
            // Asked before the list: what an app took before it ended, it has taken.
            let is_over = self.watch.is_over() || left(self.until).is_none();
            if backlog::waiting(port).is_none_or(|waiting| waiting == 0) {
                return Ok(());
            }
            if is_over {
                return Err(Miss { late: true, ..Miss::after_connect("listens, but takes no connection") });
            }
            thread::sleep(pause);
            pause = (pause * 2).min(SLICE);
        }
    }

    /// The next bytes; 0 when the app has closed the connection.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, Miss> {
        self.wait(|stream| match stream {
            Stream::Plain(socket) => socket.read(buffer),
            Stream::Tls(stream) => tls::read(stream, buffer),
        })
    }

    /// Tries what reads until it has something, in slices, so that it is noticed when all is over.
    fn wait<T>(&mut self, mut read: impl FnMut(&mut Stream) -> io::Result<T>) -> Result<T, Miss> {
        loop {
            let patience = left(self.until).filter(|_| !self.watch.is_over());
            let Some(patience) = patience else {
                return Err(Miss { late: true, ..Miss::after_connect("accepted, then no complete answer in time") });
            };
            let timed = self.stream.socket().set_read_timeout(Some(patience.min(SLICE)));
            match timed.and_then(|()| read(&mut self.stream)) {
                Ok(done) => return Ok(done),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
                Err(error) => return Err(Miss::after_connect(format!("accepted, then {}", plainly(&error)))),
            }
        }
    }
}

/// Says `send`, if anything, and waits for a reply that contains `expect`, if anything.
pub(super) fn converse(
    connection: &mut Connection<'_>,
    send: Option<&[u8]>,
    expect: Option<&[u8]>,
) -> Result<String, Miss> {
    if let Some(bytes) = send {
        connection.send(bytes)?;
    }
    let Some(expect) = expect.filter(|expect| !expect.is_empty()) else {
        connection.be_taken()?;
        return Ok("accepts".to_owned());
    };
    let mut reply = Vec::new();
    let mut chunk = [0; 4096];
    let mut late = false;
    while reply.len() < REPLY {
        // Only the new bytes, and as many before them as could begin what is expected.
        let from = reply.len().saturating_sub(expect.len() - 1);
        match connection.receive(&mut chunk) {
            Ok(0) => break,
            Ok(count) => reply.extend_from_slice(&chunk[..count]),
            Err(miss) if reply.is_empty() => return Err(miss),
            // What came before says more than how it ended.
            Err(miss) => {
                late = miss.late;
                break;
            }
        }
        if holds(&reply[from..], expect) {
            return Ok(format!("answers `{}`", excerpt(&reply)));
        }
    }
    let why = if reply.is_empty() {
        "accepted, then closed without an answer".to_owned()
    } else {
        format!("answered `{}`", excerpt(&reply))
    };
    Err(Miss { late, ..Miss::after_connect(why) })
}

/// Whether `text` contains `part`.
pub(super) fn holds(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}

/// The first line of what an app said, short enough for a report.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let text = String::from_utf8_lossy(&line[..line.len().min(200)]);
    let mut short: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    if text.chars().count() > 40 || line.len() > 200 {
        short.push('…');
    }
    short
}

/// An error as people call it, without the number.
pub(super) fn plainly(error: &io::Error) -> String {
    if let Some(why) = tls::plainly(error) {
        return why;
    }
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        ErrorKind::ConnectionReset => "connection reset".to_owned(),
        ErrorKind::BrokenPipe => "connection closed".to_owned(),
        ErrorKind::TimedOut | ErrorKind::WouldBlock => "connection not accepted in time".to_owned(),
        _ => error.to_string(),
    }
}

fn left(until: Instant) -> Option<Duration> {
    Some(until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
}
