//! `austere inspect`: packages, programs and what layers did, in images made here and in real ones.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/image.rs"]
mod image;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use common::{Ordinary, json, said};
use image::{Image, Layer, Stored};
use serde_json::Value;

/// Inspects an image made here.
fn inspect(image: &Image) -> Value {
    let folder = tempfile::tempdir().unwrap();
    inspect_archive(&image.oci_archive(&folder.path().join("image.tar")), &folder.path().join("store"))
}

fn inspect_archive(archive: &Path, store: &Path) -> Value {
    let output =
        common::austere(store).args(["inspect", "--packages", "--format", "json"]).arg(archive).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    json(&output)
}

/// `type name version`, sorted.
fn packages(inspection: &Value) -> Vec<String> {
    let list = inspection["packages"].as_array().unwrap();
    let text = |package: &Value, key: &str| package[key].as_str().unwrap().to_owned();
    let line = |one: &Value| format!("{} {} {}", text(one, "type"), text(one, "name"), text(one, "version"));
    let mut lines: Vec<String> = list.iter().map(line).collect();
    lines.sort();
    lines
}

fn package<'a>(inspection: &'a Value, name: &str) -> &'a Value {
    let list = inspection["packages"].as_array().unwrap();
    list.iter().find(|package| package["name"] == name).unwrap_or_else(|| panic!("no package {name}"))
}

/// Paths of programs of one kind.
fn programs(inspection: &Value, kind: &str) -> BTreeSet<String> {
    let list = inspection["programs"].as_array().unwrap();
    let own = list.iter().filter(|program| program["kind"] == kind);
    own.map(|program| program["path"].as_str().unwrap().to_owned()).collect()
}

const OS: &str = "ID=alpine\nVERSION_ID=3.18.6\nPRETTY_NAME=\"Alpine Linux v3.18\"\n";
const APK: &str = "C:Q1x=\nP:libcrypto3\nV:3.1.4-r5\nA:x86_64\nL:Apache-2.0\no:openssl\nF:lib\nR:libcrypto.so.3\n\n\
    C:Q1y=\nP:busybox\nV:1.36.1-r5\nA:x86_64\nL:GPL-2.0-only AND MIT\nF:bin\nR:busybox\n\n";

#[test]
fn databases_of_package_managers_are_read() {
    let status = "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nSource: glibc (2.36-9)\nVersion: 2.36-9+b1\n\n\
        Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
        Package: held\nStatus: hold ok installed\nArchitecture: all\nVersion: 1:2.0-1\nDescription: x\n Version: 9\n";
    let copyright =
        "Format: x\n\nFiles: *\nLicense: LGPL-2.1+\n\nFiles: y\nLicense: GPL-2+\n text\n\nLicense: LGPL-2.1+\n text\n";
    let layer = Layer::new()
        .file("etc/os-release", 0o644, OS)
        .file("lib/apk/db/installed", 0o644, APK)
        .file("var/lib/dpkg/status", 0o644, status)
        .file("usr/share/doc/libc6/copyright", 0o644, copyright)
        .file("var/lib/dpkg/status.d/base", 0o644, "Package: base-files\nArchitecture: amd64\nVersion: 12.4\n")
        .file("var/lib/dpkg/status.d/base.md5sums", 0o644, "0123  etc/x\n");
    let inspection = inspect(&Image::of(layer));
    let expected = [
        "apk busybox 1.36.1-r5",
        "apk libcrypto3 3.1.4-r5",
        "deb base-files 12.4",
        "deb held 1:2.0-1",
        "deb libc6 2.36-9+b1",
    ];
    assert_eq!(packages(&inspection), expected);
    let crypto = package(&inspection, "libcrypto3");
    let purl = "pkg:apk/alpine/libcrypto3@3.1.4-r5?arch=x86_64&distro=alpine-3.18.6&upstream=openssl";
    assert_eq!(crypto["purl"], purl);
    assert_eq!(crypto["location"], "/lib/apk/db/installed");
    assert_eq!(crypto["layer"], 1);
    assert_eq!(package(&inspection, "busybox")["licences"], serde_json::json!(["GPL-2.0-only", "MIT"]));
    let libc = package(&inspection, "libc6");
    assert_eq!(libc["licences"], serde_json::json!(["GPL-2+", "LGPL-2.1+"]));
    assert_eq!(libc["source"], "glibc");
    assert_eq!(inspection["base"]["name"], "alpine");
    assert_eq!(inspection["vulnerabilities"], Value::Null, "nobody looked");
}

