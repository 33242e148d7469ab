//! The judging runs: one, or as many as were asked for.

use std::time::{Duration, Instant};

use super::attempt::Sight;
use crate::finding::{Finding, Role, Severity};
use crate::measure::Measure;
use crate::smoke::{Answer, Outcome};

/// The code of a failure that does not happen in every run.
pub(in crate::cli) const COMES_AND_GOES: &str = "comes-and-goes";

/// One run.
pub(super) struct Trial {
    /// What the app did.
    pub outcome: Outcome,
    /// What the jail reports of this run.
    pub measures: Vec<Measure>,
    /// Building the jail.
    pub jail_took: Duration,
    /// What else was seen.
    pub sight: Sight,
}

impl Trial {
    /// A run that was begun at `launched`.
    pub fn new((outcome, measures, sight): (Outcome, Vec<Measure>, Sight), launched: Instant) -> Self {
        let stop = outcome.stop.map_or(Duration::ZERO, |stop| stop.took);
        let jail_took = launched.elapsed().saturating_sub(outcome.took + stop);
        Trial { outcome, measures, jail_took, sight }
    }

    /// How much a run decides: one that fails more than one that says nothing, that more than one whose jail was not whole.
    fn weight(&self) -> u8 {
        let whole = self.measures.iter().all(|measure| !measure.required || measure.holds());
        match self.outcome.answer {
            Answer::Fails => 3,
            Answer::Unknown => 2,
            Answer::Works if !whole => 1,
            Answer::Works => 0,
        }
    }
}

/// The run that the verdict is about, with what it is compared to the others; and what each run came to.
pub(super) fn decisive(trials: Vec<Trial>) -> (Trial, Vec<Outcome>) {
    let runs: Vec<_> = trials.iter().map(|trial| trial.outcome.clone()).collect();
    let most = trials.iter().map(Trial::weight).max().unwrap_or_default();
    let mut trials = trials.into_iter().enumerate().filter(|(_, trial)| trial.weight() == most);
    let Some((index, mut trial)) = trials.next() else { unreachable!("there is at least one run") };
    let count = runs.len();
    if count > 1 {
        let worked = runs.iter().filter(|run| run.answer == Answer::Works).count();
        let summary = &trial.outcome.summary;
        trial.outcome.summary = match trial.outcome.answer {
            Answer::Works => format!("{summary} in each of {count} runs"),
            _ => format!("run {} of {count}: {summary}", index + 1),
        };
        trial.outcome.findings.extend(difference(&runs, worked));
    }
    (trial, runs)
}

/// Says so where the deciding run failed and another with the same hardening worked: among those that were judged, or the watched one.
pub(super) fn compare(outcome: &mut Outcome, runs: &[Outcome], watched: Option<&Outcome>) {
    let all = || runs.iter().chain(watched);
    let (failed, count) = (all().filter(|run| run.answer == Answer::Fails).count(), all().count());
    if outcome.answer != Answer::Fails || all().all(|run| run.answer != Answer::Works) {
        return;
    }
    outcome.summary = format!("{}; that comes and goes: {failed} of {count} runs failed", outcome.summary);
    let which = if watched.is_some() { ", and not the last, which was watched" } else { "" };
    outcome.findings.push(Finding {
        code: COMES_AND_GOES.to_owned(),
        role: Role::Contributing,
        severity: Severity::Warning,
        message: format!(
            "{failed} of {count} runs with the same hardening failed{which}: hardening alone is not what stops the app"
        ),
        advice: Some(
            "look for what differs from run to run (a race, chance, the time, what an earlier run left in a mounted folder); \
             `--repeat 20` shows how often"
                .to_owned(),
        ),
        ..Finding::default()
    });
}

/// Runs of one image that did not all come to the same.
fn difference(runs: &[Outcome], worked: usize) -> Option<Finding> {
    let seen = |run: &Outcome| -> Vec<_> { run.probes.iter().map(|probe| (probe.status, probe.http_status)).collect() };
    let first = runs.first()?;
    let (severity, message) = if worked != 0 && worked != runs.len() {
        (Severity::Warning, format!("{worked} of {} runs of the same image worked", runs.len()))
    } else if let Some(index) = runs.iter().position(|run| run.end != first.end || seen(run) != seen(first)) {
        let said = |run: &Outcome| match (&run.end, run.probes.iter().find(|probe| probe.http_status.is_some())) {
            (Some(end), _) => end.to_string(),
            (None, Some(probe)) => probe.detail.clone(),
            (None, None) => run.summary.clone(),
        };
        let message = format!("run {} differs from run 1: {}, not {}", index + 1, said(&runs[index]), said(first));
        (Severity::Notice, message)
    } else {
        return None;
    };
    Some(Finding { code: "runs-differ".to_owned(), role: Role::Contributing, severity, message, ..Finding::default() })
}
