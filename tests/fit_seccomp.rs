//! A seccomp profile of an image's own: recorded, proven, no wider than it has to be.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]

#[path = "common/callers.rs"]
mod callers;
mod common;
#[path = "common/image.rs"]
mod image;

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use callers::{Caller, busybox, callers};
use common::said;
use image::Image;
use serde_json::{Value, json};

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

/// What `fit --seccomp` finds, with what it said on the way; the profile is in `file`.
fn fit(caller: &Caller, image: &str, file: &Path, flags: &[&str]) -> (Value, String) {
    let words = ["fit", image, "--format", "json", "--seccomp", "-o", file.to_str().unwrap()];
    let output = caller.austere().args(words).args(flags).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{image} {flags:?}: {}", said(&output));
    let verdict = common::json(&output);
    let schema = serde_json::from_str(include_str!("../docs/verdict.schema.json")).unwrap();
    let errors: Vec<_> =
        jsonschema::validator_for(&schema).unwrap().iter_errors(&verdict).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let found = &verdict["fit"]["seccomp"];
    assert_eq!((&found["status"], &found["proven"]), (&json!("reached"), &json!(3)), "{}", said(&output));
    let written: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(written, found["profile"]);
    assert!(verdict["fit"]["docker"].as_str().unwrap().contains("--security-opt seccomp=seccomp.json"));
    (verdict, said(&output))
}

/// The profile without one of the calls that it lets through.
fn without(profile: &Value, call: &str) -> String {
    let mut profile = profile.clone();
    for entry in profile["syscalls"].as_array_mut().unwrap() {
        if entry["action"] == "SCMP_ACT_ALLOW" {
            entry["names"].as_array_mut().unwrap().retain(|name| name != call);
        }
    }
    profile["syscalls"].as_array_mut().unwrap().retain(|entry| entry["names"] != json!([]));
    profile.to_string()
}

/// The image works under the profile, and not without one call of it.
fn holds(caller: &Caller, image: &str, file: &Path, flags: &[&str], needed: &str) {
    let verify = |file: &Path| {
        let option = format!("seccomp={}", file.display());
        caller.verify(&[&[image, "--security-opt", &option], flags].concat())
    };
    let output = verify(file);
    assert_eq!(output.status.code(), Some(0), "{image}: {}", said(&output));
    let profile: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    fs::write(file, without(&profile, needed)).unwrap();
    let output = verify(file);
    assert_eq!(output.status.code(), Some(1), "{image} without {needed}: {}", said(&output));
}

