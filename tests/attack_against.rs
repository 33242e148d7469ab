//! The adversary in containers of others: what it comes to there is what they are known for, and nothing of it stays behind.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/live.rs"]
mod live;

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::said;
use live::{DockerEngine, podman, program, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// What a container is asked for in its strictest form.
const STRICT: [&str; 4] = ["--read-only", "--cap-drop=ALL", "--user=65532", "--security-opt=no-new-privileges"];

/// The report of an adversary that something worked for, as it does in all containers of others.
fn attack(mut austere: Command, whose: &str, flags: &[&str]) -> Value {
    let output = austere.args(["attack", "--format", "json", "--against", whose, "--"]).args(flags).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(output.stderr.is_empty(), "{}", said(&output));
    let report = common::json(&output);
    assert_eq!((&report["schema"], &report["container"]), (&"austere.attack/1".into(), &whose.into()));
    assert_eq!((&report["preset"], &report["ids"]), (&Value::Null, &Value::Null));
    assert!(report["counted"].as_u64().unwrap() >= 100, "{}", report["counted"]);
    for name in ["exec-path", "exec-memfd", "memory-wx"] {
        assert!(worked(&report, name), "{name}");
    }
    for name in ["unshare-mount", "mount-tmpfs", "syslog-read", "route-out", "abstract-socket"] {
        assert!(!worked(&report, name), "{name}");
    }
    report
}

/// Whether an attempt worked. Its twin did.
fn worked(report: &Value, name: &str) -> bool {
    let one = report["attempts"].as_array().unwrap().iter().find(|attempt| attempt["name"] == name).unwrap();
    assert_eq!(one["twin"]["counts"], true, "{one}");
    one["escaped"] == true
}

fn refused(mut austere: Command, args: &[&str], why: &str) {
    let output = austere.arg("attack").args(args).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {}", said(&output));
    assert!(output.stdout.is_empty() && said(&output).contains(why), "{args:?}: {}", said(&output));
}

#[test]
fn docker_s_containers() {
    let Some(engine) = DockerEngine::start() else { return };
    let austere = || {
        let mut command = common::austere(&engine.folder.path().join("store"));
        command.env("DOCKER_HOST", &engine.host).env("PATH", &engine.search);
        command
    };
    let plain = attack(austere(), "docker", &["--network=none"]);
    assert!(plain["made_by"].as_str().unwrap().starts_with("docker "), "{}", plain["made_by"]);
    // What docker leaves to root.
    for (name, works) in [("keyctl", false), ("make-root", true), ("set-user-id", true), ("chroot", true)] {
        assert_eq!(worked(&plain, name), works, "{name}");
    }
    let strict = attack(austere(), "docker", &[&["--network=none"], &STRICT[..]].concat());
    assert_eq!(strict["relaxations"][1], "--read-only");
    for name in ["keyctl", "make-root", "set-user-id", "chroot"] {
        assert!(!worked(&strict, name), "{name}");
    }
    refused(austere(), &["--against", "docker", "no-such-image"], "No such image");
    // What detaches leaves nothing to report, and is not left running.
    refused(austere(), &["--against", "docker", "--", "--network=none", "--detach"], "did not come to its end");
    let left = |what: &[&str]| run(engine.client().args(what));
    let nothing = || assert_eq!((left(&["ps", "-aq"]).as_str(), left(&["images", "-q"]).as_str()), ("", ""));
    nothing();
    // A docker that is slow to run something, or whose container is: the image is there, or both are.
    let slow = engine.folder.path().join("slow");
    fs::create_dir(&slow).unwrap();
    let (real, told) = (&engine.docker, slow.join("told"));
    for (signal, act) in [(Signal::SIGINT, ":"), (Signal::SIGTERM, "shift; REAL create \"$@\" >&2")] {
        let act = act.replace("REAL", real.to_str().unwrap());
        let text = format!(
            "if [ \"$1\" = run ]; then\n{act}\n: >{told}; exec sleep 600\nfi\nexec {real} \"$@\"",
            told = told.display(),
            real = real.display()
        );
        live::script(&slow, "docker", &text);
        let mut command = common::stoppable(&austere());
        command.env("PATH", format!("{}:{}", slow.display(), engine.search.to_string_lossy()));
        command
            .args(["attack", "--against", "docker", "--", "--network=none"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        stopped(&mut command, &told, signal);
        nothing();
        fs::remove_file(&told).unwrap();
    }
}

/// Starts austere, sends it `signal` as soon as the file `told` is there, and waits for its end by that.
fn stopped(command: &mut Command, told: &Path, signal: Signal) {
    let mut child = command.spawn().unwrap();
    while !told.exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.signal(), Some(signal as i32), "{}", said(&output));
    assert!(said(&output).contains(&format!("{signal} stopped it")), "{}", said(&output));
}

#[test]
fn podman_s_containers() {
    let folder = tempfile::tempdir().unwrap();
    if podman(folder.path()).is_none() {
        return;
    }
    let search = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap_or_default());
    let austere = || {
        let mut command = common::austere(&folder.path().join("store"));
        command.env("PATH", &search);
        command
    };
    let strict = attack(austere(), "podman", &[&["--network=none"], &STRICT[..]].concat());
    for name in ["make-root", "set-user-id", "chroot"] {
        assert!(!worked(&strict, name), "{name}");
    }
    let left = |what: &[&str]| run(Command::new(folder.path().join("podman")).args(what));
    assert_eq!((left(&["ps", "-aq"]).as_str(), left(&["images", "-q"]).as_str()), ("", ""));
}

#[test]
fn a_runtime_s_container() {
    if !common::root() {
        return common::skip("root: a runtime's container has a cgroup of root's");
    }
    let Some(runc) = program("runc") else { return common::skip("runc is not installed") };
    let folder = tempfile::tempdir().unwrap();
    let temporary = folder.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let austere = || {
        let mut command = common::austere(&folder.path().join("store"));
        command.env("TMPDIR", &temporary);
        command
    };
    let whose = format!("runtime:{}", runc.display());
    let report = attack(austere(), &whose, &[]);
    // The specification's default has no filter, and a read-only root.
    for (name, works) in [("keyctl", true), ("sweep", true), ("make-root", false), ("chroot", false)] {
        assert_eq!(worked(&report, name), works, "{name}");
    }
    // With an image its files are there, its loader among them.
    if let Some(archive) = common::archive("python-http") {
        let output = austere().args(["attack", "--format", "json", "--against", &whose]).arg(archive).output().unwrap();
        assert!(worked(&common::json(&output), "exec-loader"), "{}", said(&output));
    }
    refused(austere(), &["--against", &whose, "--", "--privileged"], "an OCI runtime has no flags");
    // Who is stopped in the middle takes the bundle along.
    let told = folder.path().join("told");
    let text =
        format!("case \"$*\" in *run*) : >{}; exec sleep 600;; esac\nexec {} \"$@\"", told.display(), runc.display());
    live::script(folder.path(), "slow", &text);
    let mut command = common::stoppable(&austere());
    command.args(["attack", "--against", &format!("runtime:{}/slow", folder.path().display())]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    stopped(&mut command, &told, Signal::SIGINT);
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn what_cannot_be_attacked_is_said_in_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let austere = || {
        let mut command = common::austere(&folder.path().join("store"));
        command.env("PATH", folder.path()).env("DOCKER_HOST", "unix:///none");
        command
    };
    refused(austere(), &["--against", "docker"], "`docker` cannot be run: No such file");
    refused(austere(), &["--against", "podman"], "`podman` cannot be run: No such file");
    refused(austere(), &["--against", "runtime:/no/such"], "`/no/such` cannot be run: No such file");
    let file = folder.path().join("no-program");
    fs::write(&file, "").unwrap();
    refused(austere(), &["--against", &format!("runtime:{}", file.display())], "cannot be run: Permission denied");
    refused(austere(), &["--against", "containerd"], "none of docker, podman, runtime:PATH");
    refused(austere(), &["--against", "docker", "--cap-add", "ALL"], "cannot be used with");
    refused(austere(), &["--", "--privileged"], "--against");
    refused(austere(), &["--against", "docker", "example:hello"], "by their names");
    live::script(folder.path(), "docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1");
    refused(austere(), &["--against", "docker"], "docker does not answer: Cannot connect to the Docker daemon");
}
