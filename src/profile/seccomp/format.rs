//! The JSON as people write it. Unknown keys are refused: in a security profile a misspelt key is a hole.

use serde::{Deserialize, Deserializer};

/// The whole file. Moby's keys, with those that containers-common adds.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub default_action: String,
    pub default_errno_ret: Option<u32>,
    pub default_errno: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub architectures: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub arch_map: Vec<ArchMap>,
    pub flags: Option<Vec<String>>,
    /// For `SCMP_ACT_NOTIFY` only, which is refused.
    #[serde(rename = "listenerPath")]
    _listener_path: Option<String>,
    #[serde(rename = "listenerMetadata")]
    _listener_metadata: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub syscalls: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ArchMap {
    pub architecture: String,
    #[serde(default, deserialize_with = "or_default")]
    pub sub_architectures: Vec<String>,
}

/// One entry of `syscalls`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Entry {
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub names: Vec<String>,
    #[serde(default)]
    pub action: String,
    pub errno_ret: Option<u32>,
    pub errno: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub args: Vec<Arg>,
    #[serde(rename = "comment")]
    _comment: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub includes: When,
    #[serde(default, deserialize_with = "or_default")]
    pub excludes: When,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arg {
    pub index: u32,
    #[serde(default)]
    pub value: u64,
    #[serde(default)]
    pub value_two: u64,
    pub op: String,
}

/// When an entry counts.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct When {
    #[serde(default, deserialize_with = "or_default")]
    pub caps: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub arches: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub min_kernel: String,
}

/// `null` is as good as absent: Go writes it for an empty list.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}
