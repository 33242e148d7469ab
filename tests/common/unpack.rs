//! `austere unpack` as a command, and the least image that has everything.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(dead_code, reason = "each test crate uses a part of it")]

use std::path::Path;
use std::process::{Command, Output};

use super::image::{Image, Layer, Stored};

pub fn austere(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_austere")).arg("unpack").args(args).output().unwrap()
}

/// Unpacks and expects success; nothing goes to standard output.
pub fn unpack(image: &str, dir: &Path) -> String {
    let out = austere(&[image, dir.to_str().unwrap()]);
    let stderr = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(0), "{stderr}");
    assert!(out.stdout.is_empty());
    stderr
}

/// Unpacks and expects exit code 2, one line (and hints), and nothing left behind.
pub fn refused(args: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("out");
    let out = austere(&[args, &[target.to_str().unwrap()]].concat());
    let stderr = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(2), "{stderr}");
    let lines: Vec<_> = stderr.lines().collect();
    assert!(
        lines[0].starts_with("austere: ") && lines[1..].iter().all(|line| line.starts_with("  hint: ")),
        "{stderr}"
    );
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert!(!target.exists(), "left behind after: {stderr}");
    stderr
}

/// Files, whiteouts and an opaque folder, in two layers.
pub fn two_layers(stored: Stored) -> Image {
    let base = Layer::new()
        .dir("etc/", 0o755)
        .file("etc/old", 0o644, "old")
        .file("etc/both", 0o600, "lower")
        .dir("opaque", 0o750)
        .file("opaque/lower", 0o644, "x");
    let top = Layer::new()
        .whiteout("etc/old")
        .file("etc/both", 0o640, "upper")
        .dir("opaque/", 0o700)
        .opaque("opaque")
        .file("opaque/upper", 0o644, "y");
    Image::new().layer(base, stored).layer(top, stored).named("app:1")
}
