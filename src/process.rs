//! A process as `/proc/PID` shows it: where every measure is read back.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use procfs::process::{MountInfo, Status};

/// The namespaces a jail has of its own, as `/proc/PID/ns` names them.
pub const NAMESPACES: [&str; 7] = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];

/// One process, seen from outside.
#[derive(Debug)]
pub struct Process {
    folder: PathBuf,
    inner: procfs::process::Process,
    status: Status,
    mounts: OnceCell<Vec<MountInfo>>,
}

impl Process {
    /// Opens `/proc/PID` and reads its status.
    ///
    /// # Errors
    ///
    /// The process is gone, or /proc is not mounted.
    pub fn open(pid: i32) -> io::Result<Self> {
        let inner = procfs::process::Process::new(pid).map_err(io::Error::other)?;
        let status = inner.status().map_err(io::Error::other)?;
        Ok(Process { folder: PathBuf::from(format!("/proc/{pid}")), inner, status, mounts: OnceCell::new() })
    }

    /// The calling process.
    ///
    /// # Errors
    ///
    /// /proc is not mounted.
    pub fn own() -> io::Result<Self> {
        Process::open(std::process::id().cast_signed())
    }

    /// `/proc/PID/status`, as it was when the process was opened.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// The command line; empty when the process is gone.
    pub fn argv(&self) -> Vec<String> {
        self.inner.cmdline().unwrap_or_default()
    }

    /// Whether each thread of the process `pid`, and of all that it started, sleeps until something happens (`S` in `/proc/PID/task/TID/stat`). One
    /// that has been woken, or is about to end, does not; nor does a process that has ended and was not waited for: its parent has yet to hear of
    /// it. Where the kernel does not tell who started whom (`CONFIG_PROC_CHILDREN`), this process alone is looked at. False when it is gone.
    pub fn is_family_at_rest(pid: i32) -> bool {
        let mut waiting = vec![pid];
        while let Some(pid) = waiting.pop() {
            let Ok(process) = procfs::process::Process::new(pid) else { return false };
            let Ok(tasks) = process.tasks() else { return false };
            for task in tasks {
                let Some(task) = task.ok() else { return false };
                if task.stat().ok().is_none_or(|stat| stat.state != 'S') {
                    return false;
                }
                let children = fs::read_to_string(format!("/proc/{pid}/task/{}/children", task.tid));
                waiting
                    .extend(children.unwrap_or_default().split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
            }
        }
        true
    }

    /// The names of the processes that its first thread started and that are still there. Empty where the kernel does not tell
    /// (`CONFIG_PROC_CHILDREN`).
    pub fn children(&self) -> Vec<String> {
        let pid = self.inner.pid;
        let listed = fs::read_to_string(self.folder.join(format!("task/{pid}/children"))).unwrap_or_default();
        let name = |pid: &str| Some(fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim_end().to_owned());
        listed.split_whitespace().filter_map(name).collect()
    }

    /// `/proc/PID/mountinfo`, as it was when this was asked first.
    ///
    /// # Errors
    ///
    /// The process is gone.
    pub fn mounts(&self) -> io::Result<&[MountInfo]> {
        if let Some(mounts) = self.mounts.get() {
            return Ok(mounts);
        }
        let mounts = self.inner.mountinfo().map_err(io::Error::other)?.0;
        Ok(self.mounts.get_or_init(|| mounts))
    }

    /// The inode of a namespace link, which is the namespace's identity.
    ///
    /// # Errors
    ///
    /// The process is gone, or the caller may not look.
    pub fn namespace(&self, name: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.folder.join("ns").join(name))?.ino())
    }

    /// A namespace, opened so that it can be joined.
    ///
    /// # Errors
    ///
    /// The process is gone, or the caller may not look.
    pub fn open_namespace(&self, name: &str) -> io::Result<OwnedFd> {
        Ok(File::open(self.folder.join("ns").join(name))?.into())
    }

    /// `NAME=value` as the kernel handed it to the program.
    ///
    /// # Errors
    ///
    /// The process is gone, or the caller may not look.
    pub fn environment(&self) -> io::Result<Vec<Vec<u8>>> {
        let bytes = self.read("environ")?;
        let bytes = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
        Ok(if bytes.is_empty() { Vec::new() } else { bytes.split(|b| *b == 0).map(<[u8]>::to_vec).collect() })
    }

    /// Device and inode of what each open descriptor refers to.
    ///
    /// # Errors
    ///
    /// The process is gone, or the caller may not look.
    pub fn descriptors(&self) -> io::Result<BTreeMap<i32, (u64, u64)>> {
        let mut open = BTreeMap::new();
        for entry in fs::read_dir(self.folder.join("fd"))? {
            let entry = entry?;
            // The descriptor of this very listing is gone again by the time it is looked at.
            let metadata = match fs::metadata(entry.path()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            if let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                open.insert(number, (metadata.dev(), metadata.ino()));
            }
        }
        Ok(open)
    }

    /// What descriptor `number` refers to.
    ///
    /// # Errors
    ///
    /// The process is gone, has no such descriptor, or the caller may not look.
    pub fn stream(&self, number: usize) -> io::Result<fs::Metadata> {
        fs::metadata(self.folder.join("fd").join(number.to_string()))
    }

    /// How many filters of system calls are on the process (`Seccomp_filters`, Linux 5.9).
    pub fn filters(&self) -> Option<u32> {
        let text = self.text("status").ok()?;
        text.lines().find_map(|line| line.strip_prefix("Seccomp_filters:"))?.trim().parse().ok()
    }

    /// The hard limits, by name, as `/proc/PID/limits` writes them (`None` for unlimited).
    ///
    /// # Errors
    ///
    /// The process is gone.
    pub fn hard_limits(&self) -> io::Result<BTreeMap<String, Option<u64>>> {
        // Its columns have a fixed width: 25, then 20 for the soft and 20 for the hard limit (fs/proc/base.c).
        let text = self.text("limits")?;
        let row = |line: &str| {
            let hard = line.get(47..67)?.trim();
            Some((line.get(..25)?.trim().to_owned(), hard.parse().ok()))
        };
        Ok(text.lines().skip(1).filter_map(row).collect())
    }

    /// The file of the program that it runs, to be looked at and not read.
    ///
    /// # Errors
    ///
    /// The process is gone.
    pub fn program(&self) -> io::Result<File> {
        File::options().read(true).custom_flags(libc::O_PATH).open(self.folder.join("exe"))
    }

    /// Its root, to open paths below with `RESOLVE_IN_ROOT`.
    ///
    /// # Errors
    ///
    /// The process is gone, or the caller may not look.
    pub fn root(&self) -> io::Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(nix::fcntl::open(&self.folder.join("root"), flags, Mode::empty())?)
    }

    /// Whether the process finds anything at an absolute path.
    pub fn sees(&self, path: &str) -> bool {
        self.folder.join("root").join(path.trim_start_matches('/')).symlink_metadata().is_ok()
    }

    /// The names of the network interfaces the process sees.
    ///
    /// # Errors
    ///
    /// The process is gone.
    pub fn interfaces(&self) -> io::Result<Vec<String>> {
        let mut names: Vec<String> = self.inner.dev_status().map_err(io::Error::other)?.into_keys().collect();
        names.sort();
        Ok(names)
    }

    /// How ids inside the process's user namespace are called outside: (inside, outside, count).
    ///
    /// # Errors
    ///
    /// The process is gone.
    pub fn id_map(&self, file: &str) -> io::Result<Vec<(u32, u32, u32)>> {
        let text = self.text(file)?;
        let row = |line: &str| {
            let mut numbers = line.split_whitespace().map(str::parse::<u32>);
            Some((numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?))
        };
        Ok(text.lines().filter_map(row).collect())
    }

    /// These files have no size that would tell how much there is to read; most fit into one read(2) of this much.
    fn read(&self, file: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(4096);
        File::open(self.folder.join(file))?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn text(&self, file: &str) -> io::Result<String> {
        String::from_utf8(self.read(file)?).map_err(io::Error::other)
    }
}

