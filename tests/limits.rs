//! `--memory`, `--memory-swap`, `--pids-limit`, `--cpus`: kept by the kernel, reported with numbers, and gone afterwards.
//!
//! What is greedy here is greedy within bounds: without its limit it does the same and ends.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]

#[path = "common/callers.rs"]
mod callers;
mod common;
#[path = "common/image.rs"]
mod image;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use callers::{Caller, callers, script, stderr, stdout};
use common::said;
use serde_json::Value;

/// tail keeps the last line of its input, and this one is 96 MiB long.
const HOG: &str = "head -c 100663296 /dev/zero | tail -n 1 | wc -c";
/// Forty processes at the same time, and no more.
const BOMB: &str = "n=0; while [ $n -lt 40 ]; do sleep 1 & n=$((n+1)); done; wait; echo forty";
/// Stays for a while.
const IDLE: &str = "sleep 20";

/// Root, who can set limits here; nothing, and said, where the tests do not run as root or root can set none.
fn root() -> Option<Caller> {
    let root = callers().into_iter().find(Caller::is_root)?;
    let output = root.verify(&["example:hello", "-m", "256m", "--pids-limit", "100", "--cpus", "1"]);
    if output.status.code() == Some(3) {
        common::skip(&format!("cgroups: root cannot set limits here\n{}", said(&output)));
        return None;
    }
    Some(root)
}

fn measure<'a>(verdict: &'a Value, name: &str) -> &'a Value {
    verdict["measures"].as_array().unwrap().iter().find(|measure| measure["name"] == name).unwrap_or(&Value::Null)
}

fn finding<'a>(verdict: &'a Value, code: &str) -> Option<&'a Value> {
    verdict["findings"].as_array().unwrap().iter().find(|finding| finding["code"] == code)
}

/// Every group on this host that is named as one of `maker`'s.
fn groups_of(maker: u32) -> Vec<PathBuf> {
    fn look(folder: &Path, prefix: &str, found: &mut Vec<PathBuf>) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                found.push(entry.path());
            }
            look(&entry.path(), prefix, found);
        }
    }
    let mut found = Vec::new();
    look(Path::new("/sys/fs/cgroup"), &format!("austere-{maker}-"), &mut found);
    found
}

#[test]
fn limits_are_set_and_read_back() {
    let Some(root) = root() else { return };
    let flags = ["--memory", "64m", "--memory-swap", "96m", "--pids-limit", "50", "--cpus", "0.5"];
    let (verdict, code) = root.judge(&[&["example:hello"], &flags[..]].concat());
    assert_eq!((code, &verdict["verdict"]), (0, &"pass".into()), "{verdict:#}");
    for (name, amount) in [
        ("memory-limit", "64 MiB"),
        ("memory-swap-limit", "96 MiB with swap"),
        ("pids-limit", "50 processes"),
        ("cpu-limit", "50000 of each 100000 µs"),
    ] {
        let measure = measure(&verdict, name);
        assert_eq!((&measure["status"], &measure["read_back"]), (&"holds".into(), &amount.into()), "{name}: {measure}");
    }
    assert!(finding(&verdict, "oom-killed").is_none() && finding(&verdict, "pids-exhausted").is_none());
}

#[test]
fn a_limit_that_is_left_out_is_noticed() {
    let Some(root) = root() else { return };
    for name in ["memory-limit", "pids-limit", "cpu-limit"] {
        let flags = ["-m", "64m", "--memory-swap=-1", "--pids-limit", "50", "--cpus", "0.5", "--without-measure", name];
        let (verdict, code) = root.judge(&[&["example:hello"], &flags[..]].concat());
        assert_eq!((code, &measure(&verdict, name)["status"]), (3, &"broken".into()), "{name}: {verdict:#}");
    }
}

#[test]
fn without_a_limit_there_is_no_measure() {
    for caller in callers() {
        let (verdict, code) = caller.judge(&["example:hello", "--pids-limit", "-1"]);
        assert_eq!(code, 0);
        let is_limit = |measure: &&Value| measure["name"].as_str().unwrap().ends_with("-limit");
        assert_eq!(verdict["measures"].as_array().unwrap().iter().filter(is_limit).count(), 0);
    }
}

