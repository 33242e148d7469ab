//! Plans from files and flags, stops that are judged, repeated runs: each with a twin that comes to the other verdict.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]

#[path = "common/callers.rs"]
mod callers;
mod common;
#[path = "common/image.rs"]
mod image;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use callers::{Caller, callers, script, stderr, stdout};
use common::{Ordinary, json, said};
use serde_json::{Value, json};

fn verify(caller: &Caller, image: &str, flags: &[&str]) -> Output {
    caller.austere().arg("verify").arg(image).args(flags).output().unwrap()
}

/// The verdict with this plan file; the app has 2 s where the plan does not say otherwise.
fn planned(caller: &Caller, image: &str, plan: &str) -> Value {
    let file = caller.dir().join("plan.yaml");
    fs::write(&file, plan).unwrap();
    let output = verify(caller, image, &["--plan", file.to_str().unwrap(), "--format", "json"]);
    json(&output)
}

fn came_to(verdict: &Value) -> (&str, &str) {
    let cause = verdict["findings"].as_array().unwrap().iter().find(|finding| finding["role"] == "cause");
    (verdict["verdict"].as_str().unwrap(), cause.map_or("", |finding| finding["code"].as_str().unwrap()))
}

#[test]
fn every_kind_of_probe_passes_and_fails() {
    let serve = "trap 'exit 0' TERM; echo ready on 8080; httpd -f -p 8080 -h /www & \
                 while :; do echo pong | nc -l -p 9000; done & wait";
    let Some(server) = script(serve) else { return };
    let Some(job) = script("echo done; exit 3") else { return };
    for caller in callers() {
        let (server, job) = (caller.put("server", &server), caller.put("job", &job));
        let cases = [
            (
                &server,
                "http: {port: 8080, path: /index.html, status: 200, contains: hello, headers: {Host: x}}",
                "pass",
                "",
            ),
            (&server, "http: {port: 8080, path: /index.html, contains: goodbye}", "fail", "wrong-body"),
            (&server, "http: {port: 8080, path: /none}", "fail", "wrong-status"),
            (&server, "tcp: {port: 9000, send: \"x\", expect: pong}", "pass", ""),
            (&server, "tcp: {port: 9000, expect: ping}", "fail", "not-ready"),
            (&server, "udp: {port: 5301}", "fail", "not-ready"),
            (&server, "log: {regex: '^ready on \\d+$'}", "pass", ""),
            (&server, "log: {regex: '^ready$'}", "fail", "no-such-line"),
            (&server, "up: {for: 0.3}", "pass", ""),
            (&job, "up: {for: 0.3}", "fail", "did-not-stay-up"),
            (&job, "exit: {code: 3}", "pass", ""),
            (&job, "exit: {code: 0}", "fail", "wrong-exit-code"),
            (&job, "log: {regex: done}\n  - exit: {code: 3}", "pass", ""),
            (&job, "log: {regex: other}\n  - exit: {code: 3}", "fail", "exit-before-ready"),
        ];
        for (image, probe, verdict, cause) in cases {
            let seen = planned(&caller, image, &format!("timeout: 2\nprobes:\n  - {probe}\n"));
            assert_eq!(came_to(&seen), (verdict, cause), "{probe}, {}: {seen:#}", caller.mode());
            assert_eq!(seen["plan"]["origin"], "file");
        }
    }
}

#[test]
fn a_plan_that_is_not_understood_is_refused_with_its_place() {
    for caller in callers() {
        let file = caller.dir().join("plan.yaml");
        let plan = file.to_str().unwrap();
        for (text, words) in
            [("probes:\n  - http: {port: 8080, paht: /}\n", "line 2, column "), ("probes: []\n", "proves nothing")]
        {
            fs::write(&file, text).unwrap();
            let output = verify(&caller, "example:hello", &["--plan", plan]);
            assert_eq!(output.status.code(), Some(2), "{}", said(&output));
            assert!(stderr(&output).contains(words) && stderr(&output).contains(plan), "{}", said(&output));
        }
        let output = verify(&caller, "example:hello", &["--plan", "/no/such/file"]);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        // The twin: the same file, as it should be; the command line's timeout wins.
        fs::write(&file, "timeout: 9\nprobes:\n  - http: {port: 8080, path: /}\n").unwrap();
        let output = verify(&caller, "example:hello", &["--plan", plan, "--timeout", "8", "--format", "json"]);
        assert_eq!((output.status.code(), json(&output)["plan"]["timeout_ms"].as_f64()), (Some(0), Some(8000.0)));
    }
}

#[test]
fn a_stop_is_judged_only_when_that_was_asked() {
    let cases = [
        ("sleep 60; true", "shell-ignores-stop-signal"),
        ("trap 'exit 0' TERM; sleep 60; true", "shell-delays-stop-signal"),
        ("exec sleep 60", "stop-signal-unheard"),
        ("trap 'exit 0' TERM; sleep 60 & wait", ""),
    ];
    for (text, cause) in cases {
        let Some(image) = script(text) else { return };
        for caller in callers() {
            let image = caller.put("image", &image);
            let flags = ["--up", "0.2", "--format", "json"];
            let output = verify(&caller, &image, &flags);
            assert_eq!(came_to(&json(&output)), ("pass", ""), "{text}: {}", said(&output));
            let seen = json(&verify(&caller, &image, &[&flags[..], &["--grace", "0.3"]].concat()));
            let verdict = if cause.is_empty() { "pass" } else { "fail" };
            assert_eq!(came_to(&seen), (verdict, cause), "{text}, {}: {seen:#}", caller.mode());
            if cause.starts_with("shell-") {
                let reason = seen["reason"].as_str().unwrap();
                assert!(reason.contains("`/bin/sh -c ") && reason.contains("waits for `sleep`"), "{reason}");
            }
        }
    }
}

