//! One run of the app, or why there was none.

use crate::cli::CannotEnforce;
use crate::cli::launch;
use crate::cli::session::Session;
use crate::host;
use crate::jail::{self, StartError, Stdio};
use crate::measure::Measure;
use crate::phases::{self, Phase};
use crate::refusal::{Refusal, Side};
use crate::smoke::plan::Plan;
use crate::smoke::{self, Outcome};

/// Runs the app in the jail, and tells what holds of it.
pub(in crate::cli) fn hardened(
    session: &Session,
    wishes: &launch::Wishes,
    plan: &Plan,
) -> anyhow::Result<(Outcome, Vec<Measure>)> {
    let mut measures = session.measures();
    let taken = if session.barred.is_some() { smoke::taken(plan) } else { None };
    let started = match (session.cannot_run(), taken) {
        (Some(check), _) => Err(NotStarted::Barred(check.clone())),
        (None, Some(outcome)) => return Ok((outcome, measures)),
        (None, None) => start(session, wishes)?,
    };
    let outcome = match started {
        Ok(mut jail) => {
            measures.extend(jail.measures);
            phases::begin(Phase::Probe);
            let outcome = smoke::judge(&mut jail.app, plan);
            outcome.with_limits_met(&jail.app.limits_met())
        }
        Err(NotStarted::Refused(refusal)) => smoke::refused(&refusal),
        Err(NotStarted::Barred(check)) => {
            measures.push(Measure::unavailable("jail", "namespaces and mounts of the app's own", &check.found));
            smoke::barred(&check)
        }
    };
    Ok((outcome, measures))
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
    let spec = launch::spec(session, wishes, Stdio::Captured)?;
    match jail::start(&spec) {
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
