//! The root where nothing can be mounted: a folder of its own, changed to for good.
//!
//! It has what engines add as far as files can stand for mounts: `/dev` with nodes where they can be made, folders in place of tmpfs. `/proc`
//! and `/sys` are as the image has them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, makedev, mknodat};
use nix::unistd::{chdir, chroot, fchdir, symlinkat};

use super::devices::{DEVICES, LINKS};
use super::{Assembled, Plan, inside, open_path};
use crate::ids;
use crate::refusal::Refusal;

/// Makes the one folder of `plan.layers`, which is nobody else's, ready, and changes the root to it.
///
/// # Errors
///
/// The step that was refused: chroot(2) needs `CAP_SYS_CHROOT`.
pub fn enter(plan: &Plan) -> Result<Assembled, Refusal> {
    if let Some(bind) = plan.binds.first() {
        return Err(Refusal::host("open_tree", bind.source.display().to_string(), Errno::EPERM));
    }
    let outside = open_path(Path::new("/"))?;
    let place = plan.layers.first().ok_or_else(|| Refusal::host("open", "the merged layers", Errno::ENOENT))?;
    let root = open_path(place)?;
    inside::write_files(plan, root.as_fd())?;
    inside::make_working_dir(plan, root.as_fd())?;
    let folder = |path: &String| inside::make_dir(root.as_fd(), path, inside::shown_mode(plan.ids));
    let mut writable = plan.volumes.iter().map(folder).collect::<Result<Vec<_>, _>>()?;
    for tmpfs in &plan.tmpfs {
        let path = tmpfs.path.to_string_lossy();
        let owner = (tmpfs.uid.unwrap_or(0), tmpfs.gid.unwrap_or(0));
        writable.push(open_to(root.as_fd(), &path, tmpfs.mode.unwrap_or(0o1777), owner)?);
    }
    inside::place_files(plan, root.as_fd())?;
    inside::make_dir(root.as_fd(), "/dev", inside::shown_mode(plan.ids))?;
    let dev = inside::open_mount_point(root.as_fd(), "/dev")?;
    devices(dev.as_fd())?;
    open_to(dev.as_fd(), "shm", 0o1777, (0, 0))?;
    let of_kernel = vec![dev];

    if !plan.read_only {
        writable.push(open_path(place)?);
    }
    fchdir(&root).map_err(|errno| Refusal::host("fchdir", "the new root", errno))?;
    chroot(".").map_err(|errno| Refusal::host("chroot", "the new root", errno))?;
    chdir("/").map_err(|errno| Refusal::host("chdir", "/", errno))?;
    Ok(Assembled { root, declared: writable, of_kernel, junk: None, outside })
}

/// A folder with this mode and owner.
fn open_to(root: BorrowedFd<'_>, path: &str, mode: u32, (uid, gid): (u32, u32)) -> Result<OwnedFd, Refusal> {
    let folder = inside::make_dir(root, path, Mode::from_bits_truncate(0o755))?;
    inside::give(&folder, ids::Mode::Real, mode, (uid, gid)).map_err(|errno| Refusal::host("chmod", path, errno))?;
    Ok(folder)
}

/// What the image has there stays. Engines that take `CAP_MKNOD` away leave the app without the rest.
fn devices(dev: BorrowedFd<'_>) -> Result<(), Refusal> {
    for (name, major, minor) in DEVICES {
        match mknodat(dev, name, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(major, minor)) {
            Ok(()) | Err(Errno::EEXIST | Errno::EPERM) => {}
            Err(errno) => return Err(Refusal::host("mknod", format!("/dev/{name}"), errno)),
        }
    }
    for (name, to) in LINKS {
        match symlinkat(to, dev, name) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(Refusal::host("symlink", format!("/dev/{name}"), errno)),
        }
    }
    Ok(())
}
