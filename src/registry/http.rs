//! One HTTP/1.1 request and its answer. The answer is untrusted: its head has limits, and a body that ends too early is an error.
//!
//! Sources: RFC 9110, RFC 9112.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write as _};

use super::HttpError;
use super::connect::Stream;

/// The longest head.
const HEAD: u64 = 64 << 10;
/// The most fields of one head.
const FIELDS: usize = 128;
/// The longest line that says a chunk's size.
const CHUNK_LINE: u64 = 1 << 10;
/// What is read at once.
const BUFFER: usize = 64 << 10;

/// A connection between two requests.
pub(crate) type Connection = BufReader<Stream>;

/// A connection that nothing was asked yet.
pub(crate) fn fresh(stream: Stream) -> Connection {
    BufReader::with_capacity(BUFFER, stream)
}

/// What is asked.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub method: &'static str,
    /// The path, or all of the URL for a proxy.
    pub target: &'a str,
    /// The `Host` field.
    pub host: &'a str,
    pub fields: &'a [(&'static str, String)],
    pub body: &'a [u8],
}

/// What is answered. The body is yet to be read.
#[derive(Debug)]
pub(crate) struct Response {
    pub status: u16,
    pub reason: String,
    fields: Vec<(String, String)>,
    pub body: Body,
}

/// A body, read as it comes.
#[derive(Debug)]
pub(crate) struct Body {
    connection: Connection,
    framing: Framing,
    keep: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// So many bytes are left.
    Length(u64),
    /// So many bytes of this chunk are left; `started` after the first one.
    Chunk {
        left: u64,
        started: bool,
    },
    UntilClose,
    Done,
}

impl Response {
    /// The first field of this name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All fields of this name.
    pub(crate) fn fields<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// How long the body is, where the head says it.
    pub(crate) fn length(&self) -> Option<u64> {
        match self.body.framing {
            Framing::Length(length) => Some(length),
            Framing::Done => Some(0),
            Framing::Chunk { .. } | Framing::UntilClose => None,
        }
    }
}

/// Asks, and reads the head of the answer. The error says whether anything came at all.
pub(crate) fn send(
    mut connection: Connection,
    server: &str,
    request: &Request<'_>,
) -> Result<Response, (HttpError, bool)> {
    let broken = |source| HttpError::Broken { server: server.to_owned(), source };
    let mut head = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", request.method, request.target, request.host);
    let _ = write!(head, "User-Agent: {}\r\n", concat!("austere/", env!("CARGO_PKG_VERSION")));
    for (name, value) in request.fields {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    if !request.body.is_empty() {
        let _ = write!(head, "Content-Length: {}\r\n", request.body.len());
    }
    head.push_str("\r\n");
    let bytes = [head.as_bytes(), request.body].concat();
    let stream = connection.get_mut();
    stream.write_all(&bytes).and_then(|()| stream.flush()).map_err(|error| (broken(error), false))?;
    loop {
        let head = read_head(&mut connection).map_err(|(error, some)| (broken(error), some))?;
        let protocol = |why| (HttpError::Protocol { server: server.to_owned(), why }, true);
        let Some((status, reason, fields, framing, keep)) = parse(&head).map_err(protocol)? else { continue };
        return Ok(Response { status, reason, fields, body: Body { connection, framing, keep } });
    }
}

/// Lines to the first empty one.
fn read_head(connection: &mut Connection) -> Result<Vec<u8>, (io::Error, bool)> {
    let mut head = Vec::new();
    loop {
        let before = head.len();
        let mut limited = connection.by_ref().take(HEAD - before as u64);
        limited.read_until(b'\n', &mut head).map_err(|error| (error, before > 0))?;
        if matches!(&head[before..], b"\r\n" | b"\n") && before > 0 {
            return Ok(head);
        }
        if head.last() != Some(&b'\n') {
            let why =
                if head.len() as u64 >= HEAD { "its head does not end" } else { "it hung up instead of answering" };
            return Err((io::Error::new(io::ErrorKind::UnexpectedEof, why), !head.is_empty()));
        }
    }
}

type Head = (u16, String, Vec<(String, String)>, Framing, bool);

/// What a head says; nothing for an interim one.
fn parse(head: &[u8]) -> Result<Option<Head>, String> {
    let mut storage = [httparse::EMPTY_HEADER; FIELDS];
    let mut response = httparse::Response::new(&mut storage);
    match response.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err("its HTTP head is incomplete".to_owned()),
        Err(error) => return Err(format!("it does not speak HTTP ({error})")),
    }
    let status = response.code.unwrap_or_default();
    if (100..200).contains(&status) && status != 101 {
        return Ok(None);
    }
    let text = |value: &[u8]| String::from_utf8_lossy(value).trim().to_owned();
    let fields: Vec<_> =
        response.headers.iter().map(|field| (field.name.to_ascii_lowercase(), text(field.value))).collect();
    let field = |name| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.to_ascii_lowercase());
    let is_chunked = field("transfer-encoding")
        .map(|coding| coding.split(',').next_back().is_some_and(|last| last.trim() == "chunked"));
    // RFC 9112, section 6.3, in its order.
    let framing = match (status, is_chunked, field("content-length")) {
        (204 | 304, ..) => Framing::Done,
        (_, Some(true), _) => Framing::Chunk { left: 0, started: false },
        (_, Some(false), _) | (_, None, None) => Framing::UntilClose,
        (_, None, Some(length)) => {
            let length = length.parse().map_err(|_| format!("its Content-Length is `{}`", length.escape_debug()))?;
            if length == 0 { Framing::Done } else { Framing::Length(length) }
        }
    };
    let says_close = field("connection").is_some_and(|value| value.split(',').any(|word| word.trim() == "close"));
    let keep = response.version == Some(1) && !says_close && framing != Framing::UntilClose;
    Ok(Some((status, response.reason.unwrap_or_default().to_owned(), fields, framing, keep)))
}

