//! What the evidence means, in sentences.

use std::time::Duration;

use super::plan::{Plan, Probe};
use super::tcp::excerpt;
use super::{Answer, ProbeResult, ProbeStatus, span};
use crate::finding::{Finding, Role, Severity};
use crate::jail::subject::{End, Processes, Stop};

/// All that a judge has when the app is gone.
pub(super) struct Evidence<'a> {
    pub plan: &'a Plan,
    pub answer: Answer,
    pub probes: &'a [ProbeResult],
    pub end: Option<(End, Duration)>,
    pub stop: Option<Stop>,
    pub processes: &'a Processes,
    pub trouble: Option<&'a str>,
}

const LOOPBACK: &str = "let it listen on 0.0.0.0 or on the container's address; behind a published port or a Service it is as \
                        unreachable as here";
const UNHEARD: &str =
    "PID 1 gets only the signals it handles: add a handler, or start the program through a small init";
const FOREGROUND: &str = "a program that goes to the background ends its container: run it in the foreground; a job that is to end is \
                          asked for with --exit 0";

/// The causes that are about the stop.
const STOP_CODES: [&str; 4] =
    ["shell-ignores-stop-signal", "shell-delays-stop-signal", "stop-signal-unheard", "killed-after-grace"];

/// The sentence for the first line, and the findings with the cause first.
pub(super) fn explain(evidence: &Evidence<'_>) -> (String, Vec<Finding>) {
    let mut findings: Vec<_> = match (evidence.answer, evidence.end) {
        (Answer::Works, _) => Vec::new(),
        (Answer::Unknown, _) => vec![unknown(evidence)],
        (Answer::Fails, Some((end, at))) => vec![ended(evidence, end, at)],
        (Answer::Fails, None) if failed(evidence).next().is_none() => {
            evidence.stop.map(|stop| unstopped(evidence, stop)).into_iter().collect()
        }
        (Answer::Fails, None) => failed(evidence).map(|result| not_done(evidence.plan, result)).collect(),
    };
    let summary = match (findings.first(), evidence.end) {
        (Some(cause), _) => cause.message.clone(),
        (None, Some((end, at))) => format!("works ({end} after {})", span(at)),
        (None, None) => "works".to_owned(),
    };
    findings.extend(evidence.probes.iter().filter_map(server_error));
    let judged = findings.iter().any(|cause| STOP_CODES.contains(&cause.code.as_str()));
    findings.extend(evidence.stop.filter(|stop| !judged && stop.unheard).map(|_| deaf()));
    findings.extend(evidence.plan.notes.iter().cloned());
    (summary, findings)
}

fn failed<'a>(evidence: &Evidence<'a>) -> impl Iterator<Item = &'a ProbeResult> + use<'a> {
    evidence.probes.iter().filter(|result| result.status != ProbeStatus::Passed)
}

/// The app ended, and should not have, or not so.
fn ended(evidence: &Evidence<'_>, end: End, at: Duration) -> Finding {
    let said = format!("{end} after {}", span(at));
    let (code, message, advice) = match failed(evidence).next().map(|result| &result.probe) {
        None => ("died-after-probes", format!("{said}, right after its probes had passed"), ""),
        Some(Probe::Exit { code }) => ("wrong-exit-code", format!("{said} instead of exit {code}"), ""),
        Some(Probe::Up { duration, .. }) => {
            ("did-not-stay-up", format!("{said}, though it had to stay up for {}", span(*duration)), "")
        }
        Some(probe) => {
            let before = match probe.port() {
                Some(port) => format!("port {port} answered"),
                None => format!("a line matched {}", probe.target()),
            };
            let message = format!("{said}, before {before}");
            match end {
                End::Exited(0) if probe.port().is_some() => ("exited-0-before-ready", message, FOREGROUND),
                _ => ("exit-before-ready", message, ""),
            }
        }
    };
    finding(code, Role::Cause, Severity::Error, message, advice).at(at)
}

