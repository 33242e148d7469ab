//! What the preset `sealed` takes from an app only where it lives with it: memory that becomes code, and files in memory that could be executed.

use std::time::Instant;

use super::attempt;
use super::trials::Trial;
use crate::cli::launch::Wishes;
use crate::cli::session::Session;
use crate::finding::{Finding, Role, Severity};
use crate::smoke::Answer;
use crate::smoke::plan::Plan;

/// What is given back, in this order: the least that helps counts.
const STEPS: [(bool, bool); 3] = [(true, false), (false, true), (true, true)];

/// Where the app fails without them, runs it with them; the run counts that works, and says what it took.
pub(super) fn settle(
    session: &Session,
    wishes: &mut Wishes,
    plan: &Plan,
    names: Option<&[String]>,
    trial: Trial,
) -> anyhow::Result<Trial> {
    let profile = &wishes.profile;
    let is_explained = trial.outcome.findings.iter().any(|finding| finding.code == "second-exec-refused");
    let is_about_it = trial.outcome.answer == Answer::Fails && !trial.measures.is_empty();
    if !is_about_it || is_explained || !profile.narrow || profile.exec_gain || profile.exec_memfd {
        return Ok(trial);
    }
    for (gain, memfd) in STEPS {
        let mut with = wishes.clone();
        (with.profile.exec_gain, with.profile.exec_memfd) = (gain, memfd);
        let launched = Instant::now();
        let mut other = Trial::new(attempt::sighted(session, &with, plan, names)?, launched);
        if other.outcome.answer == Answer::Works {
            other.outcome.findings.extend(gain.then(|| {
                needed(
                    "exec-gain-needed",
                    "mmap",
                    "the app makes memory executable that it wrote to, so that was given back to it",
                )
            }));
            other.outcome.findings.extend(memfd.then(|| {
                needed(
                    "exec-memfd-needed",
                    "memfd_create",
                    "the app makes files in memory without MFD_NOEXEC_SEAL, so that was given back to it",
                )
            }));
            *wishes = with;
            return Ok(other);
        }
    }
    Ok(trial)
}

fn needed(code: &str, call: &str, message: &str) -> Finding {
    Finding {
        code: code.to_owned(),
        role: Role::Contributing,
        severity: Severity::Notice,
        refused_by: Some("preset sealed".to_owned()),
        call: Some(call.to_owned()),
        message: message.to_owned(),
        ..Finding::default()
    }
}
