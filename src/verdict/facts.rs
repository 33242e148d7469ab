//! What was judged, where, and as whom.

use std::fmt;
use std::path::Path;

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use schemars::JsonSchema;
use serde::Serialize;

use crate::image::{Compression, Image};

/// The program that judged.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Austere {
    /// Its version.
    pub version: String,
}

/// The machine that judged.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Host {
    /// `uname -r`.
    pub kernel: String,
    /// `uname -m`.
    pub arch: String,
    /// The highest Landlock ABI of the kernel; absent when it has none.
    pub landlock_abi: Option<u32>,
    /// The cgroup hierarchy.
    pub cgroup: Cgroup,
    /// Who ran austere.
    pub euid: u32,
}

/// Which control groups a host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cgroup {
    /// One hierarchy.
    V2,
    /// One for each controller, and a unified one beside them.
    Hybrid,
    /// One for each controller.
    V1,
    /// None is mounted.
    None,
}

impl Host {
    /// This machine. `landlock_abi` is asked for by who uses it.
    pub fn here(landlock_abi: Option<u32>) -> Self {
        let (kernel, arch) = nix::sys::utsname::uname().map_or_else(
            |_| ("unknown".to_owned(), std::env::consts::ARCH.to_owned()),
            |name| (name.release().to_string_lossy().into_owned(), name.machine().to_string_lossy().into_owned()),
        );
        let is_cgroup2 = |path: &str| statfs(path).is_ok_and(|fs| fs.filesystem_type() == CGROUP2_SUPER_MAGIC);
        let cgroup = match () {
            () if is_cgroup2("/sys/fs/cgroup") => Cgroup::V2,
            () if is_cgroup2("/sys/fs/cgroup/unified") => Cgroup::Hybrid,
            () if Path::new("/sys/fs/cgroup/memory").exists() || Path::new("/sys/fs/cgroup/pids").exists() => {
                Cgroup::V1
            }
            () => Cgroup::None,
        };
        Host { kernel, arch, landlock_abi, cgroup, euid: nix::unistd::geteuid().as_raw() }
    }
}

/// The image that was judged.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ImageFacts {
    /// As it was named on the command line.
    pub reference: String,
    /// What was found there: `oci`, `oci-archive`, `docker-archive`, `rootfs`, `example`, `registry`,
    /// `docker-daemon`, `containers-storage`.
    pub source: String,
    /// Of the manifest; a docker-archive and a rootfs have none.
    pub digest: Option<String>,
    /// Of the configuration, which names every layer by its content; a rootfs has none.
    pub config_digest: Option<String>,
    /// `linux/amd64`.
    pub platform: String,
    /// Base first.
    pub layers: Vec<LayerFacts>,
    /// How large it is.
    pub sizes: Sizes,
}

/// One layer.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct LayerFacts {
    /// Of the bytes as stored; a docker-archive does not say it.
    pub digest: Option<String>,
    /// Of the uncompressed tar.
    pub diff_id: String,
    /// Bytes as stored.
    pub size: u64,
    /// How they are compressed; absent where only the bytes themselves say it.
    pub compression: Option<String>,
}

/// Sizes in bytes.
#[derive(Clone, Copy, Debug, Default, Serialize, JsonSchema)]
pub struct Sizes {
    /// All layers as stored.
    pub stored: u64,
    /// All files of all layers.
    pub unpacked: u64,
}

impl ImageFacts {
    /// The facts of `image`, found at `reference` in a place of the kind `source`.
    pub fn new(reference: &str, source: &str, image: &Image, unpacked: u64) -> Self {
        let layers: Vec<_> = image
            .layers
            .iter()
            .map(|layer| LayerFacts {
                digest: layer.digest.as_ref().map(ToString::to_string),
                diff_id: layer.diff_id.to_string(),
                size: layer.size,
                compression: match layer.compression {
                    Compression::None => Some("none".to_owned()),
                    Compression::Gzip => Some("gzip".to_owned()),
                    Compression::Zstd => Some("zstd".to_owned()),
                    Compression::ByContent => None,
                },
            })
            .collect();
        ImageFacts {
            reference: reference.to_owned(),
            source: source.to_owned(),
            digest: image.manifest_digest.as_ref().map(ToString::to_string),
            config_digest: image.config_digest.as_ref().map(ToString::to_string),
            platform: image.platform.to_string(),
            sizes: Sizes { stored: layers.iter().map(|layer| layer.size).sum(), unpacked },
            layers,
        }
    }
}

/// Whose behaviour the jail has.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Preset {
    /// `docker`.
    pub name: String,
    /// The engine's version that the preset was checked against.
    pub engine_version: String,
}

impl Preset {
    /// Its names.
    pub fn of(preset: &crate::profile::preset::Preset) -> Self {
        Preset { name: preset.name.clone(), engine_version: preset.engine_version.clone() }
    }
}

/// The ids that the app had, as it saw them.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Ids {
    /// How they came about.
    pub mode: IdMode,
    /// The user.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// The supplementary groups.
    pub groups: Vec<u32>,
    /// Why the mode is not a more faithful one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// How the ids inside relate to the ids outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IdMode {
    /// They are the same: austere is root.
    Real,
    /// A subordinate range stands for them.
    Mapped,
    /// There is one id; file modes are projected so that it may what the real one might.
    Single,
}

impl fmt::Display for IdMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IdMode::Real => "real",
            IdMode::Mapped => "mapped",
            IdMode::Single => "single",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_this_one() {
        let host = Host::here(None);
        assert_eq!(host.arch, std::env::consts::ARCH);
        assert_eq!(format!("{}\n", host.kernel), std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap());
    }
}
