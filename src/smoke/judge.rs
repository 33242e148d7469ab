//! Runs a plan against a started app and says what it saw.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::log::Listener;
use super::plan::{Plan, Probe};
use super::tcp::Watch;
use super::{Answer, Outcome, ProbeResult, ProbeStatus, findings, probe, span};
use crate::jail::subject::{End, Processes, Stop, Subject};

/// How often it is looked whether the app has ended while probes are under way. A probe's answer is noticed at once.
const SLICE: Duration = Duration::from_millis(1);
/// After the last probe: the longest time for an app to die of it. An app whose threads all wait again has survived it; one that is still at
/// work may yet break.
const SETTLE: Duration = Duration::from_millis(20);
/// The same where a connection was accepted and nothing was said: the kernel does that for any program that listens, however much of its start is
/// still to come.
const SETTLE_UNHEARD: Duration = Duration::from_secs(1);
/// The most grace for an app that failed already: time for its last words.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// A probe's thread holds two small buffers.
const STACK: usize = 256 << 10;

/// Waits for the app to do what the plan asks, checks that it is still alive then, and stops it.
///
/// All probes are tried at the same time. When the app ends, they are told at once. The app is stopped in every case; it is gone
/// when this returns.
pub fn judge(app: &mut dyn Subject, plan: &Plan) -> Outcome {
    let mut vigil = Vigil { started: app.started(), app, end: None, trouble: None };
    let deadline = vigil.started + plan.timeout;
    let listener = Listener::new(plan, vigil.started);
    if let Some(listener) = &listener {
        vigil.app.listen(listener.ears());
    }
    let mut probes = ask_ports(&mut vigil, plan, deadline);
    if plan.only_connects() {
        hold_out(&mut vigil, plan, deadline, &mut probes);
    }
    if let Some(listener) = &listener {
        while !listener.is_done(vigil.end.is_some()) && !vigil.is_over(SLICE) && Instant::now() < deadline {}
        listener.is_done(vigil.end.is_some());
        by_ear(listener, plan, &vigil, &mut probes);
    }
    for (probe, result) in plan.probes.iter().zip(&mut probes) {
        let until = match probe {
            Probe::Exit { .. } => deadline,
            Probe::Up { duration, .. } => vigil.started + *duration,
            _ => continue,
        };
        vigil.wait_until(until);
        *result = by_end(probe, &vigil);
    }
    let took = vigil.started.elapsed();
    if !plan.allows_end() {
        vigil.settle(SETTLE);
    }

    let passed = |result: &ProbeResult| result.status == ProbeStatus::Passed;
    let all_passed = !probes.is_empty() && probes.iter().all(passed);
    let as_planned = vigil.end.is_some() && plan.allows_end() && all_passed;
    let mut answer = match (&vigil.end, &vigil.trouble) {
        (Some(_), _) if !as_planned => Answer::Fails,
        (_, Some(_)) => Answer::Unknown,
        _ if all_passed => Answer::Works,
        _ if probes.iter().any(|result| result.status == ProbeStatus::Impossible) => Answer::Unknown,
        _ => Answer::Fails,
    };
    let alive_after_probes = vigil.end.is_none() && vigil.trouble.is_none();
    let grace = if answer == Answer::Works { plan.grace } else { plan.grace.min(LAST_WORDS) };
    let processes = if vigil.end.is_none() { vigil.app.processes() } else { Processes::default() };
    let stop = vigil.stop(grace);
    if plan.judges_stop && answer == Answer::Works && stop.is_some_and(|stop| stop.killed) {
        answer = Answer::Fails;
    }
    let trouble = vigil.trouble.as_deref();
    let evidence =
        findings::Evidence { plan, answer, probes: &probes, end: vigil.end, stop, processes: &processes, trouble };
    let (summary, findings) = findings::explain(&evidence);
    let (end, ended_at) = vigil.end.unzip();
    let output = vigil.app.output();
    Outcome { answer, summary, probes, end, ended_at, alive_after_probes, stop, output, findings, took }
}

/// The watch over the app's end.
struct Vigil<'a> {
    app: &'a mut dyn Subject,
    started: Instant,
    end: Option<(End, Duration)>,
    /// Why the app cannot be watched any more.
    trouble: Option<String>,
}

impl Vigil<'_> {
    /// Whether there is nothing left to watch; looks for `timeout` at most.
    fn is_over(&mut self, timeout: Duration) -> bool {
        if self.end.is_none() && self.trouble.is_none() {
            match self.app.wait_end(timeout) {
                Ok(end) => self.end = end.map(|end| (end, self.started.elapsed())),
                Err(error) => self.trouble = Some(error.to_string()),
            }
        }
        self.end.is_some() || self.trouble.is_some()
    }

    fn wait_until(&mut self, until: Instant) {
        while !self.is_over(until.saturating_duration_since(Instant::now())) && Instant::now() < until {}
    }

    /// Waits until the app was seen at rest twice, a slice apart, or has ended.
    fn settle(&mut self, longest: Duration) {
        let deadline = Instant::now() + longest;
        let mut rests = self.app.is_at_rest();
        while !self.is_over(SLICE) && Instant::now() < deadline {
            let rested = std::mem::replace(&mut rests, self.app.is_at_rest());
            if rested && rests {
                return;
            }
        }
    }

    fn stop(&mut self, grace: Duration) -> Option<Stop> {
        if self.end.is_some() {
            return None;
        }
        let stop = if self.trouble.is_none() { self.app.stop(grace).ok() } else { None };
        if stop.is_none() {
            self.app.kill();
        }
        stop
    }
}

