//! A preset: what an engine gives every container, as data.

use std::collections::BTreeSet;

use serde::Deserialize;

/// What an engine of one version gives a container that was asked for with no further flags.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// The engine.
    pub name: String,
    /// Its version.
    pub engine_version: String,
    /// The seccomp profile, by its file name in `profiles/seccomp/` without `.json`.
    pub seccomp: String,
    /// What an unhardened container holds.
    pub capabilities: BTreeSet<String>,
    /// Paths that are covered: folders by an empty one, files by /dev/null.
    pub masked_paths: Vec<String>,
    /// Paths below /proc that are read-only.
    pub readonly_paths: Vec<String>,
    /// `net.ipv4.ip_unprivileged_port_start`.
    pub unprivileged_port_start: u16,
    /// The size of /dev/shm in bytes.
    pub shm_size: u64,
}

const DOCKER: &str = include_str!("../../profiles/docker-26.1.json");

impl Preset {
    /// Docker, the newest version there is a file for.
    ///
    /// # Errors
    ///
    /// The file that was built in is not a preset; a test keeps it one.
    pub fn docker() -> Result<Self, serde_json::Error> {
        serde_json::from_str(DOCKER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preset_that_is_built_in_is_one() {
        let docker = Preset::docker().unwrap();
        assert_eq!(docker.capabilities.len(), 14);
        assert!(docker.masked_paths.iter().chain(&docker.readonly_paths).all(|path| path.starts_with('/')));
    }
}
