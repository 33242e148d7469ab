//! Probes as the command line spells them.

use std::time::Duration;

use super::{Probe, StatusRange};

/// What is sent to a UDP port when nobody said what. Not an empty datagram, which some take for an end.
pub(super) const KNOCK: &[u8] = &[0];

/// A word that names no probe.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    /// Not 1 to 65535.
    #[error("`{0}` is not a port (1 to 65535)")]
    Port(String),
    /// A whole address.
    #[error("`{0}` names a host, and only the app is asked, in a network of its own\n  hint: {1}")]
    Address(String, String),
    /// Not a status, a class or a range.
    #[error("`{0}` is not an HTTP status (200, 2xx or 200-299; write an `=` of the path as %3D)")]
    Status(String),
    /// Something a request line cannot carry.
    #[error("`{0}` cannot be asked for as it is: percent-encode spaces, control and non-ASCII characters")]
    Path(String),
    /// Not 0 to 255.
    #[error("`{0}` is not an exit code (0 to 255)")]
    Code(String),
    /// Not a time, or longer than a day.
    #[error("`{0}` is not a number of seconds (above 0, at most 86400; 2.5 is fine)")]
    Seconds(String),
    /// Not a regular expression.
    #[error("`{0}` is not a regular expression: {1}")]
    Regex(String, String),
    /// Not pairs of hexadecimal digits.
    #[error("`{0}` is not hexadecimal (two digits a byte, such as 0aff)")]
    Hex(String),
    /// Not a header field of a request.
    #[error(
        "`{0}` is not a header that can be sent (a name of letters, digits and dashes, a value of printable ASCII)"
    )]
    Header(String),
}

impl Probe {
    /// `PORT[/PATH][=STATUS]`. The last `=` starts the status.
    ///
    /// # Errors
    ///
    /// [`WordError`]: what part of it is not understood.
    pub fn http(text: &str) -> Result<Self, WordError> {
        Self::web(text, false)
    }

    /// The same over TLS.
    ///
    /// # Errors
    ///
    /// As [`Probe::http`].
    pub fn https(text: &str) -> Result<Self, WordError> {
        Self::web(text, true)
    }

    fn web(text: &str, https: bool) -> Result<Self, WordError> {
        if let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| ["http", "https"].contains(scheme)) {
            let (host, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
            let standard = if https || scheme == "https" { "443" } else { "80" };
            let port = host.rsplit_once(':').map_or(standard, |(_, port)| port);
            return Err(WordError::Address(text.to_owned(), format!("--{scheme} {port}{path}")));
        }
        let (place, status) = match text.rsplit_once('=') {
            Some((place, status)) => (place, status.parse()?),
            None => (text, StatusRange::OK),
        };
        let (port, at) = place.find('/').map_or((place, "/"), |slash| place.split_at(slash));
        let headers = Vec::new();
        Ok(Probe::Http { port: port_number(port)?, path: path(at)?, status, contains: None, headers, https })
    }

    /// `PORT` of UDP.
    ///
    /// # Errors
    ///
    /// [`WordError::Port`].
    pub fn udp(text: &str) -> Result<Self, WordError> {
        Ok(Probe::Udp { port: port_number(text)?, send: KNOCK.to_vec(), expect: None })
    }

    /// A regular expression for a line of output.
    ///
    /// # Errors
    ///
    /// [`WordError::Regex`].
    pub fn log(text: &str) -> Result<Self, WordError> {
        Ok(Probe::Log { regex: text.parse()? })
    }

    /// `PORT`.
    ///
    /// # Errors
    ///
    /// [`WordError::Port`].
    pub fn tcp(text: &str) -> Result<Self, WordError> {
        Ok(Probe::Tcp { port: port_number(text)?, send: None, expect: None })
    }

    /// An exit code.
    ///
    /// # Errors
    ///
    /// [`WordError::Code`].
    pub fn exit(text: &str) -> Result<Self, WordError> {
        let code = digits(text).and_then(|code| u8::try_from(code).ok());
        Ok(Probe::Exit { code: code.ok_or_else(|| WordError::Code(text.to_owned()))? })
    }

    /// A header field of a request.
    ///
    /// # Errors
    ///
    /// [`WordError::Header`].
    pub fn header(name: &str, value: &str) -> Result<(String, String), WordError> {
        header(name, value)
    }

    /// A number of seconds to stay up.
    ///
    /// # Errors
    ///
    /// [`WordError::Seconds`].
    pub fn up(text: &str) -> Result<Self, WordError> {
        Ok(Probe::Up { duration: seconds(text)?, or_exit_0: false })
    }
}

impl std::str::FromStr for StatusRange {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        let range = match text.split_once('-') {
            Some((low, high)) => status(low).zip(status(high)),
            None => match text.strip_suffix("xx").and_then(digits) {
                Some(class) => {
                    u16::try_from(class).ok().filter(|c| (1..=5).contains(c)).map(|c| (c * 100, c * 100 + 99))
                }
                None => status(text).map(|status| (status, status)),
            },
        };
        match range {
            Some((low, high)) if low <= high => Ok(StatusRange { low, high }),
            _ => Err(WordError::Status(text.to_owned())),
        }
    }
}

