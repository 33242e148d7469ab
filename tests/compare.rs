//! `austere compare`, reports of vulnerability scanners, and lists of packages for other tools.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/image.rs"]
mod image;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use common::{json, said};
use image::{Image, Layer};
use serde_json::{Value, json as object};

/// An image with two packages of Alpine, one of them with a known flaw.
fn alpine(folder: &Path) -> PathBuf {
    let database =
        "P:libcrypto3\nV:3.1.4-r5\nA:x86_64\nL:Apache-2.0\no:openssl\n\nP:musl\nV:1.2.4-r2\nA:x86_64\nL:MIT\n\n";
    let layer = Layer::new().file("etc/os-release", 0o644, "ID=alpine\nVERSION_ID=3.18.6\n").file(
        "lib/apk/db/installed",
        0o644,
        database,
    );
    Image::of(layer).oci_archive(&folder.join("alpine.tar"))
}

/// As `trivy image -f json` writes it (`SchemaVersion` 2), shortened to the fields that every version has.
fn trivy() -> Value {
    let flaw = |id: &str, package: &str, version: &str, fixed: &str, severity: &str| {
        object!({
            "VulnerabilityID": id, "PkgID": format!("{package}@{version}"), "PkgName": package,
            "PkgIdentifier": { "PURL": format!("pkg:apk/alpine/{package}@{version}?arch=x86_64&distro=3.18.6"), "UID": "1" },
            "InstalledVersion": version, "FixedVersion": fixed, "Status": if fixed.is_empty() { "affected" } else { "fixed" },
            "Layer": { "DiffID": "sha256:0" }, "SeveritySource": "nvd", "PrimaryURL": format!("https://avd.aquasec.com/nvd/{id}"),
            "DataSource": { "ID": "alpine", "Name": "Alpine Secdb", "URL": "https://secdb.alpinelinux.org/" },
            "Title": "openssl: Unbounded memory growth", "Severity": severity, "PublishedDate": "2024-04-08T14:15:07.66Z"
        })
    };
    object!({
        "SchemaVersion": 2, "CreatedAt": "2024-04-20T10:00:00Z", "ArtifactName": "alpine.tar", "ArtifactType": "container_image",
        "Metadata": { "OS": { "Family": "alpine", "Name": "3.18.6" } },
        "Results": [
            { "Target": "alpine.tar (alpine 3.18.6)", "Class": "os-pkgs", "Type": "alpine", "Vulnerabilities": [
                flaw("CVE-2024-2511", "libcrypto3", "3.1.4-r5", "3.1.4-r6", "LOW"),
                flaw("CVE-2099-1", "musl", "1.2.4-r2", "", "HIGH"),
            ] },
            { "Target": "empty", "Class": "lang-pkgs", "Type": "gobinary" }
        ]
    })
}

/// As `grype -o json` writes it.
fn grype() -> Value {
    object!({
        "matches": [{
            "vulnerability": {
                "id": "CVE-2024-2511", "dataSource": "https://www.cve.org/CVERecord?id=CVE-2024-2511", "namespace": "alpine:distro:alpine:3.18",
                "severity": "Unknown", "urls": [], "cvss": [], "fix": { "versions": ["3.1.4-r6"], "state": "fixed" }, "advisories": []
            },
            "relatedVulnerabilities": [{ "id": "CVE-2024-2511", "namespace": "nvd:cpe", "severity": "Medium" }],
            "matchDetails": [{ "type": "exact-indirect-match", "matcher": "apk-matcher" }],
            "artifact": {
                "id": "1", "name": "libcrypto3", "version": "3.1.4-r5", "type": "apk", "locations": [{ "path": "/lib/apk/db/installed" }],
                "language": "", "licenses": ["Apache-2.0"], "cpes": [], "purl": "pkg:apk/alpine/libcrypto3@3.1.4-r5?arch=x86_64&upstream=openssl&distro=alpine-3.18.6",
                "upstreams": [{ "name": "openssl" }]
            }
        }],
        "source": { "type": "image", "target": {} }, "distro": { "name": "alpine", "version": "3.18.6", "idLike": [] },
        "descriptor": { "name": "grype", "version": "0.74.7", "db": { "built": "2024-04-19T01:24:00Z", "schemaVersion": 5 }, "timestamp": "2024-04-20T10:00:00Z" }
    })
}

