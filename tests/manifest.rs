//! Manifests as people write them: what they come to, and what is wrong with some.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::{json, said};
use serde_json::Value;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests").join(name)
}

/// The merged settings that austere shows, and what the file beside says.
fn compare(name: &str, flag: &str, count: usize) {
    let store = tempfile::tempdir().unwrap();
    let mut files: Vec<PathBuf> = fs::read_dir(folder(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "yaml"));
    files.sort();
    assert_eq!(files.len(), count);
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let args = text.lines().next().and_then(|line| line.strip_prefix("# args: ")).unwrap_or_default();
        let mut command = common::austere(store.path());
        command.env("GIVEN", "given").env("DB_PASSWORD", "pass");
        command.args(["verify", flag]).arg(&file).arg("--show-settings").args(args.split_whitespace());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}: {}", file.display(), said(&output));
        let expected: Value = serde_json::from_slice(&fs::read(file.with_extension("json")).unwrap()).unwrap();
        let seen = json(&output);
        for key in seen.as_object().unwrap().keys().chain(expected.as_object().unwrap().keys()) {
            if seen[key] != expected[key] {
                wrong.push(format!("{}: {key}: {} and not {}", file.display(), seen[key], expected[key]));
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn twenty_kubernetes_manifests_are_read_right() {
    compare("kubernetes", "--pod", 20);
}

#[test]
fn ten_compose_files_are_read_right() {
    compare("compose", "--compose", 10);
}

/// What austere says of a manifest that comes by standard input.
fn refused(flags: &[&str], text: &str) -> String {
    let store = tempfile::tempdir().unwrap();
    let mut command = common::austere(store.path());
    command.args(["verify", "example:hello", "--show-settings"]).args(flags);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}\n{}", said(&output));
    String::from_utf8(output.stderr).unwrap()
}

const POD: &str = "kind: Pod\nmetadata: {name: x}\nspec:\n  containers:\n    - name: app\n";

#[test]
fn what_is_wrong_in_a_pod_is_said_in_a_line_with_its_place() {
    let pod = |rest: &str| format!("{POD}{rest}");
    let cases = [
        ("kind: Pod\nspec: [1\nb: }".to_owned(), "line 3, column "),
        ("kind: Pod\nkind: Pod\n".to_owned(), "line 2, column 1: "),
        ("- a\n- b\n".to_owned(), "line 1, column 1: the document: a list where a mapping is wanted"),
        ("a: b\n".to_owned(), "line 1, column 1: kind: it has to be there"),
        (
            "kind: Deployment\nmetadata: {name: x}\nspec: {}\n".to_owned(),
            "line 1, column 1: spec.template.spec: it has",
        ),
        ("kind: Pod\nspec:\n  containers: []\n".to_owned(), "line 3, column 3: spec.containers: there has to be one"),
        ("kind: Service\nmetadata: {name: x}\n".to_owned(), "nothing in it has a container"),
        (String::new(), "nothing in it has a container"),
        (pod("      env: [{name: A, value: \"\\0\"}]\n"), "spec.containers[0].env[0].value: there is a NUL in it"),
        (
            "kind: Pod\nmetadata: {name: \"a b\"}\nspec: {containers: [{name: x}]}\n".to_owned(),
            "line 3, column 7: spec.hostname: `a b` is not a host name",
        ),
        (
            pod("      env: [{name: A, value: 8080}]\n"),
            "line 6, column 30: spec.containers[0].env[0].value: a number where text is wanted: put it in quotes",
        ),
        (
            pod("      env: [{name: A, value: yes}]\n"),
            "line 6, column 30: spec.containers[0].env[0].value: true or false where text",
        ),
        (pod("      ports: [{containerPort: 0}]\n"), "line 6, column 15: spec.containers[0].ports[0]: containerPort"),
        (
            pod("      readinessProbe: {httpGet: {port: web}}\n"),
            "column 40: spec.containers[0].readinessProbe.httpGet.port: the container has no port named `web`",
        ),
        (
            pod("      readinessProbe: {periodSeconds: 3}\n"),
            "line 6, column 23: spec.containers[0].readinessProbe: one of httpGet",
        ),
        (
            pod("      volumeMounts: [{name: nope, mountPath: /x}]\n"),
            "line 6, column 22: spec.containers[0].volumeMounts[0]: the pod has no volume `nope`",
        ),
        (
            pod("      volumeMounts: [{name: nope, mountPath: ../x}]\n"),
            "volumeMounts[0].mountPath: `../x` is not an absolute path",
        ),
        (
            pod("      resources: {limits: {memory: 64MB}}\n"),
            "line 6, column 36: spec.containers[0].resources.limits.memory: `64MB` is not an amount",
        ),
        (
            pod("      securityContext: {privileged: true}\n"),
            "line 6, column 37: spec.containers[0].securityContext.privileged: austere does not run privileged",
        ),
        (
            pod("      securityContext: {runAsUser: -1}\n"),
            "line 6, column 36: spec.containers[0].securityContext.runAsUser: -1 is out of range",
        ),
        (pod("      securityContext: {runAsUser: root}\n"), "runAsUser: text where a number is wanted"),
        (
            pod("      securityContext: {capabilities: {add: [ROOT]}}\n"),
            "capabilities.add[0]: `ROOT` is not a capability",
        ),
        (pod("      securityContext: {seccompProfile: {type: Localhost}}\n"), "needs localhostProfile"),
        (
            pod("      workingDir: app\n"),
            "line 6, column 19: spec.containers[0].workingDir: `app` is not an absolute path",
        ),
        (pod("    - name: other\n"), "it has several containers: x/app, x/other"),
        (
            "kind: Secret\nmetadata: {name: x}\ndata: {a: '?'}\n".to_owned(),
            "line 3, column 11: data.a: it is not base64",
        ),
    ];
    let mut wrong = Vec::new();
    for (text, words) in cases {
        let error = refused(&["--pod", "-"], &text);
        let is_short =
            error.lines().all(|line| line.starts_with("austere: the manifest -: ") || line.starts_with("  hint"));
        if !is_short || !error.contains(words) {
            wrong.push(format!("{text}{error}not {words}\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let error = refused(&["--pod", "-", "--container", "none"], &pod(""));
    assert!(error.contains("it has no container `none`; there are x/app"), "{error}");
}

#[test]
fn what_is_wrong_in_a_compose_file_is_said_in_a_line_with_its_place() {
    let service = |rest: &str| format!("services:\n  app:\n    image: x\n{rest}");
    let cases = [
        ("services:\n  app: [\n".to_owned(), "line "),
        ("a: b\n".to_owned(), "line 1, column 1: services: it has to be there"),
        ("services: {}\n".to_owned(), "it has no services"),
        ("services: {a: {image: x}, b: {image: y}}\n".to_owned(), "it has several services: a, b"),
        (
            "services: {a: {image: x}}\n---\nb: c\n".to_owned(),
            "line 3, column 1: the file: a compose file is one document",
        ),
        (service("    command: \"a 'b\"\n"), "line 4, column 14: services.app.command: a quote in it is not closed"),
        (
            service("    image2: ${1}\n"),
            "line 4, column 13: services.app.image2: `${1}` has a `$` that names no variable",
        ),
        (service("    hostname: ${NAME_NOT_SET:?say it}\n"), "the variable NAME_NOT_SET has to be set: say it"),
        (service("    ports: [web]\n"), "line 4, column 13: services.app.ports[0]: `web` has no port"),
        (service("    volumes: [\"./x:y\"]\n"), "services.app.volumes[0]: `y` is not an absolute path"),
        (
            service("    tmpfs: [\"/run:what\"]\n"),
            "line 4, column 13: services.app.tmpfs: `what` is not a tmpfs option",
        ),
        (service("    read_only: maybe\n"), "services.app.read_only: text where true or false is wanted"),
        (
            service("    privileged: true\n"),
            "line 4, column 17: services.app.privileged: austere does not run privileged",
        ),
        (service("    mem_limit: much\n"), "services.app.mem_limit: `much` is not a size"),
        (service("    secrets: [none]\n"), "services.app.secrets[0]: the file has no secret `none`"),
        (service("    extra_hosts: [\"db:here\"]\n"), "services.app.extra_hosts: `here` is no address"),
    ];
    let mut wrong = Vec::new();
    for (text, words) in cases {
        let error = refused(&["--compose", "-"], &text);
        if !error.contains(words) {
            wrong.push(format!("{text}{error}not {words}\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
