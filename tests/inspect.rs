//! `austere inspect`: what it says without starting anything is what the loader and the kernel would say.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Ordinary, json, said};
use serde_json::Value;

/// Inspects a folder with this command line.
fn inspect(folder: &Path, command: &[&str]) -> Value {
    let store = tempfile::tempdir().unwrap();
    let image = format!("rootfs:{}", folder.display());
    let mut austere = common::austere(store.path());
    let output = austere.args(["inspect", "--format", "json", &image, "--"]).args(command).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    json(&output)
}

fn libraries(inspection: &Value) -> BTreeMap<String, String> {
    let list = inspection["entrypoint"]["libraries"].as_array().unwrap();
    let path = |library: &Value| library["path"].as_str().unwrap_or("missing").to_owned();
    list.iter().map(|library| (library["name"].as_str().unwrap().to_owned(), path(library))).collect()
}

fn codes(inspection: &Value) -> Vec<&str> {
    inspection["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap()).collect()
}

/// What the loader itself would map (`ld.so --list`, ld.so(8)).
fn listed(loader: &str, program: &str) -> BTreeMap<String, String> {
    let output = Command::new(loader).args(["--list", program]).env_clear().output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |line: &str| {
        let (name, rest) = line.trim().split_once(" => ")?;
        let path = rest.split(' ').next().unwrap_or_default();
        (name != loader).then(|| (name.to_owned(), path.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

/// A dynamic program of this host with several libraries, and its loader.
fn dynamic_programs() -> Vec<(PathBuf, String)> {
    let candidates = ["tar", "bash", "git", "ssh", "curl", "systemctl", "mount", "python3", "apt-get", "sed"];
    let program = |name: &&str| {
        let path = Path::new("/usr/bin").join(name).canonicalize().ok()?;
        let inspection = inspect(Path::new("/"), &[path.to_str()?]);
        let loader = inspection["entrypoint"]["interpreters"][0].as_str().filter(|name| name.contains("ld-linux"))?;
        Some((path, loader.to_owned()))
    };
    candidates.iter().filter_map(program).collect()
}

#[test]
fn libraries_are_those_that_the_loader_finds() {
    let programs = dynamic_programs();
    if programs.is_empty() {
        return common::skip("libraries: this host has no programs for glibc");
    }
    for (program, loader) in programs {
        let program = program.to_str().unwrap();
        assert_eq!(libraries(&inspect(Path::new("/"), &[program])), listed(&loader, program), "{program}");
    }
}

#[test]
fn a_library_that_is_taken_away_is_named() {
    let Some((program, loader)) = dynamic_programs().into_iter().next() else {
        return common::skip("libraries: this host has no programs for glibc");
    };
    let program = program.to_str().unwrap();
    let found = libraries(&inspect(Path::new("/"), &[program]));
    let folder = tempfile::tempdir().unwrap();
    let inside = |path: &str| folder.path().join(path.trim_start_matches('/'));
    for path in found.values().map(String::as_str).chain([program, &loader]) {
        fs::create_dir_all(inside(path).parent().unwrap()).unwrap();
        fs::copy(path, inside(path)).unwrap();
    }
    let whole = inspect(folder.path(), &[program]);
    assert_eq!((codes(&whole), libraries(&whole)), (vec![], found.clone()));

    let (name, path) = found.iter().next().unwrap();
    fs::remove_file(inside(path)).unwrap();
    let lacking = inspect(folder.path(), &[program]);
    assert_eq!(codes(&lacking), ["D23"]);
    assert_eq!(lacking["entrypoint"]["missing"][0], name.as_str());

    fs::remove_file(inside(&loader)).unwrap();
    assert_eq!(codes(&inspect(folder.path(), &[program])), ["D20", "D23"]);
}

#[test]
fn an_entrypoint_is_judged_by_the_modes_of_its_user() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let app = folder.path().join("app");
    common::copy_program(env!("CARGO_BIN_EXE_austere").as_ref(), &app);
    for (mode, expected) in [(0o755, &[][..]), (0o744, &["D18"])] {
        fs::set_permissions(&app, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(codes(&inspect(folder.path(), &["/app"])), expected);
    }
    fs::set_permissions(&app, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(codes(&inspect(folder.path(), &["/app"])), ["D18"]);
}

/// What differs between an image's configuration and its label.
fn differences(inspection: &Value, label: &Value) -> Vec<String> {
    let (config, wanted) = (&inspection["config"], &label["config"]);
    let empty = Value::Array(Vec::new());
    let or_empty = |value: &Value| if value.is_null() { empty.clone() } else { value.clone() };
    let mut different = Vec::new();
    for (ours, theirs) in [("entrypoint", "Entrypoint"), ("cmd", "Cmd")] {
        if config[ours] != or_empty(&wanted[theirs]) {
            different.push(format!("{ours}: {} {}", config[ours], wanted[theirs]));
        }
    }
    if config["user"] != wanted["User"].as_str().unwrap_or_default() {
        different.push(format!("user: {}", config["user"]));
    }
    let layers = inspection["layers"].as_array().map(Vec::len);
    if layers.map(|number| number as u64) != label["layers"].as_u64() {
        different.push(format!("layers: {layers:?}"));
    }
    different
}

#[test]
fn every_image_of_the_corpus_is_read_as_it_was_made() {
    let user = Ordinary::new();
    let root_store = tempfile::tempdir().unwrap();
    for label in common::labels() {
        let name = label["name"].as_str().unwrap();
        let Some(archive) = common::archive(name) else { continue };
        // The label's own findings, found without starting anything.
        let expected: &[&str] = match name {
            "caddy-setcap" => &["D07"],
            "python-http" => &["D22"],
            _ => &[],
        };
        let archive = user.readable(&archive);
        for mut command in [common::austere(root_store.path()), user.austere()] {
            let output = command.args(["inspect", "--format", "json"]).arg(&archive).output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{name} {}", said(&output));
            let inspection = json(&output);
            assert_eq!(differences(&inspection, &label), Vec::<String>::new(), "{name}");
            assert_eq!(codes(&inspection), expected, "{name}");
            assert!(inspection["entrypoint"]["path"].is_string(), "{name}");
            assert_eq!(inspection["entrypoint"]["missing"], Value::Array(Vec::new()), "{name}");
        }
        fs::remove_file(archive).unwrap();
    }
}

#[test]
fn an_index_is_read_for_one_machine() {
    let Some(archive) = common::archive("esbuild-multiarch") else { return };
    let store = tempfile::tempdir().unwrap();
    let inspect = |platform: &str| {
        let mut austere = common::austere(store.path());
        austere.args(["inspect", "--format", "json", "--platform", platform]).arg(&archive).output().unwrap()
    };
    let inspection = json(&inspect("linux/amd64"));
    assert_eq!(inspection["entrypoint"]["kind"]["machine"], "amd64");
    assert_eq!(codes(&inspection), Vec::<&str>::new());

    let refused = inspect("linux/s390x");
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    let error = String::from_utf8_lossy(&refused.stderr);
    assert!(error.contains("linux/s390x") && error.contains("linux/arm64"), "{error}");
}

#[test]
fn an_archive_cut_off_anywhere_is_one_clear_error() {
    let Some(archive) = common::archive("esbuild-scratch") else { return };
    let whole = fs::read(archive).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for part in [0, 1, 100, 511, 512, 5000, whole.len() / 2, whole.len() - 20_000] {
        let file = folder.path().join("cut.tar");
        fs::write(&file, &whole[..part]).unwrap();
        let output = common::austere(&folder.path().join("store")).arg("inspect").arg(&file).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{part} {}", said(&output));
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("austere: "), "{part} {}", said(&output));
    }
}
