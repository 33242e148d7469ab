//! An image that was found, and the reading of its layers.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::holder::{Part, Parts};
use super::remembered::Pulled;
use super::{Found, Kind};
use crate::image::Image;

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
    /// What was read of each layer.
    taken: Vec<AtomicU64>,
    /// Set when what is still read is of no use any more.
    given_up: AtomicBool,
    pulled: Option<Pulled>,
}

impl Opened {
    pub(super) fn new(reference: String, kind: Kind, found: Found) -> Self {
        let (image, layers) = found;
        let taken = layers.iter().map(|_| AtomicU64::new(0)).collect();
        Opened { reference, kind, image, layers, rootfs: None, taken, given_up: AtomicBool::new(false), pulled: None }
    }

    pub(super) fn with_rootfs(self, rootfs: Option<PathBuf>) -> Self {
        Opened { rootfs, ..self }
    }

    pub(super) fn with_pulled(self, pulled: Option<Pulled>) -> Self {
        Opened { pulled, ..self }
    }

    /// The bytes of a layer as stored; nothing about them has been checked but their number.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when the image has no such layer.
    pub fn layer(&self, index: usize) -> io::Result<Box<dyn Read + Send + '_>> {
        let parts = self.layers.get(index).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("the image has no layer number {index}"))
        })?;
        let taken = &self.taken[index];
        Ok(Box::new(Counted { inner: Parts::new(parts), taken, given_up: &self.given_up }))
    }

    /// Bytes that were read so far of each layer, as stored: for whom it is shown. A layer may be read twice.
    pub fn taken(&self) -> impl Iterator<Item = u64> {
        self.taken.iter().map(|taken| taken.load(Ordering::Relaxed))
    }

    /// Whether the layers come from somewhere else while they are read: then it is worth to wait for several at a time.
    pub fn is_remote(&self) -> bool {
        self.layers.iter().flatten().any(|part| matches!(part, Part::Remote(_)))
    }

    /// Ends the reading of all layers: one of them is of no use, so none is.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    /// Notes an image of a registry, whose layers were all right, so that it need not be asked for again.
    pub fn remember(&self) {
        if let Some(pulled) = &self.pulled {
            pulled.write();
        }
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
    given_up: &'a AtomicBool,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.given_up.load(Ordering::Relaxed) {
            return Err(io::Error::other("another layer failed"));
        }
        let got = self.inner.read(buf)?;
        self.taken.fetch_add(got as u64, Ordering::Relaxed);
        Ok(got)
    }
}
