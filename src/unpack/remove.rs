//! Removing names and whole folders, below a descriptor and never through a link.

use std::os::fd::{AsFd, BorrowedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{Mode, SFlag, fchmod, fstat, fstatat, futimens};
use nix::sys::time::TimeSpec;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::UnpackError;
use super::added::Added;
use super::error::refused;

/// Removes `name`, whatever it is and whatever is in it; says whether there was anything.
///
/// # Errors
///
/// unlinkat(2) and openat(2): EACCES, EROFS, EBUSY for a mount point.
pub(crate) fn any(parent: BorrowedFd<'_>, name: &[u8]) -> Result<bool, Errno> {
    match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) => Ok(true),
        Err(Errno::ENOENT) => Ok(false),
        Err(Errno::EISDIR) => prune(parent, name, None).map(|_| true),
        Err(errno) => Err(errno),
    }
}

/// Removes what lower layers have under `name`, or everything they have in the folder; what the present layer added stays.
pub(super) fn lower(parent: BorrowedFd<'_>, name: Option<&[u8]>, added: Option<&Added>) -> Result<(), UnpackError> {
    let stat = fstat(parent).map_err(refused("stat", b""))?;
    let mtime = TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec);
    match name {
        Some(name) => prune(parent, name, added).map(drop).map_err(refused("remove", name))?,
        None => {
            for name in names(parent).map_err(refused("list", b""))? {
                prune(parent, &name, added).map_err(refused("remove", &name))?;
            }
        }
    }
    futimens(parent, &TimeSpec::UTIME_OMIT, &mtime).map_err(refused("set the time of", b""))
}

/// Removes `name` but for what was added; says whether anything of it is left.
fn prune(parent: BorrowedFd<'_>, name: &[u8], added: Option<&Added>) -> Result<bool, Errno> {
    let stat = match fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::ENOENT) => return Ok(false),
        Err(errno) => return Err(errno),
    };
    let kept = match added {
        Some(added) => added.has(fstat(parent)?.st_ino, name),
        None => false,
    };
    if stat.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFDIR.bits() {
        if !kept {
            unlinkat(parent, name, UnlinkatFlags::NoRemoveDir)?;
        }
        return Ok(kept);
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    if stat.st_mode & 0o700 != 0o700 {
        // Its owner may open it again; as root it does not matter.
        let _ = nix::sys::stat::fchmodat(parent, name, Mode::S_IRWXU, nix::sys::stat::FchmodatFlags::NoFollowSymlink);
    }
    let dir = nix::fcntl::openat(parent, name, flags, Mode::empty())?;
    let mut full = kept;
    for child in names(dir.as_fd())? {
        full |= prune(dir.as_fd(), &child, added)?;
    }
    if !full {
        unlinkat(parent, name, UnlinkatFlags::RemoveDir)?;
        return Ok(false);
    }
    fchmod(&dir, Mode::from_bits_truncate(stat.st_mode & 0o7777))?;
    futimens(&dir, &TimeSpec::UTIME_OMIT, &TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec))?;
    Ok(true)
}

fn names(dir: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>, Errno> {
    let mut listing = Dir::openat(dir, c".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut names = Vec::new();
    for entry in listing.iter() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_tree_goes_and_what_its_links_point_at_stays() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("keep"), "").unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/b/f"), "").unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("a/link")).unwrap();
        fs::set_permissions(dir.path().join("a/b"), std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
        let fd = fs::File::open(dir.path()).unwrap();
        assert!(any(fd.as_fd(), b"a").unwrap());
        assert!(!any(fd.as_fd(), b"absent").unwrap());
        assert!(!dir.path().join("a").exists());
        assert!(outside.path().join("keep").exists());
    }

    #[test]
    fn what_a_layer_added_survives_its_own_whiteout() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::write(dir.path().join("a/lower"), "").unwrap();
        fs::write(dir.path().join("a/added"), "").unwrap();
        let inode = |path: &std::path::Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
        let mut added = Added::default();
        added.insert(inode(&dir.path().join("a")), b"added");
        let fd = fs::File::open(dir.path()).unwrap();
        lower(fd.as_fd(), Some(b"a"), Some(&added)).unwrap();
        assert!(dir.path().join("a/added").exists() && !dir.path().join("a/lower").exists());
        lower(fd.as_fd(), None, None).unwrap();
        assert!(!dir.path().join("a").exists());
    }
}
