//! What `austere verify` says when it cannot judge: one clear line, exit code 2, nothing on standard output, nothing left in the store.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]

#[path = "common/callers.rs"]
mod callers;
mod common;
#[path = "common/image.rs"]
mod image;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use austere::digest::Digest;
use callers::{Caller, callers, stderr};
use common::said;
use image::{Image, Layer};
use serde_json::json;

/// A small image that passes, and that every wrong one differs from in one thing.
fn right() -> Option<Image> {
    callers::app(&["/bin/true"])
}

fn is_refused(output: &Output, code: i32, words: &[&str]) {
    assert_eq!(output.status.code(), Some(code), "{}", said(output));
    assert!(output.stdout.is_empty(), "{}", said(output));
    let stderr = stderr(output);
    let mut lines = stderr.lines();
    assert!(lines.next().is_some_and(|line| line.starts_with("austere: ")), "{stderr}");
    assert!(lines.all(|line| line.starts_with("  hint: ")), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "no `{word}` in: {stderr}");
    }
}

/// Exit code 2 with these words, for the image at `reference`, and nothing half unpacked.
fn refused(caller: &Caller, reference: &str, words: &[&str]) {
    let output = caller.verify(&[reference, "--exit", "0"]);
    is_refused(&output, 2, words);
    if let Ok(staging) = fs::read_dir(caller.store().join("staging")) {
        assert_eq!(staging.count(), 0, "left behind after {}", said(&output));
    }
}

