//! What this kernel lets this user do. Nothing is concluded from a version where it can be tried.

mod cgroup;
mod confine;
mod ids;
mod kernel;
mod namespaces;
mod storage;
mod surroundings;

use std::path::Path;

use nix::errno::Errno;
use serde::Serialize;

use crate::refusal::Refusal;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What it is about.
    pub name: &'static str,
    /// How it stands.
    pub status: Status,
    /// What was tried, and what came of it.
    pub found: String,
    /// What follows from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub means: Option<String>,
    /// A command that helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// Whether `austere verify` needs it.
    pub needed: bool,
}

/// How a thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is there.
    Ok,
    /// It is there in part, or its lack costs something.
    Warn,
    /// It is not there.
    No,
}

impl Status {
    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Warn => "warn",
            Status::No => "no",
        }
    }
}

impl Check {
    fn new(name: &'static str, status: Status, found: impl Into<String>) -> Self {
        Check { name, status, found: found.into(), means: None, remedy: None, needed: false }
    }

    fn means(self, means: impl Into<String>) -> Self {
        Check { means: Some(means.into()), ..self }
    }

    fn remedy(self, remedy: impl Into<String>) -> Self {
        Check { remedy: Some(remedy.into()), ..self }
    }

    /// What was tried, and what follows.
    pub fn explained(&self) -> String {
        match &self.means {
            Some(means) => format!("{}; {means}", self.found),
            None => self.found.clone(),
        }
    }

    /// The remedy as the end of an error; nothing where none is known.
    pub fn hint(&self) -> String {
        self.remedy.as_ref().map_or_else(String::new, |remedy| format!("\n  hint: {remedy}"))
    }

    fn needed(self) -> Self {
        Check { needed: true, ..self }
    }
}

/// Looks at everything. `store` is where unpacked layers would lie; nothing stays there.
///
/// Call it in a process of one thread: it forks.
pub fn examine(store: &Path) -> Vec<Check> {
    let around = surroundings::look();
    let root = nix::unistd::geteuid().is_root();
    let mut checks = vec![kernel::version(), kernel::calls(&around)];
    checks.push(around.check());
    let place = storage::Place::near(store);
    checks.extend(namespaces::checks(root, &around, &place));
    checks.push(ids::subordinate(root));
    checks.extend(confine::checks());
    checks.push(cgroup::check(root));
    checks.extend(place.checks());
    checks
}

/// What [`examine`] says of a step that was refused while a jail was built, in the same words.
pub fn about(refusal: &Refusal) -> Check {
    namespaces::about(refusal, &surroundings::look())
}

/// What it means that a child could not be traced; `tracer` is who does already, or 0.
pub fn untraced(tracer: i32, errno: Errno) -> Check {
    confine::untraced(tracer, errno)
}

/// Whether `austere verify` can come to a verdict here.
pub fn can_verify(checks: &[Check]) -> bool {
    !checks.iter().any(|check| check.needed && check.status == Status::No)
}

/// A small file of the kernel's, without white space around; `None` when it is not there.
fn setting(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_needed_and_missing_prevents_a_verdict() {
        let check = |status| Check::new("x", status, "");
        assert!(can_verify(&[check(Status::No), check(Status::Warn).needed(), check(Status::Ok).needed()]));
        assert!(!can_verify(&[check(Status::Ok).needed(), check(Status::No).needed()]));
    }
}
