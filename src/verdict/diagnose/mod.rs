//! From what a watched run showed to the cause, in sentences, with what to do about it.

mod advice;
mod document;
mod quiet;
mod rank;
mod rules;
mod words;

use std::fmt::Write as _;

use crate::finding::{Finding, Role, Severity};
use crate::inventory::Tree;
use crate::smoke::{Answer, Outcome};
use crate::trace::Timeline;
use crate::trace::timeline::{Event, Kind};
use crate::verdict::Baseline;
use rank::{Candidate, Context, SURE};

pub use advice::capability;
pub use document::{ZOO, codes, document, explain as explained};
pub use rules::{Match, Ready, Rule, Seen, Within, rules};

/// The code of a cause that says nothing about the image: the jail's network leads nowhere.
pub const CLOSED_ROOM: &str = "closed-room";

/// How many findings there are beside the cause, at most.
const BESIDE: usize = 5;

/// Causes that say what is wrong by themselves.
const CLEAR: [&str; 9] = [
    "oom-killed",
    "pids-exhausted",
    "listens-on-loopback-only",
    "shell-ignores-stop-signal",
    "shell-delays-stop-signal",
    "stop-signal-unheard",
    "killed-after-grace",
    "not-tested",
    "start-refused",
];

/// What is known of the image and of the run that failed.
pub struct Facts<'a> {
    /// The image's files.
    pub view: &'a dyn Tree,
    /// Who the app is.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Where the jail has volumes and folders of the host that the app could write to if they were its own.
    pub places: &'a [(Within, String)],
    /// Programs with a set-id bit, by path.
    pub set_ids: &'a [String],
    /// What the run without hardening showed.
    pub baseline: Baseline,
}

impl<'a> Context<'a> {
    fn of(timeline: &'a Timeline, facts: &Facts<'a>) -> Self {
        let works_unhardened = facts.baseline == Baseline::Works;
        Context { timeline, places: facts.places, set_ids: facts.set_ids, works_unhardened }
    }
}

/// The cause first, then what contributed, then what harms nothing. Without a cause of which one can be sure there is none among them.
pub fn diagnose(timeline: &Timeline, facts: &Facts<'_>) -> Vec<Finding> {
    let context = Context::of(timeline, facts);
    let candidates = context.candidates();
    let mut findings: Vec<Finding> = Vec::new();
    let mut told = Vec::new();
    for (place, candidate) in candidates.iter().enumerate() {
        let (is_sure, is_noise) = (candidate.score >= SURE, candidate.rule.rule.noise && candidate.score < 0.0);
        let key = (candidate.event.call, &candidate.event.path, &candidate.event.errno);
        // Beside the cause only what a wall of the jail refused is of interest, and what has to be known to look further.
        let is_refusal = matches!(candidate.event.kind, Kind::Failed | Kind::Ignored) && candidate.event.wall.is_some();
        let is_note = candidate.rule.rule.note;
        let counts = is_refusal || is_note || (place == 0 && is_sure);
        if told.contains(&key) || !counts {
            continue;
        }
        let role = match place {
            0 if is_sure => Role::Cause,
            _ if is_note => Role::Contributing,
            _ if is_noise || candidate.score < 20.0 => Role::Noise,
            _ => Role::Contributing,
        };
        if findings.iter().filter(|finding| finding.role == role).count() >= BESIDE {
            continue;
        }
        told.push(key);
        findings.push(finding(candidate, role, facts));
    }
    findings.sort_by_key(|finding| finding.role);
    findings
}

/// The event that is the cause, as an index: a call that failed, where one can be sure of it.
pub fn cause(timeline: &Timeline, facts: &Facts<'_>) -> Option<usize> {
    let context = Context::of(timeline, facts);
    let candidates = context.candidates();
    let first = candidates.first().filter(|first| first.score >= SURE && first.event.kind == Kind::Failed)?;
    timeline.events.iter().position(|event| std::ptr::eq(event, first.event))
}

/// What was refused to an app that works all the same, as notices.
pub fn degraded(timeline: &Timeline, facts: &Facts<'_>) -> Vec<Finding> {
    let context = Context { works_unhardened: true, ..Context::of(timeline, facts) };
    let mut candidates = context.candidates();
    candidates.retain(|candidate| {
        let is_write = candidate.event.wall.is_some() && candidate.event.writes && !candidate.rule.rule.noise;
        candidate.event.kind == Kind::Failed && (is_write || candidate.rule.rule.note)
    });
    candidates.sort_by_key(|candidate| candidate.event.first_seq);
    let told = |candidate: &Candidate<'_>| {
        let finding = finding(candidate, Role::Contributing, facts);
        Finding { severity: Severity::Notice, message: format!("works, but {}", finding.message), ..finding }
    };
    candidates.iter().take(2 * BESIDE).map(told).collect()
}

