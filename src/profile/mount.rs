//! Files and folders from outside the image, as docker's `-v` and `--mount` describe them.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use super::tmpfs::{Tmpfs, TmpfsError, bytes};

/// Where docker puts the program of `--init`.
pub const INIT: &str = "/sbin/docker-init";

/// One file or folder of the host, seen inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// On the host.
    pub source: PathBuf,
    /// In the jail.
    pub target: PathBuf,
    /// The app may not write through it.
    pub read_only: bool,
}

/// What `-v` or `--mount` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mount {
    /// The host's own.
    Bind(Bind),
    /// A fresh folder with the image's content and owner. It goes with the app, whatever its name.
    Volume(PathBuf),
    /// A fresh folder in memory.
    Tmpfs(Tmpfs),
}

/// Text that is no mount.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    /// Neither of the forms of `-v`.
    #[error("`{0}` is not [SOURCE:]PATH[:OPTIONS]")]
    Form(String),
    /// A source that is neither an absolute path nor a volume's name.
    #[error(
        "`{0}` is neither an absolute path of the host nor the name of a volume\n  hint: \"$PWD/FILE\" is a path of this folder"
    )]
    Source(String),
    /// The place inside.
    #[error("`{0}` is not an absolute path below the root without `..`")]
    Target(String),
    /// An option that would be ignored.
    #[error("`{0}` is not an option that austere has for a mount")]
    Option(String),
    /// A part of `--mount` that has to be there.
    #[error("`{0}` lacks {1}=")]
    Lacks(String, &'static str),
    /// A kind of mount that there is not.
    #[error("`{0}` is not a type of mount that austere has: bind, volume or tmpfs")]
    Type(String),
    /// A tmpfs that is none.
    #[error(transparent)]
    Tmpfs(#[from] TmpfsError),
}

impl Bind {
    /// `SOURCE:PATH[:ro]`.
    fn flag(&self) -> String {
        let read_only = if self.read_only { ":ro" } else { "" };
        format!("{}:{}{read_only}", self.source.display(), self.target.display())
    }
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mount::Bind(bind) => write!(f, "-v {}", bind.flag()),
            Mount::Volume(path) => write!(f, "-v {}", path.display()),
            Mount::Tmpfs(tmpfs) => write!(f, "--tmpfs {tmpfs}"),
        }
    }
}

/// `-v [SOURCE:]PATH[:OPTIONS]`.
impl FromStr for Mount {
    type Err = MountError;

    fn from_str(text: &str) -> Result<Self, MountError> {
        let parts: Vec<&str> = text.split(':').collect();
        let (source, path, options) = match parts[..] {
            [path] => (None, path, ""),
            [source, path] if path.starts_with('/') => (Some(source), path, ""),
            [source, path, options] => (Some(source), path, options),
            _ => return Err(MountError::Form(text.to_owned())),
        };
        let target = target(path)?;
        let mut read_only = false;
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option {
                "ro" | "readonly" => read_only = true,
                // Labels of SELinux, which a jail does not have; propagation, which is private as docker's default.
                "rw" | "z" | "Z" | "private" | "rprivate" => {}
                _ => return Err(MountError::Option(option.to_owned())),
            }
        }
        match source {
            None => Ok(Mount::Volume(target)),
            Some(source) if source.starts_with('/') => {
                Ok(Mount::Bind(Bind { source: source.into(), target, read_only }))
            }
            Some(source) if is_volume_name(source) && read_only => Err(MountError::Option("ro".to_owned())),
            Some(source) if is_volume_name(source) => Ok(Mount::Volume(target)),
            Some(source) => Err(MountError::Source(source.to_owned())),
        }
    }
}

