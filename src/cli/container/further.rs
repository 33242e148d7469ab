//! What a profile file can say and no flag can.

use std::path::PathBuf;

use crate::cli::flags::EnvVar;
use crate::profile::Profile;

#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct Further {
    /// Variables, which those of the flags win over.
    pub env: Vec<EnvVar>,
    /// Files with more of them, which `env` wins over.
    pub env_file: Vec<PathBuf>,
    /// Landlock as a second wall.
    pub landlock: Option<bool>,
    /// Memory that was written to stays memory.
    pub memory_deny_write_execute: Option<bool>,
    /// Files in memory cannot be executed.
    pub memfd_noexec: Option<bool>,
    /// Paths to cover besides the preset's.
    pub masked_paths: Vec<String>,
    /// Paths to make read-only besides the preset's.
    pub readonly_paths: Vec<String>,
}

impl Further {
    pub(super) fn apply(&self, profile: &mut Profile) -> anyhow::Result<()> {
        let walls = [
            ("landlock", self.landlock, profile.landlock),
            ("memory_deny_write_execute", self.memory_deny_write_execute, !profile.exec_gain),
            ("memfd_noexec", self.memfd_noexec, !profile.exec_memfd),
        ];
        for (name, wanted, has) in walls {
            if wanted == Some(false) && has {
                profile.relaxations.push(format!("{name}: false"));
            }
        }
        anyhow::ensure!(
            self.memfd_noexec != Some(true) || !profile.exec_memfd,
            "memfd_noexec: the filter of preset {} does not look at memfd_create\n  hint: extends: sealed",
            profile.preset.name
        );
        profile.landlock = self.landlock.unwrap_or(profile.landlock);
        anyhow::ensure!(
            profile.landlock || profile.allow_exec.is_empty(),
            "allow_exec: Landlock is what holds the other programs back, and `landlock: false` takes it away"
        );
        profile.exec_gain = self.memory_deny_write_execute.map_or(profile.exec_gain, |denied| !denied);
        profile.exec_memfd = self.memfd_noexec.map_or(profile.exec_memfd, |refused| !refused);
        if self.masked_paths.is_empty() && self.readonly_paths.is_empty() {
            return Ok(());
        }
        if !profile.covers_system_paths {
            // What is taken away is the preset's own list.
            profile.covers_system_paths = true;
            profile.preset.masked_paths.clear();
            profile.preset.readonly_paths.clear();
        }
        let more = |all: &mut Vec<String>, paths: &[String]| {
            for path in paths {
                if !all.contains(path) {
                    all.push(path.clone());
                }
            }
        };
        more(&mut profile.preset.masked_paths, &self.masked_paths);
        more(&mut profile.preset.readonly_paths, &self.readonly_paths);
        Ok(())
    }
}
