//! /dev: the six devices that every program may expect, terminals, shared memory and message queues.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat, makedev, mknodat};
use nix::unistd::symlinkat;

use super::{HELD, Plan, attach, fsmount, inside, open_path};
use crate::ids;
use crate::refusal::Refusal;
use crate::sys;

/// Name, major and minor number (Documentation/admin-guide/devices.txt of the kernel).
pub(super) const DEVICES: [(&str, u64, u64); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

pub(super) const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Made where the kernel has what it leads to.
const CORE: (&str, &str) = ("core", "/proc/kcore");

/// Whether a path is one of the devices, each of which may be a mount of its own.
pub(super) fn is_device(path: &str) -> bool {
    path.strip_prefix("/dev/").is_some_and(|name| DEVICES.iter().any(|(device, ..)| *device == name))
}

/// The host's devices, opened before the root changes.
#[derive(Debug)]
pub(super) struct Sources {
    devices: Vec<OwnedFd>,
}

impl Sources {
    /// Opens them, and makes sure that each is the device it is called: a file in its place would become the jail's /dev/null, and with it the
    /// cover of every masked path (CVE-2025-31133).
    pub(super) fn open() -> Result<Self, Refusal> {
        let open = |(name, major, minor): &(&str, u64, u64)| {
            let path = format!("/dev/{name}");
            let device = open_path(Path::new(&path))?;
            let stat = fstat(&device).map_err(|errno| Refusal::host("fstat", &path, errno))?;
            let is_device = stat.st_mode & libc::S_IFMT == libc::S_IFCHR;
            if !is_device || stat.st_rdev != makedev(*major, *minor) {
                let what = format!("{path}, which is not the character device {major}:{minor}");
                return Err(Refusal::host("fstat", what, Errno::ENODEV));
            }
            Ok(device)
        };
        Ok(Sources { devices: DEVICES.iter().map(open).collect::<Result<_, _>>()? })
    }

    /// A copy of the host's /dev/null that can be mounted on a file.
    pub(super) fn null(&self) -> Result<OwnedFd, Refusal> {
        clone(&self.devices[0], "/dev/null")
    }
}

fn clone(device: &OwnedFd, path: &str) -> Result<OwnedFd, Refusal> {
    sys::open_tree::clone_mount(device.as_fd(), c"", false).map_err(|errno| Refusal::host("open_tree", path, errno))
}

/// Mounts /dev and what lies in it; gives the file that is no program, where it is wanted.
pub(super) fn mount_dev(plan: &Plan, root: BorrowedFd<'_>, sources: &Sources) -> Result<Option<OwnedFd>, Refusal> {
    let target = inside::make_dir(root, "/dev", inside::shown_mode(plan.ids))
        .and_then(|_| inside::open_mount_point(root, "/dev"))?;
    // Docker's options; the files in it are empty, so that the size is only a bound.
    let options = [(c"mode", Some(c"755")), (c"size", Some(c"65536k"))];
    let dev = fsmount(c"tmpfs", &options, libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_STRICTATIME)?;
    attach(&dev, target.as_fd(), "/dev")?;
    let dev = dev.as_fd();
    for ((name, major, minor), source) in DEVICES.iter().zip(&sources.devices) {
        device(dev, name, makedev(*major, *minor), source)?;
    }
    let core = Path::new(CORE.1).exists().then_some(CORE);
    for (name, to) in LINKS.into_iter().chain(core) {
        symlinkat(to, dev, name).map_err(|errno| Refusal::host("symlink", format!("/dev/{name}"), errno))?;
    }
    let mut terminals = vec![(c"ptmxmode", Some(c"0666")), (c"mode", Some(c"0620"))];
    if plan.ids != ids::Mode::Single {
        // The group tty of every distribution; with one id there is no such group.
        terminals.push((c"gid", Some(c"5")));
    }
    let shm_size =
        CString::new(plan.shm_size.to_string()).map_err(|_| Refusal::host("fsmount", "/dev/shm", Errno::EINVAL))?;
    let shm = [(c"mode", Some(c"1777")), (c"size", Some(shm_size.as_c_str()))];
    let no_program = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
    mount_in(dev, "pts", &fsmount(c"devpts", &terminals, no_program)?)?;
    mount_in(dev, "shm", &fsmount(c"tmpfs", &shm, HELD)?)?;
    mount_in(dev, "mqueue", &fsmount(c"mqueue", &[], HELD)?)?;
    if plan.termination_log {
        // Written by everybody, as the kubelet makes it; open(2) leaves out what umask takes.
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        openat(dev, "termination-log", flags, Mode::from_bits_truncate(0o666))
            .map_err(|errno| Refusal::host("open", "/dev/termination-log", errno))?;
    }
    let junk = plan.junk.then(|| junk(dev)).transpose()?;
    if plan.ids == ids::Mode::Single || plan.no_upper {
        // With one id the app owns this folder, so its mode would not hold it back.
        sys::mount_setattr::set(dev, libc::MOUNT_ATTR_RDONLY)
            .map_err(|errno| Refusal::host("mount_setattr", "/dev, rdonly", errno))?;
    }
    Ok(junk)
}

/// A file in /dev that everybody may execute and that is no program. It has no name any more, so nobody else finds it.
fn junk(dev: BorrowedFd<'_>) -> Result<OwnedFd, Refusal> {
    let name = "no-program";
    let refused = |errno| Refusal::host("open", format!("/dev/{name}"), errno);
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let file = openat(dev, name, flags, Mode::from_bits_truncate(0o755)).map_err(refused)?;
    nix::unistd::write(&file, b"no program\n").map_err(refused)?;
    drop(file);
    let file = openat(dev, name, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).map_err(refused)?;
    nix::unistd::unlinkat(dev, name, nix::unistd::UnlinkatFlags::NoRemoveDir).map_err(refused)?;
    Ok(file)
}

/// Makes a device node, or where that is not allowed (every user namespace) mounts the host's on an empty file.
fn device(dev: BorrowedFd<'_>, name: &str, number: libc::dev_t, source: &OwnedFd) -> Result<(), Refusal> {
    let path = format!("/dev/{name}");
    match mknodat(dev, name, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), number) {
        Err(Errno::EPERM) => {}
        result => return result.map_err(|errno| Refusal::host("mknod", path, errno)),
    }
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let file = openat(dev, name, flags, Mode::empty()).map_err(|errno| Refusal::host("open", &path, errno))?;
    attach(&clone(source, &path)?, file.as_fd(), &path)
}

fn mount_in(dev: BorrowedFd<'_>, name: &str, mount: &OwnedFd) -> Result<(), Refusal> {
    let path = format!("/dev/{name}");
    let target = inside::make_dir(dev, name, Mode::from_bits_truncate(0o755))?;
    attach(mount, target.as_fd(), &path)
}
