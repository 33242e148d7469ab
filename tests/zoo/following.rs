//! The tracer follows everything, says what it saw, and leaves nothing behind.

use std::{fs, thread};

use serde_json::Value;

use crate::animals::image;
use crate::callers::callers;
use crate::common;
use crate::{short, verdict};

pub fn a_hundred_threads_and_a_thousand_forks_are_followed() {
    let caller = &callers().pop().unwrap();
    let image = caller.put("zoo", &image());
    let trace = caller.dir().join("trace.jsonl");
    let flag = format!("--trace={}", trace.display());
    let summary = |steps: &str| -> (Vec<Value>, Value) {
        let (verdict, code) = verdict(caller, &image, &["--exit", "0", "--timeout", "60", &flag], &[steps]);
        assert_eq!(code, 0, "{}", short(&verdict));
        let text = fs::read_to_string(&trace).unwrap();
        let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let summary = lines.pop().unwrap();
        (lines, summary)
    };
    let (lines, threads) = summary("must:threads:100");
    assert_eq!((&threads["threads"], &threads["dropped"]), (&101.into(), &0.into()), "{threads}");
    let refused = lines.iter().filter(|line| line["path"].as_str().is_some_and(|path| path.starts_with("/nothing-")));
    assert_eq!(refused.count(), 100);
    let (lines, forks) = summary("must:forks:1000");
    assert_eq!((&forks["processes"], &forks["dropped"]), (&1001.into(), &0.into()), "{forks}");
    assert_eq!(lines.iter().filter(|line| line["kind"] == "ended").count(), 1001);
    assert_eq!(lines.iter().filter(|line| line["path"] == "/nothing" && line["errno"] == "EROFS").count(), 1000);
}

/// An exec of another thread than the first, and a fault of PID 1, which a traced one would survive.
pub fn a_watched_app_ends_as_an_unwatched_one() {
    let caller = &callers().pop().unwrap();
    let image = caller.put("zoo", &image());
    let trace = caller.dir().join("shapes.jsonl");
    let flag = format!("--trace={}", trace.display());
    let shapes: [(&str, i32, &str); 2] =
        [("must:thread-exec:", 0, r#""text":"exit 0""#), ("must:abort:", 1, r#""text":"SIG"#)];
    for (step, expected, end) in shapes {
        let (plain, code) = verdict(caller, &image, &["--exit", "0"], &[step]);
        assert_eq!(code, expected, "{}", short(&plain));
        let (watched, code) = verdict(caller, &image, &["--exit", "0", &flag], &[step]);
        assert_eq!(code, expected, "{}", short(&watched));
        let text = fs::read_to_string(&trace).unwrap();
        let ended = text.lines().rfind(|line| line.contains(r#""kind":"ended""#)).unwrap();
        assert!(ended.contains(end) && !ended.contains("SIGKILL"), "{step}: {text}");
        let refused = text.lines().filter(|line| line.contains(r#""path":"/nothing""#)).count();
        assert_eq!(refused, usize::from(expected == 0), "{step}: {text}");
    }
}

pub fn a_passing_app_is_degraded() {
    let caller = &callers().pop().unwrap();
    let image = caller.put("zoo", &image());
    let steps = ["try:write:/data/key", "serve"];
    let noticed = |verdict: &Value| {
        let mut findings = verdict["findings"].as_array().unwrap().iter();
        findings.any(|finding| {
            finding["path"] == "/data/key" && finding["severity"] == "notice" && finding["role"] == "contributing"
        })
    };
    let trace = format!("--trace={}", caller.dir().join("degraded.txt").display());
    let (watched, code) = verdict(caller, &image, &[&trace], &steps);
    assert!(code == 0 && noticed(&watched), "{}", short(&watched));
    let (unwatched, code) = verdict(caller, &image, &[], &steps);
    assert!(code == 0 && !noticed(&unwatched), "without --trace nobody watches: {}", short(&unwatched));
}

pub fn the_trace_is_written() {
    for caller in &callers() {
        let image = caller.put("zoo", &image());
        let output = caller.verify(&[&image, "--trace", "--", "must:write:/tmp/x"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            said.contains("`/tmp/x` = EROFS, refused by read-only mount") && said.contains("ended: exit 1"),
            "{said}"
        );
        let output = caller.verify(&[&image, "--trace=/no/such/folder/x", "--", "must:write:/tmp/x"]);
        assert_eq!(output.status.code(), Some(2), "{}", common::said(&output));
        let output = caller.verify(&[&image, "--", "must:write:/tmp/x"]);
        assert!(output.stderr.is_empty(), "{}", common::said(&output));
    }
}

pub fn nothing_is_left_when_it_is_killed() {
    use std::time::{Duration, Instant};
    let caller = &callers().pop().unwrap();
    let image = caller.put("zoo", &image());
    let mark = format!("try:sleep:{}", 600_000 + std::process::id());
    let alive = || {
        let all = fs::read_dir("/proc").unwrap().flatten();
        all.filter(|entry| {
            fs::read(entry.path().join("cmdline")).is_ok_and(|line| {
                let line = String::from_utf8_lossy(&line).into_owned();
                line.starts_with("/app\0") && line.contains(&mark)
            })
        })
        .count()
    };
    let wait_until = |what: &str, done: &dyn Fn() -> bool| {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !done() {
            assert!(Instant::now() < deadline, "{what}");
            thread::sleep(Duration::from_millis(10));
        }
    };
    let trace = format!("--trace={}", caller.dir().join("killed.txt").display());
    let mut command = caller.austere();
    command.args(["verify", &image, &trace, "--up", "1", "--format", "json", "--", &mark]);
    let mut austere = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let traced = || {
        let all = fs::read_dir("/proc").unwrap().flatten();
        all.filter(|entry| {
            fs::read(entry.path().join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(&mark))
        })
        .any(|entry| {
            let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            let by = status.lines().find_map(|line| line.strip_prefix("TracerPid:")).map(str::trim).map(str::to_owned);
            by.is_some_and(|by| by != "0")
                && fs::read(entry.path().join("cmdline")).is_ok_and(|line| line.starts_with(b"/app\0"))
        })
    };
    wait_until("the app is traced", &traced);
    austere.kill().unwrap();
    austere.wait().unwrap();
    wait_until("the app is gone with its tracer", &|| alive() == 0);
}
