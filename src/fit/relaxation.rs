//! One thing that can be given back to an app.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::profile::preset::TmpfsStyle;
use crate::profile::tmpfs::Tmpfs;

/// The parameter that says from where on ports are everybody's.
pub const PORT_START: &str = "net.ipv4.ip_unprivileged_port_start";

/// What can be given back; the order is that of risk, the smallest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "value")]
pub enum Relaxation {
    /// A writable folder in memory.
    Tmpfs(Scratch),
    /// A writable folder with the image's own content and owners; it goes with the container.
    Volume(String),
    /// A variable, `NAME=VALUE`.
    Env(String),
    /// A line for the app's user in /etc/passwd.
    PasswdLine,
    /// Ports below 1024 are everybody's.
    LowPorts,
    /// A resource limit, `memlock=-1`.
    Ulimit(String),
    /// The user that the image itself names.
    User(String),
    /// A further group.
    Group(u32),
    /// A system call that the filter refuses.
    Syscall(String),
    /// A program that may be started although the app is sealed.
    AllowExec(String),
    /// An address outside that it may reach. The search never opens the room, so this is not proven.
    Network(String),
    /// A capability, without its prefix: `CHOWN`.
    Capability(String),
    /// User 0.
    Root,
    /// The root filesystem is no longer read-only.
    WritableRoot,
}

/// A writable folder in memory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Scratch {
    /// Where.
    pub path: String,
    /// Programs in it may be run.
    pub exec: bool,
    /// It belongs to the app's user: the image's folder is not everybody's.
    pub owned: bool,
    /// Bytes that were seen to be enough; half of the memory when absent.
    pub size: Option<u64>,
}

impl Scratch {
    /// Bounded by nothing, and for everybody.
    pub fn at(path: &str) -> Self {
        Scratch { path: path.to_owned(), exec: false, owned: false, size: None }
    }

    /// As the engine has to be told.
    pub(super) fn tmpfs(&self, style: TmpfsStyle, uid: u32) -> Tmpfs {
        let owner = (self.owned && style == TmpfsStyle::Bare).then_some(uid).filter(|uid| *uid != 0);
        let exec = self.exec.then_some(true);
        Tmpfs { exec, uid: owner, size: self.size, ..Tmpfs::at(self.path.clone().into()) }
    }

    /// `/run:uid=65532,exec`, as docker takes it.
    pub fn flag(&self, uid: u32) -> String {
        let mut options = Vec::new();
        options.extend(self.exec.then(|| "exec".to_owned()));
        options.extend((self.owned && uid != 0).then(|| format!("uid={uid}")));
        options.extend(self.size.map(|size| format!("size={}m", size >> 20)));
        if options.is_empty() { self.path.clone() } else { format!("{}:{}", self.path, options.join(",")) }
    }
}

impl Relaxation {
    /// What kind of thing it is, for grouping.
    pub fn kind(&self) -> &'static str {
        match self {
            Relaxation::Tmpfs(_) => "tmpfs",
            Relaxation::Volume(_) => "volume",
            Relaxation::Env(_) => "env",
            Relaxation::PasswdLine => "passwd-line",
            Relaxation::LowPorts => "low-ports",
            Relaxation::Ulimit(_) => "ulimit",
            Relaxation::User(_) => "user",
            Relaxation::Group(_) => "group",
            Relaxation::Syscall(_) => "syscall",
            Relaxation::AllowExec(_) => "allow-exec",
            Relaxation::Network(_) => "network",
            Relaxation::Capability(_) => "capability",
            Relaxation::Root => "root",
            Relaxation::WritableRoot => "writable-root",
        }
    }

    /// As docker's flag, for an app that is user `uid`.
    pub fn flag(&self, uid: u32) -> String {
        match self {
            Relaxation::Tmpfs(scratch) => format!("--tmpfs {}", scratch.flag(uid)),
            Relaxation::Volume(path) => format!("-v {path}"),
            Relaxation::Env(pair) => format!("-e {pair}"),
            Relaxation::PasswdLine => "a line in /etc/passwd".to_owned(),
            Relaxation::LowPorts => format!("--sysctl {PORT_START}=0"),
            Relaxation::Ulimit(limit) => format!("--ulimit {limit}"),
            Relaxation::User(user) => format!("--user {user}"),
            Relaxation::Group(gid) => format!("--group-add {gid}"),
            Relaxation::Syscall(call) => format!("the system call {call}"),
            Relaxation::AllowExec(path) => format!("--allow-exec {path}"),
            Relaxation::Network(_) => "--network host".to_owned(),
            Relaxation::Capability(name) => format!("--cap-add {name}"),
            Relaxation::Root => "--user 0".to_owned(),
            Relaxation::WritableRoot => "--read-only=false".to_owned(),
        }
    }
}

impl fmt::Display for Relaxation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.flag(65532))
    }
}