/// As `osv-scanner --format json` writes it.
fn osv() -> Value {
    object!({ "results": [{
        "source": { "path": "/image.cdx.json", "type": "sbom" },
        "packages": [{
            "package": { "name": "openssl", "version": "3.1.4-r5", "ecosystem": "Alpine:v3.18" },
            "vulnerabilities": [{
                "schema_version": "1.6.0", "id": "ALPINE-CVE-2024-2511", "modified": "2024-04-18T08:00:00Z", "aliases": ["CVE-2024-2511"],
                "affected": [
                    { "package": { "ecosystem": "Alpine:v3.18", "name": "openssl" },
                      "ranges": [{ "type": "ECOSYSTEM", "events": [{ "introduced": "0" }, { "fixed": "3.1.4-r6" }] }] },
                    { "package": { "ecosystem": "Alpine:v3.19", "name": "other" },
                      "ranges": [{ "type": "ECOSYSTEM", "events": [{ "introduced": "0" }, { "fixed": "9" }] }] }
                ]
            }],
            "groups": [{ "ids": ["ALPINE-CVE-2024-2511"], "aliases": ["ALPINE-CVE-2024-2511", "CVE-2024-2511"], "max_severity": "5.9" }]
        }]
    }] })
}

struct Room {
    folder: tempfile::TempDir,
    image: PathBuf,
}

impl Room {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let image = alpine(folder.path());
        Room { folder, image }
    }

    fn file(&self, name: &str, content: &Value) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, content.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn austere(&self, arguments: &[&str]) -> Output {
        let mut austere = common::austere(&self.folder.path().join("store"));
        austere.args(arguments).output().unwrap()
    }

    fn inspect(&self, arguments: &[&str]) -> Output {
        self.austere(&[&["inspect", "--format", "json", self.image.to_str().unwrap()], arguments].concat())
    }
}

