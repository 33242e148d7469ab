//! The kernel's own file systems, /proc and /sys, and the parts of them that are covered or read-only.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use super::devices::Sources;
use super::{HELD, Plan, attach, fsmount, inside, is_absent, open_path};
use crate::refusal::Refusal;
use crate::sys;

/// Mounts the jail's own /proc.
pub(super) fn mount_proc(root: BorrowedFd<'_>) -> Result<(), Refusal> {
    let target = mount_point(root, "/proc")?;
    attach(&fsmount(c"proc", &[], HELD)?, target.as_fd(), "/proc")
}

/// Mounts /sys read-only, and in it the app's own part of the cgroup tree.
pub(super) fn mount_sys(plan: &Plan, root: BorrowedFd<'_>) -> Result<(), Refusal> {
    let target = mount_point(root, "/sys")?;
    // Both the mount and what is mounted, as runc has it: the kernel then answers EROFS before EACCES.
    let (read_only, options) = if plan.applies("writable-mounts") {
        (HELD | libc::MOUNT_ATTR_RDONLY, &[(c"ro", None)][..])
    } else {
        (HELD, &[][..])
    };
    match fsmount(c"sysfs", options, read_only) {
        // The host's network is not ours, so neither is a sysfs: the host's own stands in.
        Err(refusal) if refusal.errno == Errno::EPERM && plan.host_network => {
            let host = open_path(Path::new("/sys"))?;
            let copy = sys::open_tree::clone_mount(host.as_fd(), c"", true)
                .map_err(|errno| Refusal::host("open_tree", "/sys", errno))?;
            sys::mount_setattr::set_all(copy.as_fd(), read_only)
                .map_err(|errno| Refusal::host("mount_setattr", "/sys, rdonly", errno))?;
            return attach(&copy, target.as_fd(), "/sys");
        }
        sysfs => attach(&sysfs?, target.as_fd(), "/sys")?,
    }
    if plan.cgroup2 {
        let target = inside::open_mount_point(root, "/sys/fs/cgroup")?;
        attach(&fsmount(c"cgroup2", &[], read_only)?, target.as_fd(), "/sys/fs/cgroup")?;
    }
    Ok(())
}

fn mount_point(root: BorrowedFd<'_>, path: &str) -> Result<std::os::fd::OwnedFd, Refusal> {
    inside::make_dir(root, path, Mode::from_bits_truncate(0o555))?;
    inside::open_mount_point(root, path)
}

/// Covers the masked paths and makes the read-only ones so. Which of them exist differs from kernel to kernel; what is not there needs no cover.
pub(super) fn cover(plan: &Plan, root: BorrowedFd<'_>, devices: &Sources) -> Result<(), Refusal> {
    // The first folder's cover; the others get copies of it. One that stayed unattached would cost its end a wait for all CPUs.
    let mut empty: Option<OwnedFd> = None;
    let unless_left_out = |paths, measure| if plan.applies(measure) { paths } else { &[][..] };
    for path in unless_left_out(&plan.masked_paths[..], "masked-paths") {
        let target = match inside::open(root, path, OFlag::O_PATH | OFlag::O_NOFOLLOW) {
            Err(errno) if is_absent(errno) => continue,
            target => target.map_err(|errno| Refusal::host("openat2", path, errno))?,
        };
        let is_dir = inside::is_dir(target.as_fd()).map_err(|errno| Refusal::host("fstat", path, errno))?;
        let cover = match &empty {
            _ if !is_dir => devices.null()?,
            Some(empty) => sys::open_tree::clone_mount(empty.as_fd(), c"", false)
                .map_err(|errno| Refusal::host("open_tree", path, errno))?,
            None => fsmount(c"tmpfs", &[(c"mode", Some(c"755"))], HELD | libc::MOUNT_ATTR_RDONLY)?,
        };
        attach(&cover, target.as_fd(), path)?;
        if is_dir {
            empty.get_or_insert(cover);
        }
    }
    for path in unless_left_out(&plan.readonly_paths, "read-only-paths") {
        let target = match inside::open(root, path, OFlag::O_PATH | OFlag::O_NOFOLLOW) {
            Err(errno) if is_absent(errno) => continue,
            target => target.map_err(|errno| Refusal::host("openat2", path, errno))?,
        };
        let refused = |call: &str, errno| Refusal::host(call, path, errno);
        let copy =
            sys::open_tree::clone_mount(target.as_fd(), c"", true).map_err(|errno| refused("open_tree", errno))?;
        sys::mount_setattr::set(copy.as_fd(), libc::MOUNT_ATTR_RDONLY | HELD)
            .map_err(|errno| refused("mount_setattr", errno))?;
        attach(&copy, target.as_fd(), path)?;
    }
    Ok(())
}