/// A time in seconds, with or without a fraction.
///
/// # Errors
///
/// [`WordError::Seconds`]: no such number, nothing at all, or more than a day.
pub fn seconds(text: &str) -> Result<Duration, WordError> {
    let plain = text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let number = if plain { text.parse::<f64>().ok() } else { None };
    let time = number.and_then(|number| Duration::try_from_secs_f64(number).ok());
    time.filter(|time| !time.is_zero() && *time <= Duration::from_hours(24))
        .ok_or_else(|| WordError::Seconds(text.to_owned()))
}

/// A path that a request line can carry.
pub(super) fn path(text: &str) -> Result<String, WordError> {
    if text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err(WordError::Path(text.to_owned()))
    }
}

/// Two digits a byte; white space between them does not count.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>, WordError> {
    let refused = || WordError::Hex(text.to_owned());
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_ascii_whitespace())
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()
        .ok_or_else(refused)?;
    if digits.len() % 2 == 1 {
        return Err(refused());
    }
    Ok(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// A header field that cannot become anything else.
pub(super) fn header(name: &str, value: &str) -> Result<(String, String), WordError> {
    let named = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if named && value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        Ok((name.to_owned(), value.to_owned()))
    } else {
        Err(WordError::Header(format!("{name}: {value}")))
    }
}

pub(super) fn port_number(text: &str) -> Result<u16, WordError> {
    let port = digits(text).and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
    port.ok_or_else(|| WordError::Port(text.to_owned()))
}

fn status(text: &str) -> Option<u16> {
    digits(text).and_then(|status| u16::try_from(status).ok()).filter(|status| (100..=599).contains(status))
}

/// Digits and nothing else: `parse` alone takes `+80` too.
fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn http(text: &str) -> (u16, String, String) {
        match Probe::http(text).unwrap() {
            Probe::Http { port, path, status, .. } => (port, path, status.to_string()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn http_probes_are_short_to_write() {
        let of = |port, path: &str, status: &str| (port, path.to_owned(), status.to_owned());
        assert_eq!(http("80"), of(80, "/", "200-399"));
        assert_eq!(http("8080/healthz"), of(8080, "/healthz", "200-399"));
        assert_eq!(http("8080=204"), of(8080, "/", "204"));
        assert_eq!(http("8080/x?a=1=2xx"), of(8080, "/x?a=1", "200-299"));
        assert_eq!(http("1/a/b=401-403"), of(1, "/a/b", "401-403"));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for text in ["", "0", "65536", "+80", "-1", "80x", "eighty", " 80", "/x"] {
            assert!(matches!(Probe::http(text), Err(WordError::Port(_))), "{text}");
            assert!(matches!(Probe::tcp(text), Err(WordError::Port(_))), "{text}");
        }
        let address = |text| Probe::http(text).unwrap_err().to_string();
        assert!(address("http://localhost:8080/x").ends_with("hint: --http 8080/x"));
        assert!(address("https://localhost").ends_with("hint: --https 443"));
        for text in ["80=", "80=99", "80=600", "80=6xx", "80=xx", "80=300-200", "80=+200", "80/x?a=b", "80=200-"] {
            assert!(matches!(Probe::http(text), Err(WordError::Status(_))), "{text}");
        }
        for text in ["80/a b", "80/\r\nHost: x", "80/ü", "80/\u{7f}"] {
            assert!(matches!(Probe::http(text), Err(WordError::Path(_))), "{text}");
        }
        for text in ["", "256", "-1", "+1", "0x1", "one"] {
            assert!(matches!(Probe::exit(text), Err(WordError::Code(_))), "{text}");
        }
        for text in ["", "0", "0.0", "-1", "+1", ".5", "1e3", "inf", "NaN", "86401", "3s", "1.2.3"] {
            assert!(matches!(seconds(text), Err(WordError::Seconds(_))), "{text}");
        }
    }

    #[test]
    fn bytes_patterns_and_headers_are_read_or_refused() {
        assert_eq!(bytes("0aFF 00"), Ok(vec![10, 255, 0]));
        assert_eq!(bytes(""), Ok(vec![]));
        for text in ["0", "0x0a", "gg", "0a ff 0"] {
            assert!(matches!(bytes(text), Err(WordError::Hex(_))), "{text}");
        }
        assert!(Probe::log("^ready( to .*)?$").is_ok());
        for text in ["", "(", "(a{1000}){10000}", "[z-a]"] {
            assert!(matches!(Probe::log(text), Err(WordError::Regex(..))), "{text}");
        }
        assert!(header("X-Test", "a b").is_ok());
        for (name, value) in [("", "x"), ("A B", "x"), ("A:", "x"), ("A", "x\r\nB: y"), ("A", "ü")] {
            assert!(header(name, value).is_err(), "{name}");
        }
    }

    #[test]
    fn times_may_have_a_fraction() {
        assert_eq!(seconds("2.5").unwrap(), Duration::from_millis(2500));
        assert_eq!(seconds("86400").unwrap(), Duration::from_hours(24));
        assert_eq!(Probe::exit("255").unwrap(), Probe::Exit { code: 255 });
    }

    proptest! {
        #[test]
        fn any_word_is_read_or_refused(text in "\\PC{0,12}") {
            let _ = (Probe::http(&text), Probe::tcp(&text), Probe::exit(&text), seconds(&text), text.parse::<StatusRange>());
        }

        #[test]
        fn a_status_range_reads_back(low in 100u16..=599, high in 100u16..=599) {
            let (low, high) = (low.min(high), low.max(high));
            let range = StatusRange { low, high };
            prop_assert_eq!(range.to_string().parse::<StatusRange>(), Ok(range));
        }
    }
}
