//! One hardening, what was asked of the kernel and what the kernel says now.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A measure of the jail, read back from the running app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Measure {
    /// A stable name: `read-only root`, `capabilities`, `seccomp`, …
    pub name: String,
    /// What was asked for.
    pub asked: String,
    /// What the kernel says of the app's own process; absent when it could not be asked.
    pub read_back: Option<String>,
    /// Whether the two agree.
    pub status: MeasureStatus,
    /// Why they do not, or why it is not known.
    pub why: Option<String>,
    /// It gives the app something (a port below 1024, a writable /dev/shm, its ids) instead of only taking something away: where it
    /// does not hold, the app may fail for a reason that is not its own.
    pub gives: bool,
    /// The verdict depends on it. A second wall behind another one, or what one id cannot carry, does not have to be there.
    pub required: bool,
}

/// Whether a measure is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MeasureStatus {
    /// The kernel says what was asked for.
    Holds,
    /// The kernel says otherwise.
    Broken,
    /// It was applied and could not be read back.
    Unverified,
    /// This host does not have it.
    Unavailable,
}

impl Measure {
    /// A measure that takes something away, compared: it holds when both texts are the same.
    pub fn compared(name: &str, asked: impl Into<String>, read_back: impl Into<String>) -> Self {
        let (asked, read_back) = (asked.into(), read_back.into());
        let status = if asked == read_back { MeasureStatus::Holds } else { MeasureStatus::Broken };
        Measure {
            name: name.to_owned(),
            asked,
            read_back: Some(read_back),
            status,
            why: None,
            gives: false,
            required: true,
        }
    }

    /// A measure judged by the kernel's answer, or by what is wrong with it.
    pub fn judged(name: &str, asked: impl Into<String>, result: Result<String, String>) -> Self {
        let (read_back, status, why) = match result {
            Ok(read_back) => (Some(read_back), MeasureStatus::Holds, None),
            Err(why) => (None, MeasureStatus::Broken, Some(why)),
        };
        Measure { name: name.to_owned(), asked: asked.into(), read_back, status, why, gives: false, required: true }
    }

    /// A measure that was applied and about which the kernel could not be asked.
    pub fn unverified(name: &str, asked: impl Into<String>, why: impl Into<String>) -> Self {
        Measure::unknown(name, asked.into(), MeasureStatus::Unverified, why.into())
    }

    /// A measure that this host cannot enforce.
    pub fn unavailable(name: &str, asked: impl Into<String>, why: impl Into<String>) -> Self {
        Measure::unknown(name, asked.into(), MeasureStatus::Unavailable, why.into())
    }

    /// The same measure, said to give instead of to take.
    #[must_use]
    pub fn giving(self) -> Self {
        Measure { gives: true, ..self }
    }

    /// The same measure, said to be one that the verdict does not depend on, unless it is broken.
    #[must_use]
    pub fn optional(self) -> Self {
        Measure { required: self.status == MeasureStatus::Broken, ..self }
    }

    /// Whether it is in force.
    pub fn holds(&self) -> bool {
        self.status == MeasureStatus::Holds
    }

    fn unknown(name: &str, asked: String, status: MeasureStatus, why: String) -> Self {
        Measure { name: name.to_owned(), asked, read_back: None, status, why: Some(why), gives: false, required: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measure_holds_only_when_the_kernel_says_so() {
        assert!(Measure::compared("no_new_privs", "1", "1").holds());
        assert!(!Measure::compared("no_new_privs", "1", "0").holds());
        assert!(!Measure::unverified("landlock", "ABI 7", "the launcher did not report").holds());
        assert!(!Measure::unavailable("landlock", "ABI 7", "the kernel has none").holds());
    }
}
