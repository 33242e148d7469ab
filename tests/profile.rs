//! `--profile FILE`: each key beside the same command without it, flags over the file, what is refused, and what it adds up to.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]

#[path = "common/callers.rs"]
mod callers;
mod common;
#[path = "common/image.rs"]
mod image;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use callers::{Caller, busybox, callers, stderr, stdout};
use common::{json, said};
use image::Image;
use serde_json::{Value, json};

/// A profile, a shell script, and what it prints with the profile and without it.
type Case<'a> = (&'a str, &'a str, &'a str, &'a str);

const WRITE: &str = "echo x 2>/dev/null >/open/f && echo wrote || echo no";

/// What holds for every caller.
const CASES: [Case; 27] = [
    ("tmpfs: [/run]", "ls -d /run || echo none", "/run\n", "none\n"),
    (
        "tmpfs: [{path: /open, size: 64k, mode: '0700'}]",
        "cat /open/kept 2>/dev/null || echo hidden",
        "hidden\n",
        "kept\n",
    ),
    ("tmpfs:\n  - path: /run\n    exec: true", "grep ' /run ' /proc/self/mountinfo | grep -c noexec", "0\n", "0\n"),
    ("volumes: [/open]", WRITE, "wrote\n", "no\n"),
    ("volumes: ['./beside:/seen:ro']", "cat /seen/f || echo none", "from the host\n", "none\n"),
    (
        "volumes: [{source: beside, target: /seen, read_only: true}]",
        "cat /seen/f || echo none",
        "from the host\n",
        "none\n",
    ),
    ("volumes: [{target: /open}]", WRITE, "wrote\n", "no\n"),
    ("read_only: false", WRITE, "wrote\n", "no\n"),
    ("workdir: /www", "pwd", "/www\n", "/\n"),
    ("hostname: web", "cat /etc/hostname", "web\n", "austere\n"),
    ("add_host: {db: 10.1.2.3}", "grep db /etc/hosts || echo none", "10.1.2.3\tdb\n", "none\n"),
    ("env: {A: x y, B: 1}", "echo $A $B", "x y 1\n", "\n"),
    ("env: [A=x]", "echo $A", "x\n", "\n"),
    ("env_file: [variables]", "echo $FROM_FILE", "a b\n", "\n"),
    ("shm_size: 1m", "grep -c 'dev/shm.*size=1024k' /proc/self/mountinfo", "1\n", "0\n"),
    ("ulimits: {nofile: {soft: 64, hard: 128}}", "ulimit -n; ulimit -Hn", "64\n128\n", ""),
    ("ulimits: {nofile: 99}", "ulimit -Hn", "99\n", ""),
    ("sysctls: {net.ipv4.ip_default_ttl: 33}", "cat /proc/sys/net/ipv4/ip_default_ttl", "33\n", "64\n"),
    ("init: true", "echo $$ | grep -c '^1$'", "0\n", "1\n"),
    ("systempaths: unconfined", "grep -c ' /proc/sys ' /proc/self/mountinfo", "0\n", "1\n"),
    ("masked_paths: [/www]", "ls /www", "", "index.html\n"),
    ("readonly_paths: [/proc/tty]", "grep -c ' /proc/tty ro' /proc/self/mountinfo", "1\n", "0\n"),
    ("seccomp: unconfined", "grep Seccomp: /proc/self/status", "Seccomp:\t0\n", "Seccomp:\t2\n"),
    ("seccomp: filter.json", "mkdir /tmp/x 2>&1 | grep -c 'not implemented'", "1\n", "0\n"),
    ("seal: true", "cat /open/kept 2>/dev/null || echo refused", "refused\n", "kept\n"),
    ("seal: true\nallow_exec: [/bin/cat]", "cat /open/kept 2>/dev/null || echo refused", "kept\n", "kept\n"),
    ("extends: podman", "echo $container", "podman\n", "\n"),
];

/// Root's, whose ids and limits are real.
const FOR_ROOT: [Case; 4] = [
    ("user: 7:9", "id -u; id -g", "7\n9\n", "65532\n0\n"),
    ("group_add: [7, 9]", "grep Groups /proc/self/status", "Groups:\t0 7 9 \n", "Groups:\t0 \n"),
    ("cap_add: [chown]", "grep CapBnd /proc/self/status", "CapBnd:\t0000000000000001\n", "CapBnd:\t0000000000000000\n"),
    ("no_new_privileges: false", "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t0\n", "NoNewPrivs:\t1\n"),
];

