//! A preset: what an engine gives every container, as data.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;

/// What an engine of one version gives a container that was asked for with no further flags.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct Preset {
    /// The engine.
    pub name: String,
    /// Its version.
    pub engine_version: String,
    /// The seccomp profile, by its file name in `profiles/seccomp/` without `.json`.
    pub seccomp: String,
    /// The seccomp profile of an unhardened container, where it is another one.
    #[serde(default)]
    pub unhardened_seccomp: Option<String>,
    /// It is no engine's: no exec after the app's own, no upper layer, and the narrowest rules that the image and the flags imply.
    #[serde(default)]
    pub is_sealed: bool,
    /// The group of the hardened user, where it is not passwd's, else 0.
    #[serde(default)]
    pub gid: Option<u32>,
    /// What an unhardened container holds.
    pub capabilities: BTreeSet<String>,
    /// Paths that are covered: folders by an empty one, files by /dev/null.
    pub masked_paths: Vec<String>,
    /// Paths below /proc that are read-only.
    pub readonly_paths: Vec<String>,
    /// `net.ipv4.ip_unprivileged_port_start`.
    pub unprivileged_port_start: u16,
    /// `net.ipv4.ping_group_range`; the kernel's own, which lets nobody, when absent.
    pub ping_group_range: Option<(u32, u32)>,
    /// IPv6 in a network of the container's own.
    #[serde(default = "yes")]
    pub ipv6: bool,
    /// The size of /dev/shm in bytes.
    pub shm_size: u64,
    /// Variables that the engine adds below the image's own.
    #[serde(default)]
    pub env: Vec<String>,
    /// What becomes writable when the root is made read-only.
    #[serde(default)]
    pub read_only_tmpfs: Vec<PathBuf>,
    /// How a tmpfs is mounted when only its path is given.
    #[serde(default)]
    pub tmpfs: TmpfsStyle,
    /// A user without an entry in the image's passwd gets one.
    #[serde(default)]
    pub passwd_line: bool,
    /// A working directory that the image lacks belongs to the app's user.
    #[serde(default)]
    pub owns_working_dir: bool,
    /// Capabilities that are added reach a user other than root, as ambient ones.
    #[serde(default)]
    pub ambient_capabilities: bool,
    /// There is a file /dev/termination-log that the app may write to.
    #[serde(default)]
    pub termination_log: bool,
}

/// How an engine mounts a tmpfs of which only the path is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TmpfsStyle {
    /// noexec, with the mode of the image's folder, empty.
    #[default]
    Bare,
    /// Mode 1777, programs in it run, and what the image has there is in it.
    CopiedUp,
    /// Mode 0777, programs in it run, empty: an emptyDir.
    EmptyDir,
}

fn yes() -> bool {
    true
}

/// The presets there are, newest first of each engine: a name without a version means the first that has it.
const SHIPPED: [&str; 6] = [
    include_str!("../../profiles/docker-26.1.json"),
    include_str!("../../profiles/docker-20.10.json"),
    include_str!("../../profiles/podman-4.3.json"),
    include_str!("../../profiles/kubernetes-containerd-2.1.json"),
    include_str!("../../profiles/kubernetes-containerd-1.7.json"),
    include_str!("../../profiles/sealed.json"),
];

/// A name that no preset has.
#[derive(Debug, thiserror::Error)]
#[error("there is no preset `{0}`; there are {1}")]
pub struct UnknownPreset(String, String);

impl Preset {
    /// The presets that are built in, in their order.
    fn shipped() -> impl Iterator<Item = Preset> {
        // A test keeps every file a preset.
        SHIPPED.iter().filter_map(|text| serde_json::from_str(text).ok())
    }
}

/// The one that is taken when none is named.
impl Default for Preset {
    fn default() -> Self {
        Preset::shipped().next().expect("a test keeps every file a preset")
    }
}

impl FromStr for Preset {
    type Err = UnknownPreset;

    /// `docker` for the newest version, `docker@20.10` for one.
    fn from_str(text: &str) -> Result<Self, UnknownPreset> {
        let (name, version) = text.split_once('@').map_or((text, None), |(name, version)| (name, Some(version)));
        let is_meant =
            |preset: &Preset| preset.name == name && version.is_none_or(|version| version == preset.engine_version);
        Preset::shipped().find(is_meant).ok_or_else(|| {
            let names: Vec<String> =
                Preset::shipped().map(|preset| format!("{}@{}", preset.name, preset.engine_version)).collect();
            UnknownPreset(text.to_owned(), names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_is_built_in_is_a_preset() {
        assert_eq!(Preset::shipped().count(), SHIPPED.len());
        for preset in Preset::shipped() {
            assert!(preset.capabilities.len() > 10);
            assert!(preset.masked_paths.iter().chain(&preset.readonly_paths).all(|path| path.starts_with('/')));
            for name in [Some(&preset.seccomp), preset.unhardened_seccomp.as_ref()].into_iter().flatten() {
                assert!(crate::profile::seccomp::shipped(name).is_some());
            }
        }
    }

    #[test]
    fn docker_is_taken_when_none_is_named() {
        assert_eq!("docker".parse::<Preset>().ok(), Some(Preset::default()));
    }

    #[test]
    fn a_name_without_a_version_is_the_newest() {
        let version = |text: &str| text.parse::<Preset>().map(|preset| preset.engine_version).ok();
        assert_eq!(version("docker").as_deref(), Some("26.1"));
        assert_eq!(version("docker@20.10").as_deref(), Some("20.10"));
        for text in ["", "docker@", "docker@1", "podmann", "@26.1"] {
            assert_eq!(version(text), None, "{text}");
        }
    }
}
