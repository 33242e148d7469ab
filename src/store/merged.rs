//! All layers of an image in one tree of its own, where the kernel lets nobody lay them over each other.

use std::os::fd::AsFd;
use std::path::PathBuf;

use super::staging::Staging;
use super::{Accounts, Store, StoreError};
use crate::source::Opened;
use crate::unpack::{Facts, Limits, merge};

/// A merged tree; dropped, it is gone. One whose process was killed goes with the next [`Store::open`].
pub struct Merged {
    /// Its root folder.
    pub path: PathBuf,
    /// What it cannot say.
    pub facts: Facts,
    /// Who the image knows.
    pub accounts: Accounts,
    _staging: Staging,
}

impl Store {
    /// Unpacks all layers of `opened` into one tree. Whiteouts are carried out, so that no device node is needed for them.
    ///
    /// # Errors
    ///
    /// As [`Store::ensure`].
    pub fn merge(&self, opened: &Opened, limits: &Limits) -> Result<Merged, StoreError> {
        let staging = Staging::new(self.staging.as_fd()).map_err(self.io("create a folder in", "staging"))?;
        let path = self.path.join("staging").join(&staging.name).join("tree");
        let facts = merge(opened, &path, limits, self.privileged)
            .map_err(|source| StoreError::Unpack { path: self.path.clone(), source })?;
        let accounts = Accounts::of_folder(&path)?;
        Ok(Merged { path, facts, accounts, _staging: staging })
    }
}
