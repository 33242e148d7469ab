//! Paths inside the root, made and opened without leaving it.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{FchmodatFlags, Mode, fchmod, fchmodat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, symlinkat, unlinkat};

use super::Plan;
use crate::ids;
use crate::refusal::Refusal;

/// The mode of a folder that austere makes: 0755 and root's, which for the app's user means r-x. Where the app owns everything, its own bits
/// have to say so.
pub(super) fn shown_mode(ids: ids::Mode) -> Mode {
    match ids {
        ids::Mode::Real | ids::Mode::Mapped => Mode::from_bits_truncate(0o755),
        ids::Mode::Single => Mode::from_bits_truncate(0o555),
    }
}

/// Opens what `path` names inside `root`; links are followed inside it.
pub(super) fn open(root: BorrowedFd<'_>, path: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(root, below(path), how)
}

/// Opens a folder that engines mount something on; a symbolic link there is refused, because it would lead the mount astray
/// (CVE-2019-19921, CVE-2023-27561, CVE-2026-41579).
pub(super) fn open_mount_point(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Refusal> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(root, below(path), how)
        .map_err(|errno| Refusal::image("openat2", format!("{path}, a folder and not a link"), errno))
}

/// Makes the folder and those above it where they are missing, and opens it.
pub(super) fn make_dir(root: BorrowedFd<'_>, path: &str, mode: Mode) -> Result<OwnedFd, Refusal> {
    let refused = |errno| Refusal::image("mkdir", path, errno);
    match open(root, path, OFlag::O_PATH | OFlag::O_DIRECTORY) {
        Err(Errno::ENOENT) => {}
        opened => return opened.map_err(refused),
    }
    let place = Path::new(below(path));
    let (Some(parent), Some(name)) = (place.parent(), place.file_name()) else { return Err(refused(Errno::ENOENT)) };
    let parent = make_dir(root, &parent.to_string_lossy(), mode)?;
    match mkdirat(parent.as_fd(), name, mode) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(refused(errno)),
    }
    open(root, path, OFlag::O_PATH | OFlag::O_DIRECTORY).map_err(refused)
}

/// Makes the folder that the app starts in, where the image lacks it.
pub(super) fn make_working_dir(plan: &Plan, root: BorrowedFd<'_>) -> Result<(), Refusal> {
    let path = plan.working_dir.as_str();
    let is_there = open(root, path, OFlag::O_PATH).is_ok();
    let folder = make_dir(root, path, shown_mode(plan.ids))?;
    if !is_there && plan.working_dir_owner != (0, 0) {
        give(&folder, plan.ids, 0o755, plan.working_dir_owner).map_err(|errno| Refusal::image("chown", path, errno))?;
    }
    Ok(())
}

/// `/etc/mtab` where the image has none, as docker and podman make it.
pub(super) fn link_mounts(root: BorrowedFd<'_>) -> Result<(), Refusal> {
    let etc = make_dir(root, "/etc", Mode::from_bits_truncate(0o755))?;
    match symlinkat("/proc/mounts", etc.as_fd(), "mtab") {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(Refusal::image("symlink", "/etc/mtab", errno)),
    }
}

/// Gives an open folder an owner, where there are owners, and permission bits; in this order, because a change of owner takes bits away.
pub(super) fn give(folder: &OwnedFd, ids: ids::Mode, mode: u32, (uid, gid): (u32, u32)) -> Result<(), Errno> {
    if ids != ids::Mode::Single {
        let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        fchownat(folder.as_fd(), "", owner.0, owner.1, AtFlags::AT_EMPTY_PATH)?;
    }
    // The descriptor names a folder and no link, but fchmod(2) refuses one of O_PATH.
    let name = format!("/proc/self/fd/{}", folder.as_raw_fd());
    fchmodat(AT_FDCWD, name.as_str(), Mode::from_bits_truncate(mode), FchmodatFlags::FollowSymlink)
}

/// Makes an empty file where there is none, for something to be mounted on, and opens what is there.
pub(super) fn make_file(root: BorrowedFd<'_>, path: &str, folders: Mode) -> Result<OwnedFd, Refusal> {
    let refused = |errno| Refusal::image("open", path, errno);
    match open(root, path, OFlag::O_PATH) {
        Err(Errno::ENOENT) => {}
        opened => return opened.map_err(refused),
    }
    let place = Path::new(below(path));
    let (Some(parent), Some(name)) = (place.parent(), place.file_name()) else { return Err(refused(Errno::ENOENT)) };
    let parent = make_dir(root, &parent.to_string_lossy(), folders)?;
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(parent.as_fd(), name, flags, Mode::from_bits_truncate(0o644)).map_err(refused)?;
    open(root, path, OFlag::O_PATH).map_err(refused)
}

/// Writes the files that engines add, in place of what the image has there.
pub(super) fn write_files(plan: &Plan, root: BorrowedFd<'_>) -> Result<(), Refusal> {
    for (path, content) in &plan.files {
        let place = Path::new(path);
        let (Some(parent), Some(name)) = (place.parent(), place.file_name()) else { continue };
        let parent = make_dir(root, &parent.to_string_lossy(), shown_mode(plan.ids))?;
        let refused = |call: &str, errno| Refusal::image(call, path, errno);
        match unlinkat(parent.as_fd(), name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(refused("unlink", errno)),
        }
        let mode = shown_mode(plan.ids) & Mode::from_bits_truncate(0o644);
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(parent.as_fd(), name, flags, mode).map_err(|errno| refused("open", errno))?;
        File::from(file)
            .write_all(content.as_bytes())
            .map_err(|error| refused("write", error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)))?;
    }
    Ok(())
}

/// Writes the files that were asked for, in place of what is there.
pub(super) fn place_files(plan: &Plan, root: BorrowedFd<'_>) -> Result<(), Refusal> {
    for placed in &plan.placed {
        let place = Path::new(&placed.path);
        let (Some(parent), Some(name)) = (place.parent(), place.file_name()) else { continue };
        let parent = make_dir(root, &parent.to_string_lossy(), shown_mode(plan.ids))?;
        let refused = |call: &str, errno| Refusal::image(call, placed.path.as_str(), errno);
        match unlinkat(parent.as_fd(), name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(refused("unlink", errno)),
        }
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(placed.mode);
        let file = openat(parent.as_fd(), name, flags, Mode::S_IWUSR).map_err(|errno| refused("open", errno))?;
        let mut file = File::from(file);
        file.write_all(&placed.content)
            .map_err(|error| refused("write", error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)))?;
        if let Some(gid) = placed.gid {
            fchown(&file, None, Some(Gid::from_raw(gid))).map_err(|errno| refused("fchown", errno))?;
        }
        fchmod(&file, mode).map_err(|errno| refused("fchmod", errno))?;
    }
    Ok(())
}

/// Whether something is there, and whether it is a folder.
pub(super) fn is_dir(place: BorrowedFd<'_>) -> Result<bool, Errno> {
    let stat = nix::sys::stat::fstatat(place, "", AtFlags::AT_EMPTY_PATH)?;
    Ok(stat.st_mode & libc::S_IFMT == libc::S_IFDIR)
}

/// The path as seen from the root's descriptor.
fn below(path: &str) -> &str {
    match path.trim_matches('/') {
        "" => ".",
        path => path,
    }
}