fn put(caller: &Caller) -> Option<String> {
    let layer = busybox()?.dir("open", 0o1777).file("open/kept", 0o644, "kept\n");
    let folder = caller.dir().join("profiles");
    fs::create_dir_all(folder.join("beside")).unwrap();
    let filter = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]}"#;
    for (name, text) in
        [("beside/f", "from the host\n"), ("variables", "FROM_FILE=a b\nA=file\n"), ("filter.json", filter)]
    {
        fs::write(folder.join(name), text).unwrap();
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
    for name in ["", "beside"] {
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    Some(caller.put("image", &Image::of(layer).config(json!({ "Entrypoint": ["/bin/sh", "-c"] }))))
}

/// Writes a profile, and gives its path.
fn profile(caller: &Caller, text: &str) -> String {
    let folder = caller.dir().join("profiles");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("profile.yaml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn run(caller: &Caller, image: &str, flags: &[&str], script: &str) -> Output {
    caller.run(&[&[image], flags, &["--", script]].concat())
}

fn dry(caller: &Caller, flags: &[&str]) -> Value {
    let output = caller.verify(&[flags, &["--dry-run", "--format", "json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{flags:?}: {}", said(&output));
    json(&output)
}

/// What a dry run says of a key.
fn values(effective: &Value, key: &str) -> Value {
    let settings = effective["settings"].as_array().unwrap();
    settings.iter().find(|setting| setting["key"] == key).unwrap_or_else(|| panic!("no {key}"))["values"].clone()
}

#[test]
fn every_key_changes_what_it_says() {
    for caller in callers() {
        let Some(image) = put(&caller) else { return };
        let more = if caller.is_root() { &FOR_ROOT[..] } else { &[] };
        for (text, script, with, without) in CASES.iter().chain(more) {
            let path = profile(&caller, text);
            let output = run(&caller, &image, &["--profile", &path], script);
            assert_eq!(stdout(&output), *with, "{}: {text}: {}", caller.mode(), said(&output));
            let output = run(&caller, &image, &[], script);
            let same = without.is_empty() || stdout(&output) == *without;
            assert!(same, "{}: without {text}: {}", caller.mode(), said(&output));
            // It is also what a dry run says, and no other key is the file's.
            let effective = dry(&caller, &["--profile", &path]);
            for setting in effective["settings"].as_array().unwrap() {
                let key = setting["key"].as_str().unwrap();
                let from_file = setting["values"].as_array().unwrap().iter().any(|said| said["from"] == "file");
                // A file of variables brings variables.
                let is_there = text.lines().any(|line| line.starts_with(&format!("{key}:")));
                assert!(from_file == is_there || key == "env", "{text}: {setting:#}");
            }
        }
    }
}

#[test]
fn what_a_profile_gives_back_stands_in_the_verdict() {
    for caller in callers() {
        let path = profile(
            &caller,
            "extends: sealed\ntmpfs: [/run]\nlandlock: false\nmemfd_noexec: false\nenv: {SECRET: x}\n",
        );
        let (verdict, _) = caller.judge(&["example:hello", "--profile", &path]);
        assert_eq!(verdict["preset"]["name"], "sealed", "{verdict:#}");
        let relaxations = verdict["relaxations"].to_string();
        for word in ["--tmpfs /run", "landlock: false", "memfd_noexec: false", "-e SECRET"] {
            assert!(relaxations.contains(word), "{word}: {relaxations}");
        }
        assert!(!relaxations.contains("SECRET=x"), "{relaxations}");
        let names = |verdict: &Value| {
            verdict["measures"].as_array().unwrap().iter().map(|one| one["name"].to_string()).collect::<String>()
        };
        assert!(!names(&verdict).contains("landlock") && names(&verdict).contains("no-exec-gain"), "{verdict:#}");
        // The twin: the preset alone.
        let (verdict, code) = caller.judge(&["example:hello", "--preset", "sealed"]);
        assert_eq!((code, &verdict["relaxations"]), (0, &json!([])), "{verdict:#}");
        assert!(names(&verdict).contains("landlock"), "{verdict:#}");
        // A profile that is stricter than its preset gives nothing back.
        let path = profile(&caller, "seal: true\nmemory_deny_write_execute: true\n");
        let (verdict, code) = caller.judge(&["example:hello", "--profile", &path]);
        assert_eq!((code, &verdict["relaxations"]), (0, &json!([])), "{verdict:#}");
        assert!(names(&verdict).contains("no-exec-gain") && names(&verdict).contains("seal"), "{verdict:#}");
    }
}

#[test]
fn a_level_that_a_profile_requires_is_a_gate() {
    for caller in callers() {
        let Some(image) = put(&caller) else { return };
        for (text, code) in [("require: [L0]", 1), ("require: [L3]", 0)] {
            let path = profile(&caller, text);
            let output = caller.verify(&[&image, "--profile", &path, "--exit", "0", "--", "true"]);
            assert_eq!(output.status.code(), Some(code), "{text}: {}", said(&output));
        }
    }
}

#[test]
fn a_flag_wins_over_the_file() {
    for caller in callers() {
        let Some(image) = put(&caller) else { return };
        let text = "hostname: file\nread_only: false\ninit: true\nenv: {A: profile}\nnetwork: none\nulimits: {nofile: 64}\n\
                    volumes: [/open]\nsysctls: {net.ipv4.ip_default_ttl: 33}\nseccomp: unconfined\n";
        let path = profile(&caller, text);
        let variables = caller.dir().join("profiles/variables");
        let flags = ["--profile", &path, "--hostname", "flag", "--read-only", "--init=false", "--ulimit", "nofile=65"];
        let more =
            ["--tmpfs", "/open", "--sysctl", "net.ipv4.ip_default_ttl=34", "--env-file", variables.to_str().unwrap()];
        let script = "cat /etc/hostname; echo $$; echo $A; ulimit -n; cat /open/kept 2>/dev/null || echo hidden; \
                      cat /proc/sys/net/ipv4/ip_default_ttl; echo x 2>/dev/null >/www/x || echo read-only";
        let output = run(&caller, &image, &[&flags[..], &more].concat(), script);
        assert_eq!(
            stdout(&output),
            "flag\n1\nfile\n65\nhidden\n34\nread-only\n",
            "{}: {}",
            caller.mode(),
            said(&output)
        );
        // The twin: the file alone.
        let output = run(&caller, &image, &["--profile", &path], &script.replace("echo $$", "echo $(($$ > 1))"));
        assert!(
            stdout(&output).starts_with("file\n1\nprofile\n64\nkept\n33\n"),
            "{}: {}",
            caller.mode(),
            said(&output)
        );
        let effective = dry(&caller, &[&flags[..], &more].concat());
        for key in ["hostname", "read_only", "init", "env", "ulimits", "tmpfs", "sysctls"] {
            assert!(values(&effective, key).to_string().contains("\"flag\""), "{key}: {}", values(&effective, key));
        }
        assert_eq!(values(&effective, "volumes"), json!([]));
        assert_eq!(values(&effective, "seccomp"), json!([{ "value": "unconfined", "from": "file", "line": 9 }]));
        let relaxations = effective["relaxations"].to_string();
        assert!(relaxations.contains("--hostname flag") && !relaxations.contains("read-only"), "{relaxations}");
    }
}

#[test]
fn the_adversary_and_the_search_take_a_profile_too() {
    for caller in callers() {
        let path = profile(&caller, "extends: sealed\ntmpfs: [/run]\n");
        let attack = |flags: &[&str]| {
            let output = caller.austere().args(["attack", "--format", "json"]).args(flags).output().unwrap();
            json(&output)
        };
        let report = attack(&["--profile", &path]);
        assert!(report["preset"] == "sealed 1" && report["relaxations"].to_string().contains("/run"), "{report:#}");
        assert_eq!(attack(&[])["preset"], "docker 26.1");
        let fit = |flags: &[&str]| {
            let output =
                caller.austere().args(["fit", "example:hello", "--format", "json"]).args(flags).output().unwrap();
            json(&output)
        };
        let verdict = fit(&["--profile", &path]);
        assert_eq!(verdict["preset"]["name"], "sealed", "{verdict:#}");
        let output = caller.austere().args(["fit", "--profile", &path, "--dry-run"]).output().unwrap();
        assert!(output.status.success() && stdout(&output).contains("preset sealed 1"), "{}", said(&output));
    }
}

#[test]
fn what_is_not_understood_is_refused_with_its_place() {
    let caller = &callers()[0];
    for (text, place, word) in [
        ("", "line 1", "nothing in it"),
        ("hostname: a\nnetwrok: host\n", "line 2, column 10", "netwrok: it is no key of a profile; there are add_host"),
        ("tmpfs: [{path: /run, sise: 1m}]", "line 1", "no key of a tmpfs"),
        ("tmpfs: [{path: /run, mode: 0700}]", "line 1", "put it in quotes"),
        ("tmpfs: [run]", "line 1", "absolute path"),
        ("tmpfs: /run", "line 1", "a list is wanted"),
        ("read_only: yes", "line 1", "true or false is wanted"),
        ("read_only:", "line 1", "there is nothing here"),
        ("extends: docker@1", "line 1", "there is no preset"),
        ("extends: ./other.yaml", "line 1", "there is no preset"),
        ("user: '+0'", "line 1", "is not USER[:GROUP]"),
        ("hostname: a\nhostname: b\n", "line 2", "hostname"),
        ("network: bridge", "line 1", "none (closed) or host"),
        ("cap_add: [ROOT]", "line 1", "is not a capability"),
        ("env: {A B: 1\n", "line", ""),
        ("volumes: ['data:']", "line 1", "[SOURCE:]PATH"),
        ("volumes: [{source: x}]", "line 1", "target"),
        ("sysctls: {kernel.core_pattern: x}", "line 1", "container's own"),
        ("ulimits: {nofile: {soft: 2, hard: 1}}", "line 1", "SOFT not above HARD"),
        ("memory: 1", "line 1", "6m at least"),
        ("cpus: many", "line 1", "number of processors"),
        ("expose: [0]", "line 1", "is not a port"),
        ("require: [L9]", "line 1", "none of L0"),
        ("allow_exec: [cat]", "line 1", "absolute path"),
        ("systempaths: some", "line 1", "neither default nor unconfined"),
        ("hostname: a\n---\nhostname: b\n", "line 3", "one document"),
        ("- hostname: a\n", "line 1", "a mapping is wanted"),
        ("allow_exec: [/bin/cat]", "", "without --seal"),
        ("seal: true\ninit: true", "", "second exec"),
        ("memfd_noexec: true", "", "extends: sealed"),
        ("seccomp: none.json", "", "none.json"),
        ("network: host\nsysctls: {net.core.somaxconn: 1}", "", "host's own network"),
    ] {
        let path = profile(caller, text);
        for flags in [&["--dry-run"][..], &["example:hello"]] {
            let output = caller.verify(&[flags, &["--profile", &path]].concat());
            let message = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{text}: {}", said(&output));
            assert!(message.contains(place) && message.contains(word), "{text}: {message}");
        }
        let output = caller.run(&["example:hello", "--profile", &path]);
        assert_eq!(output.status.code(), Some(125), "{text}: {}", said(&output));
    }
    let output = caller.verify(&["example:hello", "--profile", "/no/such.yaml"]);
    assert!(output.status.code() == Some(2) && stderr(&output).contains("/no/such.yaml"), "{}", said(&output));
    let path = profile(caller, "hostname: a");
    let output = caller.verify(&["--pod", &path, "--profile", &path]);
    assert!(output.status.code() == Some(2) && stderr(&output).contains("cannot be used with"), "{}", said(&output));
}

#[test]
fn a_dry_run_says_all_that_the_documentation_does() {
    let caller = &callers()[0];
    let effective = dry(caller, &["--preset", "sealed", "--tmpfs", "/run"]);
    let schema = serde_json::from_str(include_str!("../docs/profile.schema.json")).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    assert!(schema.is_valid(&effective), "{effective:#}");
    let mut wrong = effective.clone();
    wrong["settings"][0]["values"][0]["from"] = "nobody".into();
    assert!(!schema.is_valid(&wrong));
    // Every key is documented, and every documented key is one: the refusal of an unknown one lists them.
    let document = include_str!("../docs/profile.md");
    let mut documented: Vec<&str> =
        document.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let shown: Vec<&str> =
        effective["settings"].as_array().unwrap().iter().map(|setting| setting["key"].as_str().unwrap()).collect();
    assert_eq!(documented, shown);
    let output = caller.verify(&["--dry-run", "--profile", &profile(caller, "x: 1")]);
    let message = stderr(&output);
    let known: Vec<&str> = message.trim().split("there are ").nth(1).unwrap().split(", ").collect();
    documented.sort_unstable();
    assert_eq!(documented, known);
    let seal = json!([{ "value": true, "from": "preset" }]);
    assert_eq!((values(&effective, "seal"), &effective["schema"]), (seal, &"austere.profile/1".into()));
    assert_eq!(values(&effective, "tmpfs")[0]["from"], "flag");
    // Without a file, an image or a reason to fail.
    let output = caller.verify(&["--dry-run"]);
    assert!(
        output.status.success() && stdout(&output).starts_with("profile   preset docker 26.1"),
        "{}",
        said(&output)
    );
}
