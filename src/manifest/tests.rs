//! No text makes the readers panic, and what they read they read again in the same way.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::{compose, pod};

const PODS: [&str; 5] = [
    include_str!("../../tests/manifests/kubernetes/nginx-hardened.yaml"),
    include_str!("../../tests/manifests/kubernetes/cronjob-backup.yaml"),
    include_str!("../../tests/manifests/kubernetes/projected.yaml"),
    include_str!("../../tests/manifests/kubernetes/sub-path.yaml"),
    include_str!("../../tests/manifests/kubernetes/localhost-seccomp.yaml"),
];
const SERVICES: [&str; 3] = [
    include_str!("../../tests/manifests/compose/tuned.yaml"),
    include_str!("../../tests/manifests/compose/node-app.yaml"),
    include_str!("../../tests/manifests/compose/postgres-secrets.yaml"),
];
/// What may stand where something else was.
const JUNK: [&str; 16] = [
    "",
    "-1",
    "0",
    "[]",
    "{}",
    "[[]]",
    "{a: b}",
    "~",
    "\"\"",
    "99999999999999999999",
    "../..",
    "$(A",
    "${A",
    "&a [*a]",
    "é\u{0}",
    "- ",
];

/// The same text with a line cut out, and with junk behind a colon.
fn damaged(text: &str, cut: usize, at: usize, junk: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let (cut, at) = (cut % lines.len(), at % lines.len());
    let damage = |(number, line): (usize, &&str)| match line.split_once(": ") {
        _ if number == cut => String::new(),
        Some((key, _)) if number == at => format!("{key}: {junk}\n"),
        _ => format!("{line}\n"),
    };
    lines.iter().enumerate().map(damage).collect()
}

fn read(text: &str) {
    let pod = || pod::read(text, None, Ipv4Addr::LOCALHOST).map(|settings| settings.shown());
    let service = || compose::read(text, None, &BTreeMap::new()).map(|settings| settings.shown());
    assert_eq!(pod(), pod());
    assert_eq!(service(), service());
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,80}") {
        read(&text);
    }

    #[test]
    fn a_damaged_manifest_is_read_or_refused(which in 0usize..8, cut: usize, at: usize, junk in 0usize..16) {
        let text = PODS.iter().chain(&SERVICES).nth(which).unwrap();
        read(&damaged(text, cut, at, JUNK[junk]));
    }
}

#[test]
fn what_would_grow_without_end_is_refused() {
    let deep = format!("a: {}{}", "[".repeat(5000), "]".repeat(5000));
    let level = |level: usize| {
        let below = if level == 0 { "x".to_owned() } else { format!("*a{}", level - 1) };
        format!("a{level}: &a{level} [{}]\n", [below.as_str(); 9].join(", "))
    };
    let bomb: String = (0..12).map(level).collect();
    for text in [deep, bomb] {
        let refused = pod::read(&text, None, Ipv4Addr::LOCALHOST).unwrap_err().to_string();
        assert!(refused.starts_with("line ") && refused.lines().count() == 1, "{refused}");
    }
}
