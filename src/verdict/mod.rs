//! The judgement: `pass`, `fail` or `inconclusive`, with the evidence for it.
//!
//! `docs/verdict.md` describes it for readers, `docs/verdict.schema.json` for programs; a test keeps both true.

mod assemble;
mod decide;
pub mod diagnose;
pub mod facts;
pub mod levels;
pub mod run;

use schemars::JsonSchema;
use serde::Serialize;

use crate::finding::Finding;
use crate::manifest::PodSecurity;
use crate::measure::Measure;

pub use assemble::Evidence;
pub use decide::{Judgement, decide};
use facts::{Austere, Host, Ids, ImageFacts, Preset};
use run::{App, Durations, Fit, Levels, PlanFacts, ProbeFacts, RunFacts, Rung};

/// What austere found out about one image.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(title = "austere.verdict/1")]
pub struct Verdict {
    /// The form of this document. It grows by fields; a change of meaning gets a new number.
    pub schema: Schema,
    /// What judged.
    pub austere: Austere,
    /// Where it was judged.
    pub host: Host,
    /// RFC 3339, UTC.
    #[schemars(extend("format" = "date-time"))]
    pub started_at: String,
    /// The judgement.
    pub verdict: Status,
    /// The judgement in one sentence, without its subject: `exit 1 after 12 ms, before port 80 answered`.
    pub reason: String,
    /// The same image without any hardening.
    pub baseline: Baseline,
    /// What was judged.
    pub image: ImageFacts,
    /// Whose behaviour the jail has.
    pub preset: Preset,
    /// What was given back to the app on request, as the flags say it.
    pub relaxations: Vec<String>,
    /// Who the app was.
    pub ids: Ids,
    /// What it had to do.
    pub plan: PlanFacts,
    /// How far the image has come, easiest first.
    pub ladder: Vec<Rung>,
    /// What an intruder would find to run.
    pub levels: Levels,
    /// Every hardening, asked for and read back.
    pub measures: Vec<Measure>,
    /// What came of each probe, in the plan's order.
    pub probes: Vec<ProbeFacts>,
    /// What each run came to: one, or as many as `--repeat` asked for; after them the watched one, where the app failed before and worked in it.
    /// The rest of the document is about the one that decides.
    pub runs: Vec<RunFacts>,
    /// The cause first.
    pub findings: Vec<Finding>,
    /// What the Pod Security Standards say of the pod; absent without `--pod`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_security: Option<PodSecurity>,
    /// What the app left behind.
    pub app: App,
    /// Milliseconds.
    pub durations_ms: Durations,
    /// The least that would have to be given back for the image to work.
    pub fit: Fit,
}

/// The form of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum Schema {
    /// The first.
    #[serde(rename = "austere.verdict/1")]
    V1,
}

/// The judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It did all that was asked, and every measure was read back. Exit code 0.
    Pass,
    /// It did not. Exit code 1.
    Fail,
    /// This host could not enforce, read back or test something, so neither can be said. Exit code 3.
    Inconclusive,
}

/// What the image does without any hardening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Baseline {
    /// It works: the hardening is what breaks it, unless one of `runs` worked.
    Works,
    /// It is broken before hardening.
    Fails,
    /// It was not run that way.
    NotTried,
}

/// Whether something was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reached {
    /// It was tried, and it is so.
    Reached,
    /// It was tried, and it is not so.
    Failed,
    /// It was not tried.
    NotTried,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Status::Pass => "PASS",
            Status::Fail => "FAIL",
            Status::Inconclusive => "INCONCLUSIVE",
        })
    }
}

/// Milliseconds with microseconds behind the point.
fn millis(time: std::time::Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
