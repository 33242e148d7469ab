//! Owners and modes of a layer's files, kept in a file until it is known who will look at them.
//!
//! Which bits UID 65532 would have had depends on its groups, and those on `/etc/passwd` of the merged image; so files are
//! written first and projected afterwards. The record lies in the staging folder, not in memory, and goes when the layer is
//! published.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, unlinkat};

use super::error::{refused, shown};
use super::tree::{below, split};
use super::{Projection, UnpackError};

/// A record that is being written.
pub(crate) struct Record(BufWriter<File>);

impl Record {
    pub(crate) fn new(file: File) -> Self {
        Record(BufWriter::new(file))
    }

    /// `mode` has the type bits too.
    pub(super) fn add(&mut self, path: &[u8], mode: u32, uid: u32, gid: u32) -> Result<(), UnpackError> {
        let length = u32::try_from(path.len()).unwrap_or(u32::MAX);
        let numbers = [length, mode, uid, gid].map(u32::to_le_bytes).concat();
        self.0.write_all(&numbers).and_then(|()| self.0.write_all(path)).map_err(failed(path))
    }

    pub(super) fn finish(&mut self) -> Result<(), UnpackError> {
        self.0.flush().map_err(failed(b""))
    }
}

/// Gives every file of the record the mode that `projection` makes of it; `chown` says whether owners must change too.
///
/// # Errors
///
/// When the record or the tree cannot be read, or the kernel refuses a mode.
pub(crate) fn project(
    tree: BorrowedFd<'_>,
    record: File,
    projection: &Projection,
    chown: bool,
) -> Result<(), UnpackError> {
    let Projection::Owner { uid, gid, groups } = projection else { return Ok(()) };
    let mut record = BufReader::new(record);
    let mut parent: Option<(Vec<u8>, OwnedFd)> = None;
    let mut closed = Vec::new();
    while let Some((path, mode, file_uid, file_gid)) = next(&mut record).map_err(failed(b""))? {
        let (dir, name) = split(&path);
        if parent.as_ref().is_none_or(|(open, _)| open != dir) {
            match below(tree, dir, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
                Ok(fd) => parent = Some((dir.to_owned(), fd)),
                // A later entry of the layer replaced it.
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => continue,
                Err(errno) => return Err(refused("open folder", dir)(errno)),
            }
        }
        let Some((_, parent)) = &parent else { continue };
        let name = if path.is_empty() { b"." } else { name };
        let kind = SFlag::from_bits_truncate(mode & SFlag::S_IFMT.bits());
        if matches!(kind, SFlag::S_IFCHR | SFlag::S_IFBLK) {
            hide(parent.as_fd(), name).map_err(refused("hide device", &path))?;
            continue;
        }
        let shift = if file_uid == *uid {
            6
        } else if file_gid == *gid || groups.contains(&file_gid) {
            3
        } else {
            0
        };
        let owner = (mode >> shift) & 0o7;
        let set_id = if kind == SFlag::S_IFDIR { mode & 0o7000 } else { mode & 0o1000 };
        let mode = set_id | owner << 6 | mode & 0o077;
        if chown {
            let (uid, gid) = (Uid::effective(), Gid::effective());
            let done = fchownat(parent, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW);
            gone_is_fine(done).map_err(refused("chown", &path))?;
        }
        if kind == SFlag::S_IFDIR && mode & 0o700 != 0o700 {
            // Closed last, so that what lies in it can be reached until then.
            closed.push((path, mode));
        } else {
            gone_is_fine(chmod(parent.as_fd(), name, mode)).map_err(refused("chmod", &path))?;
        }
    }
    for (path, mode) in closed.into_iter().rev() {
        let (dir, name) = split(&path);
        let name = if path.is_empty() { b"." } else { name };
        let done =
            below(tree, dir, OFlag::O_RDONLY | OFlag::O_DIRECTORY).and_then(|dir| chmod(dir.as_fd(), name, mode));
        gone_is_fine(done).map_err(refused("chmod", &path))?;
    }
    Ok(())
}

/// Changes a mode without following a link.
pub(super) fn chmod(parent: BorrowedFd<'_>, name: &[u8], mode: u32) -> Result<(), Errno> {
    fchmodat(parent, name, Mode::from_bits_truncate(mode), FchmodatFlags::NoFollowSymlink)
}

/// A device that may not be had still hides what lower layers have of its name.
fn hide(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    gone_is_fine(unlinkat(parent, name, UnlinkatFlags::NoRemoveDir))?;
    nix::sys::stat::mknodat(parent, name, SFlag::S_IFCHR, Mode::empty(), 0)
}

/// An entry that a later one of the same layer replaced by a link (EOPNOTSUPP) or removed.
fn gone_is_fine(done: Result<(), Errno>) -> Result<(), Errno> {
    match done {
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EOPNOTSUPP) => Ok(()),
        other => other,
    }
}

type Line = (Vec<u8>, u32, u32, u32);

fn next(record: &mut impl Read) -> io::Result<Option<Line>> {
    let mut numbers = [[0; 4]; 4];
    match record.read_exact(numbers.as_flattened_mut()) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let [length, mode, uid, gid] = numbers.map(u32::from_le_bytes);
    let mut path = vec![0; length as usize];
    record.read_exact(&mut path)?;
    Ok(Some((path, mode, uid, gid)))
}

fn failed(path: &[u8]) -> impl FnOnce(io::Error) -> UnpackError {
    let path = shown(path);
    move |source| UnpackError::Write { what: "record the owner of", path, source }
}