/// Waits until the calling process has one thread. Whoever waited for a thread's work may be ahead of the thread's end, and a copy that is made of
/// the process meanwhile could find a lock held for ever by a thread that it does not have.
///
/// # Errors
///
/// [`io::ErrorKind::TimedOut`]: there are other threads, and they do not end within five seconds.
pub fn await_single_thread() -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let threads = fs::read_dir("/proc/self/task")?.count();
        if threads == 1 {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("this process has {threads} threads, not one"),
            ));
        }
        thread::sleep(Duration::from_micros(50));
    }
}

/// Every process that `is_in` wants, by its pid, its parent's and its session's, with all that they started and that is still below them.
pub fn family(is_in: impl Fn(i32, i32, i32) -> bool) -> Vec<i32> {
    let all = procfs::process::all_processes().into_iter().flatten();
    let stats: Vec<_> = all.filter_map(|process| process.ok()?.stat().ok()).collect();
    let alive = || stats.iter().filter(|stat| !matches!(stat.state, 'Z' | 'X'));
    let mut found: Vec<i32> =
        alive().filter(|stat| is_in(stat.pid, stat.ppid, stat.session)).map(|stat| stat.pid).collect();
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        let children: Vec<i32> =
            alive().filter(|stat| stat.ppid == parent && !found.contains(&stat.pid)).map(|stat| stat.pid).collect();
        found.extend(children);
        next += 1;
    }
    found
}

/// What an id seen outside is called inside, by a map of [`Process::id_map`].
pub fn inside(map: &[(u32, u32, u32)], outside: u32) -> Option<u32> {
    map.iter().find_map(|&(inside, start, count)| {
        let offset = outside.checked_sub(start)?;
        (offset < count).then(|| inside.checked_add(offset)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_is_like_we_know_it() {
        let own = Process::own().unwrap();
        assert_eq!(own.status().pid, std::process::id().cast_signed());
        assert!(own.hard_limits().unwrap().contains_key("Max open files"));
        assert!(own.interfaces().unwrap().contains(&"lo".to_owned()));
        assert!(NAMESPACES.iter().all(|name| own.namespace(name).is_ok()));
    }

    #[test]
    fn who_works_is_not_at_rest() {
        let mut sleeper = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let sleeper_id = sleeper.id().cast_signed();
        let rests = || Process::is_family_at_rest(sleeper_id);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !rests() {
            assert!(std::time::Instant::now() < deadline, "sleep(1) does not sleep");
        }
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        assert!(!rests(), "the dead do not wait for anything");
        let ours = std::process::id().cast_signed();
        assert!(!Process::is_family_at_rest(ours), "we are at work while we ask");
    }

    #[test]
    fn ids_are_translated_both_inside_and_out_of_a_map() {
        let map = [(65532, 0, 1), (0, 100_000, 10)];
        assert_eq!(inside(&map, 0), Some(65532));
        assert_eq!(inside(&map, 100_009), Some(9));
        assert_eq!(inside(&map, 100_010), None);
    }
}
