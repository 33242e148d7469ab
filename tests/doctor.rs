//! `austere doctor` on the real kernel: what it says is there is there, and what was taken away it misses.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::process::Command;

use common::{Ordinary, json, said};
use serde_json::Value;

fn status<'a>(examination: &'a Value, name: &str) -> &'a str {
    let checks = examination["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == name);
    check.map_or("absent", |check| check["status"].as_str().unwrap())
}

/// What `doctor` advises for the check of this name.
fn remedy<'a>(examination: &'a Value, name: &str) -> &'a str {
    let checks = examination["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == name).unwrap()["remedy"].as_str().unwrap()
}

/// What `verify` advises where it could not test.
fn advice(verdict: &Value) -> &str {
    let findings = verdict["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["code"] == "not-tested").unwrap()["advice"].as_str().unwrap()
}

/// Runs `doctor` after a shell has done something to its surroundings.
fn after(mut command: Command, preparation: &str, binary: &Path) -> (Value, Option<i32>) {
    let script = format!("set -e; {preparation}\nexec {} doctor --format json", binary.display());
    let output = command.arg("sh").arg("-c").arg(script).output().unwrap();
    (json(&output), output.status.code())
}

#[test]
fn the_exit_code_is_the_answer() {
    let user = Ordinary::new();
    let folder = tempfile::tempdir().unwrap();
    for mut command in [common::austere(&folder.path().join("store")), user.austere()] {
        let output = command.args(["doctor", "--format", "json"]).output().unwrap();
        let examination = json(&output);
        assert_eq!(examination["schema"], "austere.doctor/1");
        let missing = |check: &Value| check["needed"] == true && check["status"] == "no";
        let any = examination["checks"].as_array().unwrap().iter().any(missing);
        assert_eq!(output.status.code(), Some(if any { 3 } else { 0 }), "{}", said(&output));
        assert_eq!(examination["can_verify"], !any);
    }
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "doctor leaves nothing behind");
}

#[test]
fn text_has_a_line_for_every_check() {
    let user = Ordinary::new();
    let text = user.austere().arg("doctor").output().unwrap();
    let examination = json(&user.austere().args(["doctor", "--format", "json"]).output().unwrap());
    let text = String::from_utf8(text.stdout).unwrap();
    for check in examination["checks"].as_array().unwrap() {
        let (status, name) = (check["status"].as_str().unwrap(), check["name"].as_str().unwrap());
        assert!(text.lines().any(|line| line.starts_with(&format!("{status:<5} {name}"))), "{name}\n{text}");
    }
}

#[test]
fn a_limit_on_user_namespaces_is_missed_and_named() {
    let user = Ordinary::new();
    let unshare = || {
        let mut command = user.command(Path::new("unshare"));
        command.args(["--user", "--map-current-user"]);
        command
    };
    let (whole, code) = after(unshare(), "", &user.binary());
    if status(&whole, "user namespaces") != "ok" || code != Some(0) {
        return common::skip("user namespaces: this host has none for an ordinary user");
    }
    let limited = "unshare --user --map-root-user sh -c 'echo 0 >/proc/sys/user/max_user_namespaces; exec \"$0\" doctor --format json'";
    let script = format!("{limited} {} || exit $?", user.binary().display());
    let output = user.command(Path::new("sh")).arg("-c").arg(script).output().unwrap();
    let examination = json(&output);
    assert_ne!(status(&examination, "user namespaces"), "ok", "{}", said(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("sysctl -w user.max_user_namespaces"));

    // Another limit, which verify meets in its jail, in the words of doctor.
    let limited = "unshare --user --map-root-user sh -c 'echo 0 >/proc/sys/user/max_ipc_namespaces; $0 doctor --format json >d; \
                   \"$0\" verify example:hello --format json >v; echo $? >code'";
    let script = format!("{limited} {}", user.binary().display());
    let output = user.command(Path::new("sh")).arg("-c").arg(script).output().unwrap();
    let read =
        |name: &str| std::fs::read_to_string(user.home().join(name)).unwrap_or_else(|_| panic!("{}", said(&output)));
    let (doctor, verdict): (Value, Value) =
        (serde_json::from_str(&read("d")).unwrap(), serde_json::from_str(&read("v")).unwrap());
    assert_eq!((verdict["verdict"].as_str(), read("code").trim()), (Some("inconclusive"), "3"), "{verdict}");
    assert_eq!(advice(&verdict), "sudo sysctl -w user.max_ipc_namespaces=15000");
    assert_eq!(advice(&verdict), remedy(&doctor, "namespaces"));
}

#[test]
fn a_covered_proc_is_missed_and_named() {
    if !common::root() {
        return common::skip("a covered /proc: only root can cover it");
    }
    let folder = tempfile::tempdir().unwrap();
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--mount", "setpriv", "--reuid=2001", "--regid=2001", "--clear-groups"]);
        command.env("AUSTERE_STORE", folder.path().join("store"));
        command
    };
    std::os::unix::fs::chown(folder.path(), Some(Ordinary::UID), Some(Ordinary::UID)).unwrap();
    let user = Ordinary::new();
    let (whole, code) = after(unshare(), "", &user.binary());
    assert_eq!((status(&whole, "mounting /proc"), code), ("ok", Some(0)));

    let mut covered = Command::new("unshare");
    covered.args(["--mount"]).env("AUSTERE_STORE", folder.path().join("store"));
    let as_user = "exec setpriv --reuid=2001 --regid=2001 --clear-groups";
    let script = format!("mount -t tmpfs none /proc/tty && {as_user} {} doctor --format json", user.binary().display());
    let output = covered.arg("sh").arg("-c").arg(script).output().unwrap();
    assert_eq!(status(&json(&output), "mounting /proc"), "no", "{}", said(&output));
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stdout).contains("systempaths=unconfined"));

    let mut again = Command::new("unshare");
    again.args(["--mount"]).env("AUSTERE_STORE", folder.path().join("store")).env("AUSTERE_IDS", "single");
    let verify = format!("{} verify example:hello --format json", user.binary().display());
    let script = format!("mount -t tmpfs none /proc/tty && {as_user} {verify}");
    let verdict = again.arg("sh").arg("-c").arg(script).output().unwrap();
    assert_eq!(verdict.status.code(), Some(3), "{}", said(&verdict));
    assert_eq!(advice(&json(&verdict)), remedy(&json(&output), "mounting /proc"));
}

#[test]
fn a_store_that_cannot_be_is_named() {
    let user = Ordinary::new();
    let output = user.austere().args(["doctor", "--format", "json", "--store", "/proc/store"]).output().unwrap();
    assert_eq!((status(&json(&output), "store"), output.status.code()), ("no", Some(3)), "{}", said(&output));
    let output = user.austere().args(["doctor", "--format", "json"]).output().unwrap();
    assert_eq!(status(&json(&output), "store"), "ok", "{}", said(&output));
}
