//! What a tree of files cannot say about the layer it came from.

use serde::{Deserialize, Serialize};

use crate::finding::{Finding, Severity};

/// Beyond so many, specials are only counted: a layer of a million device nodes must not fill memory.
const SPECIALS_MAX: usize = 4096;

/// What is known about a layer beside its tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Entries in its tar.
    pub entries: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// Whether it says anything about `/` itself; otherwise the root of its tree has default attributes that mean nothing.
    pub root: bool,
    /// What modes cannot carry, or not on this host.
    pub specials: Vec<Special>,
    /// What was changed, or is worth knowing.
    pub findings: Vec<Finding>,
}

/// A file that is more than its permission bits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Special {
    /// Its path from the image's root, with a leading slash; what is not UTF-8 in it is replaced.
    pub path: String,
    /// What it is.
    #[serde(flatten)]
    pub kind: SpecialKind,
}

/// What a special file is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "special")]
pub enum SpecialKind {
    /// A device node; `made` says whether it is in the tree.
    Device {
        /// Block or character.
        kind: DeviceKind,
        /// The driver.
        major: u32,
        /// The device.
        minor: u32,
        /// Whether the tree has it.
        made: bool,
    },
    /// A file that runs with its owner's or group's rights.
    SetId {
        /// All of its mode, as the image says.
        mode: u32,
    },
    /// A program with capabilities of its own.
    FileCapability {
        /// The value of `security.capability`, as the image says.
        hex: String,
        /// Whether the file in the tree carries it.
        stored: bool,
    },
}

/// Block or character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// Read in blocks.
    Block,
    /// Read as a stream.
    Char,
}

impl Facts {
    pub(super) fn special(&mut self, path: &[u8], kind: SpecialKind) {
        if self.specials.len() < SPECIALS_MAX {
            self.specials.push(Special { path: slashed(path), kind });
        } else {
            self.note("specials-not-listed", b"", "more set-id files, file capabilities and devices than are listed");
        }
    }

    /// What was at `path` is gone.
    pub(super) fn forget(&mut self, path: &[u8]) {
        let path = slashed(path);
        let below = format!("{path}/");
        self.specials.retain(|special| special.path != path && !special.path.starts_with(&below));
    }

    /// Adds a finding; of each code only the first path is kept.
    pub(super) fn note(&mut self, code: &str, path: &[u8], message: &str) {
        if self.findings.iter().all(|finding| finding.code != code) {
            self.findings.push(Finding {
                code: code.to_owned(),
                severity: Severity::Notice,
                path: Some(slashed(path)),
                message: message.to_owned(),
                ..Finding::default()
            });
        }
    }
}

fn slashed(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}
