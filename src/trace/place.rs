//! Paths as the app's files name them, and what lies there.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{FileStat, fstat};
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::unistd::Pid;

/// `/proc/PID/NAME` as a link, without the part that is above the process's root.
fn link(pid: Pid, name: &str) -> Option<String> {
    let target = std::fs::read_link(format!("/proc/{pid}/{name}")).ok()?;
    let root = std::fs::read_link(format!("/proc/{pid}/root")).ok()?;
    let inside = match target.strip_prefix(&root) {
        Ok(rest) if root != Path::new("/") => Path::new("/").join(rest),
        _ => target,
    };
    Some(inside.to_string_lossy().into_owned())
}

/// The program that a process runs.
pub(super) fn program(pid: Pid) -> Option<String> {
    link(pid, "exe")
}

/// What a descriptor of a process refers to; a pipe or a socket has no path.
pub(super) fn descriptor(pid: Pid, fd: u64) -> Option<String> {
    let fd = i32::try_from(fd & 0xffff_ffff).ok()?;
    link(pid, &format!("fd/{fd}"))
}

/// The file that is mapped at an address of a process.
pub(super) fn mapped(pid: Pid, address: u64) -> Option<String> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let holds = |line: &&str| {
        let ends = line.split(' ').next().and_then(|range| range.split_once('-'));
        let number = |text: &str| u64::from_str_radix(text, 16).ok();
        ends.and_then(|(from, to)| Some((number(from)?, number(to)?)))
            .is_some_and(|(from, to)| (from..to).contains(&address))
    };
    let line = maps.lines().find(holds)?;
    let path = &line[line.find('/')?..];
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    let root = std::fs::read_link(format!("/proc/{pid}/root")).ok()?;
    match Path::new(path).strip_prefix(&root) {
        Ok(rest) => Some(format!("/{}", rest.to_string_lossy())),
        Err(_) => Some(path.to_owned()),
    }
}

/// `path` of a call, made absolute: from the folder of `dir`, else from the working directory.
pub(super) fn absolute(pid: Pid, dir: Option<u64>, path: &str) -> String {
    if path.starts_with('/') {
        return tidy(path);
    }
    // AT_FDCWD is negative, and only the lower half of the register counts.
    let named = dir.filter(|dir| i32::try_from(dir & 0xffff_ffff).is_ok());
    let base = match named {
        Some(fd) => descriptor(pid, fd),
        None => link(pid, "cwd"),
    };
    match base {
        Some(base) if path.is_empty() => base,
        Some(base) => tidy(&format!("{base}/{path}")),
        None => path.to_owned(),
    }
}

/// Without `.`, `..` and double slashes.
fn tidy(path: &str) -> String {
    let mut tidy = PathBuf::from("/");
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => {
                tidy.pop();
            }
            Component::Normal(name) => tidy.push(name),
            _ => {}
        }
    }
    tidy.to_string_lossy().into_owned()
}

/// The files of a process.
#[derive(Debug)]
pub(super) struct Files(OwnedFd);

/// The room of a file system.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) is_tmpfs: bool,
    /// In bytes.
    pub(super) size: u64,
    pub(super) is_full: bool,
    pub(super) no_more_files: bool,
}

/// Something in them.
#[derive(Debug)]
pub(super) struct Thing {
    pub(super) stat: FileStat,
    pub(super) flags: FsFlags,
    fd: OwnedFd,
}

impl Files {
    pub(super) fn of(pid: Pid) -> Option<Self> {
        File::open(format!("/proc/{pid}/root")).ok().map(|root| Files(root.into()))
    }

    /// What `path` leads to, the last link followed or not. Nothing when it is not there, or may not be looked at by us.
    pub(super) fn find(&self, path: &str, follow: bool) -> Option<Thing> {
        let mut flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
        flags.set(OFlag::O_NOFOLLOW, !follow);
        let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_IN_ROOT);
        let fd = openat2(self.0.as_fd(), path, how).ok()?;
        Some(Thing { stat: fstat(&fd).ok()?, flags: fstatvfs(&fd).ok()?.flags(), fd })
    }
}

impl Thing {
    /// What `security.capability` holds.
    pub(super) fn capability(&self) -> Option<Vec<u8>> {
        crate::sys::xattr::get(self.fd.as_fd(), c"security.capability").ok().flatten()
    }

    /// The permission bits, with set-id and sticky.
    pub(super) fn mode(&self) -> u32 {
        self.stat.st_mode & 0o7777
    }

    /// How much room its file system has, and how much of that is left.
    pub(super) fn room(&self) -> Option<Room> {
        let (kind, all) = (fstatfs(&self.fd).ok()?, fstatvfs(&self.fd).ok()?);
        let size = all.blocks().checked_mul(all.fragment_size())?;
        Some(Room {
            is_tmpfs: kind.filesystem_type() == TMPFS_MAGIC,
            size,
            is_full: all.blocks_available() == 0,
            no_more_files: all.files() > 0 && all.files_available() == 0,
        })
    }

    /// Whether it is a folder.
    pub(super) fn is_dir(&self) -> bool {
        self.stat.st_mode & libc::S_IFMT == libc::S_IFDIR
    }
}

/// Every folder on the way to `path`, from the root, without `path` itself.
pub(super) fn above(path: &str) -> Vec<String> {
    let mut all: Vec<String> =
        Path::new(path).ancestors().skip(1).map(|path| path.to_string_lossy().into_owned()).collect();
    all.reverse();
    all
}
