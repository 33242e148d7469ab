//! What an adversary does with ordinary calls.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::Path;
use std::{io, thread};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open as open_file};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::kill;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{Pid, unlink};

use crate::sys;
use crate::sys::exec_memory::{make_executable, map_writable_and_executable, memfd};

pub(super) fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

pub(super) fn open(path: &str, writes: bool) -> Result<(), Errno> {
    let flags = if writes { OFlag::O_WRONLY } else { OFlag::O_RDONLY };
    let file = open_file(path, flags | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC, Mode::empty())?;
    // An empty cover stands for nothing to read.
    let is_covered = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    let stat = nix::sys::stat::fstat(&file)?;
    let is_null = stat.st_rdev == makedev(1, 3) && !path.starts_with("/dev/");
    if is_covered || is_null { Err(Errno::ENODATA) } else { Ok(()) }
}

pub(super) fn make(path: &str) -> Result<(), Errno> {
    drop(open_file(path, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC, Mode::S_IRWXU)?);
    unlink(path)
}

/// A cgroup, in either hierarchy; it is removed again.
pub(super) fn own_cgroup(_: &str) -> Result<(), Errno> {
    let mut said = Errno::ENOENT;
    for parent in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/memory"] {
        let path = Path::new(parent).join("austere-made");
        match fs::create_dir(&path) {
            Ok(()) => return fs::remove_dir(&path).map_err(|error| errno(&error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => said = errno(&error),
        }
    }
    Err(said)
}

fn node(path: &str, kind: SFlag, number: (u64, u64)) -> Result<(), Errno> {
    mknod(path, kind, Mode::S_IRWXU, makedev(number.0, number.1))?;
    unlink(path)
}

pub(super) fn block_device(_: &str) -> Result<(), Errno> {
    node("/dev/austere-disk", SFlag::S_IFBLK, (8, 0))
}

pub(super) fn memory_device(_: &str) -> Result<(), Errno> {
    node("/dev/austere-mem", SFlag::S_IFCHR, (1, 1))
}

pub(super) fn writable_executable(_: &str) -> Result<(), Errno> {
    map_writable_and_executable()
}

pub(super) fn written_then_executable(_: &str) -> Result<(), Errno> {
    make_executable()
}

pub(super) fn executable_memfd(_: &str) -> Result<(), Errno> {
    memfd(libc::MFD_CLOEXEC).map(drop)
}

pub(super) fn more_files(_: &str) -> Result<(), Errno> {
    setrlimit(Resource::RLIMIT_NOFILE, 1 << 20, (1 << 30) + 1)
}

pub(super) fn core_dumps(_: &str) -> Result<(), Errno> {
    setrlimit(Resource::RLIMIT_CORE, 1, 1)
}

pub(super) fn route_out(_: &str) -> Result<(), Errno> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(|error| errno(&error))?;
    // Documentation's network (RFC 5737): a route is looked up, and nothing is sent.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).map_err(|error| errno(&error))
}

/// A port of the host's, which `outside` ends with.
pub(super) fn host_port(outside: &str) -> Result<(), Errno> {
    let port = outside.rsplit('-').next().and_then(|word| word.parse::<u16>().ok()).ok_or(Errno::EINVAL)?;
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map(drop).map_err(|error| errno(&error))
}

/// A port of the kernel's choice: none that anybody named.
pub(super) fn listen_undeclared(_: &str) -> Result<(), Errno> {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).map(drop).map_err(|error| errno(&error))
}

pub(super) fn abstract_socket(outside: &str) -> Result<(), Errno> {
    let address = SocketAddr::from_abstract_name(outside).map_err(|error| errno(&error))?;
    UnixStream::connect_addr(&address).map(drop).map_err(|error| errno(&error))
}

/// Whether a process of somebody else can be seen: more than the adversary and its child.
pub(super) fn foreign_process(_: &str) -> Result<(), Errno> {
    if others()?.is_empty() { Err(Errno::ESRCH) } else { Ok(()) }
}

/// Whether one of them can be sent a signal; none is sent.
pub(super) fn signal_others(_: &str) -> Result<(), Errno> {
    let ask = |pid: &i32| kill(Pid::from_raw(*pid), None);
    others()?.iter().map(ask).reduce(Result::or).unwrap_or(Err(Errno::ESRCH))
}

fn others() -> Result<Vec<i32>, Errno> {
    let entries = fs::read_dir("/proc").map_err(|error| errno(&error))?;
    let own = i32::try_from(std::process::id()).unwrap_or(1);
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    // Children that ended and that nobody waited for yet are no one's.
    let is_other =
        |pid: &i32| *pid != 1 && *pid != own && Path::new("/proc").join(pid.to_string()).join("exe").exists();
    Ok(pids.filter(is_other).collect())
}

/// Whether a descriptor came in besides the three standard ones: the one of this very look is closed again when it is asked about.
pub(super) fn descriptor(_: &str) -> Result<(), Errno> {
    let numbers: Vec<_> = fs::read_dir("/proc/self/fd")
        .map_err(|error| errno(&error))?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .collect();
    let is_open =
        |number: &i32| *number > 2 && Path::new(&format!("/proc/self/fd/{number}")).symlink_metadata().is_ok();
    if numbers.iter().any(is_open) { Ok(()) } else { Err(Errno::EBADF) }
}

/// The folder above the root, by as many `..` as there may be, and by /proc.
pub(super) fn above_root(_: &str) -> Result<(), Errno> {
    use std::os::unix::fs::MetadataExt as _;
    let here = fs::metadata("/").map_err(|error| errno(&error))?;
    for path in ["/../../../..", "/proc/1/root/..", "/proc/self/cwd/../../.."] {
        let there = fs::metadata(path).map_err(|error| errno(&error))?;
        if (there.dev(), there.ino()) != (here.dev(), here.ino()) {
            return Ok(());
        }
    }
    Err(Errno::ENOENT)
}

/// From a second thread, as the first is often looked at only.
pub(super) fn unshare_in_thread(_: &str) -> Result<(), Errno> {
    let work = || sys::acts::named("unshare-mount").map_or(Err(Errno::ENOSYS), |call| call.make().map(drop));
    thread::spawn(work).join().unwrap_or(Err(Errno::EIO))
}

pub(super) fn unshare_32(_: &str) -> Result<(), Errno> {
    sys::acts::unshare_user_32().map(drop)
}
