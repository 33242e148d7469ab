//! Where an image is: the words a user names it by.
//!
//! The transports are spelled as in containers-transports(5): `oci:`, `oci-archive:`, `docker-archive:`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A place that holds an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// `oci:DIR[:TAG]`, an OCI image layout in a folder.
    Oci(PathBuf, Option<String>),
    /// `oci-archive:FILE[:TAG]`, the same in one tar file.
    OciArchive(PathBuf, Option<String>),
    /// `docker-archive:FILE[:TAG]`, what `docker save` writes.
    DockerArchive(PathBuf, Option<String>),
    /// `rootfs:DIR`, a tree of files without a configuration.
    Rootfs(PathBuf),
    /// A bare path: what it is follows from its content.
    Path(PathBuf),
    /// `example:NAME`, an image built into this binary.
    Example(String),
}

/// Text that names no place austere knows.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing was given.
    #[error("no image was named (is a variable unset?)")]
    Empty,
    /// A transport without anything after it.
    #[error("`{0}` names no file or folder")]
    NoPath(String),
    /// Neither a transport nor a path.
    #[error(
        "`{0}` is neither a file nor a known kind of reference\n  \
         hint: use a path, or oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:TAG], rootfs:DIR, example:hello"
    )]
    Unknown(String),
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        let known = match text.split_once(':') {
            Some(("oci", rest)) => Some((rest, Reference::Oci as fn(PathBuf, Option<String>) -> Reference)),
            Some(("oci-archive", rest)) => Some((rest, Reference::OciArchive as _)),
            Some(("docker-archive", rest)) => Some((rest, Reference::DockerArchive as _)),
            Some(("rootfs", rest)) if !rest.is_empty() => return Ok(Reference::Rootfs(PathBuf::from(rest))),
            Some(("example", name)) if !name.is_empty() => return Ok(Reference::Example(name.to_owned())),
            Some(("rootfs" | "example", _)) => return Err(ReferenceError::NoPath(text.to_owned())),
            _ => None,
        };
        if let Some((rest, transport)) = known {
            let (path, tag) = path_and_tag(rest);
            if path.as_os_str().is_empty() {
                return Err(ReferenceError::NoPath(text.to_owned()));
            }
            return Ok(transport(path, tag));
        }
        let looks_like_a_path = ["/", "./", "../"].iter().any(|start| text.starts_with(start));
        if looks_like_a_path || matches!(text, "." | "..") || Path::new(text).exists() {
            return Ok(Reference::Path(PathBuf::from(text)));
        }
        Err(ReferenceError::Unknown(text.to_owned()))
    }
}

/// Splits `PATH[:TAG]` at the first colon, as skopeo does: a path with a colon in it cannot be named this way.
fn path_and_tag(text: &str) -> (PathBuf, Option<String>) {
    match text.split_once(':') {
        Some((path, tag)) if !tag.is_empty() => (PathBuf::from(path), Some(tag.to_owned())),
        Some((path, _)) => (PathBuf::from(path), None),
        None => (PathBuf::from(text), None),
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (transport, path, tag) = match self {
            Reference::Oci(path, tag) => ("oci:", path, tag.as_ref()),
            Reference::OciArchive(path, tag) => ("oci-archive:", path, tag.as_ref()),
            Reference::DockerArchive(path, tag) => ("docker-archive:", path, tag.as_ref()),
            Reference::Rootfs(path) => ("rootfs:", path, None),
            Reference::Path(path) => ("", path, None),
            Reference::Example(name) => return write!(f, "example:{name}"),
        };
        write!(f, "{transport}{}", path.display())?;
        tag.map_or(Ok(()), |tag| write!(f, ":{tag}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports_are_spelled_as_skopeo_spells_them() {
        let tagged = Reference::OciArchive("/a/b.tar".into(), Some("name:1.2".into()));
        assert_eq!("oci-archive:/a/b.tar:name:1.2".parse::<Reference>().unwrap(), tagged);
        assert_eq!("oci:dir".parse::<Reference>().unwrap(), Reference::Oci("dir".into(), None));
        assert_eq!("./x.tar".parse::<Reference>().unwrap(), Reference::Path("./x.tar".into()));
        assert_eq!("example:hello".parse::<Reference>().unwrap(), Reference::Example("hello".into()));
    }

    #[test]
    fn nothing_is_not_an_image() {
        assert!(matches!("".parse::<Reference>(), Err(ReferenceError::Empty)));
        assert!(matches!("oci:".parse::<Reference>(), Err(ReferenceError::NoPath(_))));
        assert!(matches!("no-such-file".parse::<Reference>(), Err(ReferenceError::Unknown(_))));
    }

    #[test]
    fn a_reference_prints_as_it_is_written() {
        for text in
            ["oci:dir:tag", "oci-archive:x.tar", "docker-archive:/x.tar:a:b", "rootfs:/r", "example:hello", "./y"]
        {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
    }
}
