//! Folders that a layer needs and does not speak of.
//!
//! Some builders write `tmp/x` without `tmp/`. In an overlay the topmost folder's attributes are the ones that show, so the
//! folder that was made for `x` must have those of `/tmp` in the layers below, or `/tmp` would lose its mode. Containerd does
//! the same.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag, fchmod, futimens};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown};

use super::lookup::find;
use crate::unpack::below;

/// Gives the folders `implied` of `tree` the attributes that they have in the layers `lower`, top first.
pub(super) fn from(
    lower: &[BorrowedFd<'_>],
    tree: BorrowedFd<'_>,
    implied: &[Vec<u8>],
    chown: bool,
) -> Result<(), Errno> {
    for path in implied {
        let Some(found) = find(lower, path, false)? else { continue };
        if found.stat.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFDIR.bits() {
            continue;
        }
        let folder = match below(tree, path, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
            Ok(folder) => folder,
            // A later entry of the layer replaced it.
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => continue,
            Err(errno) => return Err(errno),
        };
        if chown {
            fchown(folder.as_fd(), Some(Uid::from_raw(found.stat.st_uid)), Some(Gid::from_raw(found.stat.st_gid)))?;
        }
        fchmod(&folder, Mode::from_bits_truncate(found.stat.st_mode & 0o7777))?;
        futimens(&folder, &TimeSpec::UTIME_OMIT, &TimeSpec::new(found.stat.st_mtime, found.stat.st_mtime_nsec))?;
    }
    Ok(())
}
