//! What is in the store, and taking out of it what nobody uses.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, renameat};
use nix::sys::stat::{Mode, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::staging::{Staging, open_dir};
use super::trust::{Note, elapsed, is_synced, last_used};
use super::{Store, StoreError};
use crate::digest::Digest;

/// A layer in the store, in one projection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name in images.
    pub diff_id: Digest,
    /// Whose view of it this is: `real`, or `u65532-g0` for a user with its groups; after a full stop, what it lies upon, where
    /// that matters.
    pub projection: String,
    /// Bytes of its files; 0 when that is not known.
    pub bytes: u64,
    /// Entries in its tar; 0 when that is not known.
    pub entries: u64,
    /// The image it was unpacked for. Others may have it too: that is not noted, so that a second run writes nothing.
    pub image: Option<String>,
    /// When it was used last, or at most a day before.
    pub last_used: SystemTime,
    /// Whether an austere uses it now.
    pub in_use: bool,
    /// Whether it is known to be on the disk.
    pub synced: bool,
    /// Whether it would be used; otherwise it would be unpacked again.
    pub usable: bool,
}

/// What goes. Layers that cannot be used any more always do; layers in use never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Layers that were not used for so long.
    pub older_than: Option<Duration>,
    /// The layers used longest ago, until the rest has no more bytes than this. Layers in use count.
    pub max_bytes: Option<u64>,
    /// All layers that are not in use.
    pub unused: bool,
}

/// What became of a layer that was to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Removed,
    /// Somebody uses it.
    InUse,
    /// Somebody else removed it, and may have put another one in its place.
    Gone,
}

impl Policy {
    /// Which of `layers` go.
    pub fn choose(&self, layers: &[Listed]) -> Vec<Listed> {
        let mut free: Vec<&Listed> = layers.iter().filter(|layer| !layer.in_use).collect();
        free.sort_by_key(|layer| layer.last_used);
        let mut rest: u64 = layers.iter().map(|layer| layer.bytes).sum();
        // In two rounds: what goes anyway makes room for what would have to go for its size.
        let (mut chosen, kept): (Vec<&Listed>, Vec<&Listed>) = free.into_iter().partition(|layer| {
            let is_old = self.older_than.is_some_and(|age| elapsed(layer.last_used) >= age);
            !layer.usable || self.unused || is_old
        });
        rest -= chosen.iter().map(|layer| layer.bytes).sum::<u64>();
        for layer in kept {
            if self.max_bytes.is_some_and(|most| rest > most) {
                rest -= layer.bytes;
                chosen.push(layer);
            }
        }
        chosen.into_iter().cloned().collect()
    }
}

impl Store {
    /// Every layer that the caller may open, ordered by name.
    ///
    /// # Errors
    ///
    /// When a folder of the store cannot be read.
    pub fn list(&self) -> Result<Vec<Listed>, StoreError> {
        let mut all = Vec::new();
        for hex in names(self.layers.as_fd()).map_err(self.io("list", "layers"))? {
            // The folder says the digits alone; their number says the algorithm.
            let algorithm = if hex.len() == 128 { "sha512" } else { "sha256" };
            let Ok(diff_id) = Digest::from_str(&format!("{algorithm}:{hex}")) else { continue };
            let place = format!("layers/{hex}");
            let keys = open_dir(self.layers.as_fd(), hex.as_bytes()).and_then(|folder| names(folder.as_fd()));
            for key in reachable(keys).map_err(self.io("list", &place))?.unwrap_or_default() {
                let relative = format!("{hex}/{key}");
                let layer = reachable(open_dir(self.layers.as_fd(), relative.as_bytes()));
                let layer = layer.map_err(self.io("open", &format!("layers/{relative}")))?;
                all.extend(layer.and_then(|layer| self.listed(&File::from(layer), &diff_id, &key)));
            }
        }
        all.sort_by(|a, b| (&a.diff_id, &a.projection).cmp(&(&b.diff_id, &b.projection)));
        Ok(all)
    }

    /// One layer, from its open folder; nothing if it goes right now.
    fn listed(&self, layer: &File, diff_id: &Digest, key: &str) -> Option<Listed> {
        let in_use = layer.try_lock().is_err();
        let synced = is_synced(layer.as_fd());
        let note = Note::read(layer.as_fd()).ok().map(|(note, _)| note);
        let has_tree = fstatat(layer, "tree", AtFlags::AT_SYMLINK_NOFOLLOW).is_ok();
        let believed = |note: &Note| synced || self.is_this_boot(note.boot.as_deref());
        let usable = has_tree && note.as_ref().is_some_and(believed);
        let facts = note.as_ref().map(|note| &note.facts);
        Some(Listed {
            diff_id: diff_id.clone(),
            projection: key.to_owned(),
            bytes: facts.map_or(0, |facts| facts.bytes),
            entries: facts.map_or(0, |facts| facts.entries),
            image: note.as_ref().map(|note| note.image.clone()),
            last_used: last_used(layer.as_fd()).ok()?,
            in_use,
            synced,
            usable,
        })
    }