/// Ports that only have to accept are asked again when the app has come to rest, until they accept at the first attempt: one that dies a moment
/// later, or was started anew, had not served.
fn hold_out(vigil: &mut Vigil<'_>, plan: &Plan, deadline: Instant, probes: &mut Vec<ProbeResult>) {
    let accepted = |probes: &[ProbeResult]| probes.iter().all(|result| result.status == ProbeStatus::Passed);
    while accepted(probes) && !vigil.is_over(Duration::ZERO) && Instant::now() < deadline {
        vigil.settle(SETTLE_UNHEARD);
        if vigil.is_over(Duration::ZERO) {
            return;
        }
        let again = ask_ports(vigil, plan, deadline);
        if vigil.is_over(Duration::ZERO) || accepted(&again) && again.iter().all(|result| result.attempts == 1) {
            return;
        }
        *probes = again;
    }
}

/// Tries every probe that connects, each in its own thread, until all have an answer. The others are left as they are.
fn ask_ports(vigil: &mut Vigil<'_>, plan: &Plan, deadline: Instant) -> Vec<ProbeResult> {
    let mut results: Vec<_> =
        plan.probes.iter().map(|probe| ProbeResult::of(probe, ProbeStatus::Failed, "not tried")).collect();
    let asked = plan.probes.iter().filter(|probe| probe.port().is_some()).count();
    let crowd = u32::try_from(asked).unwrap_or(u32::MAX);
    let room = vigil.app.room();
    let over = AtomicBool::new(false);
    let watch = Watch { started: vigil.started, deadline, over: &over };
    let (report, reports) = mpsc::channel();
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for (index, probe) in plan.probes.iter().enumerate().filter(|(_, probe)| probe.port().is_some()) {
            let (report, room, watch) = (report.clone(), &room, &watch);
            // The receiver outlives the scope, so a report cannot be lost.
            let work = move || drop(report.send((index, probe::run(probe, room, watch, crowd))));
            match thread::Builder::new().name(format!("probe {index}")).stack_size(STACK).spawn_scoped(scope, work) {
                Ok(handle) => threads.push(handle),
                Err(error) => {
                    let why = format!("no thread for the probe: {error}");
                    results[index] = ProbeResult::of(probe, ProbeStatus::Impossible, why);
                }
            }
        }
        drop(report);
        loop {
            match reports.recv_timeout(SLICE) {
                Ok((index, result)) => results[index] = result,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if !over.load(Ordering::Relaxed) && vigil.is_over(Duration::ZERO) {
                over.store(true, Ordering::Release);
                for handle in &threads {
                    handle.thread().unpark();
                }
            }
        }
        // The scope would wait for their work, and not for their end.
        for handle in threads {
            let _ = handle.join();
        }
    });
    results
}

/// What came of the lines that were waited for.
fn by_ear(listener: &Listener, plan: &Plan, vigil: &Vigil<'_>, results: &mut [ProbeResult]) {
    for (index, (probe, result)) in plan.probes.iter().zip(results).enumerate() {
        if !matches!(probe, Probe::Log { .. }) {
            continue;
        }
        let (status, detail, at) = match listener.hit(index) {
            Some(hit) => (ProbeStatus::Passed, format!("wrote `{}`", hit.line), hit.at),
            None => (ProbeStatus::Failed, "no such line".to_owned(), vigil.started.elapsed()),
        };
        *result = ProbeResult { at, took: at, attempts: 1, ..ProbeResult::of(probe, status, detail) };
    }
}

/// The result of a probe that only looks at the app's end.
fn by_end(probe: &Probe, vigil: &Vigil<'_>) -> ProbeResult {
    let at = vigil.end.map_or_else(|| vigil.started.elapsed(), |(_, at)| at);
    let passed = match (probe, vigil.end) {
        (Probe::Exit { code }, Some((end, _))) => end == End::Exited(i32::from(*code)),
        (Probe::Up { or_exit_0, .. }, Some((end, _))) => *or_exit_0 && end == End::Exited(0),
        (Probe::Up { .. }, None) => vigil.trouble.is_none(),
        _ => false,
    };
    let detail = match vigil.end {
        Some((end, at)) => format!("{end} after {}", span(at)),
        None => "still up".to_owned(),
    };
    let status = if passed { ProbeStatus::Passed } else { ProbeStatus::Failed };
    ProbeResult { at, took: at, attempts: 1, ..ProbeResult::of(probe, status, detail) }
}
