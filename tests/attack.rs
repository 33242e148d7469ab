//! The adversary: nothing that it tries works in the strictest jail, and each attempt that counts works where there is no wall.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]

#[path = "common/callers.rs"]
mod callers;
mod common;
#[path = "common/image.rs"]
mod image;

use callers::{Caller, callers};
use common::said;
use serde_json::Value;

/// Attempts that have to count whoever calls austere, on every kernel that it runs on.
const ALWAYS: [&str; 17] = [
    "exec-path",
    "exec-fd",
    "exec-absolute",
    "exec-memfd",
    "exec-memfd-proc",
    "exec-thread",
    "exec-vfork",
    "exec-own-filter",
    "listener",
    "unshare-mount",
    "clone-net",
    "setns",
    "mount-tmpfs",
    "route-out",
    "connect",
    "listen-undeclared",
    "sweep",
];

fn attack(caller: &Caller, args: &[&str]) -> (Value, i32) {
    let output = caller.austere().arg("attack").args(args).args(["--format", "json"]).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", said(&output));
    let report = common::json(&output);
    assert_eq!((&report["schema"], &report["ids"]), (&"austere.attack/1".into(), &caller.mode().into()));
    let attempts = report["attempts"].as_array().unwrap();
    for attempt in attempts {
        assert!(attempt["escaped"] == false || attempt["twin"]["counts"] == true, "{attempt}");
        assert!(attempt["kernel_said"] != "nothing" && attempt["twin"]["kernel_said"] != "nothing", "{attempt}");
    }
    let count = |key: &str| usize::try_from(report[key].as_u64().unwrap()).unwrap();
    assert_eq!(count("escaped"), attempts.iter().filter(|attempt| attempt["escaped"] == true).count());
    assert_eq!(count("tried"), attempts.len());
    (report, output.status.code().unwrap())
}

fn one<'a>(report: &'a Value, name: &str) -> &'a Value {
    report["attempts"].as_array().unwrap().iter().find(|attempt| attempt["name"] == name).unwrap()
}

#[test]
fn nothing_works_in_the_strictest_jail() {
    for caller in callers() {
        let (report, code) = attack(&caller, &["--preset", "sealed"]);
        let worked: Vec<&Value> =
            report["attempts"].as_array().unwrap().iter().filter(|attempt| attempt["escaped"] == true).collect();
        assert_eq!((code, worked), (0, vec![]), "{:#}", report["broken"]);
        assert!(report["tried"].as_u64().unwrap() >= 100);
        for name in ALWAYS {
            assert_eq!(one(&report, name)["twin"]["counts"], true, "{}", one(&report, name));
        }
        is_compared_call_by_call(&report);
    }
}

fn is_compared_call_by_call(report: &Value) {
    let sweep = &one(report, "sweep")["sweep"];
    let native = &sweep["entries"][0];
    let is_through = |name: &str| native["let_through"].as_array().unwrap().contains(&name.into());
    assert_eq!((&sweep["profile"], &native["entry"]), (&"sealed".into(), &"native".into()));
    assert!(is_through("read") && !is_through("keyctl"), "{native}");
    assert_eq!(native["outside"], Value::Array(vec![]));
    assert!(native["tried"].as_u64().unwrap() > 1000 && native["twin_outside"].as_u64().unwrap() > 20, "{native}");
}

#[test]
fn a_second_exec_works_where_nothing_seals() {
    for caller in callers() {
        let (report, code) = attack(&caller, &["example:hello"]);
        assert_eq!(code, 1);
        for name in ["exec-path", "exec-memfd", "exec-vfork"] {
            assert_eq!(one(&report, name)["escaped"], true, "{}", one(&report, name));
        }
        for name in ["unshare-mount", "mount-tmpfs", "keyctl", "setns"] {
            assert_eq!(one(&report, name)["escaped"], false, "{}", one(&report, name));
        }
    }
}

#[test]
fn a_wall_that_is_left_out_is_found() {
    for caller in callers() {
        let walls: [(&str, &[&str]); 4] = [
            ("seal", &["exec-path"]),
            ("seccomp", &["keyctl", "sweep"]),
            ("no-exec-memfd", &["memory-file"]),
            ("landlock", &["listen-undeclared"]),
        ];
        for (measure, names) in walls {
            let (report, code) = attack(&caller, &["--preset", "sealed", "--without-measure", measure]);
            assert_eq!(code, 1, "{measure}: {report:#}");
            for name in names {
                assert_eq!(one(&report, name)["escaped"], true, "{measure}: {}", one(&report, name));
            }
            assert!(report["broken"].to_string().contains(measure), "{}", report["broken"]);
        }
    }
}

#[test]
fn the_image_s_own_loader_is_of_no_use() {
    let Some(archive) = common::archive("python-http") else { return };
    for caller in callers() {
        let archive = match &caller {
            Caller::Root(_) => archive.clone(),
            Caller::User(user) => user.readable(&archive),
        };
        let archive = archive.to_str().unwrap();
        let (open, _) = attack(&caller, &[archive]);
        assert_eq!(one(&open, "exec-loader")["escaped"], true, "{}", one(&open, "exec-loader"));
        let (sealed, code) = attack(&caller, &[archive, "--preset", "sealed"]);
        assert_eq!((code, &one(&sealed, "exec-loader")["kernel_said"]), (0, &"ENOSYS".into()));
    }
}

#[test]
fn where_no_call_is_forbidden_none_is_a_hole() {
    let (report, _) = attack(&callers()[0], &["--security-opt", "seccomp=unconfined"]);
    let sweep = one(&report, "sweep");
    assert_eq!((&sweep["sweep"]["profile"], &sweep["twin"]["counts"]), (&Value::Null, &false.into()));
    assert!(sweep["sweep"]["entries"][0]["let_through"].as_array().unwrap().contains(&"keyctl".into()), "{sweep}");
}

#[test]
fn a_program_of_the_image_gains_nothing_unless_it_may() {
    // As a normal user there is one id, and no other to gain.
    let Some(caller) = callers().into_iter().find(Caller::is_root) else { return };
    for (image, name) in [("sudo-app", "set-user-id-image"), ("caddy-setcap", "file-capability-image")] {
        let Some(archive) = common::archive(image) else { return };
        let archive = archive.to_str().unwrap();
        let (report, _) = attack(&caller, &[archive]);
        let held = one(&report, name);
        assert_eq!((&held["escaped"], &held["twin"]["counts"]), (&false.into(), &true.into()), "{held}");
        let may = [archive, "--security-opt", "no-new-privileges=false", "--cap-add", "NET_BIND_SERVICE"];
        let (report, _) = attack(&caller, &may);
        assert_eq!(one(&report, name)["escaped"], true, "{}", one(&report, name));
    }
}

#[test]
fn the_text_says_it_in_its_first_line() {
    let caller = &callers()[0];
    let output = caller.austere().args(["attack", "--preset", "sealed"]).output().unwrap();
    assert!(callers::stdout(&output).starts_with("HELD  example:hello: 0 of "), "{}", said(&output));
    let output = caller.austere().args(["attack", "no-such-image"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}
