//! What the app had to do, what it did, and how far that gets it.

use schemars::JsonSchema;
use std::collections::BTreeMap;

use serde::Serialize;

use super::{Reached, millis};
use crate::fit::Given;
use crate::fit::minimal::Minimal;
use crate::jail::subject::{End, Output};
use crate::smoke::plan::{Kind, Origin, Plan};
use crate::smoke::{Answer, Outcome, ProbeResult, ProbeStatus};

/// What the app had to do.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PlanFacts {
    /// Who asked for it.
    pub origin: Origin,
    /// At least one.
    pub probes: Vec<PlannedProbe>,
    /// From the app's start: how long readiness is waited for.
    pub timeout_ms: f64,
    /// From the stop signal to SIGKILL.
    pub grace_ms: f64,
}

/// One thing the app had to do.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PlannedProbe {
    /// The kind of probe.
    pub kind: Kind,
    /// What it is about: `80`, `80/healthz`, `code 0`, `3 s`.
    pub target: String,
    /// What makes it pass: `accept a connection`.
    pub want: String,
}

/// What came of one probe.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ProbeFacts {
    /// The kind of probe.
    pub kind: Kind,
    /// What it is about.
    pub target: String,
    /// What came of it.
    pub status: ProbeStatus,
    /// What was last seen: `HTTP 200 OK`, `connection refused`.
    pub detail: String,
    /// When it was decided, in milliseconds after the app's start.
    pub at_ms: f64,
    /// How long its last attempt took, in milliseconds.
    pub took_ms: f64,
    /// How often it was tried.
    pub attempts: u32,
}

/// What one run came to.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RunFacts {
    /// Whether the app worked.
    pub status: RunStatus,
    /// The same as the end of a sentence: `exit 1 after 12 ms, before port 80 answered`.
    pub summary: String,
    /// From the app's start to the last probe's answer, in milliseconds.
    pub smoke_ms: f64,
    /// From its stop signal to its end; absent when it had ended before, or got none because `--grace` did not ask for one.
    pub stop_ms: Option<f64>,
    /// It was watched by a tracer, and does not judge; absent where it was not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub watched: bool,
}

/// Whether the app worked in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// It did all that was asked.
    Works,
    /// It did not.
    Fails,
    /// It could not be watched or reached.
    Unknown,
}

/// One step of the ladder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Rung {
    /// What it is to stand here: `read-only, no capabilities, non-root`.
    pub rung: String,
    /// Whether the image does.
    pub status: Reached,
}

impl Rung {
    /// Answered by `--no-shell`.
    pub const NO_SHELL: &str = "no shell inside";
    /// Answered by `--seal`.
    pub const SEALED: &str = "runs sealed";
    /// Answered by `--fit`.
    pub const MINIMAL: &str = "minimal profile";

    /// The flag that makes `verify` try this step, where it has to be asked for.
    pub fn flag(&self) -> Option<&'static str> {
        match self.rung.as_str() {
            Self::NO_SHELL => Some("--no-shell"),
            Self::SEALED => Some("--seal"),
            Self::MINIMAL => Some("--fit"),
            _ => None,
        }
    }
}

/// How much there is to run for someone who got in.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Levels {
    /// No interpreter or shell on disk.
    #[serde(rename = "L0")]
    pub l0: Level,
    /// The executables that the app's user could start.
    #[serde(rename = "L1")]
    pub l1: Level,
    /// The app works while every second exec is refused.
    #[serde(rename = "L2")]
    pub l2: Level,
    /// No path is both writable and executable.
    #[serde(rename = "L3")]
    pub l3: Level,
    /// No exec without a file.
    #[serde(rename = "L4")]
    pub l4: Level,
    /// No language runtime in the closure. Information, not a failure.
    #[serde(rename = "L5")]
    pub l5: Level,
    /// Files of the image that give rights, or that can be changed where the root is writable; `null` where it was not looked through.
    pub files: Option<Files>,
}

/// Files that somebody who got in would look for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Files {
    /// Set-id files and their modes, in octal.
    pub set_ids: BTreeMap<String, String>,
    /// Files with capabilities, as getcap(8) writes them.
    pub capabilities: BTreeMap<String, String>,
    /// Files that everybody may write to, and directories, but for those where only owners remove (`/tmp`).
    pub world_writable: Vec<String>,
    /// Files and directories of the app's user; `null` where one id stands for all.
    pub owned: Option<Vec<String>>,
}

/// One level.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Level {
    /// Whether it is reached.
    pub status: Reached,
    /// What says so.
    pub evidence: Vec<String>,
}

impl Default for Level {
    fn default() -> Self {
        Level { status: Reached::NotTried, evidence: Vec::new() }
    }
}

