//! The root file system that the app sees: the image's layers, what engines add, and which of it can be written to.
//!
//! As docker has it, the root is a read-only *mount* of a writable overlay whose upper layer is empty and lies on a private tmpfs: the kernel then
//! answers EACCES before EROFS, as it does there. Nothing is ever looked up by a path that the image could bend: every mount point is opened
//! below the root with openat2(2), and mounts are attached by descriptor.

mod binds;
mod devices;
mod inside;
mod kernel;
mod overlay;
mod read_back;
mod tree;
mod writable;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, fchdir, pivot_root};

pub use read_back::{read_back, writable_executable};
pub use tree::enter as enter_tree;

use crate::ids;
use crate::profile::file::File;
use crate::profile::mount::Bind;
use crate::profile::tmpfs::Tmpfs;
use crate::refusal::Refusal;
use crate::sys;

/// Everything that the root is made of, decided and opened before the clone.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct Plan {
    /// Layer folders by absolute path, base first. They are opened in the new mount namespace: an overlay takes no layer from another.
    pub layers: Vec<PathBuf>,
    /// How ids of the image relate to ids of the host.
    pub ids: ids::Mode,
    /// The root is a read-only mount.
    pub read_only: bool,
    /// `VOLUME`s: writable, with the image's content and owner.
    pub volumes: Vec<String>,
    /// Fresh writable folders.
    pub tmpfs: Vec<Tmpfs>,
    /// Files and folders of the host.
    pub binds: Vec<Bind>,
    /// Where the app starts; made when the image lacks it.
    pub working_dir: String,
    /// Whom a working directory that is made belongs to: user and group.
    pub working_dir_owner: (u32, u32),
    /// An empty file in /dev that everybody may write to.
    pub termination_log: bool,
    /// `/etc/mtab` is made where the image has none.
    pub mtab: bool,
    /// Files that engines write: path and content.
    pub files: Vec<(String, String)>,
    /// Files with content of their own, in folders of a tmpfs too. They come after those.
    pub placed: Vec<File>,
    /// Paths that are covered.
    pub masked_paths: Vec<String>,
    /// Paths that become read-only.
    pub readonly_paths: Vec<String>,
    /// The size of /dev/shm in bytes.
    pub shm_size: u64,
    /// The host's cgroup v2 tree is mounted, and so the app gets to see its own part.
    pub cgroup2: bool,
    /// What no mount of its own makes writable has no upper layer: the root's file system is read-only, and so is /dev.
    pub no_upper: bool,
    /// A file that is no program is wanted, to try an exec of.
    pub junk: bool,
    /// The app is in the host's network.
    pub host_network: bool,
    /// Measures that are left out although they are asked for, so that a test can see the read-back notice.
    pub without: Vec<String>,
}

impl Plan {
    fn applies(&self, measure: &str) -> bool {
        !self.without.iter().any(|name| name == measure)
    }
}

/// The assembled root, and a place that is part of it no more.
#[derive(Debug)]
pub struct Assembled {
    /// The root of the new tree.
    pub root: OwnedFd,
    /// Folders that are to be writable because somebody asked for them, for the second wall.
    pub declared: Vec<OwnedFd>,
    /// What the kernel's own file systems let everybody write to.
    pub of_kernel: Vec<OwnedFd>,
    /// A file that may be executed and is no program, in the root, without a name.
    pub junk: Option<OwnedFd>,
    /// A folder of a mount that is attached nowhere any more; the Landlock witness tries to open it.
    pub outside: OwnedFd,
}

/// Builds the root and makes it the process's own. The process is in mount, pid, net, ipc, uts and cgroup namespaces of its own, and holds
/// every capability over them.
///
/// # Errors
///
/// The step that was refused; nothing outside the mount namespace has changed.
pub fn apply(plan: &Plan) -> Result<Assembled, Refusal> {
    let host = open_path(Path::new("/"))?;
    let devices = devices::Sources::open()?;
    let (root, outside) = overlay::mount(plan, host.as_fd())?;
    let root = root.as_fd();
    let mut declared = writable::volumes(plan, root)?;
    inside::write_files(plan, root)?;
    inside::make_working_dir(plan, root)?;
    if plan.mtab {
        inside::link_mounts(root)?;
    }
    kernel::mount_proc(root)?;
    kernel::mount_sys(plan, root)?;
    let junk = devices::mount_dev(plan, root, &devices)?;
    kernel::cover(plan, root, &devices)?;
    let tmpfs = writable::tmpfs(plan, root)?;
    inside::place_files(plan, root)?;
    declared.extend(writable::closed(plan, tmpfs)?);
    declared.extend(binds::mount(plan, root)?);
    if plan.read_only && plan.applies("read-only-root") {
        set_read_only(root)?;
    }
    if plan.no_upper && plan.applies("read-only-root") {
        overlay::freeze(root)?;
    }
    pivot(root)?;
    if !plan.read_only {
        declared.push(open_path(Path::new("/"))?);
    }
    let of_kernel = ["/proc", "/dev"].map(|path| open_path(Path::new(path))).into_iter().collect::<Result<_, _>>()?;
    Ok(Assembled { root: open_path(Path::new("/"))?, declared, of_kernel, junk, outside })
}

/// No program, no device, no change of user from a file system that austere adds.
const HELD: u64 = libc::MOUNT_ATTR_NOEXEC | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOSUID;

/// Never nosuid: engines do not set it on the image's root, and the kernel would ignore a file capability where it has to refuse the exec.
fn set_read_only(root: BorrowedFd<'_>) -> Result<(), Refusal> {
    sys::mount_setattr::set(root, libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NODEV)
        .map_err(|errno| Refusal::host("mount_setattr", "/, rdonly+nodev", errno))
}

fn pivot(root: BorrowedFd<'_>) -> Result<(), Refusal> {
    fchdir(root).map_err(|errno| Refusal::host("fchdir", "the new root", errno))?;
    pivot_root(".", ".").map_err(|errno| Refusal::host("pivot_root", "the new root", errno))?;
    // The old root now lies on the new one, and on it the overlay's desk: what is on top goes first.
    for what in ["the overlay's desk", "the old root"] {
        umount2(".", MntFlags::MNT_DETACH).map_err(|errno| Refusal::host("umount2", what, errno))?;
    }
    chdir("/").map_err(|errno| Refusal::host("chdir", "/", errno))
}

fn open_path(path: &Path) -> Result<OwnedFd, Refusal> {
    open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|errno| Refusal::host("open", path.display().to_string(), errno))
}

fn fsmount(
    kind: &std::ffi::CStr,
    options: &[(&std::ffi::CStr, Option<&std::ffi::CStr>)],
    attributes: u64,
) -> Result<OwnedFd, Refusal> {
    sys::fsmount::fsmount(kind, options, attributes)
        .map_err(|errno| Refusal::host("fsmount", kind.to_string_lossy(), errno))
}

fn attach(mount: &OwnedFd, target: BorrowedFd<'_>, path: &str) -> Result<(), Refusal> {
    sys::move_mount::move_mount(mount.as_fd(), target).map_err(|errno| Refusal::host("move_mount", path, errno))
}

/// Whether a refusal only says that there is nothing at the path.
fn is_absent(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::ENOTDIR)
}

/// Whether the host's cgroup tree is version 2, so that the jail can be shown its own part of it.
pub fn host_has_cgroup2() -> bool {
    nix::sys::statfs::statfs("/sys/fs/cgroup")
        .is_ok_and(|fs| fs.filesystem_type() == nix::sys::statfs::CGROUP2_SUPER_MAGIC)
}
