//! What is kept beside a layer's tree, and whether it is believed.
//!
//! The module's documentation of the store says why: see "Power loss" there.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstat, fstatat, futimens};
use nix::sys::time::TimeSpec;
use nix::unistd::syncfs;
use serde::{Deserialize, Serialize};

use super::Store;
use super::published::Published;
use crate::unpack::Facts;

/// The kernel writes what is dirty for 30 s by itself (`vm.dirty_expire_centisecs`, woken every 5 s); after twice that there is
/// hardly anything of a layer left for syncfs(2) to wait for.
const SETTLED: Duration = Duration::from_mins(1);

/// How exact the time of the last use is.
const DAY: Duration = Duration::from_hours(24);

/// The mark of a layer that is on the disk, in the layer's folder.
const SYNCED: &str = "synced";

/// `facts.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Note {
    /// What the tree cannot say.
    pub(super) facts: Facts,
    /// The boot in which it was published, where that can be known.
    pub(super) boot: Option<String>,
    /// The image it was unpacked for.
    pub(super) image: String,
}

impl Note {
    /// Of an open layer folder, with the time at which it was published.
    pub(super) fn read(layer: BorrowedFd<'_>) -> io::Result<(Self, SystemTime)> {
        let fd = openat(layer, "facts.json", OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
        let mut file = File::from(fd);
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok((serde_json::from_slice(&bytes)?, file.metadata()?.modified()?))
    }

    /// Into the folder of a layer that is not published yet.
    pub(super) fn write(&self, layer: BorrowedFd<'_>) -> io::Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let fd = openat(layer, "facts.json", flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        File::from(fd).write_all(&serde_json::to_vec(self)?)
    }
}

/// The host's present boot; nothing where the kernel does not show it.
pub(super) fn boot() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

/// Whether a layer has the mark.
pub(super) fn is_synced(layer: BorrowedFd<'_>) -> bool {
    fstatat(layer, SYNCED, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok()
}

/// Gives a layer the mark. Only after syncfs(2): the mark must not be on the disk before the layer is.
pub(super) fn mark_synced(layer: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(layer, SYNCED, flags, Mode::S_IRUSR).map(drop)
}

impl Store {
    /// Whether a layer that was published in `boot` needs no mark to be believed.
    pub(super) fn is_this_boot(&self, boot: Option<&str>) -> bool {
        boot.is_some() && boot == self.boot.as_deref()
    }

    /// Notes that layers are used, and marks those that have been there for a while. What cannot be noted here and now is left
    /// to a later command: the layers are as good without it.
    pub(super) fn settle<'a>(&self, layers: impl Iterator<Item = &'a Published> + Clone) {
        let due = |layer: &&Published| !layer.synced && elapsed(layer.since) >= SETTLED;
        if layers.clone().any(|layer| due(&layer)) && syncfs(self.layers.as_fd()).is_ok() {
            for layer in layers.clone().filter(due) {
                let _ = mark_synced(layer.lock.as_fd());
            }
        }
        for layer in layers {
            if last_used(layer.lock.as_fd()).is_ok_and(|time| elapsed(time) >= DAY) {
                let _ = futimens(&layer.lock, &TimeSpec::UTIME_OMIT, &TimeSpec::UTIME_NOW);
            }
        }
    }
}

/// When a layer was used last, as of an open layer folder. At most a day before it really was.
pub(super) fn last_used(layer: BorrowedFd<'_>) -> io::Result<SystemTime> {
    let seconds = fstat(layer)?.st_mtime;
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// The distance to now; a clock that was set back must not make a layer young for ever.
pub(super) fn elapsed(time: SystemTime) -> Duration {
    time.elapsed().unwrap_or_else(|ahead| ahead.duration())
}
