//! A writable folder in memory, as docker's `--tmpfs` describes it.

use std::fmt;
use std::path::{Component, PathBuf};
use std::str::FromStr;

use super::account::id;
use super::preset::TmpfsStyle;

/// `--tmpfs PATH[:OPTIONS]`, with the options that Docker has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a mount flag of its own")]
pub struct Tmpfs {
    /// Where it is mounted.
    pub path: PathBuf,
    /// `ro`.
    pub read_only: bool,
    /// Programs in it may be run; as the engine has it when absent.
    pub exec: Option<bool>,
    /// What the image has there is in it.
    pub copy_up: bool,
    /// Set-id files in it count.
    pub suid: bool,
    /// Device nodes in it work.
    pub dev: bool,
    /// Bytes; half of the memory when absent.
    pub size: Option<u64>,
    /// Permission bits; those of the image's folder when absent.
    pub mode: Option<u32>,
    /// Owner; root when absent.
    pub uid: Option<u32>,
    /// Group; root when absent.
    pub gid: Option<u32>,
}

/// Text that is no tmpfs.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TmpfsError {
    /// The path is not absolute, is the root itself, or leaves it.
    #[error("`{0}` is not an absolute path below the root without `..`")]
    Path(String),
    /// An option docker does not have, or a value it would not take.
    #[error(
        "`{0}` is not a tmpfs option (ro, rw, exec, noexec, suid, nosuid, dev, nodev, size=64m, mode=1777, uid=0, gid=0)"
    )]
    Option(String),
}

impl FromStr for Tmpfs {
    type Err = TmpfsError;

    fn from_str(text: &str) -> Result<Self, TmpfsError> {
        let (path, options) = text.split_once(':').unwrap_or((text, ""));
        let path = PathBuf::from(path);
        let mut parts = path.components();
        let below_root = parts.next() == Some(Component::RootDir)
            && parts.clone().next().is_some()
            && parts.all(|part| matches!(part, Component::Normal(_)));
        if !below_root || text.contains('\0') {
            return Err(TmpfsError::Path(text.to_owned()));
        }
        let mut tmpfs = Tmpfs::at(path);
        for option in options.split(',').filter(|_| !options.is_empty()) {
            tmpfs.set(option).ok_or_else(|| TmpfsError::Option(option.to_owned()))?;
        }
        Ok(tmpfs)
    }
}

impl Tmpfs {
    /// As Docker mounts it when nothing more is said.
    pub fn at(path: PathBuf) -> Self {
        let (size, mode, uid, gid) = (None, None, None, None);
        Tmpfs { path, read_only: false, exec: None, copy_up: false, suid: false, dev: false, size, mode, uid, gid }
    }

    /// The same with what the engine does where nothing is said.
    #[must_use]
    pub fn styled(self, style: TmpfsStyle) -> Self {
        let (exec, mode, copy_up) = match style {
            TmpfsStyle::Bare => (false, None, false),
            TmpfsStyle::CopiedUp => (true, Some(0o1777), true),
            TmpfsStyle::EmptyDir => (true, Some(0o777), false),
        };
        // What is copied up lies in the root's own upper layer, which has no bound; a size needs a tmpfs of its own.
        let copy_up = copy_up && self.size.is_none();
        Tmpfs { exec: self.exec.or(Some(exec)), mode: self.mode.or(mode), copy_up, ..self }
    }

    fn set(&mut self, option: &str) -> Option<()> {
        match option.split_once('=') {
            None => match option {
                "ro" => self.read_only = true,
                "rw" => self.read_only = false,
                "exec" => self.exec = Some(true),
                "noexec" => self.exec = Some(false),
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
        write!(f, ",{}", word(self.exec.unwrap_or(false), "exec", "noexec"))?;
        write!(f, ",{},{}", word(self.suid, "suid", "nosuid"), word(self.dev, "dev", "nodev"))?;
        self.size.map_or(Ok(()), |size| write!(f, ",size={size}"))?;
        self.mode.map_or(Ok(()), |mode| write!(f, ",mode={mode:o}"))?;
        self.uid.map_or(Ok(()), |uid| write!(f, ",uid={uid}"))?;
        self.gid.map_or(Ok(()), |gid| write!(f, ",gid={gid}"))
    }
}

/// A number of bytes, with k, m or g behind it for powers of 1024.
pub(crate) fn bytes(text: &str) -> Option<u64> {
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

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tmpfs_is_locked_unless_said_otherwise() {
        let shown = |text: &str| text.parse::<Tmpfs>().map(|tmpfs| tmpfs.to_string());
        assert_eq!(shown("/run").unwrap(), "/run:rw,noexec,nosuid,nodev");
        assert_eq!(
            shown("/var/x:exec,size=64m,mode=1777,uid=65532,gid=0").unwrap(),
            "/var/x:rw,exec,nosuid,nodev,size=67108864,mode=1777,uid=65532,gid=0"
        );
        assert_eq!(shown("/run:ro,suid,dev").unwrap(), "/run:ro,noexec,suid,dev");
        for text in ["", "run", "/", "//", "/run/../etc", "../run", "/run\0"] {
            assert_eq!(shown(text), Err(TmpfsError::Path(text.to_owned())), "{text:?}");
        }
        for option in [
            "x",
            "size=",
            "size=0",
            "size=-1",
            "size=1t",
            "size=20000000000g",
            "mode=8",
            "mode=10000",
            "uid=+0",
            "EXEC",
        ] {
            assert_eq!(shown(&format!("/run:{option}")), Err(TmpfsError::Option(option.to_owned())));
        }
        assert!(shown("/run:exec,").is_err());
    }

    proptest! {
        #[test]
        fn a_tmpfs_reads_back(size in proptest::option::of(1u64..), mode in proptest::option::of(0u32..=0o7777), exec: bool) {
            let tmpfs = Tmpfs { exec: Some(exec), size, mode, ..Tmpfs::at("/run/x".into()) };
            prop_assert_eq!(tmpfs.to_string().parse::<Tmpfs>(), Ok(tmpfs));
        }
    }
}
