//! One HTTP request, and as much of the reply as shows that it is one.
//!
//! Sources: RFC 9110 and RFC 9112. The reply is untrusted: its head, its body and the time it takes have limits.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use httparse::{EMPTY_HEADER, Status};

use super::tcp::{Connection, Miss, excerpt, holds};

/// The longest head, interim (1xx) heads included.
const HEAD: usize = 64 << 10;
/// The most header fields of one head.
const FIELDS: usize = 128;
/// How much of a body is read. A longer one is an answer as well.
const BODY: usize = 1 << 20;
/// How long a body is read. One that never ends is an answer as well.
const BODY_TIME: Duration = Duration::from_secs(1);

/// What an app answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub status: u16,
    pub reason: String,
    /// As much of it as was read.
    pub body: Vec<u8>,
}

impl Reply {
    /// `HTTP 200 OK`.
    pub fn line(&self) -> String {
        format!("HTTP {} {}", self.status, self.reason).trim_end().to_owned()
    }

    /// What Go's, nginx's and Apache's servers answer to plain HTTP where they speak TLS.
    pub fn wants_tls(&self) -> bool {
        let phrases = [
            "Client sent an HTTP request to an HTTPS server",
            "The plain HTTP request was sent to HTTPS port",
            "speaking plain HTTP to an SSL-enabled server port",
        ];
        self.status == 400 && phrases.iter().any(|phrase| holds(&self.body, phrase.as_bytes()))
    }
}

/// How a body ends.
enum Framing {
    Nothing,
    Length(u64),
    Chunked,
    UntilClose,
}

/// Asks for `path`. The reply is not followed anywhere: a redirect counts by its status.
pub(super) fn get(
    connection: &mut Connection<'_>,
    host: SocketAddr,
    path: &str,
    headers: &[(String, String)],
) -> Result<Reply, Miss> {
    connection.send(request(host, path, headers).as_bytes())?;
    let mut incoming = Incoming { connection, bytes: Vec::new(), body: Vec::new() };
    let (mut reply, framing) = incoming.head()?;
    incoming.connection.until(Instant::now() + BODY_TIME);
    incoming.body(&framing).map_err(|why| Miss {
        status: Some(reply.status),
        ..Miss::after_connect(format!("{}, then {why}", reply.line()))
    })?;
    reply.body = incoming.body;
    Ok(reply)
}

fn request(host: SocketAddr, path: &str, headers: &[(String, String)]) -> String {
    let own = [
        ("Host", host.to_string()),
        ("User-Agent", concat!("austere/", env!("CARGO_PKG_VERSION")).to_owned()),
        ("Accept", "*/*".to_owned()),
        ("Connection", "close".to_owned()),
    ];
    let mut request = format!("GET {path} HTTP/1.1\r\n");
    let own = own.iter().map(|(name, value)| (*name, value));
    let own = own.filter(|(name, _)| !headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)));
    for (name, value) in own.chain(headers.iter().map(|(name, value)| (name.as_str(), value))) {
        let _ = write!(request, "{name}: {value}\r\n");
    }
    request + "\r\n"
}

struct Incoming<'a, 'w> {
    connection: &'a mut Connection<'w>,
    /// Received and not yet understood.
    bytes: Vec<u8>,
    body: Vec<u8>,
}

impl Incoming<'_, '_> {
    fn more(&mut self) -> Result<usize, Miss> {
        let mut chunk = [0; 8192];
        let count = self.connection.receive(&mut chunk)?;
        self.bytes.extend_from_slice(&chunk[..count]);
        Ok(count)
    }

    /// The first head that is no interim one.
    fn head(&mut self) -> Result<(Reply, Framing), Miss> {
        let mut taken = 0;
        let mut seen = 0;
        loop {
            let opening = b"HTTP/1.".iter().zip(&self.bytes);
            if opening.clone().any(|(expected, byte)| expected != byte) {
                return Err(Miss::after_connect(not_http(&self.bytes)));
            }
            // A head ends with a line, so it can only have become complete with a line feed.
            if self.bytes[seen..].contains(&b'\n')
                && let Some((length, reply, framing)) = parse(&self.bytes)?
            {
                self.bytes.drain(..length);
                if reply.status >= 200 || reply.status == 101 {
                    return Ok((reply, framing));
                }
                (taken, seen) = (taken + length, 0);
                continue;
            }
            if taken + self.bytes.len() > HEAD {
                return Err(Miss::after_connect("answered with an HTTP head that does not end"));
            }
            seen = self.bytes.len();
            if self.more()? == 0 {
                return Err(Miss::after_connect(if self.bytes.is_empty() {
                    "accepted, then closed without an answer".to_owned()
                } else {
                    format!("answered `{}`, then closed", excerpt(&self.bytes))
                }));
            }
        }
    }