#[test]
fn a_memory_hog_is_stopped_and_the_cause_is_told() {
    let (Some(root), Some(hog)) = (root(), script(&format!("set -e; {HOG} >/dev/null; echo fed"))) else {
        return;
    };
    let image = root.put("hog", &hog);
    let (verdict, code) = root.judge(&[&image, "-m", "32m", "--memory-swap", "32m", "--exit", "0"]);
    let killed = finding(&verdict, "oom-killed").unwrap_or_else(|| panic!("{verdict:#}"));
    assert!(killed["message"].as_str().unwrap().contains("for want of memory at the limit of 32 MiB"), "{killed}");
    // Mostly only tail is killed, and the shell goes on without it: no failure, so no cause. The kernel may choose the shell as well.
    let role = if code == 0 { "contributing" } else { "cause" };
    assert_eq!(killed["role"], role, "{verdict:#}");

    let image = root.put("careful", &script(&format!("set -o pipefail; {HOG} || exit 9")).unwrap());
    let (verdict, code) = root.judge(&[&image, "-m", "32m", "--memory-swap", "32m", "--exit", "0"]);
    assert_eq!(code, 1, "{verdict:#}");
    assert_eq!(
        (&verdict["findings"][0]["code"], &verdict["findings"][0]["role"]),
        (&"oom-killed".into(), &"cause".into())
    );
    assert!(verdict["reason"].as_str().unwrap().contains("for want of memory at the limit of 32 MiB"), "{verdict:#}");

    let (verdict, code) = root.judge(&[&image, "--exit", "0"]);
    assert_eq!((code, finding(&verdict, "oom-killed")), (0, None), "without the limit: {verdict:#}");
}

#[test]
fn a_fork_bomb_is_stopped_and_the_cause_is_told() {
    let (Some(root), Some(bomb)) = (root(), script(BOMB)) else { return };
    let image = root.put("bomb", &bomb);
    let (verdict, code) = root.judge(&[&image, "--pids-limit", "20", "--exit", "0"]);
    assert_eq!((code, &verdict["findings"][0]["code"]), (1, &"pids-exhausted".into()), "{verdict:#}");
    let reason = verdict["reason"].as_str().unwrap();
    assert!(reason.contains("a new process was refused ") && reason.contains("the limit is 20 processes"), "{reason}");

    let (verdict, code) = root.judge(&[&image, "--exit", "0"]);
    assert_eq!((code, finding(&verdict, "pids-exhausted")), (0, None), "without the limit: {verdict:#}");
}

#[test]
fn run_keeps_the_same_limits() {
    let (Some(root), Some(bomb)) = (root(), script(BOMB)) else { return };
    let image = root.put("bomb", &bomb);
    let output = root.run(&[&image, "--pids-limit", "20"]);
    assert!(!output.status.success() && stderr(&output).contains("the limit is 20 processes"), "{}", said(&output));
    let output = root.run(&[&image]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), "forty\n"), "{}", said(&output));
}

#[test]
fn processor_time_is_shared_out() {
    // `times` gives the shell's own processor time first, as 0m0.12s.
    let Some(spin) = script("i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; times") else { return };
    let Some(root) = root() else { return };
    let image = root.put("spin", &spin);
    let share = |flags: &[&str]| {
        let begun = Instant::now();
        let output = root.run(&[&[image.as_str()], flags].concat());
        let took = begun.elapsed();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let used = stdout(&output);
        let seconds = used.split(['m', 's']).nth(1).and_then(|seconds| seconds.parse::<f64>().ok());
        seconds.unwrap_or_else(|| panic!("{used:?}")) / took.as_secs_f64()
    };
    let (limited, free) = (share(&["--cpus", "0.02"]), share(&[]));
    assert!(limited < 0.03 && free > limited, "{limited} of a processor with a limit of 0.02, {free} without");
}