/// A zip with these files, deflated.
fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in files {
        let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
        zip.start_file(*name, options).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn languages_say_what_they_installed() {
    let pom = b"version=32.1\ngroupId=com.google.guava\nartifactId=guava\n";
    let guava =
        zip(&[("META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\n"), ("META-INF/maven/a/b/pom.properties", pom)]);
    let manifest = b"Manifest-Version: 1.0\r\nImplementation-Title: x\r\nImplementation-Version: 9\r\n";
    let war = zip(&[
        ("META-INF/MANIFEST.MF", manifest),
        ("WEB-INF/lib/guava.jar", &guava),
        ("WEB-INF/lib/broken.jar", b"no"),
    ]);
    let layer = Layer::new()
        .file(
            "usr/lib/python3/dist-packages/Flask-3.0.dist-info/METADATA",
            0o644,
            "Name: Flask\nVersion: 3.0\nLicense: BSD\n\nVersion: 1\n",
        )
        .file(
            "usr/lib/python3/dist-packages/old.egg-info/PKG-INFO",
            0o644,
            "Name: Old_Thing\nVersion: 1\nLicense: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License\n",
        )
        .file(
            "app/node_modules/@scope/a/package.json",
            0o644,
            r#"{"name":"@scope/a","version":"1.0.0","license":"MIT"}"#,
        )
        .file("app/node_modules/b/package.json", 0o644, r#"{"name":"b","version":"2.0.0","licenses":[{"type":"ISC"}]}"#)
        .file("app/node_modules/no/package.json", 0o644, r#"{"name":"no"}"#)
        .file("app/node_modules/bad/package.json", 0o644, "{")
        .file("opt/app-1.2.war", 0o644, &war)
        .file("opt/cut.jar", 0o644, &war[..war.len() / 2]);
    let inspection = inspect(&Image::of(layer));
    let expected = [
        "java-archive app 1.2",
        "java-archive guava 32.1",
        "npm @scope/a 1.0.0",
        "npm b 2.0.0",
        "python flask 3.0",
        "python old-thing 1",
    ];
    assert_eq!(packages(&inspection), expected);
    let guava = package(&inspection, "guava");
    assert_eq!(guava["location"], "/opt/app-1.2.war:WEB-INF/lib/guava.jar");
    assert_eq!(guava["purl"], "pkg:maven/com.google.guava/guava@32.1");
    assert_eq!(package(&inspection, "@scope/a")["purl"], "pkg:npm/%40scope/a@1.0.0");
    assert_eq!(package(&inspection, "b")["licences"], serde_json::json!(["ISC"]));
    assert_eq!(package(&inspection, "old-thing")["licences"], serde_json::json!(["MIT License"]));
    let unread = inspection["unread"].as_array().unwrap();
    assert_eq!(unread.len(), 1, "{unread:?}");
    assert_eq!(unread[0]["path"], "/opt/cut.jar");
}

#[test]
fn an_rpm_database_is_not_passed_over_in_silence() {
    let layer = Layer::new().file("var/lib/rpm/rpmdb.sqlite", 0o644, "SQLite format 3").file(
        "etc/os-release",
        0o644,
        "ID=\"rhel\"\n",
    );
    let inspection = inspect(&Image::of(layer));
    assert_eq!(inspection["base"]["name"], "ubi");
    assert_eq!(inspection["unread"][0]["path"], "/var/lib/rpm/rpmdb.sqlite");
    assert!(inspection["unread"][0]["why"].as_str().unwrap().contains("rpm"));
    // The twin: nothing is missing where there is none.
    let inspection = inspect(&Image::of(Layer::new().file("x", 0o644, "")));
    assert_eq!((&inspection["unread"], &inspection["base"]["name"]), (&serde_json::json!([]), &"scratch".into()));
}

#[test]
fn a_rust_program_tells_its_crates() {
    let folder = tempfile::tempdir().unwrap();
    let (plain, audited, section) =
        (folder.path().join("plain"), folder.path().join("audited"), folder.path().join("s"));
    let document = r#"{"packages":[{"name":"serde","version":"1.0.2","source":"crates.io"},{"name":"cc","version":"1.0.0","source":"crates.io","kind":"build"}]}"#;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(document.as_bytes()).unwrap();
    fs::write(&section, encoder.finish().unwrap()).unwrap();
    common::copy_program("/bin/true".as_ref(), &plain);
    let added = Command::new("objcopy")
        .arg(format!("--add-section=.dep-v0={}", section.display()))
        .args([&plain, &audited])
        .status();
    if !added.is_ok_and(|status| status.success()) {
        return common::skip("packages: there is no objcopy (Debian: binutils)");
    }
    let with = |program: &Path| Image::of(Layer::new().file("app", 0o755, fs::read(program).unwrap()));
    assert_eq!(packages(&inspect(&with(&audited))), ["rust-crate serde 1.0.2"]);
    assert_eq!(packages(&inspect(&with(&plain))), Vec::<String>::new());
}

#[test]
fn a_program_without_a_package_is_known_by_its_content() {
    let busybox = Path::new("/bin/busybox");
    let Ok(bytes) = fs::read(busybox) else {
        return common::skip("packages: there is no busybox here (Debian: busybox-static)");
    };
    let loose = inspect(&Image::of(Layer::new().file("bin/busybox", 0o755, &bytes)));
    let found = packages(&loose);
    assert!(found.len() == 1 && found[0].starts_with("binary busybox 1."), "{found:?}");
    // The twin: a package manager that brought it knows better.
    let owned = Layer::new().file("lib/apk/db/installed", 0o644, APK).file("bin/busybox", 0o755, &bytes);
    assert_eq!(packages(&inspect(&Image::of(owned))), ["apk busybox 1.36.1-r5", "apk libcrypto3 3.1.4-r5"]);
}

#[test]
fn shells_are_found_whatever_they_are_called() {
    let Ok(bash) = fs::read("/bin/bash") else { return common::skip("packages: there is no bash here") };
    let austere = fs::read(env!("CARGO_BIN_EXE_austere")).unwrap();
    let speaks_of_it = "#!/bin/run\nGNU bash, version 5.2 BASH_VERSINFO\n";
    let layer = Layer::new()
        .file("opt/tool", 0o755, &bash)
        .hardlink("opt/second", "opt/tool")
        .symlink("usr/bin/sh", "../../opt/tool")
        .symlink("usr/bin/dangling", "/bin/bash")
        .file("opt/text", 0o755, speaks_of_it)
        .file("opt/not-executable", 0o644, &bash)
        // It has the markers of every shell in it, and is none.
        .file("bin/bash", 0o755, &austere)
        .file("bin/true", 0o755, fs::read("/bin/true").unwrap());
    let inspection = inspect(&Image::of(layer));
    let expected: BTreeSet<String> = ["/opt/tool", "/opt/second", "/usr/bin/sh"].map(str::to_owned).into();
    assert_eq!(programs(&inspection, "shell"), expected);
    for program in inspection["programs"].as_array().unwrap() {
        assert_eq!(program["name"], "bash");
    }
    for kind in ["multicall", "interpreter", "package-manager"] {
        assert_eq!(programs(&inspection, kind), BTreeSet::new());
    }
    // A script counts as well: the kernel starts it.
    assert_eq!(inspection["executables"].as_array().unwrap().len(), 5);
}

#[test]
fn what_a_loader_could_run_is_found_and_what_scripts_are_written_for() {
    let loader = Path::new("/lib64/ld-linux-x86-64.so.2");
    let (Ok(bash), Ok(loader)) = (fs::read("/bin/bash"), fs::read(loader)) else {
        return common::skip("packages: there is no bash here, or no loader of x86_64");
    };
    let program = fs::read("/bin/true").unwrap();
    let image = |loader_mode: u32, script_mode: u32, line: &str| {
        let layer =
            Layer::new().file("srv/data", 0o644, &bash).file("lib64/ld-linux-x86-64.so.2", loader_mode, &loader);
        let layer = layer.file("usr/bin/tool", 0o755, &program).file("usr/bin/nft", 0o755, &program);
        inspect(&Image::of(layer.file("opt/script", script_mode, line)))
    };
    let found = |inspection: &Value| -> Vec<String> {
        let programs = inspection["programs"].as_array().unwrap().iter();
        programs.map(|one| format!("{} {} {}", one["path"].as_str().unwrap(), one["kind"], one["seen"])).collect()
    };
    let data = "/srv/data \"shell\" \"loader\"";
    let tool = "/usr/bin/tool \"interpreter\" \"asked\"";
    assert_eq!(found(&image(0o755, 0o755, "#!/usr/bin/tool -x\n")), [data, tool]);
    assert_eq!(found(&image(0o755, 0o755, "#!/usr/bin/env tool\n")), [data, tool]);
    // The twins: nothing runs the file, the script is none, the program only reads what it is given.
    assert_eq!(found(&image(0o644, 0o644, "#!/usr/bin/tool\n")), [""; 0]);
    assert_eq!(found(&image(0o644, 0o755, "#!/usr/bin/nft -f\n")), [""; 0]);
}

#[test]
fn what_each_layer_did_is_told() {
    let image = Image::new()
        .layer(
            Layer::new()
                .file("a", 0o644, "12345")
                .file("b", 0o644, "123")
                .file("d/x", 0o644, "1")
                .file("d/y", 0o644, "22")
                .file("e/z", 0o644, "333"),
            Stored::Gzip,
        )
        .layer(Layer::new().file("a", 0o644, "1").whiteout("b").whiteout("e").file("new", 0o666, "x"), Stored::Plain)
        .layer(Layer::new().dir("d", 0o777).opaque("d").file("d/x", 0o4755, "1").dir("tmp", 0o1777), Stored::Zstd);
    let inspection = inspect(&image);
    let counts = |index: usize| {
        let layer = &inspection["layers"][index];
        ["added", "changed", "removed"].map(|key| layer[key].as_u64().unwrap())
    };
    assert_eq!([counts(0), counts(1), counts(2)], [[5, 0, 0], [1, 1, 2], [1, 0, 2]]);
    let wasted = &inspection["wasted"];
    assert_eq!((wasted["files"].as_u64(), wasted["bytes"].as_u64()), (Some(5), Some(5 + 3 + 1 + 2 + 3)));
    let first = &wasted["largest"][0];
    assert_eq!(
        (first["path"].as_str(), first["layer"].as_u64(), first["hidden_by"].as_u64()),
        (Some("/a"), Some(1), Some(2))
    );
    let writable: Vec<_> =
        inspection["world_writable"].as_array().unwrap().iter().map(|one| one["path"].as_str().unwrap()).collect();
    assert_eq!(writable, ["/d", "/new"], "not /tmp, where only owners remove");
    assert_eq!(inspection["set_ids"], serde_json::json!({ "/d/x": "4755" }));
    assert_eq!(inspection["files"], 3);
    // Real ids: the image's files are its root's, and none is the app's.
    let owned = if common::root() { serde_json::json!([]) } else { Value::Null };
    assert_eq!(inspection["owned"], owned);
}

/// Labels of the corpus are of Debian's own names; austere also names links that they leave out.
const MORE: [&str; 1] = ["/usr/bin/nawk"];

/// What differs between an inspection and its label.
fn differences(inspection: &Value, label: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let paths = |value: &Value| -> BTreeSet<String> {
        value.as_array().into_iter().flatten().map(|path| path.as_str().unwrap().to_owned()).collect()
    };
    let keys = |value: &Value| -> BTreeSet<String> { value.as_object().unwrap().keys().cloned().collect() };
    let mut same = |what: &str, found: BTreeSet<String>, expected: BTreeSet<String>| {
        let found: BTreeSet<String> = found.into_iter().filter(|path| !MORE.contains(&path.as_str())).collect();
        if found != expected {
            wrong.push(format!("{what}: {found:?}, not {expected:?}"));
        }
    };
    same("shells", programs(inspection, "shell"), paths(&label["shells"]));
    same("busybox", programs(inspection, "multicall"), paths(&label["busybox"]));
    same("interpreters", programs(inspection, "interpreter"), paths(&label["interpreters"]));
    same("package managers", programs(inspection, "package-manager"), paths(&label["package_managers"]));
    let set_ids = paths(&label["setuid"]).union(&paths(&label["setgid"])).cloned().collect();
    same("set-id", keys(&inspection["set_ids"]), set_ids);
    same("file capabilities", keys(&inspection["capabilities"]), keys(&label["file_caps"]));
    for (ours, theirs) in [("deb", "dpkg"), ("apk", "apk")] {
        let count = packages(inspection).iter().filter(|line| line.starts_with(&format!("{ours} "))).count() as u64;
        let expected = label["packages_expected"][theirs].as_u64().unwrap();
        if count != expected {
            wrong.push(format!("{ours}: {count} packages, not {expected}"));
        }
    }
    let base = match label["os_release_id"].as_str().unwrap() {
        "" => "scratch",
        "debian" if label["shells"].as_array().unwrap().is_empty() => "distroless",
        id => id,
    };
    if inspection["base"]["name"] != base {
        wrong.push(format!("base: {}, not {base}", inspection["base"]["name"]));
    }
    wrong
}

#[test]
fn real_images_have_what_their_labels_say() {
    let user = Ordinary::new();
    let store = tempfile::tempdir().unwrap();
    for label in common::labels() {
        let name = label["name"].as_str().unwrap();
        let Some(archive) = common::archive(name) else { continue };
        let look = |mut austere: Command, archive: &Path| {
            let output = austere.args(["inspect", "--packages", "--format", "json"]).arg(archive).output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{name} {}", said(&output));
            assert_eq!(differences(&json(&output), &label), Vec::<String>::new(), "{name}");
        };
        look(common::austere(store.path()), &archive);
        // Files lose their set-id bits, capabilities and whiteouts of their own where one id is mapped; what is said does not.
        if matches!(name, "sudo-app" | "caddy-setcap" | "whiteout-httpd") {
            let archive = user.readable(&archive);
            look(user.austere(), &archive);
            fs::remove_file(archive).unwrap();
        }
    }
}

#[test]
fn go_programs_tell_their_modules() {
    let Some(archive) = common::archive("caddy") else { return };
    let store = tempfile::tempdir().unwrap();
    let inspection = inspect_archive(&archive, store.path());
    let go: Vec<String> = packages(&inspection).into_iter().filter(|line| line.starts_with("go-module")).collect();
    assert_eq!(go, ["go-module github.com/caddyserver/caddy/v2/cmd/caddy v2.6.2", "go-module stdlib go1.19.8"]);
    assert_eq!(package(&inspection, "stdlib")["purl"], "pkg:golang/stdlib@1.19.8");
}
