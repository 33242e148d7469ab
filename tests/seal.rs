//! The seal, the preset that has it, and the levels: on real images, as root and as a normal user. Each refusal has its twin.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]

#[path = "common/callers.rs"]
mod callers;
mod common;
#[path = "common/image.rs"]
mod image;

use callers::{Caller, callers, stderr};
use common::said;
use image::{Layer, Stored};
use serde_json::{Value, json};

/// An app that starts a shell, and says so when it cannot.
const STUBBORN: [&str; 3] = ["example:stubborn", "--tmpfs", "/run:mode=1777"];

fn finding<'a>(verdict: &'a Value, code: &str) -> Option<&'a Value> {
    verdict["findings"].as_array().unwrap().iter().find(|finding| finding["code"] == code)
}

/// An image of the corpus, where this caller may read it.
fn corpus(caller: &Caller, name: &str) -> Option<String> {
    let archive = common::archive(name)?;
    let archive = match caller {
        Caller::Root(_) => archive,
        Caller::User(user) => user.readable(&archive),
    };
    Some(archive.to_str().unwrap().to_owned())
}

#[test]
fn an_exec_is_refused_and_who_tried_it_is_named() {
    for caller in callers() {
        let (open, code) = caller.judge(&STUBBORN);
        assert_eq!(code, 0, "{open:#}");
        let (verdict, code) = caller.judge(&[&STUBBORN[..], &["--seal"]].concat());
        assert_eq!((code, &verdict["ids"]["mode"]), (1, &caller.mode().into()), "{verdict:#}");
        let refused = &verdict["findings"][0];
        assert_eq!(refused["code"], "second-exec-refused", "{verdict:#}");
        assert_eq!(
            (&refused["path"], &refused["call"], &refused["errno"]),
            (&"/bin/sh".into(), &"execve".into(), &"EACCES".into())
        );
        assert!(refused["message"].as_str().unwrap().starts_with("austere-stubbor (pid 2)"), "{refused}");
        assert!(verdict["reason"].as_str().unwrap().contains("refused to execute /bin/sh"), "{verdict:#}");
        let seal = verdict["measures"].as_array().unwrap().iter().find(|measure| measure["name"] == "seal").unwrap();
        assert_eq!(seal["status"], "holds");
    }
}

#[test]
fn the_guard_leaves_or_stays_and_the_kernel_refuses_all_the_same() {
    for caller in callers() {
        let gone = caller.run(&[&STUBBORN[..], &["--seal"]].concat());
        assert!(stderr(&gone).contains("Function not implemented"), "{}", said(&gone));
        let there = caller.run(&[&STUBBORN[..], &["--seal", "--watch-exec"]].concat());
        assert!(stderr(&there).contains("tried to execute /bin/sh, which the seal refused"), "{}", said(&there));
        assert!(stderr(&there).contains("Permission denied"), "{}", said(&there));
        assert_eq!((gone.status.code(), there.status.code()), (Some(1), Some(1)));
    }
}

#[test]
fn what_contradicts_the_seal_is_refused() {
    let caller = &callers()[0];
    for (flags, why) in [
        (&["--seal", "--init"][..], "--init starts the app with a second exec"),
        (&["--preset", "sealed", "--init"], "--init starts the app with a second exec"),
        (&["--allow-exec", "/bin/sh"], "without --seal"),
        (&["--seal", "--allow-exec", "sh"], "not an absolute path"),
        (&["--seal", "--allow-exec", "/no/such"], "it is not in the image"),
        (&["--require", "L6"], "is none of L0"),
        (&["--expose", "0"], "--expose"),
    ] {
        let output = caller.verify(&[&["example:hello"], flags].concat());
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(stderr(&output).contains(why), "{why}: {}", said(&output));
    }
}