#[test]
fn every_run_has_to_pass() {
    let Some(steady) = script("exit 0") else { return };
    // A coin: the parity of a random byte.
    let Some(coin) = script("exit $(( $(head -c1 /dev/urandom | tr '\\000-\\177' '0' | tr -c '0' '1') ))") else {
        return;
    };
    for caller in callers() {
        let (steady, coin) = (caller.put("steady", &steady), caller.put("coin", &coin));
        let seen = json(&verify(&caller, &steady, &["--exit", "0", "--repeat", "4", "--format", "json"]));
        assert_eq!((came_to(&seen).0, seen["runs"].as_array().unwrap().len()), ("pass", 4));
        assert!(seen["reason"].as_str().unwrap().contains("in each of 4 runs"), "{seen:#}");
        // 24 equal throws come once in eight million times.
        let seen = json(&verify(&caller, &coin, &["--exit", "0", "--repeat", "24", "--format", "json"]));
        assert_eq!(came_to(&seen), ("fail", "wrong-exit-code"), "{seen:#}");
        assert!(has(&seen, "runs-differ") && has(&seen, "comes-and-goes"), "{seen:#}");
    }
}

fn has(verdict: &Value, code: &str) -> bool {
    verdict["findings"].as_array().unwrap().iter().any(|finding| finding["code"] == code)
}

#[test]
fn a_failure_that_comes_and_goes_is_not_the_hardening_s() {
    // What the first run leaves behind makes the next ones pass.
    let Some(moody) = script("[ -e /mnt/x ] || { echo x >/mnt/x; exit 1; }") else { return };
    let Some(refused) = script("echo x >/x || exit 1") else { return };
    for caller in callers() {
        let (moody, refused) = (caller.put("moody", &moody), caller.put("refused", &refused));
        let folder = caller.dir().join("left-behind");
        let volume = format!("{}:/mnt", folder.display());
        let again = || {
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir(&folder).unwrap();
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
            Ordinary::own(&folder);
        };
        let flags = ["--exit", "0", "-v", &volume];
        again();
        let output = verify(&caller, &moody, &[&flags[..], &["--format", "json", "--fit"]].concat());
        let seen = json(&output);
        // With one id the owners of the folder are not the host's, which is said too.
        assert_eq!(output.status.code(), Some(if caller.is_root() { 1 } else { 3 }), "{}", said(&output));
        assert!(seen["reason"].as_str().unwrap().contains("that comes and goes: 1 of 2 runs failed"), "{seen:#}");
        assert!(has(&seen, "comes-and-goes"), "{seen:#}");
        let runs: Vec<_> =
            seen["runs"].as_array().unwrap().iter().map(|run| (&run["status"], &run["watched"])).collect();
        assert_eq!(runs, [(&json!("fails"), &Value::Null), (&json!("works"), &json!(true))]);
        let fit = &seen["fit"];
        assert!(fit["status"] == "not_tried" && fit["reason"].as_str().unwrap().starts_with("no set can be"), "{fit}");
        again();
        let words = |output: &Output| stdout(output).split_whitespace().collect::<Vec<_>>().join(" ");
        let text = words(&verify(&caller, &moody, &flags));
        let blames = "the hardening is what stops it.";
        assert!(text.contains("nothing shows that the hardening is what") && text.contains(", watched)"), "{text}");
        // The twin: what fails in every run.
        let output = verify(&caller, &refused, &["--exit", "0"]);
        let text = words(&output);
        assert!(output.status.code() == Some(1) && !text.contains("comes-and-goes"), "{text}");
        assert!(text.contains(&format!("works: {blames}")), "{text}");
    }
}

#[test]
fn logs_are_shown_and_the_first_line_is_enough() {
    let Some(image) = script("echo out; printf '\\033[31mred\\n' >&2; exit 0") else { return };
    for caller in callers() {
        let image = caller.put("image", &image);
        let output = verify(&caller, &image, &["--exit", "0", "--quiet"]);
        assert!(stdout(&output).lines().count() == 1 && stdout(&output).starts_with("PASS  "), "{}", said(&output));
        assert!(output.stderr.is_empty(), "{}", said(&output));
        let output = verify(&caller, &image, &["--exit", "0", "--show-logs"]);
        assert!(stdout(&output).lines().count() > 1, "{}", said(&output));
        assert_eq!(stderr(&output), "--- stdout\nout\n--- stderr\n\\x1b[31mred\n");
        let output = verify(&caller, &image, &["--exit", "0", "--quiet", "--format", "json"]);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    }
}

#[test]
fn a_plain_health_check_is_asked() {
    for (path, verdict) in [("index.html", "pass"), ("none", "fail")] {
        let check = json!(["CMD-SHELL", format!("wget -q --spider http://localhost:8080/{path} || exit 1")]);
        let config = json!({
            "Entrypoint": ["/bin/sh", "-c", "trap 'exit 0' TERM; httpd -f -p 8080 -h /www & wait"],
            "ExposedPorts": { "8080/tcp": {} }, "Healthcheck": { "Test": check },
        });
        let Some(image) = script("true").map(|image| image.config(config)) else { return };
        for caller in callers() {
            let seen = json(&verify(&caller, &caller.put(path, &image), &["--timeout", "2", "--format", "json"]));
            assert_eq!((came_to(&seen).0, &seen["plan"]["probes"][0]["kind"]), (verdict, &json!("http")), "{seen:#}");
        }
    }
}
