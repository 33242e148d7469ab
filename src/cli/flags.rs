//! Flag values that several commands take. Each is understood completely or refused.

use std::fmt;
use std::net::IpAddr;
use std::path::{Component, PathBuf};
use std::str::FromStr;

/// The largest id: `u32::MAX` is `(uid_t) -1`, which `set*id` calls take for "leave it".
const LAST_ID: u32 = u32::MAX - 1;

/// `--user USER[:GROUP]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    /// Before the colon.
    pub user: Name,
    /// After it.
    pub group: Option<Name>,
}

/// A user or group as written: an id, or a name that the image's own passwd or group resolves later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Id(u32),
    Name(String),
}

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

/// `--tmpfs PATH[:OPTIONS]`, with the options that Docker has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a mount flag of its own")]
pub(super) struct Tmpfs {
    pub path: PathBuf,
    pub read_only: bool,
    pub exec: bool,
    pub suid: bool,
    pub dev: bool,
    /// Bytes.
    pub size: Option<u64>,
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

/// A flag value that is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FlagError {
    #[error("`{0}` is not USER[:GROUP], each a name or an id from 0 to {LAST_ID}")]
    User(String),
    #[error("`{0}` is not NAME=VALUE or NAME")]
    Env(String),
    #[error("{0} is not set here, so there is no value to pass on")]
    Unset(String),
    #[error("`{0}` is not [IP:]HOST:CONTAINER[/tcp], with ports from 1 to 65535 ([::1]:8080:80 for IPv6)")]
    Publish(String),
    #[error("`{0}` is not an absolute path below the root without `..`")]
    TmpfsPath(String),
    #[error(
        "`{0}` is not a tmpfs option (ro, rw, exec, noexec, suid, nosuid, dev, nodev, size=64m, mode=1777, uid=0, gid=0)"
    )]
    TmpfsOption(String),
}

impl FromStr for User {
    type Err = FlagError;

    fn from_str(text: &str) -> Result<Self, FlagError> {
        let error = || FlagError::User(text.to_owned());
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let user = name(user).ok_or_else(error)?;
        let group = group.map(|group| name(group).ok_or_else(error)).transpose()?;
        Ok(User { user, group })
    }
}

/// An id in plain decimal, or a name as passwd(5) may hold. Whatever a C parser could take for a number in another way (`+0`, `0x0`,
/// `1000x`, `-1`) is neither: crun ran such words as the wrong user (CVE-2026-30892).
fn name(text: &str) -> Option<Name> {
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        return id(text).map(Name::Id);
    }
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let base = text.strip_suffix('$').unwrap_or(text);
    let starts_well = base.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    (starts_well && text.len() <= 256 && base.bytes().all(letter)).then(|| Name::Name(text.to_owned()))
}

fn id(text: &str) -> Option<u32> {
    let canonical = digits(text) && (text == "0" || !text.starts_with('0'));
    canonical.then(|| text.parse().ok()).flatten().filter(|id| *id <= LAST_ID)
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
    #[cfg_attr(not(test), expect(dead_code, reason = "the jail comes with its own branch"))]
    pub fn resolve(&self, lookup: impl Fn(&str) -> Option<String>) -> Result<String, FlagError> {
        let value = self.value.clone().or_else(|| lookup(&self.name));
        value.map(|value| format!("{}={value}", self.name)).ok_or_else(|| FlagError::Unset(self.name.clone()))
    }
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

impl FromStr for Tmpfs {
    type Err = FlagError;

    fn from_str(text: &str) -> Result<Self, FlagError> {
        let (path, options) = text.split_once(':').unwrap_or((text, ""));
        let path = PathBuf::from(path);
        let mut parts = path.components();
        let below_root = parts.next() == Some(Component::RootDir)
            && parts.clone().next().is_some()
            && parts.all(|part| matches!(part, Component::Normal(_)));
        if !below_root || text.contains('\0') {
            return Err(FlagError::TmpfsPath(text.to_owned()));
        }
        let mut tmpfs = Tmpfs::at(path);
        for option in options.split(',').filter(|_| !options.is_empty()) {
            tmpfs.set(option).ok_or_else(|| FlagError::TmpfsOption(option.to_owned()))?;
        }
        Ok(tmpfs)
    }
}

impl Tmpfs {
    /// As Docker mounts it when nothing more is said.
    fn at(path: PathBuf) -> Self {
        let (size, mode, uid, gid) = (None, None, None, None);
        Tmpfs { path, read_only: false, exec: false, suid: false, dev: false, size, mode, uid, gid }
    }

    fn set(&mut self, option: &str) -> Option<()> {
        match option.split_once('=') {
            None => match option {
                "ro" => self.read_only = true,
                "rw" => self.read_only = false,
                "exec" => self.exec = true,
                "noexec" => self.exec = false,
                "suid" => self.suid = true,
                "nosuid" => self.suid = false,
                "dev" => self.dev = true,
                "nodev" => self.dev = false,
                _ => return None,
            },
            Some(("size", size)) => self.size = Some(bytes(size)?),
            Some(("mode", mode)) => self.mode = Some(octal(mode)?),
            Some(("uid", uid)) => self.uid = Some(id(uid)?),
            Some(("gid", gid)) => self.gid = Some(id(gid)?),
            Some(_) => return None,
        }
        Some(())
    }
}

impl fmt::Display for Tmpfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |on: bool, yes: &'static str, no: &'static str| if on { yes } else { no };
        write!(f, "{}:{}", self.path.display(), word(self.read_only, "ro", "rw"))?;
        write!(f, ",{}", word(self.exec, "exec", "noexec"))?;
        write!(f, ",{},{}", word(self.suid, "suid", "nosuid"), word(self.dev, "dev", "nodev"))?;
        self.size.map_or(Ok(()), |size| write!(f, ",size={size}"))?;
        self.mode.map_or(Ok(()), |mode| write!(f, ",mode={mode:o}"))?;
        self.uid.map_or(Ok(()), |uid| write!(f, ",uid={uid}"))?;
        self.gid.map_or(Ok(()), |gid| write!(f, ",gid={gid}"))
    }
}

/// A number of bytes, with k, m or g behind it for powers of 1024.
fn bytes(text: &str) -> Option<u64> {
    let (number, shift) = match text.as_bytes().last()?.to_ascii_lowercase() {
        b'k' => (&text[..text.len() - 1], 10),
        b'm' => (&text[..text.len() - 1], 20),
        b'g' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number: u64 = digits(number).then(|| number.parse().ok())??;
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0)
}

fn octal(text: &str) -> Option<u32> {
    let mode = digits(text).then(|| u32::from_str_radix(text, 8).ok())??;
    (mode <= 0o7777).then_some(mode)
}

#[cfg(test)]
mod tests;
