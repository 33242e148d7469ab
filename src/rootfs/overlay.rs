//! The image's layers as one tree.

use std::fmt::Write as _;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::mount::{MsFlags, mount as mount_old};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, mkdirat};

use super::{HELD, Plan, attach, fsmount, open_path};
use crate::ids;
use crate::refusal::Refusal;

/// What mount(2) takes of options, in bytes: one page, and silently no more. It is room for some two hundred layers; engines stop at 127.
const OPTIONS: usize = 4096;

/// Mounts the layers below an empty upper layer. Opens the root of the result, and a folder that lies outside of it.
///
/// Layers are named by descriptor, so their paths are never too long for mount(2)'s one page and none shows up inside the jail. `userxattr`
/// is what an unprivileged mount needs (Linux 5.11), and the store writes its layers for it.
pub(super) fn mount(plan: &Plan, host: BorrowedFd<'_>) -> Result<(OwnedFd, OwnedFd), Refusal> {
    if plan.ids == ids::Mode::Real {
        // In a user namespace other than the host's, a mount namespace is a slave of the host's from the start.
        mount_old(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)
            .map_err(|errno| Refusal::host("mount", "/, rslave", errno))?;
    }
    let layers: Vec<OwnedFd> = plan.layers.iter().map(|path| open_path(path)).collect::<Result<_, _>>()?;
    let desk = fsmount(c"tmpfs", &[(c"mode", Some(c"700"))], HELD & !libc::MOUNT_ATTR_NOEXEC)?;
    // On top of the old root: it hides nothing from this process, whose own root lies below.
    attach(&desk, host, "/")?;
    let [root, upper, work, base] = ["root", "upper", "work", "base"].map(|name| make(desk.as_fd(), name));
    let (root, upper, work, base) = (root?, upper?, work?, base?);
    let mut options = format!(
        "userxattr,upperdir=/proc/self/fd/{},workdir=/proc/self/fd/{},lowerdir=",
        upper.as_raw_fd(),
        work.as_raw_fd()
    );
    for layer in layers.iter().rev() {
        // Writing to a String cannot fail.
        let _ = write!(options, "/proc/self/fd/{}:", layer.as_raw_fd());
    }
    let _ = write!(options, "/proc/self/fd/{}", base.as_raw_fd());
    let what = format!("overlay of {} layers", layers.len());
    if options.len() >= OPTIONS {
        return Err(Refusal::image("mount", what, Errno::E2BIG));
    }
    let target = format!("/proc/self/fd/{}", root.as_raw_fd());
    mount_old(Some("overlay"), target.as_str(), Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .map_err(|errno| Refusal::host("mount", what, errno))?;
    // The base is empty and nobody writes to it. A mount made for the purpose and never attached would cost its end a wait for all CPUs.
    Ok((open(desk.as_fd(), "root")?, base))
}

/// Makes the whole file system read-only, not the mount alone, as if it had no upper layer: writing is then EROFS whoever owns the file.
pub(super) fn freeze(root: BorrowedFd<'_>) -> Result<(), Refusal> {
    let place = format!("/proc/self/fd/{}", root.as_raw_fd());
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | MsFlags::MS_NODEV;
    mount_old(None::<&str>, place.as_str(), None::<&str>, flags, None::<&str>)
        .map_err(|errno| Refusal::host("mount", "/, remount, ro", errno))
}

/// A folder on the desk with the mode of a root: an overlay shows the mode of its topmost layer.
fn make(desk: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Refusal> {
    let refused = |errno: Errno| Refusal::host("mkdir", format!("the overlay's {name}"), errno);
    mkdirat(desk, name, Mode::S_IRWXU).map_err(refused)?;
    fchmodat(desk, name, Mode::from_bits_truncate(0o755), FchmodatFlags::FollowSymlink).map_err(refused)?;
    open(desk, name)
}

fn open(desk: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Refusal> {
    openat(desk, name, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|errno| Refusal::host("open", format!("the overlay's {name}"), errno))
}
