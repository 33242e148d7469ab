//! A folder or an archive that holds blobs by name.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::SourceError;
use super::archive::Archive;
use super::export::Export;
use super::remote::Remote;
use crate::digest::{Digest, Hasher};
use crate::image::manifest::Descriptor;
use crate::registry::{Blob, BlobReader};

/// Indexes, manifests and configurations are not larger than this; the registries refuse them too.
const DOCUMENT_MAX: u64 = 4 << 20;

/// Holds blobs by name.
pub(super) struct Holder {
    path: PathBuf,
    form: Form,
}

enum Form {
    Dir,
    Archive(Archive),
    Remote(Remote),
}

/// A stretch of a file, or of memory, or a blob that is somewhere else.
#[derive(Clone, Debug)]
pub(super) enum Part {
    File {
        file: Arc<File>,
        offset: u64,
        size: u64,
    },
    Bytes(Vec<u8>),
    Remote(Blob),
    /// A layer by its number in what an engine exports.
    Exported {
        export: Arc<Export>,
        number: usize,
        size: u64,
    },
}

impl Part {
    pub(super) fn size(&self) -> u64 {
        match self {
            Part::File { size, .. } | Part::Exported { size, .. } => *size,
            Part::Bytes(bytes) => bytes.len() as u64,
            Part::Remote(blob) => blob.size,
        }
    }
}

/// Reads parts one after the other, by position, so that threads can read one file at the same time.
pub(super) struct Parts<'a> {
    left: &'a [Part],
    at: u64,
    other: Option<Box<dyn Read + Send + 'a>>,
}

impl<'a> Parts<'a> {
    pub(super) fn new(parts: &'a [Part]) -> Self {
        Parts { left: parts, at: 0, other: None }
    }
}

impl Read for Parts<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while let Some(part) = self.left.first() {
            if self.other.is_none() {
                self.other = match part {
                    Part::Remote(blob) => Some(Box::new(BlobReader::new(blob))),
                    Part::Exported { export, number, .. } => Some(Box::new(Parts::new(export.layer(*number)?))),
                    Part::File { .. } | Part::Bytes(_) => None,
                };
            }
            if let Some(other) = &mut self.other {
                // It ends where it ends; whether that is right it, or who reads it, sees.
                let got = other.read(buf)?;
                if got > 0 || buf.is_empty() {
                    return Ok(got);
                }
                (self.left, self.other) = (&self.left[1..], None);
                continue;
            }
            let left = part.size() - self.at;
            if left == 0 {
                (self.left, self.at) = (&self.left[1..], 0);
                continue;
            }
            let want = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let got = match part {
                Part::File { file, offset, .. } => file.read_at(&mut buf[..want], offset + self.at)?,
                Part::Bytes(bytes) => bytes
                    .get(usize::try_from(self.at).unwrap_or(usize::MAX)..)
                    .unwrap_or_default()
                    .read(&mut buf[..want])?,
                Part::Remote(_) | Part::Exported { .. } => 0,
            };
            if got == 0 && want > 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was read"));
            }
            self.at += got as u64;
            return Ok(got);
        }
        Ok(0)
    }
}

/// Opens for reading; a FIFO in an image folder must not make us wait for a writer.
pub(super) fn open_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
}

impl Holder {
    pub(super) fn dir(path: &Path) -> Result<Self, SourceError> {
        let read = |source| SourceError::Read { path: path.to_owned(), source };
        if !path.metadata().map_err(read)?.is_dir() {
            return Err(read(io::ErrorKind::NotADirectory.into()));
        }
        Ok(Holder { path: path.to_owned(), form: Form::Dir })
    }

    pub(super) fn archive(path: &Path) -> Result<Self, SourceError> {
        Self::file(path, open_file(path).map_err(|source| SourceError::Read { path: path.to_owned(), source })?)
    }

    /// An archive that is open already; `path` is what it is called.
    pub(super) fn file(path: &Path, file: File) -> Result<Self, SourceError> {
        Ok(Holder { path: path.to_owned(), form: Form::Archive(Archive::of(path, file)?) })
    }

    /// A repository of a registry.
    pub(super) fn remote(remote: Remote) -> Self {
        Holder { path: remote.name().into(), form: Form::Remote(remote) }
    }

    /// The repository, where this is one.
    pub(super) fn as_remote(&self) -> Option<&Remote> {
        match &self.form {
            Form::Remote(remote) => Some(remote),
            Form::Dir | Form::Archive(_) => None,
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.path.clone()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.part(name).is_ok()
    }

    /// Where the blob `name` lies.
    pub(super) fn part(&self, name: &str) -> Result<Part, SourceError> {
        let why = |why: String| SourceError::Blob { path: self.path(), name: name.to_owned(), why };
        match &self.form {
            Form::Dir => {
                let file = open_file(&self.path.join(name)).map_err(|error| why(error.to_string()))?;
                let size = file.metadata().map_err(|error| why(error.to_string()))?.len();
                Ok(Part::File { file: Arc::new(file), offset: 0, size })
            }
            Form::Archive(archive) => {
                archive.find(name).ok_or_else(|| why("the archive has no such file; is it truncated?".to_owned()))
            }
            Form::Remote(_) => Err(why("a registry has no files".to_owned())),
        }
    }

    /// The whole of a small document.
    pub(super) fn document(&self, name: &str) -> Result<Vec<u8>, SourceError> {
        let why = |why: String| SourceError::Blob { path: self.path(), name: name.to_owned(), why };
        let part = self.part(name)?;
        if part.size() > DOCUMENT_MAX {
            return Err(why(format!("{} bytes are too many for an image's document", part.size())));
        }
        let mut bytes = Vec::new();
        let parts = [part];
        Parts::new(&parts).read_to_end(&mut bytes).map_err(|error| why(error.to_string()))?;
        Ok(bytes)
    }

    /// The document that a descriptor points at, checked against its size and digest.
    pub(super) fn checked(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        let name = blob_name(&descriptor.digest);
        let bytes = match &self.form {
            Form::Remote(remote) => remote.document(descriptor)?,
            Form::Dir | Form::Archive(_) => self.document(&name)?,
        };
        let why = |why: String| SourceError::Blob { path: self.path(), name: name.clone(), why };
        if bytes.len() as u64 != descriptor.size {
            return Err(why(format!("has {} bytes, its descriptor says {}", bytes.len(), descriptor.size)));
        }
        let mut hasher = Hasher::new(descriptor.digest.algorithm());
        hasher.update(&bytes);
        let found = hasher.finish();
        if found != descriptor.digest {
            return Err(why(format!("has the digest {found}")));
        }
        Ok(bytes)
    }

    /// Where the layer that a descriptor points at lies; of its content only the size is checked.
    pub(super) fn layer(&self, descriptor: &Descriptor) -> Result<Part, SourceError> {
        if let Form::Remote(remote) = &self.form {
            return Ok(Part::Remote(remote.blob(descriptor)));
        }
        let name = blob_name(&descriptor.digest);
        let part = self.part(&name)?;
        if part.size() != descriptor.size {
            let why = format!("has {} bytes, its descriptor says {}", part.size(), descriptor.size);
            return Err(SourceError::Blob { path: self.path(), name, why });
        }
        Ok(part)
    }
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}
