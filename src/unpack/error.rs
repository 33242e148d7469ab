//! Why a layer was not unpacked.

use std::io;

use crate::digest::Digest;

/// Why a layer was not unpacked. Nothing of it is published then.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// Which layer it was.
    #[error("layer {number} ({diff_id})")]
    Layer {
        /// Counted from 1, base first.
        number: usize,
        /// Its diffID.
        diff_id: Digest,
        /// What happened.
        source: Box<UnpackError>,
    },
    /// The stored bytes cannot be read or inflated.
    #[error("cannot read its bytes: {0}")]
    Read(io::Error),
    /// The compression is not the one its media type names.
    #[error("its media type says {said}, its content is {found}")]
    Compression {
        /// What the manifest says.
        said: &'static str,
        /// What the first bytes say.
        found: &'static str,
    },
    /// The stored bytes are not the ones the manifest names.
    #[error("its blob has the digest {found}, the manifest says {said}")]
    Digest {
        /// What the manifest says.
        said: Digest,
        /// What was read.
        found: Digest,
    },
    /// More or fewer bytes are stored than the manifest says.
    #[error("its blob has {found} bytes, the manifest says {said}")]
    Size {
        /// What the manifest says.
        said: u64,
        /// What was read.
        found: u64,
    },
    /// The uncompressed bytes are not the ones the configuration names.
    #[error("its content has the digest {0}, the configuration says otherwise")]
    DiffId(Digest),
    /// Not a tar archive, or one that contradicts itself.
    #[error("not a valid layer: {0}")]
    Format(String),
    /// An entry that austere does not unpack, because nobody could mean it.
    #[error("entry `{path}`: {why}")]
    Entry {
        /// The entry's name in the archive.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// A bound was reached.
    #[error("more than {limit} {what}\n  hint: {flag} raises the limit")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
        /// The flag that allows more.
        flag: &'static str,
    },
    /// The kernel refused to make something.
    #[error("cannot {what} `{path}`")]
    Write {
        /// `create`, `chown`, …
        what: &'static str,
        /// The path below the root.
        path: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The folder to unpack to cannot be used.
    #[error("cannot unpack to {path}: {why}")]
    Target {
        /// The folder.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

/// A path or name for a person: what is not UTF-8 is replaced, what would move the cursor is escaped.
pub(crate) fn shown(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// Names the call and the path that the kernel refused.
pub(super) fn refused(what: &'static str, path: &[u8]) -> impl FnOnce(nix::Error) -> UnpackError {
    let path = shown(path);
    move |errno| UnpackError::Write { what, path, source: errno.into() }
}
