//! Ways to a second program.

use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::thread;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::acts::errno;
use super::{SECOND, STARTED};
use crate::sys::exec_memory::memfd;
use crate::sys::execve::{Vector, execve, execveat};
use crate::sys::seccomp;

const OWN: &CStr = c"/proc/self/exe";

fn words(words: &[&str]) -> Vector {
    Vector::new(words.iter().filter_map(|word| CString::new(*word).ok()).collect())
}

fn start(path: &CStr) -> Result<(), Errno> {
    Err(execve(path, &words(&[SECOND]), &words(&[])))
}

fn start_fd(file: &OwnedFd, path: &CStr) -> Result<(), Errno> {
    Err(execveat(file.as_fd(), path, &words(&[SECOND]), &words(&[])))
}

pub(super) fn by_path(_: &str) -> Result<(), Errno> {
    start(OWN)
}

pub(super) fn by_descriptor(_: &str) -> Result<(), Errno> {
    start_fd(&open(OWN, OFlag::O_RDONLY, Mode::empty())?, c"")
}

/// An absolute path ignores the descriptor: what lets one form through by its descriptor is forged so.
pub(super) fn by_absolute_path(_: &str) -> Result<(), Errno> {
    start_fd(&open("/", OFlag::O_PATH, Mode::empty())?, OWN)
}

/// A script in memory; its interpreter is this program.
fn script() -> Result<OwnedFd, Errno> {
    let file = memfd(0)?;
    let mut script = File::from(file.try_clone().map_err(|error| errno(&error))?);
    writeln!(script, "#!/proc/self/exe {SECOND}").map_err(|error| errno(&error))?;
    Ok(file)
}

pub(super) fn memory(_: &str) -> Result<(), Errno> {
    start_fd(&script()?, c"")
}

pub(super) fn memory_by_proc(_: &str) -> Result<(), Errno> {
    let file = script()?;
    let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).map_err(|_| Errno::EINVAL)?;
    start(&path)
}

pub(super) fn in_thread(_: &str) -> Result<(), Errno> {
    thread::spawn(|| start(OWN)).join().unwrap_or(Err(Errno::EIO))
}

/// As the standard library starts programs: clone with `CLONE_VFORK`, then exec.
pub(super) fn after_vfork(_: &str) -> Result<(), Errno> {
    match Command::new("/proc/self/exe").arg0(SECOND).status() {
        Ok(status) if status.code() == Some(i32::from(STARTED)) => Ok(()),
        Ok(_) => Err(Errno::EIO),
        Err(error) => Err(errno(&error)),
    }
}

fn dropped(path: &str) -> Result<(), Errno> {
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o755).open(path).map_err(|error| errno(&error))?;
    let written = writeln!(file, "#!/proc/self/exe {SECOND}").map_err(|error| errno(&error));
    drop(file);
    let result = written.and_then(|()| match Command::new(path).status() {
        Ok(status) if status.code() == Some(i32::from(STARTED)) => Ok(()),
        Ok(_) => Err(Errno::EIO),
        Err(error) => Err(errno(&error)),
    });
    let _ = fs::remove_file(path);
    result
}

pub(super) fn dropped_in_root(_: &str) -> Result<(), Errno> {
    dropped("/austere-dropped")
}

pub(super) fn dropped_in_dev(_: &str) -> Result<(), Errno> {
    dropped("/dev/austere-dropped")
}

/// Behind a filter of its own that allows everything.
pub(super) fn behind_own_filter(_: &str) -> Result<(), Errno> {
    let allow = libc::sock_filter { code: 6, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };
    seccomp::install(&[allow], 0).map_err(|error| errno(&error))?;
    start(OWN)
}

/// A filter whose listener this process would hold, and could say yes by.
pub(super) fn own_listener(_: &str) -> Result<(), Errno> {
    let allow = libc::sock_filter { code: 6, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };
    seccomp::install(&[allow], libc::SECCOMP_FILTER_FLAG_NEW_LISTENER).map(drop).map_err(|error| errno(&error))
}

/// The loader of the image, where it has one.
pub(super) fn loader(_: &str) -> Result<(), Errno> {
    let loaders = [
        "/lib64/ld-linux-x86-64.so.2",
        "/lib/ld-linux-aarch64.so.1",
        "/lib/ld-musl-x86_64.so.1",
        "/lib/ld-musl-aarch64.so.1",
    ];
    let Some(loader) = loaders.iter().find(|path| fs::metadata(path).is_ok()) else { return Err(Errno::ENOENT) };
    Command::new(loader).arg("--help").output().map(drop).map_err(|error| errno(&error))
}
