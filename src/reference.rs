//! Where an image is: the words a user names it by.
//!
//! The transports are spelled as in containers-transports(5): `oci:`, `oci-archive:`, `docker-archive:`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use oci_spec::distribution;

use crate::digest::Digest;

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
    /// `docker://NAME`, an image in a registry.
    Registry(ImageName),
    /// `docker-daemon:NAME`, an image of a Docker Engine.
    DockerDaemon(String),
    /// `containers-storage:NAME`, an image of podman's.
    ContainersStorage(String),
    /// A bare name: an image of docker's, of podman's or of a registry, whoever has it first.
    Named(ImageName),
}

/// The name of an image in a registry, complete: docker's short forms are written out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageName {
    /// `host[:port]`; docker's own registry is `docker.io`.
    pub registry: String,
    /// What the registry calls it: `library/nginx`.
    pub repository: String,
    /// `latest` when neither tag nor digest was given.
    pub tag: Option<String>,
    /// What the manifest has to hash to.
    pub digest: Option<Digest>,
    written: String,
}

impl ImageName {
    /// As the user wrote it.
    pub fn written(&self) -> &str {
        &self.written
    }

    /// What a registry is asked for: the digest, which says more than a tag, else the tag.
    pub fn target(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }
}

impl FromStr for ImageName {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let error = |why: String| ReferenceError::Name { text: text.to_owned(), why };
        let name: distribution::Reference =
            text.parse().map_err(|why: distribution::ParseError| error(why.to_string()))?;
        let digest = name.digest().map(|digest| digest.parse().map_err(|_| error("unsupported digest".to_owned())));
        Ok(ImageName {
            registry: name.registry().to_owned(),
            repository: name.repository().to_owned(),
            tag: name.tag().map(str::to_owned),
            digest: digest.transpose()?,
            written: text.to_owned(),
        })
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        self.tag.as_ref().map_or(Ok(()), |tag| write!(f, ":{tag}"))?;
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
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
    /// A name that no registry and no engine could have.
    #[error(
        "`{text}` is not the name of an image: {why}\n  hint: [HOST[:PORT]/]PATH[:TAG][@DIGEST], in lower case but for the tag"
    )]
    Name {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// Neither a transport, nor a path, nor a name.
    #[error(
        "`{0}` is neither a file nor a known kind of reference\n  \
         hint: use a path, a name as in nginx:1.27, or oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:TAG], rootfs:DIR, \
         docker://NAME, docker-daemon:NAME, containers-storage:NAME, example:hello"
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
            Some(("docker", rest)) if rest.starts_with("//") => return rest[2..].parse().map(Reference::Registry),
            Some(("docker-daemon", rest)) if !rest.is_empty() => return of_engine(rest).map(Reference::DockerDaemon),
            Some(("containers-storage", rest)) if !rest.is_empty() => {
                return of_engine(rest).map(Reference::ContainersStorage);
            }
            Some(("rootfs" | "example" | "docker-daemon" | "containers-storage", _)) => {
                return Err(ReferenceError::NoPath(text.to_owned()));
            }
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
        match text.parse() {
            Ok(name) if !looks_like_a_file(text) => Ok(Reference::Named(name)),
            _ => Err(ReferenceError::Unknown(text.to_owned())),
        }
    }
}

/// Nobody calls an image so; whoever writes it means a file, and has its name wrong.
fn looks_like_a_file(text: &str) -> bool {
    let end = Path::new(text).extension().and_then(|end| end.to_str());
    matches!(end, Some("tar" | "tgz" | "gz" | "zst" | "xz" | "bz2" | "zip" | "oci"))
}

/// A name or id of an engine's own: it is sent in a request's first line, and is an argument of podman.
fn of_engine(text: &str) -> Result<String, ReferenceError> {
    let known =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/' | b':' | b'@' | b'+');
    if text.bytes().all(known) && text.starts_with(|first: char| first.is_ascii_alphanumeric()) && !text.contains("..")
    {
        return Ok(text.to_owned());
    }
    Err(ReferenceError::Name { text: text.to_owned(), why: "no engine takes such a name".to_owned() })
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
            Reference::Registry(name) => return write!(f, "docker://{}", name.written),
            Reference::DockerDaemon(name) => return write!(f, "docker-daemon:{name}"),
            Reference::ContainersStorage(name) => return write!(f, "containers-storage:{name}"),
            Reference::Named(name) => return f.write_str(&name.written),
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
        assert!(matches!("no-such-file.tar".parse::<Reference>(), Err(ReferenceError::Unknown(_))));
        assert!(matches!("No-Such-Name".parse::<Reference>(), Err(ReferenceError::Unknown(_))));
        assert!(matches!("docker://".parse::<Reference>(), Err(ReferenceError::Name { .. })));
        for text in
            ["docker-daemon:", "docker-daemon:-x", "docker-daemon:a?b", "containers-storage:a b", "docker-daemon:../x"]
        {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_reference_prints_as_it_is_written() {
        for text in [
            "oci:dir:tag",
            "oci-archive:x.tar",
            "docker-archive:/x.tar:a:b",
            "rootfs:/r",
            "example:hello",
            "./y",
            "docker://a:1",
            "a/b",
            "docker-daemon:a:1",
            "containers-storage:localhost/a",
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn short_names_are_docker_s() {
        let full = |text: &str| text.parse::<ImageName>().map(|name| name.to_string()).ok();
        for (text, expected) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            ("me/app", "docker.io/me/app:latest"),
            ("index.docker.io/me/app:1", "docker.io/me/app:1"),
            ("localhost/app", "localhost/app:latest"),
            ("127.0.0.1:5000/app:1", "127.0.0.1:5000/app:1"),
            ("registry.example.com/org/app", "registry.example.com/org/app:latest"),
        ] {
            assert_eq!(full(text).as_deref(), Some(expected), "{text}");
        }
        let digest = Digest::sha256(b"x");
        let pinned: ImageName = format!("r.example/a:1@{digest}").parse().unwrap();
        assert_eq!((pinned.target(), pinned.tag.as_deref()), (digest.to_string(), Some("1")));
        for text in ["", "A", "a//b", "a:", "a@sha256:1", "a b", "r.example/"] {
            assert_eq!(full(text), None, "{text}");
        }
    }
}