/// The least that would have to be given back, proven by running.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Fit {
    /// Whether a set was found. Nothing at all is a set, too.
    pub status: Reached,
    /// The same in one sentence; why there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The set, the smallest risk first.
    pub relaxations: Vec<Given>,
    /// How many different sets were run.
    pub tried: u32,
    /// How many runs it took, with those that only watch.
    pub runs: u32,
    /// How often in a row the set worked at last.
    pub proven: u32,
    /// A seccomp profile of the app's own, where one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<Minimal>,
    /// A command line of docker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker: Option<String>,
    /// A command line of podman.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub podman: Option<String>,
    /// A compose file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compose: Option<String>,
    /// A Deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<String>,
}

impl Fit {
    /// The text of the app's own seccomp profile, where there is one that was proven.
    pub fn own_profile(&self) -> Option<String> {
        let own = self.seccomp.as_ref().filter(|own| own.status == Reached::Reached)?;
        Some(format!("{:#}\n", own.profile))
    }
}

impl Default for Fit {
    fn default() -> Self {
        Fit {
            status: Reached::NotTried,
            reason: String::new(),
            relaxations: Vec::new(),
            tried: 0,
            runs: 0,
            proven: 0,
            seccomp: None,
            docker: None,
            podman: None,
            compose: None,
            kubernetes: None,
        }
    }
}

/// What the app left behind.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct App {
    /// Its own exit code, if it ended by itself or after its stop signal.
    pub exit_code: Option<i32>,
    /// The signal that ended it, by its name.
    pub signal: Option<String>,
    /// All probes were done and it was still there.
    pub alive_after_probes: bool,
    /// From its stop signal to its end; absent when it had ended before, or got none because `--grace` did not ask for one.
    pub stopped_in_ms: Option<f64>,
    /// The last that it wrote to its standard output; bytes that are not UTF-8 are replaced.
    pub stdout_tail: String,
    /// The last that it wrote to its standard error.
    pub stderr_tail: String,
}

/// Where the time went, in milliseconds; absent what was not done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Durations {
    /// Reading the image's manifest and configuration.
    pub open: Option<f64>,
    /// Unpacking, or finding the layers in the store.
    pub unpack: Option<f64>,
    /// Building the jail, up to the app's start.
    pub jail: Option<f64>,
    /// From the app's start to the last probe's answer.
    pub smoke: Option<f64>,
    /// From the stop signal to the app's end.
    pub stop: Option<f64>,
    /// The run without hardening.
    pub unhardened: Option<f64>,
    /// Everything.
    pub total: Option<f64>,
}

impl PlanFacts {
    /// The facts of a plan.
    pub fn new(plan: &Plan) -> Self {
        PlanFacts {
            origin: plan.origin,
            probes: plan
                .probes
                .iter()
                .map(|probe| PlannedProbe { kind: probe.kind(), target: probe.target(), want: probe.want() })
                .collect(),
            timeout_ms: millis(plan.timeout),
            grace_ms: millis(plan.grace),
        }
    }
}

impl From<&ProbeResult> for ProbeFacts {
    fn from(result: &ProbeResult) -> Self {
        ProbeFacts {
            kind: result.probe.kind(),
            target: result.probe.target(),
            status: result.status,
            detail: result.detail.clone(),
            at_ms: millis(result.at),
            took_ms: millis(result.took),
            attempts: result.attempts,
        }
    }
}

impl From<&Outcome> for RunFacts {
    fn from(outcome: &Outcome) -> Self {
        RunFacts {
            status: match outcome.answer {
                Answer::Works => RunStatus::Works,
                Answer::Fails => RunStatus::Fails,
                Answer::Unknown => RunStatus::Unknown,
            },
            summary: outcome.summary.clone(),
            smoke_ms: millis(outcome.took),
            stop_ms: outcome.stop.map(|stop| millis(stop.took)),
            watched: false,
        }
    }
}

impl From<&Outcome> for App {
    fn from(outcome: &Outcome) -> Self {
        let end = outcome.end.or(outcome.stop.map(|stop| stop.end));
        let Output { stdout, stderr } = &outcome.output;
        App {
            exit_code: if let Some(End::Exited(code)) = end { Some(code) } else { None },
            signal: end.filter(|end| matches!(end, End::Signaled(_))).map(|end| end.to_string()),
            alive_after_probes: outcome.alive_after_probes,
            stopped_in_ms: outcome.stop.filter(|stop| stop.asked).map(|stop| millis(stop.took)),
            stdout_tail: String::from_utf8_lossy(stdout).into_owned(),
            stderr_tail: String::from_utf8_lossy(stderr).into_owned(),
        }
    }
}
