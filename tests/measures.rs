//! Every measure that a verdict reports is left out once, and its read-back has to notice.
//!
//! The names come from a verdict itself, so a new measure without a twin fails here.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]

#[path = "common/callers.rs"]
mod callers;
mod common;
#[path = "common/image.rs"]
mod image;

use std::net::TcpListener;
use std::process::{Command, Output};

use callers::{Caller, callers};
use common::{json, said};
use serde_json::Value;

/// What also breaks when a measure is left out.
const ALONG: [(&str, &[&str]); 1] = [
    // The sysctls belong to the network.
    ("network", &["unprivileged-port-start", "sysctls"]),
];

/// What cannot be left out with one id, because the kernel then refuses the rest of the jail or there is nothing to do.
const ONE_ID_CANNOT: [(&str, &str); 2] = [
    ("network", "fsmount(sysfs): Operation not permitted"),
    // With one id supplementary groups are neither set nor dropped; what that leads to is tested below.
    ("groups", ""),
];

/// austere with everything about its caller that a jail must not pass on: a descriptor, a core limit, a variable, a group.
fn leaky(caller: &Caller, args: &[&str]) -> Output {
    let mut command = Command::new("sh");
    command.current_dir(caller.dir()).env("LEAK", "from the caller");
    // The hard limit of whoever runs the tests may be 0; only root can raise it again.
    command.args(["-c", "ulimit -c unlimited 2>/dev/null; exec 9</etc/passwd; exec \"$@\"", "sh"]);
    match caller {
        Caller::Root(_) => command.args(["setpriv", "--groups=4242", env!("CARGO_BIN_EXE_austere")]),
        Caller::User(user) if common::root() => {
            command.args(["setpriv", "--reuid=2001", "--regid=2001", "--clear-groups"]).arg(user.binary())
        }
        Caller::User(user) => command.arg(user.binary()),
    };
    command.args(["verify", "example:hello", "--format", "json", "--user", "65532:65532"]);
    command.args(["--sysctl", "net.ipv4.ip_default_ttl=33", "--store"]);
    command.arg(caller.store()).args(args).output().unwrap()
}

/// Measures by name, with their status.
fn statuses(verdict: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let measures = verdict["measures"].as_array().unwrap();
    measures.iter().map(|measure| (text(&measure["name"]), text(&measure["status"]))).collect()
}

fn whole(caller: &Caller) -> Vec<String> {
    let output = leaky(caller, &[]);
    let verdict = json(&output);
    assert_eq!(output.status.code(), Some(0), "{}: {}", caller.mode(), said(&output));
    assert_eq!(verdict["ids"]["mode"], caller.mode());
    let statuses = statuses(&verdict);
    for (name, status) in &statuses {
        assert_eq!(status, "holds", "{name}, {}", caller.mode());
    }
    statuses.into_iter().map(|(name, _)| name).collect()
}

/// Leaves `name` out and looks at what is said then.
fn without(caller: &Caller, name: &str) {
    let who = format!("without {name}, {}", caller.mode());
    // Without a network of its own the app shares the host's ports.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let port = format!("PORT={free}");
    let output = leaky(caller, &["--without-measure", name, "-e", &port, "--tcp", &free, "--timeout", "10"]);
    if let Some((_, refusal)) = ONE_ID_CANNOT.iter().find(|(measure, _)| !caller.is_root() && *measure == name) {
        let said_so = || json(&output)["reason"].as_str().unwrap().contains(refusal);
        assert!(refusal.is_empty() || (output.status.code() == Some(3) && said_so()), "{who}: {}", said(&output));
        return;
    }
    let verdict = json(&output);
    assert_eq!(
        (verdict["verdict"].as_str(), output.status.code()),
        (Some("inconclusive"), Some(3)),
        "{who}: {}",
        said(&output)
    );
    let statuses = statuses(&verdict);
    let not_holding: Vec<_> = statuses.iter().filter(|(_, status)| status != "holds").collect();
    assert!(not_holding.iter().any(|(broken, status)| broken == name && status == "broken"), "{who}: {not_holding:?}");
    let along = ALONG.iter().find(|(measure, _)| *measure == name).map_or(&[][..], |(_, along)| along);
    for (other, status) in not_holding {
        assert!(other == name || along.contains(&other.as_str()), "{who}: {other} is {status}");
    }
    assert!(verdict["reason"].as_str().unwrap().contains(name), "{who}: {}", verdict["reason"]);
}

#[test]
fn every_measure_that_is_left_out_is_reported_as_broken() {
    for caller in callers() {
        let names = whole(&caller);
        assert!(names.len() >= 18, "{names:?}");
        for name in &names {
            without(&caller, name);
        }
    }
}

#[test]
fn what_one_id_cannot_drop_is_said_and_does_not_count() {
    if !common::root() {
        return common::skip("a caller with a supplementary group: the tests do not run as root");
    }
    for caller in callers().iter().filter(|caller| !caller.is_root()) {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=2001", "--regid=2001", "--groups=2001,4242", "sh", "-c"]);
        command.arg("exec \"$0\" verify example:hello --format json").current_dir(caller.dir());
        let Caller::User(user) = caller else { continue };
        let output = command.arg(user.binary()).env("AUSTERE_STORE", caller.store()).output().unwrap();
        let verdict = json(&output);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let groups =
            verdict["measures"].as_array().unwrap().iter().find(|measure| measure["name"] == "groups").unwrap();
        assert_eq!((&groups["status"], &groups["required"]), (&"unavailable".into(), &false.into()), "{groups}");
        assert!(groups["read_back"].as_str().unwrap().contains("1 of the host's"), "{groups}");
    }
}

/// Whoever is traced already cannot be stopped at its first instruction.
#[test]
fn an_app_that_somebody_else_traces_runs_and_its_verdict_says_what_is_not_known() {
    if Command::new("strace").arg("-V").output().is_err() {
        return common::skip("strace: there is none (Debian: apt-get install strace)");
    }
    // A shell changes its environment, and is gone soon.
    let Some(image) = callers::script("exit 7") else { return };
    for caller in callers() {
        let image = caller.put("brief", &image);
        let [traced, alone] = ["strace -f -o /dev/null ", ""].map(|by| {
            let run = caller.shell(&format!("{by}\"$AUSTERE\" run {image}")).output().unwrap();
            let verify = format!("{by}\"$AUSTERE\" verify {image} --exit 7 --format json");
            (run, caller.shell(&verify).output().unwrap())
        });
        let why = "`strace` (process ";
        let (run, verify) = traced;
        let text = callers::stderr(&run);
        assert_eq!(run.status.code(), Some(7), "{}", said(&run));
        assert!(text.contains(why) && text.contains("; start austere without a tracer"), "{text}");
        let verdict = json(&verify);
        assert_eq!((verify.status.code(), &verdict["verdict"]), (Some(3), &"inconclusive".into()), "{}", said(&verify));
        let reason = verdict["reason"].as_str().unwrap();
        assert!(reason.contains("`stop-at-exec` could not be read back") && reason.contains(why), "{reason}");
        let told = statuses(&verdict);
        assert!(told.iter().all(|(_, status)| status != "broken"), "{told:?}");
        let (run, verify) = alone;
        assert_eq!((run.status.code(), callers::stderr(&run).as_str()), (Some(7), ""), "{}", said(&run));
        assert_eq!(verify.status.code(), Some(0), "{}", said(&verify));
        assert!(statuses(&json(&verify)).iter().all(|(name, status)| name != "stop-at-exec" && status == "holds"));
    }
}