#[test]
fn every_measure_of_the_sealed_preset_that_is_left_out_is_reported() {
    let own =
        ["seal", "narrow-writes", "narrow-ports", "narrow-scopes", "no-exec-gain", "no-exec-memfd", "read-only-root"];
    for caller in callers() {
        let (whole, code) = caller.judge(&["example:hello", "--preset", "sealed"]);
        assert_eq!(code, 0, "{whole:#}");
        let holds: Vec<&str> = whole["measures"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|measure| measure["status"] == "holds")
            .map(|measure| measure["name"].as_str().unwrap())
            .collect();
        // An older kernel lacks some, and says so.
        for name in own.into_iter().filter(|name| holds.contains(name)) {
            let (verdict, code) = caller.judge(&["example:hello", "--preset", "sealed", "--without-measure", name]);
            assert_eq!(code, 3, "{name}: {verdict:#}");
            assert!(verdict["reason"].as_str().unwrap().contains(&format!("`{name}` does not hold")), "{verdict:#}");
        }
        assert!(holds.contains(&"seal") && holds.contains(&"narrow-writes"), "{holds:?}");
    }
}

#[test]
fn every_image_that_works_works_sealed_unless_it_needs_another_program() {
    for caller in callers() {
        for label in common::labels().iter().filter(|label| label["verdict_strict"] == "works") {
            let name = label["name"].as_str().unwrap();
            // What differs between images differs for root too; unpacking all of them once more would only take time.
            if !caller.is_root() && !["redis", "caddy", "mawk-system"].contains(&name) {
                continue;
            }
            let Some(archive) = corpus(&caller, name) else { continue };
            let (probe, port) = (&label["probe"], label["probe"]["port"].to_string());
            let http = format!("{port}{}", probe["path"].as_str().unwrap_or_default());
            let words = match probe["kind"].as_str().unwrap() {
                "http" => ["--http", &http],
                "tcp" => ["--tcp", &port],
                _ => ["--exit", "0"],
            };
            let mut args = vec![archive.as_str(), "--preset", "sealed", words[0], words[1]];
            // Its administration listens on a port that the image does not expose.
            if name == "caddy" {
                args.extend(["--expose", "2019"]);
            }
            let (verdict, code) = caller.judge(&args);
            let needs_shell = name == "mawk-system";
            assert_eq!(code, i32::from(needs_shell), "{name}, {}: {verdict:#}", caller.mode());
            if needs_shell {
                let refused = finding(&verdict, "second-exec-refused").unwrap();
                assert_eq!(refused["path"], "/bin/sh", "{refused}");
                args.extend(["--allow-exec", "/bin/sh"]);
                let (verdict, code) = caller.judge(&args);
                assert_eq!(code, 0, "{verdict:#}");
                let levels = &verdict["levels"];
                assert_eq!((&levels["L2"]["status"], &levels["L4"]["status"]), (&"failed".into(), &"failed".into()));
                assert!(levels["L2"]["evidence"].to_string().contains("/bin/dash"), "{levels}");
                args.extend(["--without-measure", "execute-list"]);
                let (verdict, code) = caller.judge(&args);
                assert_eq!(code, 3, "{verdict:#}");
            }
        }
    }
}

#[test]
fn a_port_that_is_not_declared_cannot_be_had() {
    for caller in callers() {
        let mut args = vec!["example:hello", "--preset", "sealed", "-e", "PORT=8081", "--up", "1"];
        let (verdict, code) = caller.judge(&args);
        let ports =
            verdict["measures"].as_array().unwrap().iter().find(|measure| measure["name"] == "narrow-ports").unwrap();
        if ports["status"] == "unavailable" {
            common::skip(&format!("ports: {}", ports["why"]));
            continue;
        }
        assert_eq!(code, 1, "{verdict:#}");
        args.extend(["--expose", "8081"]);
        let (verdict, code) = caller.judge(&args);
        assert_eq!(code, 0, "{verdict:#}");
    }
}

#[test]
fn memory_that_becomes_code_is_given_back_to_an_app_that_needs_it() {
    for caller in callers() {
        let Some(archive) = corpus(&caller, "python-http") else { continue };
        let run = |protection: u8| {
            let program = format!("import mmap; mmap.mmap(-1, 4096, prot={protection})");
            let flags = ["--preset", "sealed", "--exit", "0", "--format", "json", "--entrypoint", "/usr/bin/python3"];
            let output = caller.verify(&[&[archive.as_str()], &flags[..], &["--", "-c", &program]].concat());
            assert_eq!(output.status.code(), Some(0), "{}", said(&output));
            common::json(&output)
        };
        let (needs, lives) = (run(7), run(3));
        let holds = |verdict: &Value| {
            let measures = verdict["measures"].as_array().unwrap();
            measures.iter().any(|measure| measure["name"] == "no-exec-gain" && measure["status"] == "holds")
        };
        if !holds(&lives) {
            common::skip("memory: this kernel has no PR_SET_MDWE (Linux 6.3)");
            continue;
        }
        assert!(!holds(&needs) && finding(&needs, "exec-gain-needed").is_some(), "{needs:#}");
        assert!(finding(&lives, "exec-gain-needed").is_none(), "{lives:#}");
    }
}

