//! Which proxy a request goes through, as the environment says it.
//!
//! There is no standard; this is what Go's `net/http` does, and with it docker, podman and skopeo: `HTTPS_PROXY`, `HTTP_PROXY`
//! and `NO_PROXY`, in capitals or not, and loopback is never asked through a proxy.

use std::net::IpAddr;

use super::HttpError;
use super::url::{Url, host_and_port};

/// An HTTP proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proxy {
    pub(super) host: String,
    pub(super) port: u16,
    /// The value of `Proxy-Authorization`.
    pub(super) authorization: Option<String>,
}

/// The variable whose value is no proxy, and why. That matters only to who would be asked through it.
type Unusable = (&'static str, &'static str);

/// The environment's proxies.
#[derive(Clone, Debug, Default)]
pub(super) struct Proxies {
    http: Option<Result<Proxy, Unusable>>,
    https: Option<Result<Proxy, Unusable>>,
    /// Hosts that are asked directly.
    direct: Vec<String>,
}

impl Proxies {
    /// Reads the environment through `lookup`.
    pub(super) fn from(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let value = |name: &'static str| {
            let found = lookup(name).or_else(|| lookup(&name.to_ascii_lowercase()));
            found.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        let proxy = |name: &'static str| value(name).map(|value| parse(&value).map_err(|why| (name, why)));
        let direct = value("NO_PROXY").unwrap_or_default();
        let direct = direct.split(',').map(|rule| rule.trim().to_ascii_lowercase()).filter(|rule| !rule.is_empty());
        Proxies { http: proxy("HTTP_PROXY"), https: proxy("HTTPS_PROXY"), direct: direct.collect() }
    }

    /// The proxy that `url` is asked through.
    pub(super) fn of(&self, url: &Url) -> Result<Option<&Proxy>, HttpError> {
        let proxy = if url.tls { self.https.as_ref() } else { self.http.as_ref() };
        let is_direct = is_loopback(&url.host) || self.direct.iter().any(|rule| matches(rule, url));
        match proxy.filter(|_| !is_direct) {
            Some(Err((name, why))) => Err(HttpError::Proxy { name, why }),
            Some(Ok(proxy)) => Ok(Some(proxy)),
            None => Ok(None),
        }
    }
}

/// `localhost` and the addresses that never leave this host.
pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

fn parse(value: &str) -> Result<Proxy, &'static str> {
    let rest = match value.split_once("://") {
        Some(("http", rest)) => rest,
        // What is said of it may hold a password, so the value is not repeated.
        Some(_) => return Err("austere speaks to http:// proxies only"),
        None => value,
    };
    let rest = rest.split('/').next().unwrap_or_default();
    let (user, authority) = rest.rsplit_once('@').map_or((None, rest), |(user, rest)| (Some(user), rest));
    let (host, port) = host_and_port(authority).ok_or("it is not http://[USER:PASSWORD@]HOST[:PORT]")?;
    let authorization = user.map(|user| super::auth::basic(&decoded(user)));
    Ok(Proxy { host, port: port.unwrap_or(80), authorization })
}

/// Without `%XX`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        let code = tail.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match code {
            Some(code) if *byte == b'%' => {
                bytes.push(code);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `*`, `example.com` with everything below it, `.example.com`, an address, a network, each with a port or without.
fn matches(rule: &str, url: &Url) -> bool {
    if rule == "*" {
        return true;
    }
    if let Some((network, bits)) = rule.split_once('/') {
        let within = || {
            let (network, host): (IpAddr, IpAddr) = (network.parse().ok()?, url.host.parse().ok()?);
            within(network, bits.parse().ok()?, host)
        };
        return within().unwrap_or(false);
    }
    let (below, rule) = match rule.strip_prefix("*.").or_else(|| rule.strip_prefix('.')) {
        Some(rest) => (true, rest),
        None => (false, rule),
    };
    let bare_v6 = rule.parse::<std::net::Ipv6Addr>().is_ok();
    let parsed = if bare_v6 { Some((rule.to_owned(), None)) } else { host_and_port(rule) };
    let Some((host, port)) = parsed else { return false };
    let is_below = url.host.strip_suffix(&host).is_some_and(|start| start.ends_with('.'));
    port.is_none_or(|port| port == url.port) && (is_below || (!below && url.host == host))
}

fn within(network: IpAddr, bits: u32, host: IpAddr) -> Option<bool> {
    let (network, host, width) = match (network, host) {
        (IpAddr::V4(network), IpAddr::V4(host)) => (u128::from(network.to_bits()), u128::from(host.to_bits()), 32),
        (IpAddr::V6(network), IpAddr::V6(host)) => (network.to_bits(), host.to_bits(), 128),
        _ => return None,
    };
    let low = width - Some(bits).filter(|bits| *bits <= width)?;
    Some((network ^ host).checked_shr(low).unwrap_or(0) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str, pairs: &[(&str, &str)]) -> Option<String> {
        let lookup = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Proxies::from(lookup)
            .of(&Url::parse(url).unwrap())
            .unwrap()
            .map(|proxy| format!("{}:{}", proxy.host, proxy.port))
    }

    #[test]
    fn each_protocol_has_its_own_and_loopback_has_none() {
        let both = [("HTTP_PROXY", "http://a:1"), ("https_proxy", "b:2")];
        assert_eq!(of("http://x/", &both).as_deref(), Some("a:1"));
        assert_eq!(of("https://x/", &both).as_deref(), Some("b:2"));
        for url in ["http://localhost:5000/", "http://127.0.0.9/", "https://[::1]/"] {
            assert_eq!(of(url, &both), None, "{url}");
        }
    }

    #[test]
    fn no_proxy_has_names_and_networks() {
        for (rules, direct) in [
            ("*", true),
            ("b.example", true),
            ("a.b.example", true),
            (".b.example", true),
            (".a.b.example", false),
            ("xa.b.example", false),
            ("other, a.b.example:443", true),
            ("a.b.example:444", false),
        ] {
            let found = of("https://a.b.example/", &[("HTTPS_PROXY", "p:1"), ("NO_PROXY", rules)]);
            assert_eq!(found.is_none(), direct, "{rules}");
        }
        for (rules, direct) in [("10.0.0.0/8", true), ("10.1.0.0/16", false), ("0.0.0.0/0", true), ("10.2.3.4", true)] {
            let found = of("http://10.2.3.4/", &[("HTTP_PROXY", "p:1"), ("no_proxy", rules)]);
            assert_eq!(found.is_none(), direct, "{rules}");
        }
    }

    #[test]
    fn a_proxy_may_want_a_password_and_may_not_be_something_else() {
        let parsed = parse("http://me:a%40b@proxy:3128/").unwrap();
        assert_eq!(parsed.authorization.as_deref(), Some("Basic bWU6YUBi"));
        let proxies = Proxies::from(|name| (name == "HTTP_PROXY").then(|| "socks5://me:secret@proxy".to_owned()));
        let of = |url: &str| proxies.of(&Url::parse(url).unwrap()).map_err(|error| error.to_string());
        let error = of("http://x/").unwrap_err();
        assert!(error.contains("HTTP_PROXY") && !error.contains("secret"), "{error}");
        assert_eq!(of("https://x/").and(of("http://localhost/")), Ok(None));
    }
}
