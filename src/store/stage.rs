//! Layers that are being unpacked, several at a time.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fchmod, futimens, mkdirat};
use nix::sys::time::{TimeSpec, TimeValLike};

use super::staging::{Staging, open_dir};
use super::{Store, StoreError};
use crate::digest::Digest;
use crate::source::Opened;
use crate::unpack::{self, Budget, Reading, Rights, Written};

/// How long another austere that unpacks the same layer is waited for. Then both unpack it, and the first one wins.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// Layers that are downloaded at the same time, however few or many processors there are: most of the time is spent waiting, and
/// registries and memory have limits.
const DOWNLOADS: std::ops::RangeInclusive<usize> = 3..=4;

/// A layer that was unpacked and checked, and has no place yet.
pub(super) struct Staged {
    pub(super) staging: Staging,
    pub(super) tree: OwnedFd,
    pub(super) written: Written,
}

/// Such layers, with the locks that keep others from unpacking them too.
#[derive(Default)]
pub(super) struct Batch {
    layers: BTreeMap<Digest, Staged>,
    locks: Vec<File>,
}

impl Batch {
    pub(super) fn has(&self, id: &Digest) -> bool {
        self.layers.contains_key(id)
    }

    pub(super) fn tree(&self, id: &Digest) -> Option<BorrowedFd<'_>> {
        self.layers.get(id).map(|staged| staged.tree.as_fd())
    }

    pub(super) fn take(&mut self, id: &Digest) -> Option<Staged> {
        self.layers.remove(id)
    }

    /// Lets others unpack these layers too.
    pub(super) fn unlock(&mut self) {
        self.locks.clear();
    }

    pub(super) fn extend(&mut self, other: Batch) {
        self.layers.extend(other.layers);
        self.locks.extend(other.locks);
    }
}

impl Store {
    /// Unpacks the layers `wanted`, each once, but for those that `done` finds when their turn has come.
    pub(super) fn stage(
        &self,
        opened: &Opened,
        wanted: &[usize],
        budget: &Budget,
        done: impl Fn(&Digest) -> Result<bool, StoreError>,
    ) -> Result<Batch, StoreError> {
        // Ordered by digest: two processes that lock several layers cannot wait for each other.
        let unique: BTreeMap<&Digest, usize> =
            wanted.iter().map(|index| (&opened.image.layers[*index].diff_id, *index)).collect();
        let mut locks = Vec::new();
        let mut jobs = Vec::new();
        for (id, index) in unique {
            locks.extend(self.lock(id, || done(id))?);
            if !done(id)? {
                jobs.push(index);
            }
        }
        if jobs.is_empty() {
            return Ok(Batch { locks, ..Batch::default() });
        }
        // The largest layer decides how long it takes, so it goes first.
        jobs.sort_by_key(|index| std::cmp::Reverse(opened.image.layers[*index].size));
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let workers =
            if opened.is_remote() { processors.clamp(*DOWNLOADS.start(), *DOWNLOADS.end()) } else { processors };
        let workers = workers.min(jobs.len());
        let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
        let layers = Mutex::new(BTreeMap::new());
        thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    while let Some(index) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        match self.one(opened, *index, budget) {
                            Ok(staged) => {
                                let id = opened.image.layers[*index].diff_id.clone();
                                lock_of(&layers).insert(id, staged);
                            }
                            Err(error) => {
                                next.store(jobs.len(), Ordering::Relaxed);
                                lock_of(&failed).get_or_insert(error);
                                opened.give_up();
                            }
                        }
                    }
                });
            }
        });
        if let Some(error) = lock_of(&failed).take() {
            return Err(error);
        }
        let layers = std::mem::take(&mut *lock_of(&layers));
        Ok(Batch { layers, locks })
    }

    /// Unpacks one layer into a staging folder.
    fn one(&self, opened: &Opened, index: usize, budget: &Budget) -> Result<Staged, StoreError> {
        let staging = Staging::new(self.staging.as_fd()).map_err(self.io("create a folder in", "staging"))?;
        let prepared = || -> Result<(OwnedFd, File), Errno> {
            mkdirat(&staging.dir, "tree", Mode::S_IRWXU)?;
            let tree = open_dir(staging.dir.as_fd(), b"tree")?;
            fchmod(&tree, Mode::from_bits_truncate(0o755))?;
            futimens(&tree, &TimeSpec::UTIME_OMIT, &TimeSpec::seconds(0))?;
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
            let record = openat(&staging.dir, "record", flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
            Ok((tree, File::from(record)))
        };
        let (tree, record) = prepared().map_err(self.io("create a folder in", "staging"))?;
        let rights = if self.privileged { Rights::All } else { Rights::Later };
        let root =
            tree.try_clone().map_err(|source| StoreError::Io { what: "open", path: self.path.clone(), source })?;
        let written = thread::scope(|scope| {
            let reading = Reading::start(scope, opened, index, budget);
            unpack::layer(reading, &opened.image, index, root, rights, record, budget)
        });
        let written = written.map_err(|source| StoreError::Unpack { path: self.path.clone(), source })?;
        Ok(Staged { staging, tree, written })
    }

    /// The lock for unpacking one layer; nothing when it is `done` by then, or when patience ends.
    fn lock(&self, id: &Digest, done: impl Fn() -> Result<bool, StoreError>) -> Result<Option<File>, StoreError> {
        let name = format!("layers/{}", id.hex());
        let folder = loop {
            match mkdirat(&self.layers, id.hex(), Mode::S_IRWXU) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(self.io("create", &name)(errno)),
            }
            match open_dir(self.layers.as_fd(), id.hex().as_bytes()) {
                Ok(folder) => break File::from(folder),
                // A cleaner found it empty.
                Err(Errno::ENOENT) => {}
                Err(errno) => return Err(self.io("open", &name)(errno)),
            }
        };
        let started = Instant::now();
        while folder.try_lock().is_err() {
            if started.elapsed() > PATIENCE || done()? {
                return Ok(None);
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(Some(folder))
    }
}

/// A panic in another thread is passed on by the scope; what it held is of no use, but not broken.
fn lock_of<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
