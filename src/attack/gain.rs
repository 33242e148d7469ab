//! Ways to more rights than one has, by programs that give them: set-id files and files with capabilities.
//!
//! What a program gained is read of its remains: `/proc/PID/status` of one that ended, as long as nobody waited for it.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, geteuid};

use super::acts::errno;
use crate::sys::xattr;

/// Who starts the program where the adversary itself is root, who could gain nothing.
const NOBODY: u32 = 65532;
/// Where files might be made.
const FOLDERS: [&str; 6] = ["/", "/tmp", "/dev/shm", "/run", "/var/tmp", "/dev"];
/// Where images have programs.
const PROGRAMS: [&str; 7] =
    ["/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/libexec", "/usr/local/bin", "/usr/lib/openssh"];
/// A program that waits for something is ended after this.
const PATIENCE: Duration = Duration::from_secs(5);
const SET_UID: u32 = 0o4000;
/// `cap_net_bind_service=ep` as setcap(8) stores it: a capability that engines leave to root.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// What a program had when it ended.
struct Remains {
    real: u32,
    effective: u32,
    saved: u32,
    permitted: u64,
}

/// A program is made, given to root and made set-user-id: started by somebody else it would be root.
pub(super) fn made_set_uid(_: &str) -> Result<(), Errno> {
    made(|file| {
        fchown(file, Some(0), None).map_err(|error| errno(&error))?;
        let mode = fs::Permissions::from_mode(SET_UID | 0o755);
        file.set_permissions(mode).map_err(|error| errno(&error))
    })
}

/// A program is made and given a capability.
pub(super) fn made_capability(_: &str) -> Result<(), Errno> {
    made(|file| xattr::set(file.as_fd(), c"security.capability", &CAPABILITY).map_err(|error| errno(&error)))
}

/// A set-user-id program of the image.
pub(super) fn found_set_uid(_: &str) -> Result<(), Errno> {
    let user = if geteuid().is_root() { NOBODY } else { geteuid().as_raw() };
    found(|path| path.metadata().is_ok_and(|meta| meta.mode() & SET_UID != 0 && meta.uid() != user))
}

/// A program of the image that has capabilities.
pub(super) fn found_capability(_: &str) -> Result<(), Errno> {
    let has = |path: &Path| xattr::get(File::open(path).ok()?.as_fd(), c"security.capability").ok()?;
    found(|path| has(path).is_some())
}

/// In the first folder that lets it gain something; else what was said last.
fn made(give: impl Fn(&File) -> Result<(), Errno>) -> Result<(), Errno> {
    let one = |folder: &&str| {
        let path = Path::new(folder).join("austere-gain");
        let result = write(&path).and_then(|file| give(&file)).and_then(|()| gains(&path));
        let _ = fs::remove_file(&path);
        result
    };
    let mut said = Err(Errno::ENOENT);
    for folder in FOLDERS.iter().filter(|folder| Path::new(folder).is_dir()) {
        // A folder that cannot be written to says less than one where something was made.
        match one(folder) {
            Ok(()) => return Ok(()),
            Err(Errno::EROFS | Errno::EACCES) if said != Err(Errno::ENOENT) => {}
            Err(errno) => said = Err(errno),
        }
    }
    said
}

fn write(path: &Path) -> Result<File, Errno> {
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o755).open(path).map_err(|error| errno(&error))?;
    file.write_all(&program()).map_err(|error| errno(&error))?;
    drop(file);
    // A file that is open for writing cannot be started.
    File::open(path).map_err(|error| errno(&error))
}

fn found(is_one: impl Fn(&Path) -> bool) -> Result<(), Errno> {
    let entries = PROGRAMS.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    let paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_file() && is_one(path)).collect();
    let mut said = Err(Errno::ENOENT);
    for path in &paths {
        said = gains(path);
        if said.is_ok() {
            break;
        }
    }
    said
}

/// Starts a program, as [`NOBODY`] where this process is root. ENODATA: it ran and gained nothing.
fn gains(path: &Path) -> Result<(), Errno> {
    let mut command = Command::new(path);
    // Most programs say how they are used then, and end.
    command.arg("--help").env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let mut child = command.spawn().map_err(|error| errno(&error))?;
    let pid = Pid::from_raw(child.id().cast_signed());
    let begun = Instant::now();
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
    while waitid(Id::Pid(pid), flags) == Ok(WaitStatus::StillAlive) && begun.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(1));
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status"));
    let _ = child.kill();
    let _ = child.wait();
    let remains = remains(&status.map_err(|error| errno(&error))?).ok_or(Errno::EIO)?;
    let other = remains.effective != remains.real || remains.saved != remains.real;
    if other || remains.permitted != 0 { Ok(()) } else { Err(Errno::ENODATA) }
}

fn remains(status: &str) -> Option<Remains> {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let mut ids = field("Uid")?.split_whitespace().map(str::parse);
    let mut id = || ids.next()?.ok();
    let (real, effective, saved) = (id()?, id()?, id()?);
    let permitted = u64::from_str_radix(field("CapPrm")?.trim(), 16).ok()?;
    Some(Remains { real, effective, saved, permitted })
}

/// The smallest ELF program: it ends. (elf(5); the austere of a debug build fits into no small tmpfs.)
fn program() -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u16 = 64 + 56;
    // exit(0) by number, first argument and entry.
    let (machine, code): (u16, &[u8]) = if cfg!(target_arch = "x86_64") {
        (62, &[0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05])
    } else {
        (183, &[0xa8, 0x0b, 0x80, 0xd2, 0x00, 0x00, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4])
    };
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let mut put = |bytes: &[u8]| elf.extend_from_slice(bytes);
    let size = u64::from(HEADERS) + code.len() as u64;
    // An executable of this machine, version 1, which begins after the headers; no flags, one program header, no sections.
    put(&2_u16.to_le_bytes());
    put(&machine.to_le_bytes());
    put(&1_u32.to_le_bytes());
    put(&(BASE + u64::from(HEADERS)).to_le_bytes());
    put(&64_u64.to_le_bytes());
    put(&0_u64.to_le_bytes());
    put(&0_u32.to_le_bytes());
    for half in [64_u16, 56, 1, 64, 0, 0] {
        put(&half.to_le_bytes());
    }
    // PT_LOAD, readable and executable: the whole file.
    put(&1_u32.to_le_bytes());
    put(&5_u32.to_le_bytes());
    for word in [0, BASE, BASE, size, size, 0x1000] {
        put(&word.to_le_bytes());
    }
    put(code);
    elf
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_runs_and_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ends");
        // Other tests start programs at the same time, and a child of theirs may still hold the file open for writing.
        let run = || {
            let _ = fs::remove_file(&path);
            drop(write(&path));
            Command::new(&path).status()
        };
        let status = (0..100).map(|_| run()).find(|status| !matches!(status, Err(e) if e.raw_os_error() == Some(26)));
        assert!(status.unwrap().unwrap().success());
    }

    #[test]
    fn what_was_gained_is_in_the_status() {
        let text = "Name:\tx\nUid:\t65532\t0\t0\t0\nCapPrm:\t0000000000000400\n";
        let remains = remains(text).unwrap();
        assert_eq!((remains.real, remains.effective, remains.saved, remains.permitted), (65532, 0, 0, 1 << 10));
        assert!(super::remains("Uid:\t1\n").is_none());
    }
}