impl Mount {
    /// `--mount type=bind,source=SOURCE,target=PATH[,readonly]` and its kin.
    ///
    /// # Errors
    ///
    /// [`MountError`].
    pub fn long(text: &str) -> Result<Self, MountError> {
        let (mut kind, mut source, mut place, mut read_only) = ("volume", None, None, false);
        let (mut size, mut mode) = (None, None);
        for option in text.split(',') {
            let unknown = || MountError::Option(option.to_owned());
            match option.split_once('=').unwrap_or((option, "")) {
                ("type", value) => kind = value,
                ("source" | "src", value) => source = Some(value),
                ("target" | "destination" | "dst", value) => place = Some(value),
                ("readonly" | "ro", "" | "true" | "1") => read_only = true,
                ("readonly" | "ro", "false" | "0") => read_only = false,
                ("bind-propagation", "private" | "rprivate") => {}
                ("tmpfs-size", value) => size = Some(bytes(value).ok_or_else(unknown)?),
                ("tmpfs-mode", value) => mode = Some(u32::from_str_radix(value, 8).map_err(|_| unknown())?),
                _ => return Err(unknown()),
            }
        }
        let place = place.ok_or_else(|| MountError::Lacks(text.to_owned(), "target"))?;
        match kind {
            "bind" => {
                let source = source.ok_or_else(|| MountError::Lacks(text.to_owned(), "source"))?;
                if !source.starts_with('/') {
                    return Err(MountError::Source(source.to_owned()));
                }
                Ok(Mount::Bind(Bind { source: source.into(), target: target(place)?, read_only }))
            }
            "volume" if read_only => Err(MountError::Option("readonly".to_owned())),
            "volume" => Ok(Mount::Volume(target(place)?)),
            "tmpfs" => {
                // Docker's default here is 1777, whatever the image has.
                let mode = Some(mode.unwrap_or(0o1777));
                Ok(Mount::Tmpfs(Tmpfs { read_only, size, mode, ..Tmpfs::at(target(place)?) }))
            }
            other => Err(MountError::Type(other.to_owned())),
        }
    }
}

fn target(text: &str) -> Result<PathBuf, MountError> {
    let path = Path::new(text);
    let mut parts = path.components();
    let is_below_root = parts.next() == Some(Component::RootDir)
        && parts.clone().next().is_some()
        && parts.all(|part| matches!(part, Component::Normal(_)));
    if is_below_root && !text.contains('\0') { Ok(path.to_owned()) } else { Err(MountError::Target(text.to_owned())) }
}

/// As docker names volumes.
fn is_volume_name(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    text.len() > 1 && text.bytes().all(letter) && text.starts_with(|first: char| first.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(source: &str, target: &str, read_only: bool) -> Mount {
        Mount::Bind(Bind { source: source.into(), target: target.into(), read_only })
    }

    #[test]
    fn volumes_are_spelled_as_docker_does() {
        let mount = |text: &str| text.parse::<Mount>();
        assert_eq!(mount("/srv:/data"), Ok(bind("/srv", "/data", false)));
        assert_eq!(mount("/srv:/data:ro,z"), Ok(bind("/srv", "/data", true)));
        assert_eq!(mount("/data"), Ok(Mount::Volume("/data".into())));
        assert_eq!(mount("cache:/data"), Ok(Mount::Volume("/data".into())));
        for text in ["", "data", "/", "/a:", "a:b", "./x:/data", "/a:/b/../c", "/a:/b:exec", "/a:/b:ro:z", "x:/d:ro"] {
            assert!(mount(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_long_form_says_the_same() {
        assert_eq!(Mount::long("type=bind,src=/srv,dst=/data,readonly"), Ok(bind("/srv", "/data", true)));
        assert_eq!(Mount::long("target=/data"), Ok(Mount::Volume("/data".into())));
        let tmpfs = Mount::long("type=tmpfs,target=/x,tmpfs-size=1m,tmpfs-mode=700").unwrap();
        assert_eq!(tmpfs.to_string(), "--tmpfs /x:rw,noexec,nosuid,nodev,size=1048576,mode=700");
        for text in ["type=bind,target=/x", "type=npipe,target=/x", "type=tmpfs", "target=/x,consistency=cached"] {
            assert!(Mount::long(text).is_err(), "{text}");
        }
    }
}
