//! The URLs of registries: `http` and `https`, and what a `Location` says relative to one.
//!
//! Source: RFC 3986. Only what HTTP sends is kept: no user, no fragment. (The `url` crate brings Unicode's tables for host names,
//! which registries do not use.)

use std::fmt;

/// A place that HTTP can ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    /// Whether it is `https`.
    pub tls: bool,
    /// Name or address; IPv6 addresses without their brackets.
    pub host: String,
    /// The port, said or implied.
    pub port: u16,
    /// Path and query, with a leading slash.
    pub path: String,
}

impl Url {
    /// An absolute URL; nothing for what is none, or could not be sent in a request as it is.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (host, port) = host_and_port(authority)?;
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let url = Url { tls, host, port: port.unwrap_or(if tls { 443 } else { 80 }), path };
        url.path.bytes().all(|byte| byte.is_ascii_graphic()).then_some(url)
    }

    /// Where a `Location` of an answer to this URL leads.
    pub(crate) fn join(&self, location: &str) -> Option<Self> {
        let location = location.trim();
        if location.contains("://") && !location.starts_with(['/', '?']) {
            return Url::parse(location);
        }
        let scheme = if self.tls { "https" } else { "http" };
        if let Some(rest) = location.strip_prefix("//") {
            return Url::parse(&format!("{scheme}://{rest}"));
        }
        let own = self.path.split('?').next().unwrap_or_default();
        let path = match location.chars().next()? {
            '/' => location.to_owned(),
            '?' => format!("{own}{location}"),
            _ => format!("{}/{location}", own.rsplit_once('/').map_or("", |(folder, _)| folder)),
        };
        Url::parse(&format!("{scheme}://{}{path}", self.authority()))
    }

    /// Whether both are the same server in the same protocol: what may be said to one may be said to the other.
    pub(crate) fn same_origin(&self, other: &Url) -> bool {
        (self.tls, &self.host, self.port) == (other.tls, &other.host, other.port)
    }

    /// `host[:port]`, the port only where it is not the usual one: the `Host` field.
    pub(crate) fn authority(&self) -> String {
        let host = bracketed(&self.host);
        if self.port == if self.tls { 443 } else { 80 } { host } else { format!("{host}:{}", self.port) }
    }

    /// `host:port` always, as a proxy's CONNECT wants it.
    pub(crate) fn address(&self) -> String {
        format!("{}:{}", bracketed(&self.host), self.port)
    }
}

impl fmt::Display for Url {
    /// Without the query: signed URLs carry secrets there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.split('?').next().unwrap_or_default();
        write!(f, "{}://{}{path}", if self.tls { "https" } else { "http" }, self.authority())
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`.
pub(crate) fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
    if host.is_empty() || !host.bytes().all(is_host) {
        return None;
    }
    let port = match port {
        Some(port) => Some(port.parse().ok().filter(|port| *port != 0)?),
        None => None,
    };
    Some((host.to_ascii_lowercase(), port))
}

/// What may stand in a query as it is; everything else is written as `%XX` (RFC 3986, section 2.3).
pub(crate) fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(byte.into());
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn what_is_said_and_what_is_implied() {
        let full = url("https://Registry.Example:5000/v2/?a=b#c");
        assert_eq!((full.host.as_str(), full.port, full.path.as_str()), ("registry.example", 5000, "/v2/?a=b"));
        assert_eq!((url("http://a").port, url("https://a").port, url("http://a").path.as_str()), (80, 443, "/"));
        assert_eq!(url("http://[::1]:5000/x").address(), "[::1]:5000");
        assert_eq!(url("http://[::1]/x").authority(), "[::1]");
        assert_eq!(url("https://a/b?secret=1").to_string(), "https://a/b");
    }

    #[test]
    fn what_could_smuggle_something_is_no_url() {
        for text in [
            "",
            "a",
            "ftp://a/",
            "http://",
            "http://user@a/",
            "http://a:0/",
            "http://a/\r\nx: y",
            "http://a b/",
            "http://a:b",
        ] {
            assert_eq!(Url::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_location_may_be_relative() {
        let from = url("https://a:444/v2/x/blobs/y?z=1");
        for (location, expected) in [
            ("http://b/c", "http://b/c"),
            ("//b/c", "https://b/c"),
            ("/c?u=http://d", "https://a:444/c"),
            ("?q", "https://a:444/v2/x/blobs/y"),
            ("w", "https://a:444/v2/x/blobs/w"),
        ] {
            assert_eq!(from.join(location).map(|url| url.to_string()).as_deref(), Some(expected), "{location}");
        }
        assert!(from.same_origin(&url("https://a:444/other")) && !from.same_origin(&url("https://a/")));
    }
}
