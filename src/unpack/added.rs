//! What one layer brought into a merged tree.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

/// Names that a layer brought; its own whiteouts spare them.
///
/// A name is kept as a keyed 64-bit hash of its folder's inode and itself: 16 MB for a million names, and nobody who does not
/// know the key can make two names meet.
#[derive(Default)]
pub(super) struct Added {
    key: RandomState,
    names: HashSet<u64>,
}

impl Added {
    pub(super) fn insert(&mut self, folder: u64, name: &[u8]) {
        self.names.insert(self.key.hash_one((folder, name)));
    }

    pub(super) fn has(&self, folder: u64, name: &[u8]) -> bool {
        self.names.contains(&self.key.hash_one((folder, name)))
    }
}