#[test]
fn reports_of_every_scanner_are_joined_with_the_packages() {
    let room = Room::new();
    let reports = [
        ("trivy", trivy(), "low", "2024-04-20T10:00:00Z"),
        ("grype 0.74.7", grype(), "unknown", "2024-04-19T01:24:00Z"),
        ("osv-scanner", osv(), "medium", "2024-04-18T08:00:00Z"),
    ];
    for (scanner, report, severity, date) in reports {
        let output = room.inspect(&["--vulns", &room.file("report.json", &report)]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let joined = &json(&output)["vulnerabilities"];
        assert_eq!((joined["scanner"].as_str(), joined["data_of"].as_str()), (Some(scanner), Some(date)));
        let all = joined["found"].as_array().unwrap();
        let own = all.iter().find(|one| one["id"].as_str().unwrap().ends_with("CVE-2024-2511")).unwrap();
        assert_eq!((own["severity"].as_str(), &own["fixed"]), (Some(severity), &object!(["3.1.4-r6"])), "{scanner}");
        assert_eq!(
            (own["location"].as_str(), own["layer"].as_u64()),
            (Some("/lib/apk/db/installed"), Some(1)),
            "{scanner}"
        );
        assert_eq!(
            (joined["counts"][severity].as_u64(), joined["unmatched"].as_u64()),
            (Some(1), Some(0)),
            "{scanner}"
        );
    }
}

#[test]
fn gates_fail_for_what_counts_and_for_nothing_else() {
    let room = Room::new();
    let report = room.file("trivy.json", &trivy());
    let code = |arguments: &[&str]| {
        let output = room.inspect(&[&["--vulns", &report], arguments].concat());
        output.status.code().unwrap()
    };
    assert_eq!(code(&["--fail-on", "high"]), 1);
    assert_eq!(code(&["--fail-on", "critical"]), 0);
    assert_eq!(code(&["--fail-on", "high", "--only-fixed"]), 0, "the one that is high has no fix");
    assert_eq!(code(&["--fail-on", "low", "--only-fixed"]), 1);
    let vex = |id: &str, product: Value| {
        let statement = object!({ "vulnerability": { "name": id }, "products": [product], "status": "not_affected", "justification": "vulnerable_code_not_present" });
        room.file("vex.json", &object!({ "@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://openvex.dev/docs/x", "author": "x", "timestamp": "2024-04-20T00:00:00Z", "version": 1, "statements": [statement] }))
    };
    let musl = object!({ "@id": "pkg:oci/alpine", "subcomponents": [{ "@id": "pkg:apk/alpine/musl@1.2.4-r2" }] });
    assert_eq!(code(&["--fail-on", "high", "--vex", &vex("CVE-2099-1", musl.clone())]), 0);
    assert_eq!(code(&["--fail-on", "high", "--vex", &vex("CVE-2099-2", musl)]), 1, "of another flaw");
    let other = object!({ "@id": "pkg:apk/alpine/zlib" });
    assert_eq!(code(&["--fail-on", "high", "--vex", &vex("CVE-2099-1", other)]), 1, "of another package");
    let all = object!({ "@id": "pkg:apk/alpine/musl" });
    assert_eq!(code(&["--fail-on", "high", "--vex", &vex("CVE-2099-1", all)]), 0);
}

#[test]
fn what_is_not_known_is_not_called_clean() {
    let room = Room::new();
    let text = |arguments: &[&str]| {
        let output = room.austere(&[&["inspect", room.image.to_str().unwrap()], arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let without = text(&[]);
    assert!(without.contains("not scanned") && !without.contains("none found"), "{without}");
    let empty = object!({ "SchemaVersion": 2, "CreatedAt": "2024-04-20T10:00:00Z", "Results": [] });
    assert!(
        text(&["--vulns", &room.file("e.json", &empty)]).contains("none found (trivy, data of 2024-04-20T10:00:00Z)")
    );
    // A report of another image says so.
    let mut foreign = trivy();
    foreign["Results"][0]["Vulnerabilities"][0]["PkgName"] = "else".into();
    foreign["Results"][0]["Vulnerabilities"][0]["PkgIdentifier"]["PURL"] = "pkg:apk/alpine/else@1".into();
    assert!(
        text(&["--vulns", &room.file("f.json", &foreign)]).contains("1 of packages that were not found in the image")
    );
}

#[test]
fn other_documents_are_refused() {
    let room = Room::new();
    let vex = object!({ "@context": "https://openvex.dev/ns/v0.2.0", "statements": [] });
    for (content, says) in [(object!({}), "neither"), (object!([1]), "neither"), (vex, "--vex")] {
        let output = room.inspect(&["--vulns", &room.file("x.json", &content)]);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(String::from_utf8_lossy(&output.stderr).contains(says), "{}", said(&output));
    }
    let broken = room.folder.path().join("broken");
    fs::write(&broken, "{\"matches\": [").unwrap();
    assert_eq!(room.inspect(&["--vulns", broken.to_str().unwrap()]).status.code(), Some(2));
    assert_eq!(
        room.inspect(&["--fail-on", "high"]).status.code(),
        Some(2),
        "without a source there is nothing to fail on"
    );
}

#[test]
fn an_installed_scanner_is_given_our_list() {
    let room = Room::new();
    // In the place of the real one, which needs its database: it answers only for a list that names the package.
    let report = room.file("grype.json", &grype());
    let script = format!(
        "#!/bin/sh\nfile=${{1#sbom:}}\ngrep -q '\"pkg:apk/alpine/libcrypto3@3.1.4-r5?' \"$file\" && exec cat {report}\nexit 1\n"
    );
    let program = room.folder.path().join("grype");
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let ask = |path: &str| {
        let mut austere = common::austere(&room.folder.path().join("store"));
        let arguments = ["inspect", "--format", "json", "--vulns", "grype"];
        austere.args(arguments).arg(&room.image).env("PATH", path).output().unwrap()
    };
    let output = ask(&format!("{}:/usr/bin:/bin", room.folder.path().display()));
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(json(&output)["vulnerabilities"]["found"].as_array().unwrap().len(), 1);
    let absent = ask("/nowhere");
    assert_eq!(absent.status.code(), Some(2), "{}", said(&absent));
    assert!(String::from_utf8_lossy(&absent.stderr).contains("hint: install it"), "{}", said(&absent));
}

#[test]
fn lists_of_packages_follow_the_published_schemas() {
    let schema = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let licences = schema(include_str!("schemas/spdx.schema.json"));
    let signatures = schema(include_str!("schemas/jsf-0.82.schema.json"));
    let registry = jsonschema::Registry::new()
        .add("http://cyclonedx.org/schema/spdx.schema.json", licences)
        .unwrap()
        .add("http://cyclonedx.org/schema/jsf-0.82.schema.json", signatures)
        .unwrap()
        .prepare()
        .unwrap();
    let forms = [
        ("cyclonedx", schema(include_str!("schemas/bom-1.5.schema.json"))),
        ("spdx", schema(include_str!("schemas/spdx-2.3.schema.json"))),
    ];
    let room = Room::new();
    let mut images = vec![room.image.clone()];
    images.extend(["caddy", "sudo-app"].iter().filter_map(|name| common::archive(name)));
    for (form, schema) in forms {
        let validator = jsonschema::options().with_registry(&registry).build(&schema).unwrap();
        for image in &images {
            let output = room.austere(&["inspect", "--sbom", form, image.to_str().unwrap()]);
            assert_eq!(output.status.code(), Some(0), "{}", said(&output));
            let document = json(&output);
            let wrong: Vec<String> = validator.iter_errors(&document).map(|error| error.to_string()).collect();
            assert_eq!(wrong, Vec::<String>::new(), "{form} {}", image.display());
            let list = document["components"].as_array().or(document["packages"].as_array()).unwrap();
            assert!(list.len() > 2, "{form}");
            // The twin: the schema does refuse.
            let mut bent = document.clone();
            bent[if form == "spdx" { "spdxVersion" } else { "specVersion" }] = 7.into();
            assert!(!validator.is_valid(&bent), "{form}");
        }
    }
}

#[test]
fn one_program_on_four_bases_side_by_side() {
    let names = ["esbuild-apkbusybox", "esbuild-distroless", "esbuild-apkstatic", "esbuild-scratch"];
    let archives: Vec<String> =
        names.iter().filter_map(|name| Some(common::archive(name)?.to_str()?.to_owned())).collect();
    if archives.len() < names.len() {
        return;
    }
    let room = Room::new();
    let images: Vec<&str> = archives.iter().map(String::as_str).collect();
    let output = room.austere(&[&["compare", "--format", "json"], &images[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let comparison = json(&output);
    assert_eq!(comparison["schema"], "austere.compare/1");
    let all = |key: &str| -> Vec<Value> {
        comparison["images"].as_array().unwrap().iter().map(|image| image[key].clone()).collect()
    };
    assert_eq!(all("packages"), [3, 5, 3, 0].map(Value::from));
    assert_eq!(all("layers"), [2, 2, 2, 1].map(Value::from));
    assert_eq!(all("verdict"), ["pass"; 4].map(Value::from));
    assert_eq!(all("vulnerabilities"), [const { Value::Null }; 4]);
    assert!(all("ready_ms").iter().all(Value::is_f64));
    let shells: Vec<usize> = all("shells").iter().map(|list| list.as_array().unwrap().len()).collect();
    assert_eq!(shells, [3, 0, 0, 0]);
    let levels: Vec<Value> = all("levels").iter().map(|levels| levels["L0"].clone()).collect();
    assert_eq!(levels, ["failed", "reached", "reached", "reached"].map(Value::from));
    let row = comparison["rows"].as_array().unwrap().iter().find(|row| row["name"] == "stored").unwrap();
    assert_eq!(row["best"], object!([3]), "scratch is the smallest");

    let require = |image: &str, level: &str| {
        room.austere(&["compare", "--require", level, "--format", "json", image]).status.code()
    };
    assert_eq!((require(images[0], "L0"), require(images[3], "L0,l1")), (Some(1), Some(0)));

    // Gates, and a table for a page, without running anything.
    let look = |arguments: &[&str]| room.austere(&[&["compare", "--no-run", images[0], images[3]], arguments].concat());
    assert_eq!(look(&["--max-size", "12m"]).status.code(), Some(1), "13.4 MiB of files");
    assert_eq!(look(&["--max-size", "14m"]).status.code(), Some(0));
    let page = String::from_utf8(look(&["--format", "markdown"]).stdout).unwrap();
    assert!(page.starts_with("| | esbuild-apkbusybox | esbuild-scratch |\n|---|---|---|\n"), "{page}");
    assert!(
        page.contains("| shells | 3 | **0** |") && page.contains("| known flaws | not scanned | not scanned |"),
        "{page}"
    );
    assert!(!page.contains("hardened"), "nothing was run");
}

#[test]
fn a_comparison_takes_a_report_for_each_image() {
    let room = Room::new();
    let (image, report) = (room.image.to_str().unwrap(), room.file("t.json", &trivy()));
    let empty = room.file("e.json", &object!({ "SchemaVersion": 2, "Results": [] }));
    let compare = |arguments: &[&str]| {
        room.austere(&[&["compare", "--no-run", "--format", "json", image, image], arguments].concat())
    };
    let output = compare(&["--vulns", &report, "--vulns", &empty, "--fail-on", "high"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let comparison = json(&output);
    assert_eq!(comparison["images"][0]["vulnerabilities"], object!({ "high": 1, "low": 1 }));
    assert_eq!(comparison["images"][1]["vulnerabilities"], object!({}));
    assert_eq!(comparison["failed"].as_array().unwrap().len(), 1);
    assert_eq!(compare(&["--vulns", &report]).status.code(), Some(2), "one report for two images");
    let missing = room.austere(&["compare", "--no-run", image, "oci-archive:/no/such.tar"]);
    assert_eq!(missing.status.code(), Some(2), "{}", said(&missing));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/no/such.tar"), "{}", said(&missing));
}
