//! Layers that are whole, and how they come to be there.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, syncfs, unlinkat};

use super::collect::Removal;
use super::stage::{PATIENCE, Staged};
use super::staging::open_dir;
use super::trust::{Note, is_synced, mark_synced};
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
    pub(super) lock: File,
    /// When it appeared.
    pub(super) since: SystemTime,
    /// Whether it has the mark.
    pub(super) synced: bool,
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
            if !self.is_at(&dir, &relative) {
                continue;
            }
            match self.read(dir, key, &name)? {
                Ok(published) => return Ok(Some(published)),
                Err(doubtful) => self.discard(&doubtful, &relative)?,
            }
        }
    }

    /// What `lock`, an open layer folder, holds; the folder itself when that is not believed.
    fn read(&self, lock: File, key: &str, name: &str) -> Result<Result<Published, File>, StoreError> {
        let path = self.path.join(name);
        let damaged = |why: String| StoreError::Damaged { path: path.clone(), why };
        let synced = is_synced(lock.as_fd());
        let (note, since) = match Note::read(lock.as_fd()) {
            Ok((note, time)) if synced || self.is_this_boot(note.boot.as_deref()) => (note, time),
            Err(error) if synced => return Err(damaged(format!("facts.json: {error}"))),
            _ => return Ok(Err(lock)),
        };
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let tree = openat(&lock, "tree", flags, Mode::empty()).map_err(|errno| damaged(format!("tree: {errno}")))?;
        let (key, path, facts) = (key.to_owned(), path.join("tree"), note.facts);
        Ok(Ok(Published { key, tree, path, facts, lock, since, synced }))
    }

    /// Takes a layer that is not believed out of the way. Others may be looking at it too, for a moment.
    fn discard(&self, layer: &File, relative: &str) -> Result<(), StoreError> {
        let failed = |source| StoreError::Io { what: "unlock", path: self.path.join("layers").join(relative), source };
        layer.unlock().map_err(failed)?;
        let started = Instant::now();
        while self.take_out(layer, relative)? == Removal::InUse {
            if started.elapsed() > PATIENCE {
                return Err(StoreError::Damaged {
                    path: self.path.join("layers").join(relative),
                    why: "another boot unpacked it, it may not be whole, and somebody uses it".into(),
                });
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Gives a staged layer its owners and modes and puts it in its place. `lower` are the trees below it, top first.
    pub(super) fn publish(
        &self,
        id: &Digest,
        staged: &mut super::stage::Batch,
        projection: &Projection,
        chain: &str,
        lower: &[BorrowedFd<'_>],
        image: &str,
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
        let note = Note { facts: written.facts, boot: self.boot.clone(), image: image.to_owned() };
        note.write(staging.dir.as_fd()).map_err(|source| StoreError::Io {
            what: "write",
            path: self.path.join("facts.json"),
            source,
        })?;
        if self.boot.is_none() {
            // Nobody could tell later whether the host went down since.
            syncfs(&staging.dir).and_then(|()| mark_synced(staging.dir.as_fd())).map_err(io("sync", "staging"))?;
        }
        let place = format!("{}/{key}", id.hex());
        for attempt in 0.. {
            match mkdirat(&self.layers, id.hex(), Mode::S_IRWXU) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(io("create", "layers")(errno)),
            }
            // A folder that is there already has a tree in it, and rename(2) replaces no folder that is not empty.
            match renameat(&self.staging, staging.name.as_str(), &self.layers, place.as_str()) {
                Ok(()) => staging.published = true,
                // Another austere was faster; what it has is the same.
                Err(Errno::EEXIST | Errno::ENOTEMPTY) => {}
                // A cleaner found the folder empty.
                Err(Errno::ENOENT) if attempt < 10 => continue,
                Err(errno) => return Err(io("publish", &format!("layers/{place}"))(errno)),
            }
            break;
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
