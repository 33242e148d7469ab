//! What the app may write to although its root is read-only: the image's volumes, and tmpfs where it was asked for.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, fstat};

use super::{Plan, attach, inside};
use crate::ids;
use crate::profile::tmpfs::Tmpfs;
use crate::refusal::Refusal;
use crate::sys;

/// Attaches a writable copy of the overlay's mount on each volume: it shows the image's content with its owner, and what the app writes goes
/// to the upper layer. Call it while the root is still writable.
pub(super) fn volumes(plan: &Plan, root: BorrowedFd<'_>) -> Result<Vec<OwnedFd>, Refusal> {
    let attach_volume = |path: &String| {
        let target = inside::make_dir(root, path, inside::shown_mode(plan.ids))?;
        let copy = sys::open_tree::clone_mount(target.as_fd(), c"", false)
            .map_err(|errno| Refusal::host("open_tree", path, errno))?;
        attach(&copy, target.as_fd(), path)?;
        Ok(copy)
    };
    plan.volumes.iter().map(attach_volume).collect()
}

/// A writable folder with what the image has there, as podman copies it up: a copy of the overlay's mount, whose upper layer lies in memory too.
fn copied_up(tmpfs: &Tmpfs, plan: &Plan, root: BorrowedFd<'_>) -> Result<OwnedFd, Refusal> {
    let path = tmpfs.path.to_string_lossy();
    let refused = |call: &str, errno| Refusal::host(call, path.as_ref(), errno);
    let target = inside::make_dir(root, &path, inside::shown_mode(plan.ids))?;
    let (uid, gid) = (tmpfs.uid.unwrap_or(0), tmpfs.gid.unwrap_or(0));
    inside::give(&target, plan.ids, tmpfs.mode.unwrap_or(0o1777), (uid, gid))
        .map_err(|errno| refused("chmod", errno))?;
    let copy = sys::open_tree::clone_mount(target.as_fd(), c"", false).map_err(|errno| refused("open_tree", errno))?;
    sys::mount_setattr::set(copy.as_fd(), attributes(tmpfs)).map_err(|errno| refused("mount_setattr", errno))?;
    attach(&copy, target.as_fd(), &path)?;
    Ok(copy)
}

/// Mounts each tmpfs.
pub(super) fn tmpfs(plan: &Plan, root: BorrowedFd<'_>) -> Result<Vec<OwnedFd>, Refusal> {
    let mount = |tmpfs: &Tmpfs| {
        if tmpfs.copy_up {
            return copied_up(tmpfs, plan, root);
        }
        let path = tmpfs.path.to_string_lossy();
        let refused = |errno| Refusal::host("fsmount", path.as_ref(), errno);
        let mode = match (tmpfs.mode, inside::open(root, &path, OFlag::O_PATH | OFlag::O_DIRECTORY)) {
            (Some(mode), _) => mode,
            (None, Ok(folder)) => {
                let mode = fstat(folder).map_err(refused)?.st_mode & 0o7777;
                // With one id the mode says what the app may do with a folder that is another's. As the owner it may do what an owner may.
                if plan.ids == ids::Mode::Single && tmpfs.uid.is_some() { mode | 0o700 } else { mode }
            }
            // What docker gives a folder that was not there.
            (None, Err(_)) => 0o1777,
        };
        let text = |number: String| CString::new(number).map_err(|_| refused(Errno::EINVAL));
        let mut options = vec![(c"mode", text(format!("{mode:o}"))?)];
        for (key, number) in
            [(c"size", tmpfs.size), (c"uid", tmpfs.uid.map(u64::from)), (c"gid", tmpfs.gid.map(u64::from))]
        {
            if let Some(number) = number {
                options.push((key, text(number.to_string())?));
            }
        }
        let options: Vec<_> = options.iter().map(|(key, value)| (*key, Some(value.as_c_str()))).collect();
        let target = inside::make_dir(root, &path, Mode::from_bits_truncate(0o755))?;
        let mount = sys::fsmount::fsmount(c"tmpfs", &options, attributes(tmpfs)).map_err(refused)?;
        attach(&mount, target.as_fd(), &path)?;
        Ok(mount)
    };
    plan.tmpfs.iter().map(mount).collect()
}

/// Makes those read-only that are to be, after what has to be in them was written; gives the others.
pub(super) fn closed(plan: &Plan, mounts: Vec<OwnedFd>) -> Result<Vec<OwnedFd>, Refusal> {
    let mut writable = Vec::new();
    for (tmpfs, mount) in plan.tmpfs.iter().zip(mounts) {
        if tmpfs.read_only {
            let refused = |errno| Refusal::host("mount_setattr", format!("{}, rdonly", tmpfs.path.display()), errno);
            sys::mount_setattr::set(mount.as_fd(), libc::MOUNT_ATTR_RDONLY).map_err(refused)?;
        } else {
            writable.push(mount);
        }
    }
    Ok(writable)
}

fn attributes(tmpfs: &Tmpfs) -> u64 {
    let unless = |allowed: bool, flag: u64| if allowed { 0 } else { flag };
    unless(tmpfs.exec.unwrap_or(false), libc::MOUNT_ATTR_NOEXEC)
        | unless(tmpfs.suid, libc::MOUNT_ATTR_NOSUID)
        | unless(tmpfs.dev, libc::MOUNT_ATTR_NODEV)
}
