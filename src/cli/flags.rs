//! Flag values that several commands take. Each is understood completely or refused.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use crate::netns::slot::Slot;

/// `-e NAME=VALUE`, or `-e NAME` for the caller's own value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EnvVar {
    pub name: String,
    pub value: Option<String>,
}

/// `-p [IP:]HOST:CONTAINER[/tcp]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Publish {
    pub ip: Option<IpAddr>,
    pub host: u16,
    pub container: u16,
}

#[derive(Debug, Default, clap::Args)]
pub(super) struct PublishArgs {
    /// Pass connections to HOST on to the app's port CONTAINER; for `verify` it is a port that must answer [repeatable]
    #[arg(short, long, value_name = "[IP:]HOST:CONTAINER", help_heading = "Jail")]
    pub publish: Vec<Publish>,
}

impl PublishArgs {
    /// Takes the ports of the host.
    pub fn bind(&self) -> anyhow::Result<Vec<Slot>> {
        let slot = |publish: &Publish| {
            let host = SocketAddr::new(publish.ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), publish.host);
            Slot::bind(host, publish.container).map_err(|error| {
                let low = error.kind() == std::io::ErrorKind::PermissionDenied && publish.host < 1024;
                let hint = if low { "\n  hint: ports below 1024 are root's; -p 8080:80 takes another one" } else { "" };
                anyhow::anyhow!("listening on {host} for --publish: {error}{hint}")
            })
        };
        self.publish.iter().map(slot).collect()
    }

    /// The ports of the app.
    pub fn ports(&self) -> Vec<u16> {
        self.publish.iter().map(|publish| publish.container).collect()
    }
}

/// A flag value that is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FlagError {
    #[error("`{0}` is not NAME=VALUE or NAME")]
    Env(String),
    #[error("{0} is not set here, so there is no value to pass on")]
    Unset(String),
    #[error("`{0}` is not [IP:]HOST:CONTAINER[/tcp], with ports from 1 to 65535 ([::1]:8080:80 for IPv6)")]
    Publish(String),
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl FromStr for EnvVar {
    type Err = FlagError;

    fn from_str(text: &str) -> Result<Self, FlagError> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        if name.is_empty() || text.contains('\0') {
            return Err(FlagError::Env(text.to_owned()));
        }
        Ok(EnvVar { name: name.to_owned(), value })
    }
}

impl EnvVar {
    /// `NAME=VALUE`; a value that was not given is the caller's own, as `lookup` says it.
    pub fn resolve(&self, lookup: impl Fn(&str) -> Option<String>) -> Result<String, FlagError> {
        let value = self.value.clone().or_else(|| lookup(&self.name));
        value.map(|value| format!("{}={value}", self.name)).ok_or_else(|| FlagError::Unset(self.name.clone()))
    }
}

/// The pairs that `-e` asks for, with the caller's own values where none are given.
pub(super) fn variables(env: &[EnvVar]) -> Result<Vec<String>, FlagError> {
    env.iter().map(|variable| variable.resolve(|name| std::env::var(name).ok())).collect()
}

impl FromStr for Publish {
    type Err = FlagError;

    fn from_str(text: &str) -> Result<Self, FlagError> {
        let error = || FlagError::Publish(text.to_owned());
        let port = |text: &str| digits(text).then(|| text.parse().ok()).flatten().filter(|port| *port != 0);
        let (rest, container) = text.strip_suffix("/tcp").unwrap_or(text).rsplit_once(':').ok_or_else(error)?;
        let (ip, host) = match rest.rsplit_once(':') {
            Some((ip, host)) => {
                let bare = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']'));
                let ip = match bare {
                    Some(v6) => IpAddr::V6(v6.parse().map_err(|_| error())?),
                    None => IpAddr::V4(ip.parse().map_err(|_| error())?),
                };
                (Some(ip), host)
            }
            None => (None, rest),
        };
        Ok(Publish { ip, host: port(host).ok_or_else(error)?, container: port(container).ok_or_else(error)? })
    }
}

#[cfg(test)]
mod tests;
