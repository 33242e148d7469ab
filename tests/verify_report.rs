//! What a verdict looks like to a person, to a pipe, to a terminal and to a program.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]

mod common;

use std::process::{Command, Output};

use common::said;

const ESCAPE: char = '\u{1b}';

fn text(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", said(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The report as a terminal gets it.
fn at_terminal(user: &common::Ordinary, variables: &[(&str, &str)]) -> Option<String> {
    let line = format!("{} verify example:hello", user.binary().display());
    let mut command = user.command(std::path::Path::new("script"));
    command.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").envs(variables.iter().copied());
    match command.output() {
        Ok(output) => Some(text(&output)),
        Err(error) => {
            common::skip(&format!("script: {error} (Debian: apt-get install bsdutils)"));
            None
        }
    }
}

#[test]
fn the_first_line_is_the_verdict() {
    let user = common::Ordinary::new();
    let output = user.austere().args(["verify", "example:hello"]).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", said(&output));
    let page = text(&output);
    let first = page.lines().next().unwrap();
    assert_eq!(first, "PASS  example:hello works read-only, without capabilities, as 65532:0");
    for word in ["ladder", "measures  all 18 hold", "ids single", "port 8080: accepts; HTTP 200 OK"] {
        assert!(page.contains(word), "no `{word}` in:\n{page}");
    }
    let output = user.austere().args(["verify", "example:stubborn"]).output().unwrap();
    let page = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(page.starts_with("FAIL  example:stubborn: exit 1 after ") && output.stderr.is_empty(), "{}", said(&output));
    assert!(page.contains("stubborn: cannot write /run/stubborn.pid"), "{page}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    let user = common::Ordinary::new();
    let piped = text(&user.austere().args(["verify", "example:hello"]).output().unwrap());
    assert!(!piped.contains(ESCAPE), "{piped}");
    let Some(coloured) = at_terminal(&user, &[]) else { return };
    assert!(coloured.starts_with(ESCAPE) && coloured.contains("PASS"), "{coloured}");
    for variable in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let plain = at_terminal(&user, &[variable]).unwrap();
        assert!(plain.starts_with("PASS") && !plain.contains(ESCAPE), "{variable:?}: {plain}");
    }
}

#[test]
fn json_is_alone_on_standard_output() {
    let user = common::Ordinary::new();
    for (example, code) in [("example:hello", 0), ("example:stubborn", 1)] {
        let output = user.austere().args(["verify", example, "--format", "json"]).output().unwrap();
        let verdict = common::json(&output);
        assert_eq!((verdict["schema"].as_str(), output.status.code()), (Some("austere.verdict/1"), Some(code)));
        assert!(output.stderr.is_empty() && !output.stdout.contains(&0x1b), "{}", said(&output));
    }
}

/// What the app writes could act on a terminal; the report shows it and lets it do nothing.
#[test]
fn an_app_cannot_write_to_the_reader_s_terminal() {
    if !std::path::Path::new("/bin/busybox").exists() {
        return common::skip("busybox: no /bin/busybox (Debian: apt-get install busybox-static)");
    }
    let user = common::Ordinary::new();
    let layout = user.home().join("image");
    let text = "printf '\\033[2J\\033]0;owned\\007\\n' >&2; exit 1";
    let layer = image::Layer::new().dir("bin", 0o755).file("bin/sh", 0o755, std::fs::read("/bin/busybox").unwrap());
    image::Image::of(layer).config(serde_json::json!({ "Entrypoint": ["/bin/sh", "-c", text] })).oci_dir(&layout);
    for format in ["text", "json"] {
        let output = user.austere().args(["verify", "--format", format]).arg(&layout).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        let page = String::from_utf8(output.stdout).unwrap();
        assert!(page.contains("owned") && !page.contains([ESCAPE, '\u{7}']), "{page}");
    }
}

/// A reader that has seen enough is no error of ours.
#[test]
fn a_closed_pipe_ends_without_a_panic() {
    let user = common::Ordinary::new();
    let line = format!("{} verify example:hello | true", user.binary().display());
    let mut command: Command = user.command(std::path::Path::new("sh"));
    let output = command.args(["-c", &line]).output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{}", said(&output));
}

#[path = "common/image.rs"]
mod image;

#[test]
fn a_terminal_shows_what_is_waited_for() {
    let user = common::Ordinary::new();
    // Nobody answers there, so that each run takes the whole time.
    let line = format!("{} verify example:hello --http 8080/none --timeout 4", user.binary().display());
    let mut command = user.command(std::path::Path::new("script"));
    let Ok(output) = command.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").output() else {
        return common::skip("script: it is not there (Debian: apt-get install bsdutils)");
    };
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let page = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(page.contains("in the jail: waiting for http 8080/none, "), "{page}");
    assert!(page.contains("FAIL"), "{page}");
}