impl Body {
    /// The connection, for the next request; nothing when the body was not read to its end, or the server wants to close.
    pub(crate) fn into_connection(self) -> Option<Connection> {
        (self.keep && self.framing == Framing::Done).then_some(self.connection)
    }

    /// The next chunk's size; at the last one what comes after it is read too.
    fn next_chunk(&mut self, started: bool) -> io::Result<()> {
        let bad = || io::Error::new(io::ErrorKind::InvalidData, "it sent a chunk without a size");
        let mut line = Vec::new();
        let mut limited = (&mut self.connection).take(CHUNK_LINE);
        if started {
            limited.read_until(b'\n', &mut line)?;
            if !matches!(&line[..], b"\r\n" | b"\n") {
                return Err(if line.is_empty() { cut(None) } else { bad() });
            }
            line.clear();
        }
        limited.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Err(cut(None));
        }
        let Ok(httparse::Status::Complete((_, size))) = httparse::parse_chunk_size(&line) else { return Err(bad()) };
        self.framing = Framing::Chunk { left: size, started: true };
        if size == 0 {
            let mut trailers = (&mut self.connection).take(HEAD);
            loop {
                line.clear();
                trailers.read_until(b'\n', &mut line)?;
                match &line[..] {
                    b"\r\n" | b"\n" => break,
                    [] => return Err(cut(None)),
                    _ => {}
                }
            }
            self.framing = Framing::Done;
        }
        Ok(())
    }
}

fn cut(left: Option<u64>) -> io::Error {
    let why = match left {
        Some(left) => format!("the connection ended {left} bytes before the end"),
        None => "the connection ended before the end".to_owned(),
    };
    io::Error::new(io::ErrorKind::UnexpectedEof, why)
}

impl Read for Body {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            let left = match self.framing {
                Framing::Done => return Ok(0),
                Framing::Chunk { left: 0, started } => {
                    self.next_chunk(started)?;
                    continue;
                }
                Framing::Length(left) | Framing::Chunk { left, .. } => left,
                Framing::UntilClose => u64::MAX,
            };
            let want = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let got = self.connection.read(&mut buf[..want])?;
            let rest = left - got as u64;
            self.framing = match self.framing {
                Framing::UntilClose if got == 0 => Framing::Done,
                Framing::UntilClose => Framing::UntilClose,
                _ if got == 0 => return Err(cut(Some(left))),
                Framing::Length(_) if rest == 0 => Framing::Done,
                Framing::Length(_) => Framing::Length(rest),
                _ => Framing::Chunk { left: rest, started: true },
            };
            return Ok(got);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    /// The answer, and the other end: one that hangs up with a request unread would end the connection at once.
    fn answered(bytes: &[u8]) -> (Result<Response, HttpError>, UnixStream) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(bytes).unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let request = Request { method: "GET", target: "/", host: "x", fields: &[], body: b"" };
        (send(fresh(Stream::Unix(ours)), "x", &request).map_err(|(error, _)| error), theirs)
    }

    fn body(bytes: &[u8]) -> io::Result<String> {
        let mut text = String::new();
        let (response, _other_end) = answered(bytes);
        response.unwrap().body.read_to_string(&mut text).map(|_| text)
    }

    #[test]
    fn a_body_ends_where_its_head_says() {
        assert_eq!(body(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef").unwrap(), "abc");
        assert_eq!(body(b"HTTP/1.1 200 OK\r\n\r\nabc").unwrap(), "abc");
        let chunked =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\nT: 1\r\n\r\n";
        assert_eq!(body(chunked).unwrap(), "abc");
        assert_eq!(body(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n").unwrap(), "");
    }

    #[test]
    fn a_body_that_ends_too_early_is_an_error() {
        for bytes in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ] {
            assert!(body(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_answer_is_one_error() {
        for bytes in [&b""[..], b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"]
        {
            assert!(answered(bytes).0.is_err(), "{}", bytes.escape_ascii());
        }
        let endless = [&b"HTTP/1.1 200 OK\r\n"[..], &b"A: b\r\n".repeat(20_000)].concat();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        std::thread::spawn(move || theirs.write_all(&endless));
        let request = Request { method: "GET", target: "/", host: "x", fields: &[], body: b"" };
        assert!(send(fresh(Stream::Unix(ours)), "x", &request).is_err());
    }
}
