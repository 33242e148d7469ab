//! What every check returns.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One thing that was seen, with what it means and what to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// A stable code: `D07` and so on, or a word such as `exit-before-ready`.
    pub code: String,
    /// What part it plays in the verdict.
    pub role: Role,
    /// How much it matters by itself.
    pub severity: Severity,
    /// The wall that refused, when one did: `capabilities`, `read-only mount`, `file mode`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused_by: Option<String>,
    /// The system call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// The path or address it was about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The error, by its name: `EROFS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
    /// The process, as numbered inside the jail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Milliseconds after the app was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_ms: Option<u64>,
    /// One sentence for a person.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// What would have to be given back, as docker flags: `--tmpfs /run`, `--cap-add CHOWN`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relax: Vec<String>,
}

/// The part a finding plays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It made the app fail.
    Cause,
    /// It would have been next, or made things worse.
    Contributing,
    /// It was seen without running anything.
    #[default]
    Static,
    /// It happens and harms nothing.
    Noise,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The app does not work with it.
    Error,
    /// The app works, something in it does not.
    Warning,
    /// Worth knowing.
    #[default]
    Notice,
}