    /// Takes one layer out of the store, unless somebody uses it. It disappears by rename; what is killed then leaves the rest
    /// of it to the next opening.
    ///
    /// # Errors
    ///
    /// When it cannot be moved, or its files cannot be removed.
    pub fn remove(&self, layer: &Listed) -> Result<Removal, StoreError> {
        let relative = format!("{}/{}", layer.diff_id.hex(), layer.projection);
        let folder = present(open_dir(self.layers.as_fd(), relative.as_bytes()));
        let Some(folder) = folder.map_err(self.io("open", &format!("layers/{relative}")))? else {
            return Ok(Removal::Gone);
        };
        let removal = self.take_out(&File::from(folder), &relative)?;
        self.remove_if_empty(layer.diff_id.hex());
        Ok(removal)
    }

    /// Removes the folders of layers that have no projection any more.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn remove_empty(&self) -> Result<(), StoreError> {
        for hex in names(self.layers.as_fd()).map_err(self.io("list", "layers"))? {
            self.remove_if_empty(&hex);
        }
        Ok(())
    }

    fn remove_if_empty(&self, hex: &str) {
        let Ok(folder) = open_dir(self.layers.as_fd(), hex.as_bytes()) else { return };
        // Whoever unpacks the layer has locked it, and will want it.
        if File::from(folder).try_lock().is_ok() {
            let _ = unlinkat(&self.layers, hex, UnlinkatFlags::RemoveDir);
        }
    }

    /// Takes out the layer whose open folder is `layer`, if it is still the one at `relative` and nobody uses it.
    pub(super) fn take_out(&self, layer: &File, relative: &str) -> Result<Removal, StoreError> {
        let name = format!("layers/{relative}");
        if layer.try_lock().is_err() {
            return Ok(Removal::InUse);
        }
        if !self.is_at(layer, relative) {
            return Ok(Removal::Gone);
        }
        let staging = Staging::new(self.staging.as_fd()).map_err(self.io("create a folder in", "staging"))?;
        renameat(&self.layers, relative, &staging.dir, "layer").map_err(self.io("remove", &name))?;
        // Whoever waits for it need not wait until its last file is gone.
        let _ = layer.unlock();
        staging.clear().map_err(self.io("remove the files of", &name))?;
        Ok(Removal::Removed)
    }

    /// Whether an open folder is the one that has this name. A lock on a folder that was moved away is worth nothing.
    pub(super) fn is_at(&self, layer: &File, relative: &str) -> bool {
        let here = fstatat(&self.layers, relative, AtFlags::AT_SYMLINK_NOFOLLOW);
        here.is_ok_and(|here| fstat(layer).is_ok_and(|held| (held.st_dev, held.st_ino) == (here.st_dev, here.st_ino)))
    }
}

/// What is not there (any more) is no error.
fn present<T>(result: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Nor is what somebody else unpacked here: root, who was given a user's store.
fn reachable<T>(result: Result<T, Errno>) -> Result<Option<T>, Errno> {
    if matches!(result, Err(Errno::EACCES)) { Ok(None) } else { present(result) }
}

fn names(folder: BorrowedFd<'_>) -> Result<Vec<String>, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut listing = Dir::openat(folder, c".", flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in listing.iter() {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn layer(name: &str, bytes: u64, hours: u32) -> Listed {
        Listed {
            diff_id: Digest::sha256(name.as_bytes()),
            projection: name.to_owned(),
            bytes,
            entries: 1,
            image: None,
            last_used: SystemTime::now() - HOUR * hours,
            in_use: false,
            synced: true,
            usable: true,
        }
    }

    fn chosen(policy: Policy, layers: &[Listed]) -> Vec<String> {
        policy.choose(layers).into_iter().map(|layer| layer.projection).collect()
    }

    #[test]
    fn a_policy_chooses_by_age_and_size_and_never_what_is_used() {
        let used = Listed { in_use: true, ..layer("used", 50, 99) };
        let stale = Listed { usable: false, ..layer("stale", 0, 0) };
        let layers = [layer("new", 10, 1), used, layer("old", 20, 48), stale, layer("older", 30, 72)];
        assert_eq!(chosen(Policy::default(), &layers), ["stale"]);
        let older = |hours| Policy { older_than: Some(HOUR * hours), ..Policy::default() };
        assert_eq!(chosen(older(24), &layers), ["older", "old", "stale"]);
        assert_eq!(chosen(older(1000), &layers), ["stale"]);
        let most = |bytes| Policy { max_bytes: Some(bytes), ..Policy::default() };
        assert_eq!(chosen(most(110), &layers), ["stale"]);
        assert_eq!(chosen(most(109), &layers), ["stale", "older"]);
        assert_eq!(chosen(most(60), &layers), ["stale", "older", "old"]);
        assert_eq!(chosen(most(0), &layers).len(), 4);
        let both = Policy { older_than: Some(HOUR * 60), ..most(80) };
        assert_eq!(chosen(both, &layers), ["older", "stale"]);
        assert_eq!(chosen(Policy { unused: true, ..Policy::default() }, &layers).len(), 4);
    }
}