fn passes(caller: &Caller, reference: &str) {
    let output = caller.verify(&[reference, "--exit", "0"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

/// Changes a file of a layout.
fn edit(file: &Path, change: impl Fn(&str) -> String) {
    let text = fs::read_to_string(file).unwrap();
    fs::write(file, change(&text)).unwrap();
}

#[test]
fn no_image_is_wrong_usage() {
    for caller in callers() {
        for args in [&[][..], &[""], &["--http", "80"], &["no-such-thing.tar"], &["Unknown:x"]] {
            let output = caller.verify(args);
            assert_eq!(output.status.code(), Some(2), "{args:?}: {}", said(&output));
            assert!(output.stdout.is_empty() && stderr(&output).contains("IMAGE"), "{}", said(&output));
        }
        let output = caller.austere().output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        refused(&caller, "example:none", &["no example `none`"]);
    }
}

#[test]
fn an_archive_that_is_not_there_or_not_whole() {
    let Some(right) = right() else { return };
    for caller in callers() {
        let file = right.oci_archive(&caller.dir().join("image.tar"));
        let path = file.to_str().unwrap();
        passes(&caller, path);
        refused(&caller, "./none.tar", &["./none.tar", "No such file or directory"]);
        refused(&caller, "oci:./none", &["./none", "No such file or directory"]);
        let whole = fs::read(&file).unwrap();
        // The store has the layer by now; a truncated archive has to be noticed all the same.
        for part in [0, 1, 511, 512, 5000, whole.len() / 2, whole.len() * 9 / 10] {
            fs::write(&file, &whole[..part]).unwrap();
            refused(&caller, path, &[path]);
            refused(&caller, &format!("oci-archive:{path}"), &[path]);
        }
        fs::write(&file, b"neither a tar archive nor anything else that is known").unwrap();
        refused(&caller, path, &[path]);
    }
}

#[test]
fn bytes_that_are_not_what_their_name_says() {
    let Some(layer) = callers::busybox() else { return };
    let image = Image::of(layer).config(json!({ "Entrypoint": ["/bin/true"] }));
    for caller in callers() {
        let reference = caller.put("image", &image);
        let blobs = Path::new(&reference).join("blobs/sha256");
        let mut layer = fs::read_dir(&blobs).unwrap().map(|blob| blob.unwrap().path()).collect::<Vec<_>>();
        layer.sort_by_key(|blob| fs::metadata(blob).unwrap().len());
        let layer = layer.pop().unwrap();
        let bytes = fs::read(&layer).unwrap();
        let mut bent = bytes.clone();
        bent[5000] ^= 1;
        fs::write(&layer, bent).unwrap();
        refused(&caller, &reference, &["sha256:"]);
        fs::write(&layer, bytes).unwrap();
        passes(&caller, &reference);
    }
    let Some(mut image) = right() else { return };
    image.diff_id = Some(Digest::sha256(b"another layer"));
    for caller in callers() {
        refused(&caller, &caller.put("diff", &image), &["sha256:"]);
    }
}

#[test]
fn documents_that_do_not_lead_to_an_image() {
    let (Some(mut right), Some(plain)) = (right(), right()) else { return };
    right.media_type = Some("application/vnd.example.layer+wasm".to_owned());
    for caller in callers() {
        refused(&caller, &caller.put("wasm", &right), &["application/vnd.example.layer+wasm"]);
        let reference = caller.put("index", &plain);
        edit(&Path::new(&reference).join("index.json"), |text| text.replace("image.manifest.v1", "image.riddle.v1"));
        refused(&caller, &reference, &["image.riddle.v1+json"]);
        edit(&Path::new(&reference).join("index.json"), |_| "{".to_owned());
        refused(
            &caller,
            &reference,
            &[&reference, "image index is not valid: EOF while parsing an object at line 1 column 1"],
        );
    }
}

#[test]
fn a_tag_that_is_not_there() {
    let Some(right) = right() else { return };
    let image = right.named("1.0");
    for caller in callers() {
        let reference = caller.put("image", &image);
        passes(&caller, &format!("oci:{reference}:1.0"));
        refused(&caller, &format!("oci:{reference}:2.0"), &["`2.0`", "it has 1.0"]);
    }
}

#[test]
fn an_image_for_another_machine() {
    let Some(right) = right() else { return };
    let host = austere::platform::Platform::host();
    let other = if host.architecture == "arm64" { "amd64" } else { "arm64" };
    let image = right.architecture(other);
    for caller in callers() {
        refused(&caller, &caller.put("image", &image), &[&format!("linux/{other}"), &host.to_string()]);
    }
}

#[test]
fn an_image_without_a_program() {
    let (Some(empty), Some(missing)) = (callers::app(&[]), callers::app(&["/none"])) else { return };
    let not_in_path = callers::app(&["none"]).unwrap();
    for caller in callers() {
        refused(&caller, &caller.put("empty", &empty), &["names no program", "entrypoint"]);
        refused(&caller, &caller.put("missing", &missing), &["/none", "No such file or directory"]);
        refused(&caller, &caller.put("path", &not_in_path), &["none in any folder of PATH"]);
    }
}

#[test]
fn a_full_disk_is_named_and_does_the_store_no_harm() {
    if !common::root() {
        return common::skip("a full disk: only root can mount a small one");
    }
    let Some(small) = right() else { return };
    let large =
        Image::of(Layer::new().file("large", 0o644, vec![7; 12 << 20])).config(json!({ "Entrypoint": ["/large"] }));
    for caller in callers() {
        let (small, large) = (caller.put("small", &small), caller.put("large", &large));
        let (disk, mode) = (caller.dir().join("disk"), if caller.is_root() { "700" } else { "777" });
        fs::create_dir(&disk).unwrap();
        // The mount goes with the mount namespace, and that with its last process.
        let as_caller = match &caller {
            Caller::Root(_) => env!("CARGO_BIN_EXE_austere").to_owned(),
            Caller::User(user) => {
                format!("setpriv --reuid=2001 --regid=2001 --clear-groups {}", user.binary().display())
            }
        };
        let script = format!(
            "mount -t tmpfs -o size=8m,mode={mode} none $0 || exit 99; export AUSTERE_STORE=$0; {as_caller} verify {large} --exit 0; \
             echo code $? >&2; echo $(ls $0/staging | wc -l) left >&2; {as_caller} verify {small} --exit 0 >&2; echo code $? >&2"
        );
        let output = Command::new("unshare").args(["--mount", "sh", "-c", &script]).arg(&disk).output().unwrap();
        let stderr = stderr(&output);
        let lines: Vec<_> = stderr.lines().collect();
        assert!(lines[0].starts_with("austere: ") && lines[0].contains("No space left"), "{}", said(&output));
        assert!(lines[1].starts_with("  hint: `austere store gc"), "{}", said(&output));
        assert_eq!(lines[2..4], ["code 2", "0 left"], "{}", said(&output));
        assert!(lines[4].starts_with("PASS"), "{}", said(&output));
        assert_eq!(lines.last(), Some(&"code 0"));
        assert!(output.stdout.is_empty(), "{}", said(&output));
    }
}

#[test]
fn without_user_namespaces_a_normal_user_hears_of_the_remedy() {
    for caller in callers().iter().filter(|caller| !caller.is_root()) {
        let Caller::User(user) = caller else { continue };
        let limited = |limit: &str| {
            let script = format!("{limit}; exec {} verify example:hello", user.binary().display());
            let mut command = user.command(Path::new("unshare"));
            command.args(["--user", "--map-current-user", "--keep-caps", "sh", "-c", &script]).output().unwrap()
        };
        let twin = limited("true");
        if twin.status.code() != Some(0) {
            return common::skip(&format!("user namespaces: this host nests none: {}", stderr(&twin)));
        }
        let output = limited("echo 0 >/proc/sys/user/max_user_namespaces");
        assert_eq!(output.status.code(), Some(3), "{}", said(&output));
        let report = String::from_utf8_lossy(&output.stdout);
        for words in ["INCONCLUSIVE", "unshare(CLONE_NEWUSER)", "hint: sudo sysctl -w user.max_user_namespaces="] {
            assert!(report.contains(words), "no `{words}` in:\n{report}");
        }
    }
}
