//! An app that did not start: its start was refused, or this host refuses the jail. No probe was made.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::time::Duration;

use nix::errno::Errno;

use super::plan::{Plan, Probe};
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
    let (wall, relax): (_, &[&str]) = match code {
        // Which capability it is, the file says; this is the one that most such files have.
        "D07" => (Some("capabilities"), &["--cap-add NET_BIND_SERVICE"]),
        "D16" | "D18" => (Some("file mode"), &["--user 0"]),
        _ => (None, &[]),
    };
    let cause = Finding {
        code: code.to_owned(),
        role: Role::Cause,
        severity: Severity::Error,
        refused_by: wall.map(str::to_owned),
        relax: relax.iter().map(ToString::to_string).collect(),
        call: Some(refusal.call.clone()),
        path: Some(refusal.on.clone()),
        errno: Some(refusal.errno_name()),
        message: message.clone(),
        advice: (!advice.is_empty()).then(|| advice.to_owned()),
        ..Finding::default()
    };
    not_started(Answer::Fails, message, cause)
}

/// The outcome where an engine would not have started it, for a reason that is not the kernel's.
pub fn not_allowed(cause: Finding) -> Outcome {
    not_started(Answer::Fails, cause.message.clone(), cause)
}

const BARRED: &str = "this host does not let austere build the jail";

/// The outcome where this host refuses the jail: nothing was run, and `check` says why in the words of `austere doctor`.
pub fn barred(check: &Check) -> Outcome {
    let message = format!("{BARRED}: {}", check.found);
    let cause = Finding {
        code: "not-tested".to_owned(),
        role: Role::Cause,
        severity: Severity::Error,
        message: format!("{BARRED}: {}. Nothing was run; the files were looked at", check.explained()),
        advice: check.remedy.clone(),
        ..Finding::default()
    };
    not_started(Answer::Unknown, message, cause)
}

/// What was run in a root of its own only, because this host refuses the jail.
pub fn weaker(check: &Check) -> Finding {
    let message = format!(
        "{}. The app ran in a root of its own, without namespaces, mounts and /proc, in the network of austere",
        check.explained()
    );
    Finding {
        code: "no-namespaces".to_owned(),
        role: Role::Contributing,
        severity: Severity::Warning,
        message,
        advice: check.remedy.clone(),
        ..Finding::default()
    }
}

/// The outcome where a port that the plan asks is taken, and the app is to have the network of this process: an answer would be
/// somebody else's. Nothing otherwise.
pub fn taken(plan: &Plan) -> Option<Outcome> {
    let is_taken = |probe: &Probe, port: u16| {
        let addresses = [IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::UNSPECIFIED)];
        addresses.iter().any(|address| {
            let bound = match probe {
                Probe::Udp { .. } => UdpSocket::bind((*address, port)).map(drop),
                _ => TcpListener::bind((*address, port)).map(drop),
            };
            bound.is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
        })
    };
    let port = plan.probes.iter().find_map(|probe| probe.port().filter(|port| is_taken(probe, *port)))?;
    let message = format!("port {port} is in use by another process, which would answer in the app's place");
    let cause = Finding {
        code: "not-tested".to_owned(),
        role: Role::Cause,
        severity: Severity::Error,
        message: message.clone(),
        ..Finding::default()
    };
    Some(not_started(Answer::Unknown, message, cause))
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
