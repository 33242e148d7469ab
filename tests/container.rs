//! austere inside a container as docker starts it without further options: no namespace can be made there, and nothing mounted.
//!
//! The container is made of what keeps austere from it: docker's 14 capabilities and its filter of system calls, put on a thread of the
//! test, whose child austere then is. The twin of every refusal is the same call without them, or with the two options that austere names.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]

#[path = "common/callers.rs"]
mod callers;
mod common;
#[path = "common/image.rs"]
mod image;

use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use austere::caps;
use austere::profile::preset::Preset;
use austere::profile::seccomp::{self as profile, Arch, Conditions, Profile};
use austere::seccomp;
use callers::{Caller, callers};
use common::{json, said};
use serde_json::Value;

const OPTIONS: &str = "--security-opt seccomp=unconfined --security-opt systempaths=unconfined";

/// What the engine gives the container beside its default.
#[derive(Clone, Copy, PartialEq)]
enum Seccomp {
    Default,
    Unconfined,
}

/// What a command in such a container said.
fn contained(seccomp: Seccomp, command: Command) -> Output {
    start(seccomp, command).wait_with_output().unwrap()
}

/// Starts a command in such a container.
fn start(seccomp: Seccomp, mut command: Command) -> Child {
    let run = move || {
        let preset: Preset = "docker".parse().unwrap();
        let kept = caps::Set::from_names(preset.capabilities.iter().map(String::as_str)).unwrap();
        if seccomp == Seccomp::Default {
            let names = kept.names();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let conditions =
                Conditions { caps: &names, arch: Arch::NATIVE, kernel: austere::seccomp::running_kernel().unwrap() };
            let text = profile::shipped(&preset.seccomp).unwrap();
            let policy = Profile::parse(text).unwrap().resolve(&conditions).unwrap();
            let filter = seccomp::compile(&policy).unwrap();
            austere::sys::seccomp::install(&filter.program, 0).unwrap();
        }
        caps::limit(kept).unwrap();
        caps::apply(kept, caps::Set::EMPTY).unwrap();
        command.env("container", "test").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    // The filter and the capabilities are this thread's alone, and its children's.
    thread::spawn(run).join().unwrap()
}

fn verify(caller: &Caller, image: &str) -> Command {
    let mut command = caller.austere();
    command.args(["verify", image, "--format", "json"]);
    command
}

fn finding<'a>(verdict: &'a Value, code: &str) -> &'a Value {
    verdict["findings"].as_array().unwrap().iter().find(|finding| finding["code"] == code).unwrap_or(&Value::Null)
}

fn measure<'a>(verdict: &'a Value, name: &str) -> &'a Value {
    verdict["measures"].as_array().unwrap().iter().find(|measure| measure["name"] == name).unwrap_or(&Value::Null)
}

/// Root, whom containers give what the fallback needs.
fn root() -> Option<Caller> {
    let root = callers().into_iter().find(Caller::is_root);
    if root.is_none() {
        common::skip("a container: only root can take its own rights away");
    }
    root
}

/// What a run leaves behind: folders of its own in the store.
fn staged(caller: &Caller) -> usize {
    caller.store().join("staging").read_dir().unwrap().count()
}