#[test]
fn nothing_is_left_and_what_a_kill_left_is_swept() {
    let (Some(root), Some(idle)) = (root(), script(IDLE)) else { return };
    let image = root.put("idle", &idle);
    let limits = ["-m", "64m", "--pids-limit", "50", "--cpus", "1"];
    let start = || {
        let mut command = root.austere();
        command.args(["run", &image]).args(limits).stdin(Stdio::null()).stdout(Stdio::null());
        command.spawn().unwrap()
    };
    let wait_until = |what: &str, done: &dyn Fn() -> bool| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !done() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let is_inside = |group: &PathBuf| fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|pids| !pids.is_empty());

    let mut killed = start();
    let left = killed.id();
    wait_until("the app came into its groups", &|| {
        let groups = groups_of(left);
        !groups.is_empty() && groups.iter().all(is_inside)
    });
    killed.kill().unwrap();
    killed.wait().unwrap();
    wait_until("the app has gone with its austere", &|| !groups_of(left).iter().any(is_inside));
    assert!(!groups_of(left).is_empty(), "SIGKILL leaves nobody to remove them");

    // One that lives keeps its own, and the next one removes what the dead one left.
    let mut alive = start();
    wait_until("the next one came into its groups", &|| groups_of(alive.id()).iter().any(is_inside));
    assert!(groups_of(left).is_empty(), "{:?}", groups_of(left));
    let output = root.verify(&[&["example:hello"], &limits[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(!groups_of(alive.id()).is_empty(), "a living austere's groups were swept");

    // One that ends by itself leaves nothing, and sweeps what this one leaves.
    let maker = alive.id();
    alive.kill().unwrap();
    alive.wait().unwrap();
    wait_until("the app has gone with its austere", &|| !groups_of(maker).iter().any(is_inside));
    let mut command = root.austere();
    let mut clean = command.args(["verify", "example:hello"]).args(limits).stdout(Stdio::null()).spawn().unwrap();
    let id = clean.id();
    assert!(clean.wait().unwrap().success());
    assert!(groups_of(id).is_empty() && groups_of(maker).is_empty());
}

#[test]
fn who_may_not_limit_gets_no_verdict_and_the_reason() {
    for caller in callers().iter().filter(|caller| !caller.is_root()) {
        if can_limit(caller) {
            common::skip("cgroups: a normal user can set limits here");
            continue;
        }
        let (verdict, code) = caller.judge(&["example:hello", "--pids-limit", "50"]);
        assert_eq!((code, &verdict["verdict"]), (3, &"inconclusive".into()), "{verdict:#}");
        let (measure, reason) = (measure(&verdict, "pids-limit"), verdict["reason"].as_str().unwrap());
        assert_eq!(measure["status"], "unavailable", "{measure}");
        assert!(reason.contains("`pids-limit` cannot be had on this host") && reason.contains("as root"), "{reason}");
        let output = caller.run(&["example:hello", "--pids-limit", "50"]);
        assert_eq!(output.status.code(), Some(125), "{}", said(&output));
        assert!(stderr(&output).contains("the app was not let go: pids-limit"), "{}", said(&output));
        assert_eq!(caller.judge(&["example:hello"]).1, 0, "without the limit");
    }
}

/// Whether some group that this caller stands in, or one above, is its own.
fn can_limit(caller: &Caller) -> bool {
    let groups = Path::new("/sys/fs/cgroup");
    let own = "for g in $(cut -d: -f3 /proc/self/cgroup); do for m in . pids unified; do test -w \"$m$g\" && exit 0; done; done; exit 1";
    let mut command: Command = caller.shell(&format!("cd {} && {own}", groups.display()));
    command.output().unwrap().status.success()
}

#[test]
fn wrong_amounts_are_refused() {
    let caller = &callers()[0];
    for (flags, word) in [
        (&["-m", "5m"][..], "6m at least"),
        (&["-m", "much"], "is not a number of bytes"),
        (&["--memory-swap", "64m"], "--memory-swap needs --memory"),
        (&["-m", "64m", "--memory-swap", "32m"], "cannot be less than --memory"),
        (&["--cpus", "0"], "from 0.01"),
        (&["--pids-limit", "-2"], "-1 for no limit"),
    ] {
        let output = caller.verify(&[&["example:hello"], flags].concat());
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {}", said(&output));
        assert!(stderr(&output).contains(word), "{flags:?}: {}", said(&output));
    }
}
