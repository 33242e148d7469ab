//! Where images come from: layouts, archives, folders, registries, engines, and the examples in this binary.
//!
//! An archive is never unpacked first. Its tar is walked once for the places of its entries, and blobs are read where they
//! lie, by several threads if need be. Indexes, manifests and configurations are checked against their digests here; layers
//! are checked by whoever reads them (`unpack`). Layers of a registry are downloaded while they are read.

mod archive;
mod docker;
mod endpoint;
mod engine;
mod error;
mod example;
mod export;
mod holder;
mod oci;
mod opened;
mod remembered;
mod remote;

use std::fmt;
use std::path::{Path, PathBuf};

pub use error::SourceError;
pub use opened::Opened;
pub use remembered::forget;

use crate::image::{Config, Image};
use crate::platform::Platform;
use crate::reference::{ImageName, Reference};
use crate::registry::Access;

use holder::{Holder, Part};
use remembered::Pulled;

/// How to choose among what a reference offers.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What the image must be built for; the host's platform when absent.
    pub platform: Option<Platform>,
    /// When a registry is asked.
    pub pull: Pull,
    /// How it is asked.
    pub access: Access,
    /// The store's folder: what was pulled is noted there, and what an engine gives lies there for a while.
    pub store: Option<PathBuf>,
}

/// When a registry is asked for an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pull {
    /// When the image was not pulled before.
    #[default]
    Missing,
    /// Always; what did not change is not fetched again.
    Always,
    /// Never.
    Never,
}

/// What a reference turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An OCI image layout in a folder.
    Oci,
    /// An OCI image layout in a tar file.
    OciArchive,
    /// What `docker save` writes.
    DockerArchive,
    /// A tree of files without a configuration.
    Rootfs,
    /// An image built into this binary.
    Example,
    /// An image of a registry.
    Registry,
    /// An image of a Docker Engine.
    DockerDaemon,
    /// An image of podman's.
    ContainersStorage,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Oci => "oci",
            Kind::OciArchive => "oci-archive",
            Kind::DockerArchive => "docker-archive",
            Kind::Rootfs => "rootfs",
            Kind::Example => "example",
            Kind::Registry => "registry",
            Kind::DockerDaemon => "docker-daemon",
            Kind::ContainersStorage => "containers-storage",
        })
    }
}

/// An image's parts, before they are joined with the reference that named them.
type Found = (Image, Vec<Vec<Part>>);

/// Finds the image that `reference` names.
///
/// # Errors
///
/// When there is none, or none for the platform, or its documents do not fit their digests.
pub fn open(reference: &Reference, options: &Options) -> Result<Opened, SourceError> {
    let wanted = options.platform.clone().unwrap_or_else(Platform::host);
    let opened = |kind, found| Ok(Opened::new(reference.to_string(), kind, found));
    match reference {
        Reference::Oci(dir, tag) => opened(Kind::Oci, oci::open(&Holder::dir(dir)?, tag.as_deref(), &wanted)?),
        Reference::OciArchive(file, tag) => {
            let holder = of_kind(Holder::archive(file)?, "index.json", "docker-archive")?;
            opened(Kind::OciArchive, oci::open(&holder, tag.as_deref(), &wanted)?)
        }
        Reference::DockerArchive(file, tag) => {
            let holder = of_kind(Holder::archive(file)?, "manifest.json", "oci-archive")?;
            opened(Kind::DockerArchive, docker::open(&holder, tag.as_deref(), &wanted)?)
        }
        Reference::Rootfs(dir) => {
            let found = tree(&Holder::dir(dir)?);
            Ok(opened(Kind::Rootfs, found)?.with_rootfs(Some(dir.clone())))
        }
        Reference::Example(name) => opened(Kind::Example, example::open(name)?),
        Reference::Path(path) => {
            let (kind, found, rootfs) = by_content(path, &wanted)?;
            Ok(opened(kind, found)?.with_rootfs(rootfs))
        }
        Reference::Registry(name) => {
            let (found, pulled) = remote::open(name, options, &wanted)?;
            Ok(opened(Kind::Registry, found)?.with_pulled(pulled))
        }
        Reference::DockerDaemon(name) => {
            let (found, pulled) = engine::docker(name, options, &wanted)?;
            Ok(opened(Kind::DockerDaemon, found)?.with_pulled(pulled))
        }
        Reference::ContainersStorage(name) => {
            let (found, pulled) = engine::podman(name, options, &wanted)?;
            Ok(opened(Kind::ContainersStorage, found)?.with_pulled(pulled))
        }
        Reference::Named(name) => {
            let (kind, found, pulled) = named(name, options, &wanted)?;
            Ok(opened(kind, found)?.with_pulled(pulled))
        }
    }
}

