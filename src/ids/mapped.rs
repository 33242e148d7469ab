//! A user namespace with subordinate ids, entered.
//!
//! Only newuidmap(1) and newgidmap(1), which are set-id programs of the host, may write such a map, and they do so for another
//! process: a child makes the namespace and holds it, they write its maps, and this process joins it. When anything is refused
//! on the way, this process is what it was.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sched::{CloneFlags, setns, unshare};

use super::subordinate::{self, Row};
use crate::sys::fork;

/// What a normal user has for it.
#[derive(Debug)]
pub struct Means {
    users: Vec<Row>,
    groups: Vec<Row>,
    newuidmap: PathBuf,
    newgidmap: PathBuf,
}

impl Means {
    /// Looks for them.
    ///
    /// # Errors
    ///
    /// What is missing, in words, when ids from 0 to `highest` cannot be mapped.
    pub fn find(highest: u32) -> Result<Self, String> {
        let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
        let name = subordinate::name_of(&fs::read_to_string("/etc/passwd").unwrap_or_default(), uid);
        let rows = |file: &str, own: u32| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let ranges = subordinate::ranges(&text, name.as_deref(), uid);
            subordinate::rows(own, &ranges, highest).ok_or_else(|| match subordinate::total(&ranges) {
                0 => format!("{file} has no ids for {}", name.as_deref().unwrap_or(&uid.to_string())),
                total => format!("{file} has {total} ids, and {highest} are needed"),
            })
        };
        let (users, groups) = (rows("/etc/subuid", uid)?, rows("/etc/subgid", gid)?);
        let tool = |name: &str| in_path(name).ok_or_else(|| format!("there is no {name}"));
        Ok(Means { users, groups, newuidmap: tool("newuidmap")?, newgidmap: tool("newgidmap")? })
    }

    /// Enters a new namespace with these maps. The process has one thread.
    ///
    /// # Errors
    ///
    /// What was refused, in words.
    pub fn enter(&self) -> Result<(), String> {
        let holder = fork::hold(|| unshare(CloneFlags::CLONE_NEWUSER))
            .map_err(|error| format!("unshare(CLONE_NEWUSER): {error}"))?;
        let pid = holder.pid().to_string();
        let begin = |tool: &PathBuf, rows: &[Row]| {
            let numbers = rows.iter().flat_map(|(inside, outside, count)| [*inside, *outside, *count]);
            let mut command = Command::new(tool);
            command.arg(&pid).args(numbers.map(|number| number.to_string()));
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()
        };
        // Side by side: each is an exec of its own.
        let tools = [begin(&self.newuidmap, &self.users), begin(&self.newgidmap, &self.groups)];
        let names = ["newuidmap", "newgidmap"];
        let ends = tools.map(|tool| tool.and_then(Child::wait_with_output));
        for (name, end) in names.iter().zip(ends) {
            let end = end.map_err(|error| format!("{name}: {error}"))?;
            if !end.status.success() {
                let said = String::from_utf8_lossy(&end.stderr);
                // They begin with their own name.
                return Err(said.lines().next().map_or_else(|| format!("{name} failed"), str::to_owned));
            }
        }
        join(&pid)
    }
}

/// Every id that may be a group's in `ping_group_range` too (2^31, net/ipv4/ping.c).
const OWN_IDS: u32 = 1 << 31;

/// Enters a new namespace in which every id is itself: for root that may give files any owner and may not mount, as in containers.
/// The process has one thread.
///
/// # Errors
///
/// What was refused, in words.
pub fn enter_own() -> Result<(), String> {
    let holder = fork::hold(|| unshare(CloneFlags::CLONE_NEWUSER))
        .map_err(|error| format!("unshare(CLONE_NEWUSER): {error}"))?;
    let pid = holder.pid().to_string();
    for file in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{pid}/{file}"), format!("0 0 {OWN_IDS}"))
            .map_err(|error| format!("write(/proc/PID/{file}): {error}"))?;
    }
    join(&pid)
}

fn join(pid: &str) -> Result<(), String> {
    let namespace =
        File::open(format!("/proc/{pid}/ns/user")).map_err(|error| format!("/proc/{pid}/ns/user: {error}"))?;
    setns(namespace, CloneFlags::CLONE_NEWUSER).map_err(|errno| format!("setns(CLONE_NEWUSER): {errno}"))
}

/// Where a program lies; in the usual folders when there is no PATH.
fn in_path(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    std::env::split_paths(&path).map(|dir| dir.join(tool)).find(|file| file.is_file())
}
