//! Where images come from: layouts, archives, folders, and the examples in this binary.
//!
//! An archive is never unpacked first. Its tar is walked once for the places of its entries, and blobs are read where they
//! lie, by several threads if need be. Indexes, manifests and configurations are checked against their digests here; layers
//! are checked by whoever reads them (`unpack`).

mod archive;
mod docker;
mod example;
mod holder;
mod oci;

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::image::{Config, Image, ImageError};
use crate::platform::Platform;
use crate::reference::Reference;

use holder::{Holder, Part, Parts};

/// How to choose among what a reference offers.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What the image must be built for; the host's platform when absent.
    pub platform: Option<Platform>,
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
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Oci => "oci",
            Kind::OciArchive => "oci-archive",
            Kind::DockerArchive => "docker-archive",
            Kind::Rootfs => "rootfs",
            Kind::Example => "example",
        })
    }
}

/// A reference that names no image austere can use.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file or folder that cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A file or folder of another kind.
    #[error("{} is not an image: {why}", path.display())]
    NotAnImage {
        /// What was looked at.
        path: PathBuf,
        /// What is missing or different.
        why: String,
    },
    /// No image of that name.
    #[error("no image `{wanted}` in {}; it has {there}", path.display())]
    NoTag {
        /// Where it was looked for.
        path: PathBuf,
        /// The tag that was given.
        wanted: String,
        /// The tags that exist.
        there: String,
    },
    /// Several images and no name.
    #[error("{} has more than one image; a tag has to say which, and it has {there}", path.display())]
    WhichOne {
        /// Where it was looked for.
        path: PathBuf,
        /// The tags that exist.
        there: String,
    },
    /// Only images for other machines.
    #[error(
        "the image is for {there}, and {wanted} is wanted\n  hint: --platform chooses another one where there are several"
    )]
    Platform {
        /// What was asked for, or the host.
        wanted: Platform,
        /// What there is.
        there: String,
    },
    /// A blob is absent, or is not what its descriptor says.
    #[error("{name} in {}: {why}", path.display())]
    Blob {
        /// The layout or archive.
        path: PathBuf,
        /// The blob's name in it.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// An index, manifest or configuration that cannot be used.
    #[error("{}", path.display())]
    Document {
        /// The layout or archive.
        path: PathBuf,
        /// What is wrong with it.
        source: ImageError,
    },
    /// An example that does not exist, or cannot be made.
    #[error("{0}")]
    Example(String),
}

/// An image that was found, with the places of its layers.
#[derive(Debug)]
pub struct Opened {
    /// As the user wrote it.
    pub reference: String,
    /// What it turned out to be.
    pub kind: Kind,
    /// Its manifest and configuration, checked against their digests.
    pub image: Image,
    layers: Vec<Vec<Part>>,
    rootfs: Option<PathBuf>,
    taken: AtomicU64,
}

impl Opened {
    /// The bytes of a layer as stored; nothing about them has been checked but their number.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when the image has no such layer.
    pub fn layer(&self, index: usize) -> io::Result<Box<dyn Read + Send + '_>> {
        let parts = self.layers.get(index).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("the image has no layer number {index}"))
        })?;
        Ok(Box::new(Counted { inner: Parts::new(parts), taken: &self.taken }))
    }

    /// Bytes of layers that were read so far, as stored: for whom it is shown.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// The folder, when the reference is a tree of files instead of an image.
    pub fn rootfs(&self) -> Option<&Path> {
        self.rootfs.as_deref()
    }
}

/// A layer whose bytes are counted as they are read.
struct Counted<'a, R> {
    inner: R,
    taken: &'a AtomicU64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buf)?;
        self.taken.fetch_add(got as u64, Ordering::Relaxed);
        Ok(got)
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
    let (kind, (image, layers), rootfs) = match reference {
        Reference::Oci(dir, tag) => (Kind::Oci, oci::open(&Holder::dir(dir)?, tag.as_deref(), &wanted)?, None),
        Reference::OciArchive(file, tag) => {
            (Kind::OciArchive, oci::open(&Holder::archive(file)?, tag.as_deref(), &wanted)?, None)
        }
        Reference::DockerArchive(file, tag) => {
            (Kind::DockerArchive, docker::open(&Holder::archive(file)?, tag.as_deref(), &wanted)?, None)
        }
        Reference::Rootfs(dir) => (Kind::Rootfs, tree(&Holder::dir(dir)?), Some(dir.clone())),
        Reference::Example(name) => (Kind::Example, example::open(name)?, None),
        Reference::Path(path) => by_content(path, &wanted)?,
    };
    Ok(Opened { reference: reference.to_string(), kind, image, layers, rootfs, taken: AtomicU64::new(0) })
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
    let why =
        "the archive has neither `index.json` (OCI) nor `manifest.json` (docker save); is it truncated?".to_owned();
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
