//! What is allowed inside a jail: presets that behave as engines do, what was changed of them, and seccomp profiles.

pub mod account;
pub mod file;
pub mod mount;
pub mod preset;
pub mod seccomp;
pub mod settings;
pub mod tmpfs;

use std::collections::BTreeSet;
use std::net::IpAddr;

use file::File;
use mount::Bind;
use preset::Preset;
use settings::{Network, Sysctl, Ulimit};
use tmpfs::Tmpfs;

/// What an app may do and what it finds: an engine's preset in its hardened form, and what was changed of that.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct Profile {
    /// The engine that it is like.
    pub preset: Preset,
    /// The root is a read-only mount.
    pub read_only: bool,
    /// The capabilities that may ever be had, by their names.
    pub capabilities: BTreeSet<String>,
    /// Set-id files and file capabilities gain nothing.
    pub no_new_privs: bool,
    /// The system call filter.
    pub seccomp: Seccomp,
    /// Parts of /proc and /sys are masked or read-only, as the preset says.
    pub covers_system_paths: bool,
    /// No exec after the app's own.
    pub seal: bool,
    /// Nothing is writable but what is declared, and no port can be had but those: no upper layer, and Landlock as narrow as that.
    pub narrow: bool,
    /// Ports that are declared besides the image's own.
    pub ports: Vec<u16>,
    /// Memory that was written to may become executable.
    pub exec_gain: bool,
    /// Files in memory that could be executed may be made.
    pub exec_memfd: bool,
    /// Programs that may be started all the same, by their paths: then files are held back and not the call.
    pub allow_exec: Vec<String>,
    /// Landlock as a second wall, where the kernel has it.
    pub landlock: bool,
    /// Fresh writable folders in memory.
    pub tmpfs: Vec<Tmpfs>,
    /// Writable folders with the image's own content, besides the image's own.
    pub volumes: Vec<String>,
    /// Files and folders of the host.
    pub binds: Vec<Bind>,
    /// Files with content of their own, below tmpfs folders too.
    pub files: Vec<File>,
    /// `NAME=value` after the image's own; a name alone takes that variable away.
    pub env: Vec<String>,
    /// Where the app starts, in place of what the image says.
    pub working_dir: Option<String>,
    /// In place of the image's entrypoint and command.
    pub entrypoint: Option<Vec<String>>,
    /// Arguments, in place of the image's command.
    pub args: Vec<String>,
    /// The host name.
    pub hostname: String,
    /// Lines for /etc/hosts.
    pub hosts: Vec<(String, IpAddr)>,
    /// Kernel parameters of the app's own namespaces.
    pub sysctls: Vec<Sysctl>,
    /// Resource limits.
    pub ulimits: Vec<Ulimit>,
    /// The size of /dev/shm in bytes, in place of the preset's.
    pub shm_size: Option<u64>,
    /// Whom the app can reach.
    pub network: Network,
    /// PID 1 is austere's own, which reaps and passes signals on; the app is its child.
    pub init: bool,
    /// The signal that asks the app to end, in place of the image's.
    pub stop_signal: Option<String>,
    /// What is given back or set otherwise than by the image and the preset, as the flags say it.
    pub relaxations: Vec<String>,
}

/// Where the system call filter comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seccomp {
    /// The preset's own profile.
    Preset,
    /// A profile in docker's format: its name, for messages, and its text.
    Profile(String, String),
    /// There is none.
    Unconfined,
}

impl Profile {
    /// The strictest that an engine's flags can ask for.
    pub fn hardened(preset: Preset) -> Self {
        Profile {
            read_only: true,
            capabilities: BTreeSet::new(),
            no_new_privs: true,
            seccomp: Seccomp::Preset,
            covers_system_paths: true,
            seal: preset.is_sealed,
            narrow: preset.is_sealed,
            ports: Vec::new(),
            exec_gain: !preset.is_sealed,
            exec_memfd: !preset.is_sealed,
            allow_exec: Vec::new(),
            landlock: true,
            tmpfs: Vec::new(),
            volumes: Vec::new(),
            binds: Vec::new(),
            files: Vec::new(),
            env: Vec::new(),
            working_dir: None,
            entrypoint: None,
            args: Vec::new(),
            hostname: "austere".to_owned(),
            hosts: Vec::new(),
            sysctls: Vec::new(),
            ulimits: Vec::new(),
            shm_size: None,
            network: Network::None,
            init: false,
            stop_signal: None,
            relaxations: Vec::new(),
            preset,
        }
    }

    /// The same as the engine would start it with none of the hardening flags.
    #[must_use]
    pub fn unhardened(&self) -> Self {
        let capabilities = self.capabilities.union(&self.preset.capabilities).cloned().collect();
        let seccomp = match (&self.seccomp, &self.preset.unhardened_seccomp) {
            (Seccomp::Preset, Some(name)) => {
                Seccomp::Profile(name.clone(), seccomp::shipped(name).unwrap_or_default().to_owned())
            }
            (seccomp, _) => seccomp.clone(),
        };
        Profile {
            read_only: false,
            capabilities,
            seccomp,
            narrow: false,
            exec_gain: true,
            exec_memfd: true,
            no_new_privs: false,
            seal: false,
            allow_exec: Vec::new(),
            landlock: false,
            ..self.clone()
        }
    }

    /// How the app is confined, for a sentence: `read-only, without capabilities`.
    pub fn manner(&self) -> String {
        let mut root = if self.read_only { "read-only" } else { "with a writable root" }.to_owned();
        if self.seal && self.allow_exec.is_empty() {
            root.insert_str(0, "sealed, ");
        }
        if self.capabilities.is_empty() {
            format!("{root}, without capabilities")
        } else {
            let names: Vec<_> = self.capabilities.iter().map(|name| name.trim_start_matches("CAP_")).collect();
            format!("{root}, with the capabilities {}", names.join(" "))
        }
    }
}