/// The time was up, and the app still there.
fn not_done(plan: &Plan, result: &ProbeResult) -> Finding {
    let within = span(plan.timeout);
    let (code, message, advice) = match (&result.probe, result.loopback, result.http_status) {
        (Probe::Exit { code }, ..) => ("did-not-exit", format!("still running after {within}, not exit {code}"), ""),
        (probe, Some(address), _) => {
            let port = probe.port().unwrap_or_default();
            let message = format!("port {port} is open on {address} only, not on the container's own address");
            ("listens-on-loopback-only", message, LOOPBACK)
        }
        (Probe::Log { regex }, ..) => {
            ("no-such-line", format!("no line of the app's output matched `{regex}` within {within}"), "")
        }
        (probe @ Probe::Http { status, .. }, None, Some(seen)) if status.contains(seen) => {
            let message = format!("{} answered {} for {within}", probe.target(), result.detail);
            ("wrong-body", message, "")
        }
        (Probe::Http { status, .. }, None, Some(seen)) if !status.contains(seen) => {
            let message = format!("{} answered {} for {within}, not {status}", result.probe.target(), result.detail);
            ("wrong-status", message, "")
        }
        (probe, ..) => {
            let port = probe.port().unwrap_or_default();
            ("not-ready", format!("port {port} did not answer within {within} ({})", result.detail), "")
        }
    };
    finding(code, Role::Cause, Severity::Error, message, advice).at(result.at)
}

/// Nothing can be said about the app.
fn unknown(evidence: &Evidence<'_>) -> Finding {
    let impossible = evidence.probes.iter().find(|result| result.status == ProbeStatus::Impossible);
    let message = match (evidence.trouble, impossible) {
        (Some(why), _) => format!("the app could not be watched: {why}"),
        (None, Some(result)) => format!("port {} was not probed: {}", result.probe.target(), result.detail),
        (None, None) => "the app was not tested".to_owned(),
    };
    finding("not-tested", Role::Cause, Severity::Error, message, "")
}

/// An image's plan asks for a connection only, so a server error does not fail it.
fn server_error(result: &ProbeResult) -> Option<Finding> {
    let (Probe::Port { port }, Some(500..)) = (&result.probe, result.http_status) else { return None };
    let said = result.detail.strip_prefix("accepts; ").unwrap_or(&result.detail);
    let message = format!("port {port} accepts connections and answers `GET /` with {said}");
    let advice = format!("if that is not meant to be, ask for a path that shows the app's health: --http {port}/PATH");
    Some(finding("http-5xx", Role::Contributing, Severity::Warning, message, &advice).at(result.at))
}

/// The stop was judged, and SIGKILL was needed. Who did not listen, and why.
fn unstopped(evidence: &Evidence<'_>, stop: Stop) -> Finding {
    let Processes { argv, children } = evidence.processes;
    let program = argv.first().map_or("", String::as_str);
    let name = program.rsplit('/').next().unwrap_or_default().trim_start_matches('-');
    let who = if program.is_empty() { String::new() } else { format!(" (`{}`)", excerpt(argv.join(" ").as_bytes())) };
    let is_shell = ["sh", "ash", "bash", "dash", "busybox", "ksh", "zsh"].contains(&name);
    let waits_for = match &children[..] {
        [] => String::new(),
        children => format!(" while it waits for `{}`", excerpt(children.join("`, `").as_bytes())),
    };
    let (code, message, advice) = match (is_shell, stop.unheard) {
        (true, true) => (
            "shell-ignores-stop-signal",
            format!("PID 1 is a shell{who} without a trap for the stop signal: nobody gets the signal{waits_for}"),
            "let the shell end with `exec PROGRAM`, or name the program itself as ENTRYPOINT (the exec form)",
        ),
        (true, false) => (
            "shell-delays-stop-signal",
            format!(
                "PID 1 is a shell{who}, which did not end within {} of its stop signal{waits_for}",
                span(stop.took)
            ),
            "a shell runs a trap only when its foreground command has ended: `exec PROGRAM`, or `PROGRAM & wait`",
        ),
        (false, true) => (
            "stop-signal-unheard",
            format!("PID 1{who} has no handler for its stop signal (SigCgt), so it never gets it"),
            UNHEARD,
        ),
        (false, false) => {
            let message =
                format!("PID 1{who} handles its stop signal and did not end within {}: it was killed", span(stop.took));
            ("killed-after-grace", message, "end at the stop signal, or ask for more time: --grace SECONDS")
        }
    };
    finding(code, Role::Cause, Severity::Error, message, advice)
}

/// What a rollout would notice: an app that takes its whole grace to end.
fn deaf() -> Finding {
    let message = "the app does not handle its stop signal, so an engine waits its whole grace and kills it".to_owned();
    finding("stop-signal-unheard", Role::Contributing, Severity::Notice, message, UNHEARD)
}

fn finding(code: &str, role: Role, severity: Severity, message: String, advice: &str) -> Finding {
    let advice = (!advice.is_empty()).then(|| advice.to_owned());
    Finding { code: code.to_owned(), role, severity, message, advice, ..Finding::default() }
}

impl Finding {
    fn at(mut self, at: Duration) -> Self {
        self.at_ms = u64::try_from(at.as_millis()).ok();
        self
    }
}
