//! Layers that are whole, and how they come to be there.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::stage::Staged;
use super::staging::open_dir;
use super::{Store, StoreError, UnpackedLayer, inherit};
use crate::digest::Digest;
use crate::unpack::{Facts, Projection, SpecialKind, project};

/// A layer in the store, locked against removal.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) key: String,
    pub(super) tree: OwnedFd,
    path: PathBuf,
    facts: Facts,
    lock: File,
}

impl Published {
    pub(super) fn into_layer(self) -> UnpackedLayer {
        UnpackedLayer { tree: self.tree, path: self.path, facts: self.facts, _lock: self.lock }
    }
}

impl Store {
    /// The layer in any projection.
    pub(super) fn any(&self, id: &Digest) -> Result<Option<Published>, StoreError> {
        let folder = match open_dir(self.layers.as_fd(), id.hex().as_bytes()) {
            Ok(folder) => folder,
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(self.io("open", &format!("layers/{}", id.hex()))(errno)),
        };
        let mut listing = Dir::from_fd(folder).map_err(self.io("list", &format!("layers/{}", id.hex())))?;
        let keys = listing.iter().flatten().filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned));
        let mut keys: Vec<String> = keys.filter(|name| !name.starts_with('.') && !self.is_foreign(name)).collect();
        keys.sort();
        keys.iter().find_map(|key| self.at(id, key).transpose()).transpose()
    }

    /// Whether a key is of another map of ids than ours: its files may be closed to us.
    fn is_foreign(&self, key: &str) -> bool {
        let map = key.strip_prefix("mapped-").map(|rest| rest.split('.').next().unwrap_or(rest));
        map.is_some() && map != self.map.as_deref()
    }

    /// The layer in this projection, above these layers.
    pub(super) fn published(&self, id: &Digest, key: &str, chain: &str) -> Result<Option<Published>, StoreError> {
        match self.at(id, key)? {
            Some(found) => Ok(Some(found)),
            None => self.at(id, &above(key, chain)),
        }
    }

    /// The layer under one key.
    pub(super) fn at(&self, id: &Digest, key: &str) -> Result<Option<Published>, StoreError> {
        let name = format!("layers/{}/{key}", id.hex());
        let relative = format!("{}/{key}", id.hex());
        loop {
            let dir = match open_dir(self.layers.as_fd(), relative.as_bytes()) {
                Ok(dir) => File::from(dir),
                Err(Errno::ENOENT) => return Ok(None),
                Err(errno) => return Err(self.io("open", &name)(errno)),
            };
            dir.lock_shared().map_err(|source| StoreError::Io { what: "lock", path: self.path.join(&name), source })?;
            // It may have been removed, and even replaced, before the lock was had.
            let here = fstatat(&self.layers, relative.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
            if here.is_ok_and(|here| fstat(&dir).is_ok_and(|held| held.st_ino == here.st_ino)) {
                return self.read(dir, key, &name).map(Some);
            }
        }
    }

    /// What `lock`, an open layer folder, holds.
    fn read(&self, lock: File, key: &str, name: &str) -> Result<Published, StoreError> {
        let path = self.path.join(name);
        let damaged = |why: String| StoreError::Damaged { path: path.clone(), why };
        let facts = openat(&lock, "facts.json", OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty());
        let facts = facts.map_err(io::Error::from).and_then(|fd| {
            let mut bytes = Vec::new();
            File::from(fd).read_to_end(&mut bytes)?;
            Ok(serde_json::from_slice(&bytes)?)
        });
        let facts: Facts = facts.map_err(|error| damaged(format!("facts.json: {error}")))?;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let tree = openat(&lock, "tree", flags, Mode::empty()).map_err(|errno| damaged(format!("tree: {errno}")))?;
        Ok(Published { key: key.to_owned(), tree, path: path.join("tree"), facts, lock })
    }

    /// Gives a staged layer its owners and modes and puts it in its place. `lower` are the trees below it, top first.
    pub(super) fn publish(
        &self,
        id: &Digest,
        staged: &mut super::stage::Batch,
        projection: &Projection,
        chain: &str,
        lower: &[BorrowedFd<'_>],
    ) -> Result<Published, StoreError> {
        let Some(Staged { mut staging, tree, mut written }) = staged.take(id) else {
            return Err(StoreError::Damaged {
                path: self.path.clone(),
                why: "a layer that was being unpacked is gone".into(),
            });
        };
        let io = |what, name: &str| self.io(what, name);
        let unpack = |source| StoreError::Unpack { path: self.path.clone(), source };
        if let Projection::Owner { .. } = projection {
            let record = openat(&staging.dir, "record", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
            let record = File::from(record.map_err(io("open", "staging"))?);
            project(tree.as_fd(), record, projection, self.privileged).map_err(unpack)?;
            for special in &mut written.facts.specials {
                if let SpecialKind::Device { made, .. } = &mut special.kind {
                    *made = false;
                }
            }
        }
        unlinkat(&staging.dir, "record", UnlinkatFlags::NoRemoveDir).map_err(io("remove the record of", "staging"))?;
        let mut key = projection.key();
        if !written.implied.is_empty() {
            inherit::from(lower, tree.as_fd(), &written.implied, self.privileged)
                .map_err(io("copy attributes in", "layers"))?;
            key = above(&key, chain);
        }
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let facts = openat(&staging.dir, "facts.json", flags, Mode::S_IRUSR | Mode::S_IWUSR)
            .map_err(io("create", "facts.json"))?;
        let bytes = serde_json::to_vec(&written.facts).map_err(io::Error::from);
        bytes.and_then(|bytes| File::from(facts).write_all(&bytes)).map_err(|source| StoreError::Io {
            what: "write",
            path: self.path.join("facts.json"),
            source,
        })?;
        match mkdirat(&self.layers, id.hex(), Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(io("create", "layers")(errno)),
        }
        let place = format!("{}/{key}", id.hex());
        // A folder that is there already has a tree in it, and rename(2) replaces no folder that is not empty.
        let renamed = renameat(&self.staging, staging.name.as_str(), &self.layers, place.as_str());
        match renamed {
            Ok(()) => staging.published = true,
            // Another austere was faster; what it has is the same.
            Err(Errno::EEXIST | Errno::ENOTEMPTY) => {}
            Err(errno) => return Err(io("publish", &format!("layers/{place}"))(errno)),
        }
        // The writer's lock must go before the reader's can be had.
        drop(staging);
        self.at(id, &key)?.ok_or_else(|| io("open", &format!("layers/{place}"))(Errno::ENOENT))
    }
}

/// The key of a layer whose folders have attributes of the layers below it.
fn above(key: &str, chain: &str) -> String {
    format!("{key}.{chain}")
}
