//! Why a reference is no image.

use std::io;
use std::path::PathBuf;

use crate::image::ImageError;
use crate::platform::Platform;
use crate::registry::{HttpError, RegistryError};

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
        "the image is for {there}, not for {wanted}\n  hint: --platform chooses another one where there are several"
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
    /// An engine that has the image, or is named as having it, and does not give it.
    #[error("cannot get `{name}` from {engine}: {why}")]
    Engine {
        /// `docker` or `podman`.
        engine: &'static str,
        /// The image.
        name: String,
        /// What happened.
        why: String,
    },
    /// An engine that is not there, or has no such image.
    #[error("no `{name}` in {engine}: {why}")]
    EngineHasNone {
        /// `docker` or `podman`.
        engine: &'static str,
        /// The image.
        name: String,
        /// What there is instead.
        why: String,
    },
    /// A registry that does not give the image.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// An image that was never pulled, and may not be now.
    #[error("{name} was not pulled before, and --pull never forbids to ask its registry")]
    NotPulled {
        /// The complete name.
        name: String,
    },
    /// A name that nobody knows.
    #[error("`{name}` is found nowhere ({tried})")]
    Nowhere {
        /// As it was written.
        name: String,
        /// Where it was looked for before the registry.
        tried: String,
        /// What the registry said.
        source: Box<SourceError>,
    },
}

impl From<HttpError> for SourceError {
    fn from(error: HttpError) -> Self {
        SourceError::Registry(error.into())
    }
}

impl SourceError {
    /// Whether it says that the image is not there, as far as one can see.
    pub(super) fn is_absence(&self) -> bool {
        match self {
            SourceError::NotPulled { .. } => true,
            SourceError::Registry(error) => matches!(
                error,
                RegistryError::Absent { .. }
                    | RegistryError::Refused { .. }
                    | RegistryError::Http(HttpError::Unknown { .. } | HttpError::Connect { .. })
            ),
            _ => false,
        }
    }
}
