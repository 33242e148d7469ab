//! What the app did: answered, stayed up, ended.
//!
//! Nothing is ever executed in the jail for a probe: a thread of this process joins the app's network and connects from there.

mod backlog;
mod findings;
mod http;
mod judge;
mod limits;
mod log;
pub mod plan;
mod probe;
mod refused;
mod sealed;
mod tcp;
#[cfg(test)]
mod tests;
mod tls;
mod udp;

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::finding::Finding;
use crate::jail::subject::{End, Output, Stop};

pub use judge::judge;
pub use limits::limits_met;
use plan::Probe;
pub use refused::{barred, not_allowed, refused, taken, weaker};
pub use sealed::told;

/// All that one run of the app showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The answer of this run.
    pub answer: Answer,
    /// The same as the end of a sentence about the app: `exit 1 after 12 ms, before port 80 answered`.
    pub summary: String,
    /// One for each probe of the plan, in its order.
    pub probes: Vec<ProbeResult>,
    /// How the app ended by itself, if it did.
    pub end: Option<End>,
    /// When it ended by itself, counted from its start.
    pub ended_at: Option<Duration>,
    /// All probes were done and the app was still there.
    pub alive_after_probes: bool,
    /// How it took its stop signal, if it was alive to get one.
    pub stop: Option<Stop>,
    /// The last that it wrote.
    pub output: Output,
    /// The cause first.
    pub findings: Vec<Finding>,
    /// From the app's start to the last probe's answer.
    pub took: Duration,
}

/// Whether the app works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Every probe passed, and it was alive afterwards or ended as planned.
    Works,
    /// It did not do what the plan asks.
    Fails,
    /// It could not be watched or reached: this says nothing about the app.
    Unknown,
}

/// What came of one probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeResult {
    /// The probe.
    pub probe: Probe,
    /// What came of it.
    pub status: ProbeStatus,
    /// What was last seen: `HTTP 200 OK`, `connection refused`.
    pub detail: String,
    /// When it was decided, counted from the app's start.
    pub at: Duration,
    /// How long the last attempt took.
    pub took: Duration,
    /// How often it was tried.
    pub attempts: u32,
    /// The last HTTP status seen.
    pub http_status: Option<u16>,
    /// What the app was found to be listening on instead, of its own addresses that nobody else can reach.
    pub loopback: Option<std::net::IpAddr>,
}

/// What can come of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProbeStatus {
    /// The app did it.
    Passed,
    /// The app did not do it in time, or ended before.
    Failed,
    /// The probe itself could not be made.
    Impossible,
}

/// A time as people say it: `40 µs`, `3.1 ms`, `120 ms`, `2.5 s`, `30 s`.
pub fn span(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    match ms {
        ..0.9995 => format!("{:.0} µs", ms * 1e3),
        ..9.95 => format!("{ms:.1} ms"),
        ..999.5 => format!("{ms:.0} ms"),
        _ if time.subsec_millis() == 0 || ms >= 99_950.0 => format!("{:.0} s", ms / 1e3),
        _ => format!("{:.1} s", ms / 1e3),
    }
}
