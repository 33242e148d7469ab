//! What a layer may cost.

use std::sync::atomic::{AtomicU64, Ordering};

use super::UnpackError;

/// Bounds on what an image may unpack to. They hold for all its layers together, unless they say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Files, folders, links and the rest.
    pub entries: u64,
    /// Bytes of the uncompressed layers.
    pub bytes: u64,
    /// Bytes of one path.
    pub path: usize,
    /// Folders inside folders.
    pub depth: usize,
    /// Uncompressed by compressed bytes of one layer, once it is larger than [`RATIO_FROM`].
    pub ratio: u64,
    /// Bytes that a zstd frame may ask the reader to remember.
    pub zstd_window: u64,
}

/// Below so many uncompressed bytes no ratio is too high: a sparse file of a few megabytes harms nobody.
pub const RATIO_FROM: u64 = 128 << 20;

impl Default for Limits {
    /// Larger than any image seen in practice, and small enough for an ordinary disk.
    fn default() -> Self {
        Limits { entries: 1_000_000, bytes: 32 << 30, path: 4096, depth: 128, ratio: 200, zstd_window: 32 << 20 }
    }
}

/// What has been used of the limits, counted by all layers together.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(super) limits: Limits,
    entries: AtomicU64,
    bytes: AtomicU64,
}

impl Budget {
    pub(crate) fn new(limits: &Limits) -> Self {
        Budget { limits: *limits, entries: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    pub(super) fn entry(&self) -> Result<(), UnpackError> {
        let used = self.entries.fetch_add(1, Ordering::Relaxed) + 1;
        check("entries", used, self.limits.entries, "--max-entries")
    }

    pub(super) fn bytes(&self, more: u64) -> Result<(), UnpackError> {
        let used = self.bytes.fetch_add(more, Ordering::Relaxed) + more;
        check("bytes uncompressed", used, self.limits.bytes, "--max-bytes")
    }

    /// A file's size as its readers see it; holes cost no disk here, but they do wherever the file is copied to.
    pub(super) fn file(&self, size: u64) -> Result<(), UnpackError> {
        check("bytes in one file", size, self.limits.bytes, "--max-bytes")
    }

    pub(super) fn path(&self, path: &[u8]) -> Result<(), UnpackError> {
        check("bytes in one path", path.len() as u64, self.limits.path as u64, "--max-path")?;
        let depth = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).count();
        check("folders inside folders", depth as u64, self.limits.depth as u64, "--max-depth")
    }

    pub(super) fn ratio(&self, compressed: u64, uncompressed: u64) -> Result<(), UnpackError> {
        if uncompressed < RATIO_FROM {
            return Ok(());
        }
        check("times its compressed size", uncompressed / compressed.max(1), self.limits.ratio, "--max-ratio")
    }
}

fn check(what: &'static str, used: u64, limit: u64, flag: &'static str) -> Result<(), UnpackError> {
    if used <= limit { Ok(()) } else { Err(UnpackError::Limit { what, limit, flag }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_holds_from_the_first_unit_too_many() {
        let limits = Limits { entries: 2, bytes: 10, path: 5, depth: 2, ratio: 3, ..Limits::default() };
        let budget = Budget::new(&limits);
        assert!(budget.entry().is_ok() && budget.entry().is_ok());
        assert!(budget.entry().unwrap_err().to_string().contains("--max-entries"));
        assert!(budget.bytes(10).is_ok());
        assert!(budget.bytes(1).is_err());
        assert!(budget.path(b"a/b").is_ok());
        assert!(budget.path(b"a/b/c").unwrap_err().to_string().contains("--max-depth"));
        assert!(budget.path(b"abcdef").unwrap_err().to_string().contains("--max-path"));
        assert!(budget.ratio(1, RATIO_FROM - 1).is_ok());
        assert!(budget.ratio(RATIO_FROM / 4, RATIO_FROM).unwrap_err().to_string().contains("--max-ratio"));
    }
}
