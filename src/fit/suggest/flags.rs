//! The flags that a finding names, as relaxations.

use crate::finding::Finding;
use crate::fit::relaxation::{PORT_START, Relaxation, Scratch};
use crate::profile::settings::Ulimit;
use crate::profile::tmpfs::Tmpfs;

/// What a finding's flags come to.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct Flags {
    pub(super) places: Vec<Scratch>,
    pub(super) settings: Vec<Relaxation>,
    pub(super) capabilities: Vec<Relaxation>,
    pub(super) root: bool,
    pub(super) filter: bool,
    pub(super) privileges: bool,
    pub(super) writable_root: bool,
}

impl Flags {
    pub(super) fn of(cause: &Finding) -> Self {
        let mut flags = Flags::default();
        for flag in &cause.relax {
            let (name, value) = flag.split_once([' ', '=']).unwrap_or((flag, ""));
            match name {
                "--tmpfs" => flags.places.extend(value.parse().ok().map(|tmpfs: Tmpfs| Scratch {
                    exec: tmpfs.exec == Some(true),
                    owned: tmpfs.uid.is_some(),
                    ..Scratch::at(&tmpfs.path.to_string_lossy())
                })),
                "--env" | "-e" => flags.settings.push(Relaxation::Env(value.to_owned())),
                "--sysctl" if value.starts_with(PORT_START) => {
                    flags.settings.push(Relaxation::LowPorts);
                }
                "--ulimit" if value.parse::<Ulimit>().is_ok() => {
                    flags.settings.push(Relaxation::Ulimit(value.to_owned()));
                }
                "--allow-exec" => flags.settings.push(Relaxation::AllowExec(value.to_owned())),
                "--cap-add" => flags.capabilities.push(Relaxation::Capability(value.to_owned())),
                "--user" => flags.root = true,
                "--read-only" => flags.writable_root = true,
                "--security-opt" if value.starts_with("seccomp") => flags.filter = true,
                "--security-opt" => flags.privileges = true,
                _ => {}
            }
        }
        flags
    }
}