#[test]
fn a_profile_suffices_and_is_far_smaller_than_the_engine_s() {
    for caller in &callers() {
        let file = caller.dir().join("seccomp.json");
        for preset in ["docker", "sealed"] {
            let (verdict, said) = fit(caller, "example:hello", &file, &["--preset", preset]);
            let found = &verdict["fit"]["seccomp"];
            let calls = texts(&found["calls"]);
            assert!(calls.len() < 60 && calls.contains(&"listen") && !calls.contains(&"mkdir"), "{calls:?}");
            assert!(texts(&found["beside"]).contains(&"getdents64"), "{found:#}");
            assert_eq!((&found["recordings"], &found["added"]), (&json!(2), &json!([])), "{said}");
            assert!(said.contains("seccomp     recording 2: ") && said.contains("proof 3 of 3"), "{said}");
            holds(caller, "example:hello", &file, &["--preset", preset], "listen");
        }
        // An engine's own answers, which nothing was recorded for, are what a verdict without one gives.
        let output = caller.austere().args(["fit", "example:hello", "-o", "x"]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", common::said(&output));
        let output =
            caller.austere().args(["fit", "example:hello", "--quiet", "--to", "seccomp,docker"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("\"defaultErrnoRet\": 38") && text.contains("# seccomp.json: "), "{text}");
    }
}

#[test]
fn images_of_the_corpus_work_under_profiles_of_their_own() {
    let callers = callers();
    let Some(root) = callers.iter().find(|caller| caller.is_root()) else { return };
    let images: [(&str, &[&str], &[&str], &str); 3] = [
        ("nginx-unprivileged", &["--http", "8080/"], &["--tmpfs", "/tmp"], "bind"),
        ("redis", &["--tcp", "6379"], &[], "bind"),
        ("esbuild-scratch", &["--http", "8000/"], &[], "listen"),
    ];
    for (name, plan, given, needed) in images {
        let Some(archive) = common::archive(name) else { continue };
        let (image, file) = (archive.to_str().unwrap(), root.dir().join(format!("{name}.json")));
        let (verdict, _) = fit(root, image, &file, plan);
        assert!(texts(&verdict["fit"]["seccomp"]["calls"]).len() < 130, "{:#}", verdict["fit"]["seccomp"]);
        holds(root, image, &file, &[plan, given].concat(), needed);
    }
}

/// An image of a script, with a page that sends a signal.
fn scripted(caller: &Caller) -> Option<String> {
    let layer = busybox()?.dir("www/cgi-bin", 0o755).file(
        "www/cgi-bin/alive",
        0o755,
        "#!/bin/sh\nkill -0 $$ && printf 'Content-type: text/plain\\r\\n\\r\\nalive'\n",
    );
    let config = json!({ "Entrypoint": ["/bin/sh", "-ec"], "ExposedPorts": { "8080/tcp": {} } });
    Some(caller.put("scripted", &Image::of(layer).config(config)))
}

#[test]
fn what_no_recording_showed_is_added_after_a_failure() {
    let callers = callers();
    let Some(root) = callers.iter().find(|caller| caller.is_root()) else { return };
    let Some(image) = scripted(root) else { return };
    let (count, file) = (root.dir().join("count"), root.dir().join("added.json"));
    fs::create_dir(&count).unwrap();
    fs::set_permissions(&count, fs::Permissions::from_mode(0o777)).unwrap();
    // Three runs are the search's and two are recorded; from the sixth on it does something more.
    let script =
        "echo x >> /count/n; [ $(wc -l < /count/n) -le 5 ] || kill -0 $$ || exit 1; exec httpd -f -p 8080 -h /www";
    let mount = format!("{}:/count", count.display());
    let (verdict, said) = fit(root, &image, &file, &["-v", &mount, "--", script]);
    let found = &verdict["fit"]["seccomp"];
    assert!(texts(&found["added"]).contains(&"kill"), "{said}");
    assert!(texts(&found["calls"]).contains(&"kill"), "{said}");
}

#[test]
fn what_is_done_from_outside_is_recorded_too() {
    let callers = callers();
    let Some(root) = callers.iter().find(|caller| caller.is_root()) else { return };
    let Some(image) = scripted(root) else { return };
    let script = "exec httpd -f -p 8080 -h /www";
    let file = root.dir().join("outside.json");
    let (verdict, _) = fit(root, &image, &file, &["--", script]);
    assert!(!texts(&verdict["fit"]["seccomp"]["calls"]).contains(&"kill"));
    // The twin: somebody asks for the page, and then says that it is enough.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let publish = format!("127.0.0.1:{port}:8080");
    let words = ["fit", &image, "--format", "json", "--seccomp", "-p", &publish, "--", script];
    let mut command = root.austere();
    let mut child = command.args(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The port leads to the app in the judged run too, which nobody is asked to use.
    let mut told = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("done from outside") {
        line.clear();
        assert_ne!(told.read_line(&mut line).unwrap(), 0, "it ended without asking to be used");
    }
    while !asked(port).contains("alive") {
        assert!(child.try_wait().unwrap().is_none(), "{}", said(&child.wait_with_output().unwrap()));
        thread::sleep(Duration::from_millis(20));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let found = &common::json(&output)["fit"]["seccomp"];
    assert!(texts(&found["calls"]).contains(&"kill"), "{found:#}");
    assert_eq!(found["recordings"], 3);
    assert!(found["exercised_s"].is_u64(), "{found:#}");
}

/// What the page says; nothing where nobody answers.
fn asked(port: u16) -> String {
    let mut text = String::new();
    if let Ok(mut connection) = TcpStream::connect(("127.0.0.1", port)) {
        // A minute is for ever here, and a test that hangs is worse than one that fails.
        connection.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        let _ = connection.write_all(b"GET /cgi-bin/alive HTTP/1.0\r\n\r\n");
        let _ = connection.read_to_string(&mut text);
    }
    text
}