/// Files that give rights, and files that somebody may change.
fn given_away() -> Layer {
    // cap_net_raw=ep as setcap(8) stores it.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    (0..6)
        .fold(Layer::new(), |layer, at| layer.file_of(&format!("srv/own-{at}"), 0o644, 65532, 0, "x"))
        .file("bin/give", 0o4755, "not a program")
        .dir("srv/all", 0o777)
        .pax(&[("SCHILY.xattr.security.capability", &capability)])
        .file("bin/raw", 0o755, "not a program")
}

/// All in the JSON of verify and of inspect; in the text the first of them and a count.
fn are_listed(caller: &Caller, image: &str, files: &Value) {
    assert_eq!((&files["set_ids"], &files["world_writable"]), (&json!({ "/bin/give": "4755" }), &json!(["/srv/all"])));
    assert_eq!(files["capabilities"], json!({ "/bin/raw": "cap_net_raw=ep" }));
    let own: Vec<_> = (0..6).map(|at| format!("/srv/own-{at}")).collect();
    assert_eq!(files["owned"], if caller.is_root() { json!(own) } else { Value::Null });
    let inspected = caller.austere().args(["inspect", "--format", "json", image]).output().unwrap();
    let inspected = common::json(&inspected);
    for list in ["set_ids", "capabilities", "owned"] {
        assert_eq!(inspected[list], files[list], "{list}");
    }
    let text = callers::stdout(&caller.verify(&[image, "--tcp", "8080", "--no-shell"]));
    assert!(text.contains("/bin/give (4755)") && text.contains("/bin/raw (cap_net_raw=ep)"), "{text}");
    let count = "/srv/own-3 and 2 more";
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words.contains(count), caller.is_root(), "{text}");
}

#[test]
fn a_level_that_is_required_and_not_reached_fails() {
    for caller in callers() {
        let all = ["example:hello", "--preset", "sealed", "--require", "L0,L1,L2,L3,L4,L5", "--ladder"];
        let (verdict, code) = caller.judge(&all);
        let lacks_part =
            verdict["measures"].as_array().unwrap().iter().any(|measure| measure["status"] == "unavailable");
        assert!(code == 0 || lacks_part, "{verdict:#}");
        for rung in verdict["ladder"].as_array().unwrap() {
            assert!(rung["status"] == "reached" || code != 0, "{rung}");
        }
        let Some(shell) = callers::app(&["/bin/httpd", "-f", "-p", "8080", "-h", "/www"]) else { continue };
        let shell = shell.layer(given_away(), Stored::Plain);
        let image = caller.put("levels", &shell);
        let args = ["--tcp", "8080"];
        let judge = |flags: &[&str]| caller.judge(&[&[image.as_str()], &args[..], flags].concat());
        assert_eq!(judge(&[]).1, 0);
        assert_eq!(judge(&["--require", "L2,L3"]).1, 0);
        let (verdict, code) = judge(&["--no-shell"]);
        assert_eq!(code, 1, "{verdict:#}");
        are_listed(&caller, &image, &verdict["levels"]["files"]);
        let evidence = verdict["levels"]["L0"]["evidence"].to_string();
        assert!(
            evidence.contains("/bin/sh is a shell") && evidence.contains("/bin/sh was started from outside"),
            "{evidence}"
        );
        let (verdict, code) = judge(&["--require", "L1"]);
        assert_eq!(code, 0, "all its names are one file: {verdict:#}");
        for level in ["L4", "L0"] {
            let (verdict, code) = judge(&["--require", level]);
            assert_eq!(code, 1, "{level}: {verdict:#}");
            assert!(verdict["reason"].as_str().unwrap().starts_with(level), "{verdict:#}");
        }
        let (verdict, code) = judge(&["--require", "L3", "--tmpfs", "/tmp:exec"]);
        assert_eq!(code, 1, "{verdict:#}");
    }
}
