//! Entering a running jail from outside, as `docker exec` would: its namespaces are joined, and programs started as its user.
//!
//! austere calls itself for it, by a name of its own: whoever joins a user namespace may have one thread only.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};

/// What austere calls itself by for this.
const NAME: &str = "austere-enter";

/// In this order: the rights over the others come with the first.
const NAMESPACES: [(&str, CloneFlags); 7] = [
    ("user", CloneFlags::CLONE_NEWUSER),
    ("cgroup", CloneFlags::CLONE_NEWCGROUP),
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("uts", CloneFlags::CLONE_NEWUTS),
    ("net", CloneFlags::CLONE_NEWNET),
    ("pid", CloneFlags::CLONE_NEWPID),
    ("mnt", CloneFlags::CLONE_NEWNS),
];

/// What one would try first.
const USUAL: [&str; 12] = [
    "/bin/sh",
    "/bin/bash",
    "/bin/ash",
    "/bin/dash",
    "/bin/zsh",
    "/bin/busybox",
    "/busybox/sh",
    "/usr/bin/sh",
    "/usr/bin/bash",
    "/usr/bin/env",
    "/usr/bin/python3",
    "/usr/bin/perl",
];

/// What came of it: each program, and why it did not start; nothing for one that did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entered {
    /// By path.
    pub tried: Vec<(String, Option<Errno>)>,
    /// Why the jail could not be entered at all, when it could not.
    pub barred: Option<String>,
}

impl Entered {
    /// The programs that were started.
    pub fn got_in(&self) -> impl Iterator<Item = &str> {
        self.tried.iter().filter(|(_, errno)| errno.is_none()).map(|(path, _)| path.as_str())
    }
}

/// Tries the usual names, and `found`, in the jail of `pid`, as `uid` and `gid` there.
pub fn enter(pid: i32, uid: u32, gid: u32, found: &[String]) -> Entered {
    let mut names: Vec<&str> = USUAL.to_vec();
    names.extend(found.iter().map(String::as_str).filter(|path| !USUAL.contains(path)));
    let ids = [pid.to_string(), uid.to_string(), gid.to_string()];
    let mut command = Command::new("/proc/self/exe");
    command.arg0(NAME).args(&ids).args(&names).env_clear().stdin(Stdio::null());
    let barred = |why: String| Entered { barred: Some(why), ..Entered::default() };
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => return barred(error.to_string()),
    };
    if !output.status.success() {
        return barred(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let answers = String::from_utf8_lossy(&output.stdout);
    let errno = |text: &str| text.parse().ok().filter(|number| *number != 0).map(Errno::from_raw);
    let tried = names.iter().map(ToString::to_string).zip(answers.lines().map(errno)).collect();
    Entered { tried, barred: None }
}

/// Runs as the one that enters, if `name`, the program's own name, is that. `None`: it is austere itself.
pub fn run(name: &OsStr) -> Option<ExitCode> {
    if name != NAME {
        return None;
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    Some(match try_all(&words) {
        Ok(text) => {
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    })
}

fn try_all(words: &[String]) -> io::Result<String> {
    let [pid, uid, gid, programs @ ..] = words else { return Err(io::ErrorKind::InvalidInput.into()) };
    let number = |text: &String| text.parse::<u32>().map_err(io::Error::other);
    let (uid, gid) = (number(uid)?, number(gid)?);
    let open = |(name, flag): &(&str, CloneFlags)| -> io::Result<Option<(File, CloneFlags)>> {
        let (theirs, ours) = (format!("/proc/{pid}/ns/{name}"), format!("/proc/self/ns/{name}"));
        // One's own user namespace cannot be joined again.
        let same = fs::metadata(&theirs)?.ino() == fs::metadata(ours)?.ino();
        if same { Ok(None) } else { Ok(Some((File::open(theirs)?, *flag))) }
    };
    let namespaces: Vec<_> = NAMESPACES.iter().map(open).collect::<io::Result<_>>()?;
    for (namespace, flag) in namespaces.into_iter().flatten() {
        setns(namespace, flag)?;
    }
    let mut text = String::new();
    for program in programs {
        let mut command = Command::new(program);
        command.args(["-c", "exit 0"]).uid(uid).gid(gid).env_clear().current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let errno = match command.spawn() {
            Ok(mut child) => {
                let _ = child.kill();
                child.wait()?;
                0
            }
            Err(error) => error.raw_os_error().unwrap_or(libc::EIO),
        };
        let _ = writeln!(text, "{errno}");
    }
    Ok(text)
}
