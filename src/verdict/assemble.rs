//! Evidence to a verdict.

use std::time::SystemTime;

use super::facts::{Austere, Host, Ids, ImageFacts, Preset};
use super::run::{App, Durations, Fit, Levels, PlanFacts, ProbeFacts, RunFacts, RunStatus, Rung};
use super::{Baseline, Reached, Schema, Status, Verdict, decide, millis};
use crate::finding::Finding;
use crate::manifest::PodSecurity;
use crate::measure::Measure;
use crate::smoke::plan::Plan;
use crate::smoke::{Answer, Outcome};

/// All that is known when the runs are over.
#[derive(Clone, Debug)]
pub struct Evidence<'a> {
    /// When austere was started.
    pub started_at: SystemTime,
    /// Where.
    pub host: Host,
    /// The image.
    pub image: ImageFacts,
    /// Whose behaviour the jail had.
    pub preset: Preset,
    /// How the app was confined: `read-only, without capabilities, as 65532:0`.
    pub manner: String,
    /// The root was read-only, there were no capabilities, and the app was not root.
    pub is_hardened: bool,
    /// What was given back or set on request, as the flags say it: `--tmpfs /run`.
    pub relaxations: Vec<String>,
    /// Who the app was.
    pub ids: Ids,
    /// What it had to do.
    pub plan: &'a Plan,
    /// What it did, in the judging run.
    pub outcome: &'a Outcome,
    /// All runs that were judged, in their order; that one is among them.
    pub runs: &'a [Outcome],
    /// The watched run, where the app failed in the deciding one and worked in this.
    pub watched: Option<&'a Outcome>,
    /// What the jail reports of that run.
    pub measures: Vec<Measure>,
    /// What the run without hardening showed.
    pub baseline: Baseline,
    /// What was seen beside the run: while unpacking, by looking at the files.
    pub findings: Vec<Finding>,
    /// What the Pod Security Standards say of the manifest.
    pub pod_security: Option<PodSecurity>,
    /// Where the time went; `smoke` and `stop` are taken from the outcome.
    pub durations: Durations,
}

impl Verdict {
    /// Judges.
    pub fn new(evidence: Evidence<'_>) -> Self {
        let (outcome, baseline) = (evidence.outcome, evidence.baseline);
        let mut manner = evidence.manner;
        // The manner says these two itself.
        let is_said = |flag: &str| flag == "--read-only=false" || flag.starts_with("--cap-add ");
        let relaxations: Vec<&str> =
            evidence.relaxations.iter().map(String::as_str).filter(|flag| !is_said(flag)).collect();
        if !relaxations.is_empty() {
            manner = format!("{manner}, with {}", relaxations.join(" "));
        }
        let judgement = decide(outcome.answer, &evidence.measures, baseline, &outcome.summary, &manner);
        let mut ladder = ladder(outcome.answer, judgement.status, baseline, evidence.is_hardened);
        if judgement.status == Status::Pass && evidence.is_hardened && evidence.relaxations.is_empty() {
            // Nothing was given back, and there is no less.
            set(&mut ladder, Rung::MINIMAL, Reached::Reached);
        }
        let mut findings = [outcome.findings.clone(), evidence.findings].concat();
        findings.sort_by_key(|finding| (finding.role, finding.severity));
        Verdict {
            schema: Schema::V1,
            austere: Austere { version: env!("CARGO_PKG_VERSION").to_owned() },
            host: evidence.host,
            started_at: humantime::format_rfc3339_millis(evidence.started_at).to_string(),
            verdict: judgement.status,
            reason: judgement.reason,
            baseline,
            image: evidence.image,
            preset: evidence.preset,
            relaxations: evidence.relaxations,
            ids: evidence.ids,
            plan: PlanFacts::new(evidence.plan),
            ladder,
            levels: Levels::default(),
            measures: evidence.measures,
            probes: outcome.probes.iter().map(ProbeFacts::from).collect(),
            runs: {
                let watched = evidence.watched.map(|run| RunFacts { watched: true, ..RunFacts::from(run) });
                evidence.runs.iter().map(RunFacts::from).chain(watched).collect()
            },
            findings,
            pod_security: evidence.pod_security,
            app: App::from(outcome),
            durations_ms: Durations {
                smoke: Some(millis(outcome.took)),
                stop: outcome.stop.map(|stop| millis(stop.took)),
                ..evidence.durations
            },
            fit: Fit::default(),
        }
    }
}

/// How far the image has come. Who works in the jail would work without it, so the first step needs no run of its own then.
fn ladder(answer: Answer, status: Status, baseline: Baseline, is_hardened: bool) -> Vec<Rung> {
    let runs = match (answer, baseline) {
        (Answer::Works, _) | (_, Baseline::Works) => Reached::Reached,
        (_, Baseline::Fails) => Reached::Failed,
        (_, Baseline::NotTried) => Reached::NotTried,
    };
    let held = match status {
        // Another step was tried than this one.
        _ if !is_hardened => Reached::NotTried,
        Status::Pass => Reached::Reached,
        Status::Fail => Reached::Failed,
        Status::Inconclusive => Reached::NotTried,
    };
    let step = |name: &str, status| Rung { rung: name.to_owned(), status };
    vec![
        step("runs", runs),
        step("read-only, no capabilities, non-root", held),
        step(Rung::NO_SHELL, Reached::NotTried),
        step(Rung::SEALED, Reached::NotTried),
        step(Rung::MINIMAL, Reached::NotTried),
    ]
}

impl Verdict {
    /// Whether the app failed in one run and worked in another, with the same hardening.
    pub fn comes_and_goes(&self) -> bool {
        let any = |status| self.runs.iter().any(|run| run.status == status);
        any(RunStatus::Fails) && any(RunStatus::Works)
    }

    /// The same with what was found to be the least, and with the rung that it answers; one that found nothing out changes nothing.
    #[must_use]
    pub fn with_fit(mut self, fit: Fit) -> Self {
        if fit.runs > 0 {
            set(&mut self.ladder, Rung::MINIMAL, fit.status);
        }
        Verdict { fit, ..self }
    }
}

/// Answers one step of a ladder.
pub(super) fn set(ladder: &mut [Rung], name: &str, status: Reached) {
    for rung in ladder.iter_mut().filter(|rung| rung.rung == name) {
        rung.status = status;
    }
}

impl Durations {
    /// A time in the unit of these fields.
    pub fn of(time: std::time::Duration) -> Option<f64> {
        Some(millis(time))
    }
}