/// Waits until so many processes have the marker among their arguments.
fn await_running(marker: &str, count: usize) {
    let begun = Instant::now();
    loop {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
        let found = lines.filter(|line| line.split(|byte| *byte == 0).any(|word| word == marker.as_bytes())).count();
        if found == count {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{found} processes, not {count}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn root_of_a_default_container_runs_the_app_and_says_what_does_not_hold() {
    let Some(caller) = root() else { return };
    let whole = verify(&caller, "example:hello").output().unwrap();
    assert_eq!((json(&whole)["verdict"].as_str(), whole.status.code()), (Some("pass"), Some(0)), "{}", said(&whole));

    // It shares the host's ports.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let mut command = verify(&caller, "example:hello");
    command.args(["-e", &format!("PORT={free}"), "--tcp", &free]);
    let output = contained(Seccomp::Default, command);
    let verdict = json(&output);
    assert_eq!(
        (verdict["verdict"].as_str(), output.status.code()),
        (Some("inconclusive"), Some(3)),
        "{}",
        said(&output)
    );
    assert_eq!(verdict["probes"][0]["status"], "passed", "{}", said(&output));
    for name in ["user", "group", "groups", "capabilities", "no-new-privileges", "seccomp", "landlock", "rlimits"] {
        assert_eq!(measure(&verdict, name)["status"], "holds", "{name}: {}", said(&output));
    }
    for name in ["namespaces", "network", "read-only-root", "writable-mounts", "masked-paths", "read-only-paths"] {
        let measure = measure(&verdict, name);
        let why = measure["why"].as_str().unwrap_or_default();
        assert!(measure["status"] == "unavailable" && why.contains("EPERM"), "{name}: {measure}");
    }
    let advice = finding(&verdict, "no-namespaces")["advice"].as_str().unwrap();
    assert!(advice.contains(OPTIONS), "{advice}");
    assert_eq!(staged(&caller), 0);

    // What it says would help does help.
    let freed = contained(Seccomp::Unconfined, verify(&caller, "example:hello"));
    let (verdict, code) = (json(&freed), freed.status.code());
    assert_eq!((verdict["verdict"].as_str(), code), (Some("pass"), Some(0)), "{}", said(&freed));
}

#[test]
fn a_user_of_a_default_container_gets_what_the_files_show() {
    let Some(_) = root() else { return };
    let callers = callers();
    let caller = callers.iter().find(|caller| !caller.is_root()).unwrap();
    let layer = image::Layer::new().dir("bin", 0o755).file("bin/app", 0o755, "#!/no/such/shell\n");
    let broken =
        caller.put("broken", &image::Image::of(layer).config(serde_json::json!({ "Entrypoint": ["/bin/app"] })));
    let whole = verify(caller, &broken).output().unwrap();
    assert_eq!(whole.status.code(), Some(1), "{}", said(&whole));

    let output = contained(Seccomp::Default, verify(caller, &broken));
    let verdict = json(&output);
    assert_eq!(
        (verdict["verdict"].as_str(), output.status.code()),
        (Some("inconclusive"), Some(3)),
        "{}",
        said(&output)
    );
    assert!(finding(&verdict, "not-tested")["advice"].as_str().unwrap().contains(OPTIONS), "{}", said(&output));
    assert!(finding(&verdict, "D20").is_object(), "{}", said(&output));
    assert_eq!(staged(caller), 0);
}

#[test]
fn what_fails_there_is_no_verdict_and_whiteouts_need_no_device() {
    let Some(caller) = root() else { return };
    let script = "[ ! -e /gone ] && ! touch /etc/x 2>/dev/null && [ $(id -u) = 65532 ] && echo >/dev/null";
    for (script, summary) in [(script, "exit 0"), ("exit 3", "exit 3")] {
        let Some(layer) = callers::busybox() else { return };
        let image = image::Image::of(layer.file("gone", 0o644, "x"))
            .layer(image::Layer::new().whiteout("gone"), image::Stored::Gzip)
            .config(serde_json::json!({ "Entrypoint": ["/bin/sh", "-c", script] }));
        let verdict = json(&contained(Seccomp::Default, verify(&caller, &caller.put("image", &image))));
        assert_eq!(verdict["verdict"], "inconclusive", "{verdict}");
        assert!(verdict["reason"].as_str().unwrap().contains(summary), "{}", verdict["reason"]);
    }
    let Some(image) = callers::script("exit 3") else { return };
    let whole = verify(&caller, &caller.put("image", &image)).output().unwrap();
    assert_eq!(json(&whole)["verdict"], "fail", "{}", said(&whole));
}

#[test]
fn a_port_that_is_somebody_else_s_is_not_believed() {
    let Some(caller) = root() else { return };
    let somebody = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = somebody.local_addr().unwrap().port().to_string();
    let mut command = verify(&caller, "example:hello");
    command.args(["--tcp", &port]);
    let verdict = json(&contained(Seccomp::Default, command));
    let reason = verdict["reason"].as_str().unwrap();
    assert!(reason.contains("in use") && verdict["verdict"] == "inconclusive", "{reason}");
}

#[test]
fn nothing_outlives_the_app() {
    let Some(caller) = root() else { return };
    let marker = format!("7{:09}", std::process::id());
    // One that leaves the session and loses its parent, as daemons do; and one that stays.
    let text = format!("(/bin/busybox setsid sleep {marker} &) ; sleep {marker} & exec sleep {marker}");
    let Some(image) = callers::script(&text) else { return };
    let image = caller.put("image", &image);
    let mut command = verify(&caller, &image);
    command.args(["--up", "1"]);
    let child = start(Seccomp::Default, command);
    await_running(&marker, 3);
    let output = child.wait_with_output().unwrap();
    assert_eq!(json(&output)["probes"][0]["status"], "passed", "{}", said(&output));
    await_running(&marker, 0);
    assert_eq!(staged(&caller), 0);
}

#[test]
fn nothing_outlives_an_austere_that_is_killed() {
    let Some(caller) = root() else { return };
    let marker = format!("8{:09}", std::process::id());
    let Some(image) = callers::script(&format!("sleep {marker} & (sleep {marker} &) ; exec sleep {marker}")) else {
        return;
    };
    let image = caller.put("image", &image);
    let mut command = verify(&caller, &image);
    command.args(["--up", "30", "--timeout", "60"]);
    let mut child = start(Seccomp::Default, command);
    await_running(&marker, 3);
    assert_eq!(staged(&caller), 1);
    child.kill().unwrap();
    child.wait().unwrap();
    await_running(&marker, 0);
    // What the guard left of its folder the next one sweeps.
    let Some(image) = callers::script("exit 0") else { return };
    let output = contained(Seccomp::Default, verify(&caller, &caller.put("other", &image)));
    assert_eq!((output.status.code(), staged(&caller)), (Some(3), 0), "{}", said(&output));
}
