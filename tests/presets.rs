//! A jail under a preset gives a program what the engine gives it: compared with recordings of real engines.
//!
//! `scripts/record-presets` made them: the recorder, which is this very program, ran in the engine and wrote down what it found and what the
//! kernel answered. Here it runs in the jail. Every difference is explained below, or is a failure.

// A helper that fails fails the test, and a harness prints.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;
#[path = "common/image.rs"]
mod image;
#[path = "presets/record.rs"]
mod record;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use image::{Image, Layer};
use serde_json::json;

type Record = BTreeMap<String, String>;

/// Tells the program that it is the recorder.
const RECORD: &str = "AUSTERE_RECORD";

/// A preset, its recording, and whether it was made with the hardening flags.
const RECORDINGS: [(&str, &str, bool); 8] = [
    ("docker@26.1", "docker-26.1-strict", true),
    ("docker@26.1", "docker-26.1-plain", false),
    ("docker@20.10", "docker-20.10-strict", true),
    ("docker@20.10", "docker-20.10-plain", false),
    ("kubernetes@containerd-1.7", "kubernetes-containerd-1.7-strict", true),
    ("kubernetes@containerd-1.7", "kubernetes-containerd-1.7-plain", false),
    ("podman@4.3", "podman-4.3-strict", true),
    ("podman@4.3", "podman-4.3-plain", false),
];

/// A container as it starts with no hardening flags.
const PLAIN: &[&str] = &["--user", "0", "--read-only=false", "--security-opt", "no-new-privileges=false"];

/// What differs and why, by the start of the key.
const EXPLAINED: [(&str, &str); 24] = [
    ("env AUSTERE_RECORD", "the recorder's own word"),
    ("env HOSTNAME", "the name is austere's"),
    ("status Groups ", "root's own group as a supplementary one, which podman leaves out and docker lists"),
    (
        "limit ",
        "limits are the caller's, as an engine's are its daemon's; no core, so that a crash hands its memory to nobody",
    ),
    ("file / ", "podman's storage makes it 0555"),
    ("file /.dockerenv", "a jail does not pretend to be docker's"),
    ("file /run/.containerenv", "a jail does not pretend to be podman's"),
    ("file /run/secrets", "a jail does not pretend to be podman's"),
    ("file /dev/core", "made where the kernel has /proc/kcore; crun makes it always"),
    ("file /dev/null", "crun gives standard input, which is /dev/null, to the app's user"),
    (
        "file /etc/resolv.conf",
        "podman leaves it out with --network none; the room stands for its other networks, where it is there",
    ),
    ("try append /etc/resolv.conf", "the same"),
    ("mount / ", "nodev: an image may hold device nodes, and there is no cgroup of devices to refuse them"),
    ("mount /sys/fs/cgroup", "the host's hierarchy is shown where it is version 2"),
    ("mount /etc/", "files of the upper layer, not mounts: the root's own flags apply"),
    ("mount /data", "a volume lies in the root's upper layer, in memory, not on the engine's disk"),
    ("mount /run", "what is copied up lies there too"),
    ("mount /tmp", "the same"),
    ("mount /var/tmp", "the same"),
    ("mount /proc/", "what covers a path differs with the engine; that it is covered is read back"),
    ("mount /sys/", "the same"),
    ("mount /dev", "the flags that keep programs from running there differ in noexec; nobody may write there"),
    ("stdio 0", "`run` passes standard input on through a pipe; the recordings were made with /dev/null"),
    (
        "try append /sys/kernel/profiling",
        "crun mounts /sys over a writable instance, runc a read-only one; EACCES and EROFS",
    ),
];

fn main() -> ExitCode {
    if std::env::var_os(RECORD).is_some() {
        for (key, value) in record::record() {
            println!("{key}: {value}");
        }
        return ExitCode::SUCCESS;
    }
    // For the script that makes the recordings.
    if let Some(file) = std::env::var_os("AUSTERE_WRITE_IMAGE") {
        written(Path::new(&file));
        return ExitCode::SUCCESS;
    }
    let failed = RECORDINGS.iter().filter(|recording| !compared(recording)).count();
    println!("test result: {failed} of {} recordings differ", RECORDINGS.len());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// An image with something of everything that the recorder looks at.
fn written(file: &Path) {
    let layer = Layer::new()
        .file("record", 0o755, fs::read("/proc/self/exe").unwrap())
        .file("readable", 0o644, "readable")
        .file("secret", 0o600, "secret")
        .dir("etc", 0o755)
        .file("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\n")
        .file("etc/group", 0o644, "root:x:0:\n")
        .dir("tmp", 0o1777)
        .dir("run", 0o755)
        .dir("var", 0o755)
        .dir("var/tmp", 0o1777)
        .dir_of("data", 0o750, 1000, 1000)
        .dir_of("home", 0o755, 0, 0)
        .dir_of("home/app", 0o700, 65532, 65532);
    let config = json!({
        "Entrypoint": ["/record"], "Env": [format!("{RECORD}=1"), "LANG=C"], "Volumes": { "/data": {} }, "WorkingDir": "/opt/app",
    });
    Image::of(layer).config(config).named("record:latest").docker_archive_25(file);
}

fn parsed(text: &str) -> Record {
    text.lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn compared((preset, name, strict): &(&str, &str, bool)) -> bool {
    if !common::root() {
        common::skip("presets: engines were recorded as root, and the tests do not run as root");
        return true;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/presets");
    let Ok(recording) = fs::read_to_string(folder.join(format!("{name}.txt"))) else {
        println!("test {name} ... FAILED: there is no recording");
        return false;
    };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("record.tar");
    written(&file);
    let mut command = common::austere(&dir.path().join("store"));
    command.arg("run").arg(&file).args(["--preset", preset]);
    if !strict {
        let profile: austere::profile::preset::Preset = preset.parse().unwrap();
        command.args(PLAIN);
        for capability in profile.capabilities {
            command.args(["--cap-add", &capability]);
        }
    } else if preset.starts_with("podman") {
        command.args(["--security-opt", "no-new-privileges=false"]);
    }
    let output = command.output().unwrap();
    let (theirs, ours) = (parsed(&recording), parsed(&String::from_utf8_lossy(&output.stdout)));
    let keys: std::collections::BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
    let is_explained = |key: &str| EXPLAINED.iter().any(|(start, _)| format!("{key} ").starts_with(start));
    let differences: Vec<String> = keys
        .into_iter()
        .filter(|key| theirs.get(*key) != ours.get(*key) && !is_explained(key))
        .map(|key| format!("  {key}\n    engine: {:?}\n    jail:   {:?}", theirs.get(key), ours.get(key)))
        .collect();
    if ours.is_empty() {
        println!("{}", common::said(&output));
    }
    println!("test {name} ... {}", if differences.is_empty() { "ok" } else { "FAILED" });
    for difference in &differences {
        println!("{difference}");
    }
    differences.is_empty()
}
