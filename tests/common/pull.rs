//! Pulling in tests: what is pulled, and what has to come of it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(dead_code, reason = "each test crate uses a part of it")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::json;
use tempfile::TempDir;

use crate::common;
use crate::image::{Image, Layer, Stored};
use crate::server::{Layout, Seen, Server};

/// Bytes that do not compress, so that a layer has some length.
pub fn noise(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    };
    (0..length).map(next).collect()
}

/// Two tags that share their lower layer, in a folder that goes with the first value.
pub fn layout() -> (TempDir, Layout) {
    let dir = tempfile::tempdir().unwrap();
    for tag in ["1", "2"] {
        let base = Layer::new().dir("etc", 0o755).file("etc/base", 0o644, noise(300_000, 7));
        let top = Layer::new().file("etc/top", 0o644, tag.repeat(1000));
        let image = Image::new().layer(base, Stored::Gzip).layer(top, Stored::Zstd);
        image.config(json!({ "Cmd": ["/etc/top"] })).named(tag).oci_dir(dir.path());
    }
    let layout = Layout(dir.path().to_owned());
    (dir, layout)
}

pub fn pull(store: &Path, server: &Server, rest: &[&str]) -> Command {
    let mut command = common::austere(store);
    command.args(["store", "pull", &format!("docker://{}/app:{}", server.address, rest[0])]).args(&rest[1..]);
    command
}

pub fn works(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", common::said(&output));
    output
}

/// Runs what has to be refused: exit code 2, and one line, with hints at most.
pub fn refused(command: &mut Command, expected: &str) {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", common::said(&output));
    let errors: Vec<_> = text.lines().filter(|line| !line.starts_with("  hint: ")).collect();
    assert!(errors.len() == 1 && errors[0].starts_with("austere: "), "{text}");
    assert!(text.contains(expected), "`{expected}` is not in: {text}");
}

pub fn is_blob(seen: &Seen, digest: &str) -> bool {
    seen.path == format!("/v2/app/blobs/{digest}")
}
