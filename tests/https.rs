//! HTTPS, asked of a real server: OpenSSL's, in the jail.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]

#[path = "common/callers.rs"]
mod callers;
mod common;
#[path = "common/image.rs"]
mod image;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use callers::{Caller, callers};
use image::{Image, Layer};
use serde_json::{Value, json};

const OPENSSL: &str = "/usr/bin/openssl";

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", common::said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// An image of this host's openssl with its libraries and a certificate of its own; it answers `GET` with a page on 8443.
fn server(more: &[&str]) -> Option<Image> {
    if !Path::new(OPENSSL).exists() {
        common::skip("there is no openssl to serve with (ENOENT)");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let [key, certificate] = ["key.pem", "cert.pem"].map(|name| folder.path().join(name));
    run(Command::new(OPENSSL)
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=nobody.invalid", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate));
    let libraries = run(Command::new("ldd").arg(OPENSSL));
    let mut files: BTreeSet<&str> =
        libraries.split_whitespace().filter(|word| word.starts_with('/') && Path::new(word).exists()).collect();
    files.insert(OPENSSL);
    let mut layer = Layer::new();
    for file in files {
        layer = layer.file(file.trim_start_matches('/'), 0o755, fs::read(file).unwrap());
    }
    for name in ["key.pem", "cert.pem"] {
        layer = layer.file(name, 0o644, fs::read(folder.path().join(name)).unwrap());
    }
    let serve = [OPENSSL, "s_server", "-accept", "8443", "-cert", "/cert.pem", "-key", "/key.pem", "-www", "-quiet"];
    let entrypoint: Vec<&str> = serve.iter().chain(more).copied().collect();
    let mut image = Image::of(layer);
    image.config = json!({ "Entrypoint": entrypoint });
    Some(image)
}

/// The verdict, and what its first probe saw.
fn asked(caller: &Caller, image: &str, flags: &[&str]) -> (String, String) {
    let output =
        caller.austere().args(["verify", "--format", "json", "--timeout", "2"]).args(flags).arg(image).output();
    let verdict = common::json(&output.unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&verdict["verdict"]), text(&verdict["probes"][0]["detail"]))
}

#[test]
fn a_server_with_its_own_certificate_is_asked() {
    for version in ["-tls1_2", "-tls1_3"] {
        let Some(image) = server(&[version]) else { return };
        for caller in callers() {
            let image = caller.put("tls", &image);
            assert_eq!(
                asked(&caller, &image, &["--https", "8443/"]),
                ("pass".to_owned(), "HTTP 200 ok".to_owned()),
                "{version}"
            );
            // The twin: the same page with another status than it has.
            assert_eq!(
                asked(&caller, &image, &["--https", "8443/=404"]),
                ("fail".to_owned(), "HTTP 200 ok".to_owned()),
                "{version}"
            );
        }
    }
}

#[test]
fn the_two_languages_are_not_taken_for_each_other() {
    let Some(image) = server(&[]) else { return };
    for caller in callers() {
        let image = caller.put("tls", &image);
        // OpenSSL's server just closes what is no TLS.
        let (verdict, detail) = asked(&caller, &image, &["--http", "8443/"]);
        assert!(verdict == "fail" && detail.contains("closed without an answer"), "{verdict}: {detail}");
        let (verdict, detail) = asked(&caller, "example:hello", &["--https", "8080/"]);
        assert!(verdict == "fail" && detail.contains("does not speak TLS"), "{verdict}: {detail}");
    }
}

#[test]
fn a_plan_file_asks_too() {
    let Some(image) = server(&[]) else { return };
    for caller in callers() {
        let image = caller.put("tls", &image);
        let plan = caller.dir().join("plan.yaml");
        let file = plan.to_str().unwrap();
        for (contains, expected) in [("s_server", "pass"), ("no such words", "fail")] {
            let probe = format!("http: {{port: 8443, path: /, https: true, contains: \"{contains}\"}}");
            fs::write(&plan, format!("timeout: 2\nprobes:\n  - {probe}\n")).unwrap();
            let output = caller.austere().args(["verify", "--format", "json", "--plan", file]).arg(&image).output();
            assert_eq!(common::json(&output.unwrap())["verdict"], expected, "{probe}");
        }
    }
}
