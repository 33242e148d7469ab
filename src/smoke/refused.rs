//! An app that did not start: its start was refused, or this host refuses the jail. No probe was made.

use std::time::Duration;

use nix::errno::Errno;

use super::{Answer, Outcome};
use crate::finding::{Finding, Role, Severity};
use crate::host::Check;
use crate::jail::subject::Output;
use crate::refusal::Refusal;

/// The outcome of a start that the kernel refused, with the code that `docs/verdict.md` explains.
pub fn refused(refusal: &Refusal) -> Outcome {
    let what = match refusal.call.as_str() {
        "chdir" => "entering the working directory",
        _ => "exec",
    };
    let message = format!("{what} {}: {} ({})", refusal.on, refusal.errno.desc(), refusal.errno_name());
    let (code, advice) = match (refusal.call.as_str(), refusal.errno) {
        ("chdir", Errno::EACCES) => {
            ("D16", "let every user enter the working directory: `RUN chmod a+rx DIR`, or another WORKDIR")
        }
        ("execve", Errno::EPERM) => (
            "D07",
            "the file has capabilities that the jail never gives: `setcap -r`, or copy the file without its attributes",
        ),
        ("execve", Errno::EACCES) => {
            ("D18", "let every user execute it: `COPY --chmod=0755`, and mode a+x on the folders above")
        }
        ("execve", Errno::ENOENT) => ("D20", "the file is there; the interpreter or the loader that it names is not"),
        ("execve", Errno::ENOEXEC) => {
            ("D21", "it is neither a program for this machine nor a script that starts with `#!`")
        }
        _ => ("start-refused", ""),
    };
    let cause = Finding {
        code: code.to_owned(),
        role: Role::Cause,
        severity: Severity::Error,
        call: Some(refusal.call.clone()),
        path: Some(refusal.on.clone()),
        errno: Some(refusal.errno_name()),
        message: message.clone(),
        advice: (!advice.is_empty()).then(|| advice.to_owned()),
        ..Finding::default()
    };
    not_started(Answer::Fails, message, cause)
}

/// The outcome where this host refuses the jail: nothing was run, and `check` says why in the words of `austere doctor`.
pub fn barred(check: &Check) -> Outcome {
    let message = format!("this host does not let austere build the jail: {}", check.found);
    let means = check.means.iter().map(|means| format!("; {means}")).collect::<String>();
    let cause = Finding {
        code: "not-tested".to_owned(),
        role: Role::Cause,
        severity: Severity::Error,
        message: format!("{message}{means}. Nothing was run; the files were looked at"),
        advice: check.remedy.clone(),
        ..Finding::default()
    };
    not_started(Answer::Unknown, message, cause)
}

fn not_started(answer: Answer, summary: String, cause: Finding) -> Outcome {
    Outcome {
        answer,
        summary,
        probes: Vec::new(),
        end: None,
        ended_at: None,
        alive_after_probes: false,
        stop: None,
        output: Output::default(),
        findings: vec![cause],
        took: Duration::ZERO,
    }
}
