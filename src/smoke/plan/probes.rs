//! What can be asked of an app.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::words::WordError;

/// One thing an app must do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Probe {
    /// Accept a TCP connection. HTTP is tried as well, and whatever it answers does not make the probe fail.
    Port {
        /// On the room's own address.
        port: u16,
    },
    /// Answer `GET path` with one of these statuses.
    Http {
        /// On the room's own address.
        port: u16,
        /// Starts with `/`; visible ASCII only.
        path: String,
        /// The statuses that count as an answer.
        status: StatusRange,
        /// What the body must contain.
        contains: Option<String>,
        /// Fields of the request, in place of austere's own of the same name.
        headers: Vec<(String, String)>,
        /// Over TLS; whose certificate it is does not matter.
        https: bool,
    },
    /// Accept a TCP connection, and hold a conversation of one sentence where one is given.
    Tcp {
        /// On the room's own address.
        port: u16,
        /// What is said first.
        send: Option<Vec<u8>>,
        /// What the reply must contain.
        expect: Option<Vec<u8>>,
    },
    /// Have a UDP socket there, and answer where an answer is expected.
    Udp {
        /// On the room's own address.
        port: u16,
        /// The datagram that is sent.
        send: Vec<u8>,
        /// What a datagram of the answer must contain. Without it, a port that does not refuse is enough.
        expect: Option<Vec<u8>>,
    },
    /// Write a line that matches, to standard output or standard error.
    Log {
        /// Looked for in each line by itself.
        regex: Pattern,
    },
    /// End by itself, with this exit code.
    Exit {
        /// 0 to 255.
        code: u8,
    },
    /// Not end.
    Up {
        /// Counted from the app's start.
        duration: Duration,
        /// Ending with exit code 0 before is as good.
        or_exit_0: bool,
    },
}

/// HTTP statuses from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRange {
    pub(super) low: u16,
    pub(super) high: u16,
}

impl StatusRange {
    /// An answer that is neither an error of the client nor of the server.
    pub const OK: StatusRange = StatusRange { low: 200, high: 399 };
    /// Any answer.
    pub const ANY: StatusRange = StatusRange { low: 100, high: 599 };

    /// Whether `status` is one of them.
    pub fn contains(self, status: u16) -> bool {
        (self.low..=self.high).contains(&status)
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.low, self.high) {
            (low, high) if low == high => write!(f, "{low}"),
            (low, high) => write!(f, "{low}-{high}"),
        }
    }
}

/// A regular expression that is known to be one. It matches in time linear in the text, whatever it is.
#[derive(Clone, Debug)]
pub struct Pattern(regex_lite::Regex);

impl Pattern {
    /// Whether `text` contains a match.
    pub fn is_in(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl std::str::FromStr for Pattern {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        let refused = |why: String| WordError::Regex(text.to_owned(), why);
        if text.is_empty() {
            return Err(refused("an empty one matches everything".to_owned()));
        }
        regex_lite::Regex::new(text).map(Pattern).map_err(|error| refused(error.to_string()))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

/// A kind of probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A port accepts a connection; what it answers to HTTP is shown.
    Port,
    /// An HTTP status, perhaps with a body.
    Http,
    /// The same over TLS.
    Https,
    /// A TCP connection, perhaps with a reply.
    Tcp,
    /// A UDP socket, perhaps with a reply.
    Udp,
    /// A line of output.
    Log,
    /// An exit code.
    Exit,
    /// A time without an end.
    Up,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Port => "port",
            Kind::Http => "http",
            Kind::Https => "https",
            Kind::Tcp => "tcp",
            Kind::Udp => "udp",
            Kind::Log => "log",
            Kind::Exit => "exit",
            Kind::Up => "up",
        })
    }
}

impl Probe {
    /// The kind of probe.
    pub fn kind(&self) -> Kind {
        match self {
            Probe::Port { .. } => Kind::Port,
            Probe::Http { https: false, .. } => Kind::Http,
            Probe::Http { https: true, .. } => Kind::Https,
            Probe::Tcp { .. } => Kind::Tcp,
            Probe::Udp { .. } => Kind::Udp,
            Probe::Log { .. } => Kind::Log,
            Probe::Exit { .. } => Kind::Exit,
            Probe::Up { .. } => Kind::Up,
        }
    }

    /// What it is about: `80`, `80/healthz`, `code 0`, `3 s`.
    pub fn target(&self) -> String {
        match self {
            Probe::Port { port } | Probe::Tcp { port, .. } | Probe::Udp { port, .. } => port.to_string(),
            Probe::Http { port, path, .. } => format!("{port}{path}"),
            Probe::Log { regex } => format!("`{regex}`"),
            Probe::Exit { code } => format!("code {code}"),
            Probe::Up { duration, .. } => format!("{} s", duration.as_secs_f64()),
        }
    }

    /// What makes it pass, as the end of a sentence that starts with "it must".
    pub fn want(&self) -> String {
        match self {
            Probe::Port { .. } | Probe::Tcp { expect: None, .. } => "accept a connection".to_owned(),
            Probe::Http { status, contains: None, .. } => format!("answer with status {status}"),
            Probe::Http { status, contains: Some(text), .. } => format!("answer with status {status} and `{text}`"),
            Probe::Udp { expect: None, .. } => "not refuse a datagram".to_owned(),
            Probe::Tcp { expect: Some(expect), .. } => format!("answer `{}`", expect.escape_ascii()),
            Probe::Udp { expect: Some(expect), .. } => format!("answer with {}", hex(expect)),
            Probe::Log { .. } => "write such a line".to_owned(),
            Probe::Exit { code } => format!("exit {code}"),
            Probe::Up { or_exit_0: false, .. } => "stay up".to_owned(),
            Probe::Up { or_exit_0: true, .. } => "stay up or exit 0".to_owned(),
        }
    }

    /// The port it asks.
    pub fn port(&self) -> Option<u16> {
        match self {
            Probe::Port { port } | Probe::Http { port, .. } | Probe::Tcp { port, .. } | Probe::Udp { port, .. } => {
                Some(*port)
            }
            Probe::Log { .. } | Probe::Exit { .. } | Probe::Up { .. } => None,
        }
    }
}

/// Bytes as a plan writes them.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