/// An archive that has its kind's `document`, or has not the document of the `other` kind either: then it is cut.
fn of_kind(archive: Holder, document: &str, other: &str) -> Result<Holder, SourceError> {
    if !archive.has(document) && (archive.has("index.json") || archive.has("manifest.json")) {
        let path = archive.path();
        let why = format!("it has no `{document}`\n  hint: it is of the other kind: {other}:{}", path.display());
        return Err(SourceError::NotAnImage { path, why });
    }
    Ok(archive)
}

/// How an engine is asked for an image by its name.
type Engine = fn(&str, &Options, &Platform) -> Result<(Found, Option<Pulled>), SourceError>;

/// A bare name: docker's image of that name, else podman's, else the registry's. Whoever asks for a fresh one means the registry's.
fn named(name: &ImageName, options: &Options, wanted: &Platform) -> Result<(Kind, Found, Option<Pulled>), SourceError> {
    let mut tried = vec!["no file of that name".to_owned()];
    if options.pull != Pull::Always {
        let engines = [(Kind::DockerDaemon, engine::docker as Engine), (Kind::ContainersStorage, engine::podman)];
        for (kind, open) in engines {
            match open(name.written(), options, wanted) {
                Ok((found, pulled)) => return Ok((kind, found, pulled)),
                Err(SourceError::EngineHasNone { engine, why, .. }) => tried.push(format!("{engine}: {why}")),
                Err(SourceError::Platform { there, .. }) => tried.push(format!("{kind}: for {there} only")),
                Err(error) => return Err(error),
            }
        }
    }
    match remote::open(name, options, wanted) {
        Ok((found, pulled)) => Ok((Kind::Registry, found, pulled)),
        Err(error) if error.is_absence() => Err(SourceError::Nowhere {
            name: name.written().to_owned(),
            tried: tried.join("; "),
            source: Box::new(error),
        }),
        Err(error) => Err(error),
    }
}

/// A bare path: its content says what it is.
fn by_content(path: &Path, wanted: &Platform) -> Result<(Kind, Found, Option<PathBuf>), SourceError> {
    let metadata = path.metadata().map_err(|source| SourceError::Read { path: path.to_owned(), source })?;
    if metadata.is_dir() {
        let holder = Holder::dir(path)?;
        if holder.has("oci-layout") || holder.has("index.json") {
            return Ok((Kind::Oci, oci::open(&holder, None, wanted)?, None));
        }
        let why = |why: &str| SourceError::NotAnImage { path: path.to_owned(), why: why.to_owned() };
        if holder.has("manifest.json") && holder.has("version") {
            return Err(why("it is a `dir:` copy of one; copy it to oci: or oci-archive: with skopeo"));
        }
        if path.join("rootfs").is_dir() && holder.has("config.json") {
            return Err(why("it is a bundle; rootfs:DIR/rootfs takes its files"));
        }
        let mut entries = path.read_dir().map_err(|source| SourceError::Read { path: path.to_owned(), source })?;
        if entries.next().is_none() {
            return Err(why("the folder is empty"));
        }
        return Ok((Kind::Rootfs, tree(&holder), Some(path.to_owned())));
    }
    let holder = Holder::archive(path)?;
    if holder.has("manifest.json") {
        return Ok((Kind::DockerArchive, docker::open(&holder, None, wanted)?, None));
    }
    if holder.has("index.json") {
        return Ok((Kind::OciArchive, oci::open(&holder, None, wanted)?, None));
    }
    let why = "the archive has neither `index.json` (OCI) nor `manifest.json` (docker save); is it truncated?\n  \
               hint: what `docker export` writes has no configuration: unpack it to a folder, and use rootfs:DIR -- PROGRAM"
        .to_owned();
    Err(SourceError::NotAnImage { path: path.to_owned(), why })
}

/// A tree of files has no configuration: it runs what it is told to, here.
fn tree(_dir: &Holder) -> Found {
    let image = Image {
        manifest_digest: None,
        config_digest: None,
        platform: Platform::host(),
        config: Config::default(),
        layers: Vec::new(),
    };
    (image, Vec::new())
}
