//! What the guard of the seal refused, in sentences.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Instant;

use super::{Answer, Outcome};
use crate::finding::{Finding, Role, Severity};
use crate::seal::RefusedExec;
use crate::seal::door::Door;

/// Different programs that get a finding of their own.
const NAMED: usize = 20;

/// `redis-server (pid 7) tried to execute /bin/sh, which the seal refused`.
pub fn told(refused: &RefusedExec) -> String {
    let pid = refused.pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
    let who = if refused.name.is_empty() { "a process" } else { refused.name.as_str() };
    let argv0 = refused.argv0.as_ref().filter(|argv0| refused.path.as_ref() != Some(argv0));
    let argv0 = argv0.map_or_else(String::new, |argv0| format!(" as `{argv0}`"));
    format!("{who}{pid} tried to execute {}{argv0}, which the seal refused", program(refused))
}

fn program(refused: &RefusedExec) -> &str {
    match refused.path.as_deref() {
        Some("") => "the empty path",
        Some(path) => path,
        None => "a program whose name could not be read",
    }
}

impl Outcome {
    /// The same with the execs that the seal refused: the cause, where the app did not work.
    #[must_use]
    pub fn with_execs_refused(mut self, door: &Door, started: Instant) -> Self {
        let (all, more) = door.refused();
        let mut seen = BTreeSet::new();
        let first: Vec<&RefusedExec> =
            all.iter().filter(|refused| seen.insert((refused.path.clone(), refused.name.clone()))).collect();
        let mut findings: Vec<Finding> =
            first.iter().take(NAMED).map(|refused| self.finding(refused, started)).collect();
        let count = all.len() as u64 + more;
        if let Some(last) = findings.last_mut().filter(|_| count > 1) {
            // Writing to a String cannot fail.
            let _ = write!(last.message, "; {count} execs were refused in all");
        }
        if self.answer == Answer::Fails
            && let Some(refused) = first.first()
        {
            let name = program(refused);
            self.summary = format!("{}, after the seal had refused to execute {name}", self.summary);
        }
        findings.append(&mut self.findings);
        self.findings = findings;
        self
    }

    fn finding(&self, refused: &RefusedExec, started: Instant) -> Finding {
        let (role, severity) = match self.answer {
            Answer::Fails => (Role::Cause, Severity::Error),
            Answer::Works | Answer::Unknown => (Role::Contributing, Severity::Warning),
        };
        let path = refused.path.clone().filter(|path| path.starts_with('/'));
        let advice = path.as_ref().map(|path| {
            format!("let the app do without it, or give it back: --allow-exec {path}; the levels say what is open then")
        });
        Finding {
            code: "second-exec-refused".to_owned(),
            role,
            severity,
            refused_by: Some("seal".to_owned()),
            call: Some(refused.call.to_owned()),
            path: refused.path.clone(),
            errno: Some("EACCES".to_owned()),
            pid: refused.pid,
            at_ms: u64::try_from(refused.at.saturating_duration_since(started).as_millis()).ok(),
            relax: path.iter().map(|path| format!("--allow-exec {path}")).collect(),
            message: told(refused),
            advice,
        }
    }
}
