//! Flag values of a container, read as docker reads them.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::profile::tmpfs::bytes;
use crate::profile::{Profile, Seccomp};

/// The largest file that a flag may name, in bytes.
const LARGEST: u64 = 1 << 20;

/// One `--security-opt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum SecurityOption {
    NoNewPrivileges(bool),
    SeccompFile(PathBuf),
    SeccompUnconfined,
    SystemPathsUnconfined,
}

impl SecurityOption {
    /// As docker reads it: `=` and, of old, `:` between name and value.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once(['=', ':']).unwrap_or((text, ""));
        match (name, value) {
            ("no-new-privileges", "" | "true") => Ok(SecurityOption::NoNewPrivileges(true)),
            ("no-new-privileges", "false") => Ok(SecurityOption::NoNewPrivileges(false)),
            ("seccomp", "unconfined") => Ok(SecurityOption::SeccompUnconfined),
            ("seccomp", file) if !file.is_empty() => Ok(SecurityOption::SeccompFile(file.into())),
            ("systempaths", "unconfined") => Ok(SecurityOption::SystemPathsUnconfined),
            ("apparmor" | "label", _) => Err(format!("austere has no {name} profiles: its second wall is Landlock")),
            _ => Err(format!(
                "`{text}` is none of no-new-privileges[=BOOL], seccomp=FILE, seccomp=unconfined, systempaths=unconfined"
            )),
        }
    }
}

pub(super) fn security(profile: &mut Profile, option: &SecurityOption) -> anyhow::Result<()> {
    let said = match option {
        SecurityOption::NoNewPrivileges(on) => {
            profile.no_new_privs = *on;
            if *on {
                return Ok(());
            }
            "no-new-privileges=false".to_owned()
        }
        SecurityOption::SeccompFile(path) => {
            let text = read(path).with_context(|| format!("the seccomp profile {}", path.display()))?;
            profile.seccomp = Seccomp::Profile(path.display().to_string(), text);
            format!("seccomp={}", path.display())
        }
        SecurityOption::SeccompUnconfined => {
            profile.seccomp = Seccomp::Unconfined;
            "seccomp=unconfined".to_owned()
        }
        SecurityOption::SystemPathsUnconfined => {
            profile.covers_system_paths = false;
            "systempaths=unconfined".to_owned()
        }
    };
    profile.relaxations.push(format!("--security-opt {said}"));
    Ok(())
}

/// Lines of NAME=VALUE, or of NAME for the caller's own value where there is one; `#` starts a comment.
pub(in crate::cli) fn variables(text: &str) -> anyhow::Result<Vec<String>> {
    let mut pairs = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split('=').next().unwrap_or(line);
        anyhow::ensure!(
            !name.is_empty() && !name.contains(char::is_whitespace) && !line.contains('\0'),
            "line {}: `{line}` is not NAME=VALUE or NAME",
            number + 1
        );
        if line.contains('=') {
            pairs.push(line.to_owned());
        } else {
            pairs.extend(std::env::var(name).ok().map(|value| format!("{name}={value}")));
        }
    }
    Ok(pairs)
}

pub(in crate::cli) fn read(path: &Path) -> anyhow::Result<String> {
    let size = fs::metadata(path)?.len();
    anyhow::ensure!(size <= LARGEST, "it is larger than {LARGEST} bytes");
    Ok(fs::read_to_string(path)?)
}

pub(in crate::cli) fn size(text: &str) -> Result<u64, String> {
    let text = text.strip_suffix(['b', 'B']).unwrap_or(text);
    bytes(text).ok_or_else(|| format!("`{text}` is not a size: a number above 0, with k, m or g behind it"))
}

/// What hostname(7) lets a name be.
pub(in crate::cli) fn hostname(text: &str) -> Result<String, String> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    let fits = !text.is_empty() && text.len() <= 63 && text.bytes().all(letter) && !text.starts_with('-');
    if fits { Ok(text.to_owned()) } else { Err(format!("`{text}` is not a host name")) }
}

pub(in crate::cli) fn host(text: &str) -> Result<(String, IpAddr), String> {
    let wrong = || format!("`{text}` is not NAME:IP");
    let (name, address) = text.split_once([':', '=']).ok_or_else(wrong)?;
    if address == "host-gateway" {
        return Err("austere has no gateway to the host: --network host has the host's own network".to_owned());
    }
    let address = address.trim_start_matches('[').trim_end_matches(']').parse().map_err(|_| wrong())?;
    Ok((hostname(name).map_err(|_| wrong())?, address))
}
