//! One run of the app, or why there was none.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::cli::CannotEnforce;
use crate::cli::launch;
use crate::cli::progress;
use crate::cli::session::Session;
use crate::enter::{self, Entered};
use crate::host;
use crate::ids;
use crate::jail::subject::Subject;
use crate::jail::{self, StartError, Stdio};
use crate::measure::Measure;
use crate::netns::slot;
use crate::phases::{self, Phase};
use crate::refusal::{Refusal, Side};
use crate::smoke::plan::Plan;
use crate::smoke::{self, Answer, Outcome};
use crate::verdict::Baseline;

/// What was seen of the running app beside its measures.
#[derive(Clone, Debug, Default)]
pub(super) struct Sight {
    /// Where it may write and execute.
    pub writable_executable: Option<Vec<String>>,
    /// The list of what may be executed, where there is one.
    pub execute: Vec<String>,
    /// What came of entering its jail from outside.
    pub entered: Entered,
}

/// Runs the app in the jail, and tells what holds of it.
pub(in crate::cli) fn hardened(
    session: &Session,
    wishes: &launch::Wishes,
    plan: &Plan,
) -> anyhow::Result<(Outcome, Vec<Measure>)> {
    let (outcome, measures, _) = sighted(session, wishes, plan, None)?;
    Ok((outcome, measures))
}

/// The same, with a closer look; with `programs`, its jail is entered from outside too.
pub(super) fn sighted(
    session: &Session,
    wishes: &launch::Wishes,
    plan: &Plan,
    programs: Option<&[String]>,
) -> anyhow::Result<(Outcome, Vec<Measure>, Sight)> {
    let mut sight = Sight::default();
    let mut measures = session.measures();
    if let Some(refusal) = &wishes.refusal {
        return Ok((smoke::not_allowed(refusal.clone()), measures, sight));
    }
    let taken = if session.barred.is_some() { smoke::taken(plan) } else { None };
    let started = match (session.cannot_run(), taken) {
        (Some(check), _) => Err(NotStarted::Barred(check.clone())),
        (None, Some(outcome)) => return Ok((outcome, measures, sight)),
        (None, None) => {
            let spec = launch::spec(session, wishes, Stdio::Captured)?;
            sight.execute = spec.landlock.as_ref().and_then(|rules| rules.execute.clone()).unwrap_or_default();
            start_of(&spec)?
        }
    };
    let outcome = match started {
        Ok(mut jail) => {
            measures.extend(jail.measures);
            sight.writable_executable = jail.writable_executable;
            if let Some(programs) = programs {
                let account = &session.account;
                sight.entered = enter::enter(jail.app.pid(), account.uid, account.gid, programs);
            }
            // Dropped before the jail, whose successor needs a process of one thread.
            let _open = slot::open(&wishes.slots, jail.app.room()).context("opening the published ports")?;
            phases::begin(Phase::Probe);
            let outcome = progress::waited("in the jail", plan, || smoke::judge(&mut jail.app, plan));
            let outcome = match jail.app.door() {
                Some(door) => outcome.with_execs_refused(door, jail.app.started()),
                None => outcome,
            };
            outcome.with_limits_met(&jail.app.limits_met())
        }
        Err(NotStarted::Refused(refusal)) => smoke::refused(&refusal),
        Err(NotStarted::Barred(check)) => {
            measures.push(Measure::unavailable("jail", "namespaces and mounts of the app's own", &check.found));
            smoke::barred(&check)
        }
    };
    Ok((outcome, measures, sight))
}

/// Why there is no app.
pub(in crate::cli) enum NotStarted {
    /// Its own start was refused, as an engine would refuse it.
    Refused(Refusal),
    /// This host refuses the jail.
    Barred(host::Check),
}

/// Builds the jail; a refusal of the app or of the jail is an outcome, any other ends the command.
pub(super) fn start(session: &Session, wishes: &launch::Wishes) -> anyhow::Result<Result<jail::Started, NotStarted>> {
    start_of(&launch::spec(session, wishes, Stdio::Captured)?)
}

fn start_of(spec: &jail::Spec) -> anyhow::Result<Result<jail::Started, NotStarted>> {
    match jail::start(spec) {
        Ok(jail) => Ok(Ok(jail)),
        Err(StartError::Refused(refusal)) if refusal.side == Side::App => Ok(Err(NotStarted::Refused(refusal))),
        Err(StartError::Refused(refusal)) if refusal.side == Side::Image => Err(refusal.into()),
        Err(StartError::Refused(refusal)) => Ok(Err(NotStarted::Barred(host::about(&refusal)))),
        Err(error) => {
            let hint = "`austere doctor` tries each step and names a remedy";
            Err(CannotEnforce(format!("this host does not let austere build the jail: {error}\n  hint: {hint}")).into())
        }
    }
}

/// Does the image work at all? With one id a failure says nothing: an entrypoint that changes its user or an owner needs more.
pub(super) fn unhardened(
    session: &Session,
    wishes: &launch::Wishes,
    plan: &Plan,
) -> anyhow::Result<(Baseline, Option<Duration>)> {
    let begun = Instant::now();
    let Ok(shipped) = session.as_shipped() else { return Ok((Baseline::NotTried, None)) };
    let profile = wishes.profile.unhardened();
    let wishes = launch::Wishes { profile, without: Vec::new(), refusal: None, ..wishes.clone() };
    let answer = match start(&shipped, &wishes)? {
        Ok(mut jail) => {
            phases::begin(Phase::Probe);
            progress::waited("without hardening", plan, || smoke::judge(&mut jail.app, plan)).answer
        }
        Err(NotStarted::Refused(_)) => Answer::Fails,
        Err(NotStarted::Barred(_)) => Answer::Unknown,
    };
    let baseline = match (answer, session.ids) {
        (Answer::Works, _) => Baseline::Works,
        (Answer::Fails, ids::Mode::Real | ids::Mode::Mapped) => Baseline::Fails,
        (Answer::Fails, ids::Mode::Single) | (Answer::Unknown, _) => Baseline::NotTried,
    };
    Ok((baseline, Some(begun.elapsed())))
}