    /// Reads the body to its end, or as far as it is worth it. The error says why the body is known to be incomplete.
    fn body(&mut self, framing: &Framing) -> Result<(), String> {
        let mut left = match framing {
            Framing::Nothing => return Ok(()),
            Framing::Length(length) => *length,
            Framing::Chunked => return self.chunks(),
            Framing::UntilClose => u64::MAX,
        };
        loop {
            left = left.saturating_sub(self.bytes.len() as u64);
            self.body.append(&mut self.bytes);
            if left == 0 || self.body.len() >= BODY {
                return Ok(());
            }
            match self.more_body()? {
                More::Bytes => {}
                More::Enough => return Ok(()),
                More::Closed if matches!(framing, Framing::UntilClose) => return Ok(()),
                More::Closed => return Err(format!("closed {left} bytes before the end of the body")),
            }
        }
    }

    fn chunks(&mut self) -> Result<(), String> {
        let mut first = true;
        loop {
            // A chunk's data ends with a line end of its own, which stands before the next size.
            let start = self.bytes.iter().take_while(|byte| !first && matches!(byte, b'\r' | b'\n')).count();
            match httparse::parse_chunk_size(&self.bytes[start..]) {
                Ok(Status::Complete((_, 0))) => return Ok(()),
                Ok(Status::Complete((head, size))) => {
                    self.bytes.drain(..start + head);
                    first = false;
                    let size = usize::try_from(size).unwrap_or(usize::MAX);
                    let wanted = size.min(BODY - self.body.len());
                    // An end that would not be read is not missed either.
                    let beyond = size > wanted;
                    while self.bytes.len() < wanted {
                        match self.more_body()? {
                            More::Bytes => {}
                            more if beyond || matches!(more, More::Enough) => {
                                self.body.append(&mut self.bytes);
                                return Ok(());
                            }
                            _ => return Err("closed within a chunk of the body".to_owned()),
                        }
                    }
                    self.body.extend(self.bytes.drain(..wanted));
                    if self.body.len() >= BODY {
                        return Ok(());
                    }
                }
                Ok(Status::Partial) if self.bytes.len() < HEAD => match self.more_body()? {
                    More::Bytes => {}
                    More::Enough => return Ok(()),
                    More::Closed => return Err("closed before the last chunk of the body".to_owned()),
                },
                _ => return Err("sent a chunk without a size".to_owned()),
            }
        }
    }

    fn more_body(&mut self) -> Result<More, String> {
        match self.more() {
            Ok(0) => Ok(More::Closed),
            Ok(_) => Ok(More::Bytes),
            // The time for the body is up: what came before it was the answer.
            Err(miss) if miss.late => Ok(More::Enough),
            Err(miss) => Err(miss.why),
        }
    }
}

enum More {
    Bytes,
    Enough,
    Closed,
}

/// A complete head: its length, what it says, and how the body after it ends.
fn parse(bytes: &[u8]) -> Result<Option<(usize, Reply, Framing)>, Miss> {
    let mut fields = [EMPTY_HEADER; FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let mut parser = httparse::ParserConfig::default();
    parser.allow_obsolete_multiline_headers_in_responses(true).allow_spaces_after_header_name_in_responses(true);
    let length = match parser.parse_response(&mut response, bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(error) => return Err(Miss::after_connect(format!("answered with a broken HTTP head ({error})"))),
    };
    let reply = Reply {
        status: response.code.unwrap_or_default(),
        reason: response.reason.unwrap_or_default().to_owned(),
        body: Vec::new(),
    };
    let field =
        |name| response.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value);
    let chunked = field("transfer-encoding").is_some_and(|value| value.to_ascii_lowercase().ends_with(b"chunked"));
    let said = field("content-length").and_then(|value| std::str::from_utf8(value).ok()?.trim().parse().ok());
    // RFC 9112, section 6.3, in its order.
    let framing = match reply.status {
        100..=199 | 204 | 304 => Framing::Nothing,
        _ if chunked => Framing::Chunked,
        _ => said.map_or(Framing::UntilClose, Framing::Length),
    };
    Ok(Some((length, reply, framing)))
}

fn not_http(bytes: &[u8]) -> String {
    // An alert or a handshake record of TLS 1.x (RFC 8446, section 5.1).
    match bytes {
        [0x15 | 0x16, 0x03, ..] => "answered with TLS, not with HTTP: ask with https".to_owned(),
        _ => format!("answered `{}`, which is not HTTP", excerpt(bytes)),
    }
}
