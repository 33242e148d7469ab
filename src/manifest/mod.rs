//! Kubernetes manifests and compose files: what they ask for a container, as settings of a jail.
//!
//! A manifest speaks for itself: what it leaves out is left out, and not hardened. What cannot be had here (a secret, another container) is
//! replaced by a stand-in or left away, and a finding says so. Documented in `docs/manifests.md`.

pub mod compose;
pub mod fields;
pub mod node;
pub mod pod;
mod shown;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::Duration;

use crate::finding::{Finding, Role, Severity};
use crate::profile::file::File;
use crate::profile::mount::Mount;
use crate::profile::settings::{Network, Sysctl, Ulimit};
use crate::smoke::plan::Probe;
pub use pod::standards::{Check, Level, PodSecurity};

/// What a manifest says of one container, merged.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct Settings {
    /// Which container of what: `Deployment/web, container app`.
    pub name: String,
    /// How capabilities and accounts are read.
    pub engine: Engine,
    /// The image, as the manifest names it.
    pub image: Option<String>,
    /// In place of the image's entrypoint and command.
    pub entrypoint: Option<Vec<String>>,
    /// In place of the image's command.
    pub args: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Files with more of them, which `env` wins over.
    pub env_files: Vec<EnvFile>,
    /// Where the app starts.
    pub working_dir: Option<String>,
    /// Who the app is.
    pub account: Who,
    /// The root is a read-only mount.
    pub read_only: bool,
    /// Capabilities beside the engine's own, upper case without `CAP_`.
    pub cap_add: Vec<String>,
    /// Capabilities that are taken away.
    pub cap_drop: Vec<String>,
    /// Set-id files and file capabilities gain nothing.
    pub no_new_privs: bool,
    /// The system call filter.
    pub seccomp: Filter,
    /// Parts of /proc and /sys are masked or read-only.
    pub covers_system_paths: bool,
    /// Folders, a lower one after one above it.
    pub mounts: Vec<Mount>,
    /// Files of the manifest's own.
    pub files: Vec<File>,
    /// The host name.
    pub hostname: Option<String>,
    /// Lines of /etc/hosts.
    pub hosts: Vec<(String, IpAddr)>,
    /// Kernel parameters.
    pub sysctls: Vec<Sysctl>,
    /// Resource limits.
    pub ulimits: Vec<Ulimit>,
    /// Bytes of /dev/shm.
    pub shm_size: Option<u64>,
    /// Whom the app can reach.
    pub network: Network,
    /// A small init is PID 1.
    pub init: bool,
    /// Bytes.
    pub memory: Option<u64>,
    /// Processors: `0.5`.
    pub cpus: Option<String>,
    /// Processes.
    pub pids: Option<u32>,
    /// In place of the image's.
    pub stop_signal: Option<String>,
    /// What the app has to answer.
    pub probes: Vec<Probe>,
    /// A health check that executes in the container, as an image has it: `CMD` and words.
    pub health: Option<Vec<String>>,
    /// TCP ports that it says it listens on; asked where there is no probe.
    pub ports: Vec<u16>,
    /// It is a job: it has to exit 0.
    pub ends: bool,
    /// How long it may take to become ready.
    pub timeout: Option<Duration>,
    /// What is not what it would be in the cluster.
    pub stand_ins: Vec<StandIn>,
    /// What was noticed.
    pub findings: Vec<Finding>,
    /// What the Pod Security Standards say; of pods only.
    pub pod_security: Option<PodSecurity>,
}

/// Whose rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The kubelet and containerd.
    Kubernetes,
    /// Docker, by way of compose.
    Compose,
}

/// Who the app is; what is absent is as the image says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// `USER[:GROUP]`.
    pub user: Option<String>,
    /// The primary group.
    pub group: Option<u32>,
    /// Further groups.
    pub groups: Vec<String>,
    /// The groups of the image's /etc/group count although a group is given.
    pub keeps_memberships: bool,
    /// A user that is root, or may be, is not started.
    pub non_root: bool,
}

/// Where the system call filter comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The engine's own profile.
    Engine,
    /// There is none.
    Unconfined,
    /// A file beside the manifest.
    File(String),
}

/// A file of variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvFile {
    /// As the manifest names it, from its own folder.
    pub path: String,
    /// It has to be there.
    pub required: bool,
}

/// Something that is not here, and what stands in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandIn {
    /// A path in the jail, or the name of a variable: what a flag can give in its place.
    pub place: String,
    /// One sentence.
    pub message: String,
    /// An app that fails may have failed for it.
    pub matters: bool,
}

/// A manifest that is none, or does not say which container is meant.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Something at a place.
    #[error("line {line}, column {column}: {why}")]
    At {
        /// From 1; 0 where it is not known.
        line: u64,
        /// From 1.
        column: u64,
        /// What is wrong there.
        why: String,
    },
    /// Nothing in it can be run.
    #[error("nothing in it has a container: {0}")]
    Nothing(String),
    /// There are several containers, or not the one that was asked for.
    #[error("{0}")]
    Choice(String),
}

impl Settings {
    /// Of a container of which nothing is said.
    fn new(name: String, engine: Engine) -> Self {
        Settings {
            name,
            engine,
            image: None,
            entrypoint: None,
            args: Vec::new(),
            env: Vec::new(),
            env_files: Vec::new(),
            working_dir: None,
            account: Who::default(),
            read_only: false,
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            no_new_privs: false,
            seccomp: Filter::Engine,
            covers_system_paths: true,
            mounts: Vec::new(),
            files: Vec::new(),
            hostname: None,
            hosts: Vec::new(),
            sysctls: Vec::new(),
            ulimits: Vec::new(),
            shm_size: None,
            network: Network::None,
            init: false,
            memory: None,
            cpus: None,
            pids: None,
            stop_signal: None,
            probes: Vec::new(),
            health: None,
            ports: Vec::new(),
            ends: false,
            timeout: None,
            stand_ins: Vec::new(),
            findings: Vec::new(),
            pod_security: None,
        }
    }

    fn notice(&mut self, code: &str, message: String, advice: &str) {
        self.findings.push(note(code, Severity::Notice, message, advice));
    }

    fn warn(&mut self, code: &str, message: String, advice: &str) {
        self.findings.push(note(code, Severity::Warning, message, advice));
    }

    fn stand_in(&mut self, place: &str, matters: bool, message: String) {
        self.stand_ins.push(StandIn { place: place.to_owned(), message, matters });
    }
}

/// Whether hostname(7) lets a text be a name, so that it is one word of /etc/hosts.
fn is_host_name(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    !text.is_empty() && text.len() <= 253 && text.bytes().all(letter) && !text.starts_with(['-', '.'])
}

fn note(code: &str, severity: Severity, message: String, advice: &str) -> Finding {
    let advice = (!advice.is_empty()).then(|| advice.to_owned());
    Finding { code: code.to_owned(), role: Role::Static, severity, message, advice, ..Finding::default() }
}