/// The flags that give a program the capabilities which its file asks for, where that is the cause.
pub fn give_capabilities(outcome: &mut Outcome, files: &[Finding]) {
    let asked = files.iter().filter(|finding| finding.code == "D07" && !finding.relax.is_empty());
    for file in asked {
        let same = |finding: &&mut Finding| finding.code == "D07" && finding.path == file.path;
        for finding in outcome.findings.iter_mut().filter(same) {
            finding.relax.clone_from(&file.relax);
        }
    }
}

/// Whether an outcome says by itself what is wrong.
pub fn is_clear(outcome: &Outcome) -> bool {
    outcome.findings.iter().any(|finding| {
        finding.role == Role::Cause && (CLEAR.contains(&finding.code.as_str()) || finding.call.is_some())
    })
}

/// Puts what was diagnosed into an outcome: the cause takes the place of what only says that the app failed.
pub fn explain(outcome: &mut Outcome, diagnosed: Vec<Finding>) {
    let is_cause = |finding: &Finding| finding.role == Role::Cause;
    let mut diagnosed = diagnosed;
    if is_clear(outcome) {
        for finding in diagnosed.iter_mut().filter(|finding| is_cause(finding)) {
            finding.role = Role::Contributing;
        }
    } else if diagnosed.iter().any(is_cause) {
        for finding in outcome.findings.iter_mut().filter(|finding| is_cause(finding)) {
            finding.role = Role::Contributing;
        }
        if diagnosed.iter().any(|finding| is_cause(finding) && finding.code == CLOSED_ROOM) {
            outcome.answer = Answer::Unknown;
            let why = "the jail's network leads nowhere, and the app wants to reach something outside";
            outcome.summary = format!("{}: {why}", outcome.summary);
        }
    }
    outcome.findings.splice(0..0, diagnosed);
}

fn finding(candidate: &Candidate<'_>, role: Role, facts: &Facts<'_>) -> Finding {
    let Candidate { event, mention, .. } = candidate;
    let cause = &candidate.rule.rule;
    let is_call = !matches!(event.kind, Kind::Ended);
    let place = advice::Place::of(event, facts);
    let mut message = format!("{}: {}", cause.title, evidence(event));
    if let Some(mention) = mention.as_ref().filter(|mention| mention.strength >= 30.0) {
        let _ = write!(message, "; the app says `{}`", mention.line.trim());
    }
    Finding {
        code: cause.code.clone(),
        role,
        severity: match role {
            Role::Cause => Severity::Error,
            Role::Noise => Severity::Notice,
            _ => Severity::Warning,
        },
        refused_by: event.wall.map(|wall| wall.name().to_owned()),
        call: is_call.then(|| event.call.to_owned()),
        path: event.path.clone().filter(|_| is_call),
        errno: event.errno.clone(),
        pid: Some(event.pid),
        at_ms: Some(whole(event.at_ms)),
        message,
        advice: (!cause.better.is_empty() && !cause.noise).then(|| place.filled(&cause.better)),
        relax: if cause.noise { Vec::new() } else { cause.relax.iter().map(|flag| place.filled(flag)).collect() },
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "milliseconds of a run")]
fn whole(ms: f64) -> u64 {
    ms.max(0.0) as u64
}

/// What happened, in one clause.
fn evidence(event: &Event) -> String {
    let program = if event.program.is_empty() { "the app" } else { &event.program };
    let on = event.path.as_ref().map_or_else(String::new, |path| format!(" on `{path}`"));
    let why = event.why.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
    match (event.kind, &event.errno) {
        (Kind::Failed, Some(errno)) => {
            let times = if event.times > 1 { format!(", {} times", event.times) } else { String::new() };
            format!("`{program}` calls {}{on} and gets {errno}{times}{why}", event.call)
        }
        (Kind::Asked, _) => format!("`{program}` calls {}{on}, and nothing more comes of it", event.call),
        (Kind::Started | Kind::Ignored, _) => {
            format!("`{program}` is started without the rights that its file asks for{why}")
        }
        _ => format!("`{program}` ends"),
    }
}
