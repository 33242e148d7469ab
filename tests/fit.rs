//! The least that makes an image work: found, minimal, proven, and handed over.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]

#[path = "common/callers.rs"]
mod callers;
mod common;
#[path = "common/image.rs"]
mod image;

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use callers::{Caller, busybox, callers};
use common::said;
use image::Image;
use serde_json::{Value, json};

/// Does `work` on all of `jobs`, two at a time, and collects the complaints.
fn each<T: Sync>(jobs: &[T], work: impl Fn(&T) -> Vec<String> + Sync) {
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    wrong.lock().unwrap().extend(work(job));
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// What `fit` finds, with its exit code and what it said on the way.
fn fit(caller: &Caller, image: &str, flags: &[&str]) -> (Value, i32, String) {
    let output = caller.austere().args(["fit", image, "--format", "json"]).args(flags).output().unwrap();
    (common::json(&output), output.status.code().unwrap(), said(&output))
}

/// The relaxations as `verify` takes them; nothing for one that has no flag.
fn flags(relaxations: &[&Value], uid: u64) -> Option<Vec<String>> {
    let mut all = Vec::new();
    for relaxation in relaxations {
        let value = &relaxation["value"];
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        all.extend(match relaxation["kind"].as_str().unwrap() {
            "tmpfs" => {
                let mut options = Vec::new();
                options.extend((value["exec"] == true).then(|| "exec".to_owned()));
                options.extend((value["owned"] == true && uid != 0).then(|| format!("uid={uid}")));
                options.extend(value["size"].as_u64().map(|size| format!("size={size}")));
                vec!["--tmpfs".to_owned(), format!("{}:{}", value["path"].as_str().unwrap(), options.join(","))]
            }
            "volume" => vec!["-v".to_owned(), text],
            "env" => vec!["-e".to_owned(), text],
            "low-ports" => vec!["--sysctl".to_owned(), "net.ipv4.ip_unprivileged_port_start=0".to_owned()],
            "user" => vec!["--user".to_owned(), text],
            "group" => vec!["--group-add".to_owned(), text],
            "capability" => vec!["--cap-add".to_owned(), text],
            "root" => vec!["--user".to_owned(), "0".to_owned()],
            "writable-root" => vec!["--read-only=false".to_owned()],
            _ => return None,
        });
    }
    Some(all)
}

/// The set in a few words.
fn set(fit: &Value) -> Vec<String> {
    let short = |relaxation: &Value| {
        let (kind, value) = (relaxation["kind"].as_str().unwrap(), &relaxation["value"]);
        match kind {
            "tmpfs" => {
                let word = |name: &str| if value[name] == true { format!(" {name}") } else { String::new() };
                format!("tmpfs {}{}{}", value["path"].as_str().unwrap(), word("exec"), word("owned"))
            }
            _ if value.is_null() => kind.to_owned(),
            _ => format!("{kind} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
        }
    };
    fit["relaxations"].as_array().unwrap().iter().map(short).collect()
}

/// With the whole set the image passes; without any one of it, it fails.
fn is_minimal(caller: &Caller, image: &str, words: &[&str], script: &[&str], fit: &Value) -> Vec<String> {
    let all: Vec<&Value> = fit["relaxations"].as_array().unwrap().iter().collect();
    let mut wrong = Vec::new();
    for leave in std::iter::once(None).chain((0..all.len()).map(Some)) {
        let some: Vec<&Value> =
            all.iter().enumerate().filter(|(index, _)| Some(*index) != leave).map(|(_, given)| *given).collect();
        let uid = if some.iter().any(|given| given["kind"] == "root") { 0 } else { 65532 };
        let Some(flags) = flags(&some, uid) else { continue };
        let output = caller.austere().args(["verify", image]).args(words).args(&flags).args(script).output().unwrap();
        let expected = i32::from(leave.is_some());
        if output.status.code() != Some(expected) {
            wrong.push(format!("{image} with {flags:?} does not end with {expected}\n{}", said(&output)));
        }
    }
    wrong
}

/// What is expected of the images of the corpus that fail.
const CORPUS: [(&str, &[&str], &[&str]); 6] = [
    ("nginx", &["--http", "80/"], &["tmpfs /run owned", "tmpfs /var/lib/nginx owned"]),
    ("nginx-unprivileged", &["--http", "8080/"], &["tmpfs /tmp"]),
    ("etcd-tmp", &["--http", "2379/health"], &["tmpfs /tmp"]),
    ("caddy-setcap", &["--http", "80/"], &["capability NET_BIND_SERVICE"]),
    (
        "gosu-naive",
        &["--tcp", "6379"],
        &[
            "tmpfs /run owned",
            "tmpfs /var/lib/app owned",
            "capability CHOWN",
            "capability SETGID",
            "capability SETUID",
            "root",
        ],
    ),
    ("sudo-app", &["--http", "80/"], &["capability SETGID", "capability SETUID", "root"]),
];

#[test]
fn every_image_of_the_corpus_ends_in_a_set_of_which_nothing_can_be_left_out() {
    let failing = common::labels().into_iter().filter(|label| label["verdict_strict"] != "works").count();
    assert_eq!(failing, CORPUS.len());
    let schema = serde_json::from_str(include_str!("../docs/verdict.schema.json")).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let callers = callers();
    let Some(root) = callers.iter().find(|caller| caller.is_root()) else { return };
    each(&CORPUS, |(name, words, expected)| {
        let Some(archive) = common::archive(name) else { return Vec::new() };
        let image = archive.to_str().unwrap();
        let (verdict, code, said) = fit(root, image, words);
        let found = &verdict["fit"];
        if code != 0 || found["status"] != "reached" || found["proven"] != 3 || set(found) != *expected {
            return vec![format!("{name} ends with {code} in {:?}\n{said}", set(found))];
        }
        let mut wrong: Vec<String> =
            schema.iter_errors(&verdict).map(|error| format!("{name}: {error} at {}", error.instance_path())).collect();
        wrong.extend(is_minimal(root, image, words, &[], found));
        wrong
    });
}

/// An image of a script, and what it ends in.
struct Case {
    name: &'static str,
    script: &'static str,
    flags: &'static [&'static str],
    /// The set, or the start of the reason why there is none.
    expected: Result<&'static [&'static str], &'static str>,
}

const fn case(name: &'static str, script: &'static str, expected: &'static [&'static str]) -> Case {
    Case { name, script, flags: &[], expected: Ok(expected) }
}

const SERVE: &str = "exec httpd -f -p 8080 -h /www";

const CASES: &[Case] = &[
    case("nothing", "", &[]),
    case(
        "pid-file-and-cache",
        "mkdir /var/cache/app; echo 1 > /run/app.pid;",
        &["tmpfs /run owned", "tmpfs /var/cache owned"],
    ),
    case(
        "siblings",
        "mkdir -p /srv/app/a /srv/app/b; touch /srv/app/c/x 2>/dev/null || mkdir /srv/app/c;",
        &["tmpfs /srv/app owned"],
    ),
    case("kept-files", "grep -q seed /data/seed; echo new > /data/new; grep -q seed /data/seed;", &["volume /data"]),
    case(
        "carried-program",
        "cat /bin/busybox > /tmp/busybox; chmod 755 /tmp/busybox; /tmp/busybox true;",
        &["tmpfs /tmp exec"],
    ),
    case("group", "cat /etc/secret > /dev/null;", &["group 42"]),
    case(
        "owner-and-temporary-files",
        "touch /tmp/x; mkdir -p /run/app; chown 7:7 /run/app;",
        &["tmpfs /run owned", "tmpfs /tmp", "capability CHOWN", "root"],
    ),
    case(
        "no-user",
        "grep -q \":$(id -u):\" /etc/passwd || { echo 'getpwuid(): uid not found: 65532' >&2; exit 1; };",
        &["passwd-line"],
    ),
    Case {
        name: "low-port-owner-and-pid-file",
        script: "mkdir -p /run/app; chown 7:7 /run/app; echo 1 > /run/app.pid; httpd -p 80 -h /www;",
        flags: &["--preset", "kubernetes@containerd-1.7"],
        expected: Ok(&["tmpfs /run owned", "low-ports", "capability CHOWN", "root"]),
    },
    Case { name: "silent", script: "touch /tmp/x 2>/dev/null || exit 111;", flags: &[], expected: Ok(&["tmpfs /tmp"]) },
    Case {
        name: "new-privileges",
        script: "grep -q 'NoNewPrivs:.0' /proc/self/status || { echo no new privileges >&2; exit 1; };",
        flags: &[],
        expected: Err("nothing that can be given back makes it work"),
    },
    Case {
        name: "broken",
        script: "cat /no/such/file;",
        flags: &[],
        expected: Err("it fails without any hardening, too"),
    },
];

#[test]
fn causes_that_come_together_end_in_exactly_the_set() {
    let Some(layer) = busybox() else { return };
    let layer =
        ["run", "var", "var/cache", "srv", "srv/app"].into_iter().fold(layer, |layer, dir| layer.dir(dir, 0o755));
    let layer = layer
        .dir_of("data", 0o755, 65532, 65532)
        .file_of("data/seed", 0o644, 65532, 65532, "seed")
        .file("etc/passwd", 0o644, "root:x:0:0:root:/:/bin/sh\n")
        .file_of("etc/secret", 0o640, 0, 42, "x");
    let image =
        Image::of(layer).config(json!({ "Entrypoint": ["/bin/sh", "-ec"], "ExposedPorts": { "8080/tcp": {} } }));
    let callers = callers();
    let Some(root) = callers.iter().find(|caller| caller.is_root()) else { return };
    let image = root.put("cases", &image);
    each(CASES, |case| {
        let script = format!("{} {SERVE}", case.script);
        let words = [case.flags, &["--timeout", "10"]].concat();
        let run = [&words[..], &["--", &script]].concat();
        let (verdict, code, said) = fit(root, &image, &run);
        let found = &verdict["fit"];
        let (status, expected) = match case.expected {
            Ok(_) => ("reached", 0),
            Err(_) => ("failed", 1),
        };
        let is_right = match case.expected {
            Ok(expected) => set(found) == expected,
            Err(reason) => found["reason"].as_str().unwrap().starts_with(reason) && set(found).is_empty(),
        };
        if code != expected || found["status"] != status || !is_right {
            return vec![format!("{}: ends with {code} in {:?}\n{said}", case.name, set(found))];
        }
        // The steps were told as they happened, with their evidence.
        let mut wrong = Vec::new();
        if !said.contains("nothing given back: ") {
            wrong.push(format!("{}: no steps\n{said}", case.name));
        }
        if case.expected.is_ok() {
            wrong.extend(is_minimal(root, &image, &words, &["--", &script], found));
        }
        wrong
    });
}

#[test]
fn a_fit_is_handed_over_without_running_anything() {
    for caller in &callers() {
        let (verdict, code, said) = fit(caller, "example:stubborn", &[]);
        // A normal user's one id cannot show whether it works unhardened, but what helps is found all the same.
        assert_eq!(code, 0, "{said}");
        let file = caller.dir().join("verdict.json");
        fs::write(&file, verdict.to_string()).unwrap();
        let hand = |to: &str| {
            let output = caller
                .austere()
                .args(["fit", "--from", file.to_str().unwrap(), "--to", to, "--image", "r/x:1"])
                .output();
            let output = output.unwrap();
            assert_eq!(output.status.code(), Some(0), "{}", common::said(&output));
            String::from_utf8(output.stdout).unwrap()
        };
        for (to, has) in [("docker", "docker run "), ("podman", "podman run ")] {
            let text = hand(to);
            let line = text.lines().last().unwrap();
            assert!(line.starts_with(has) && line.ends_with(" r/x:1"), "{text}");
        }
        let compose: Value = serde_saphyr::from_str(&hand("compose")).unwrap();
        let schema = serde_json::from_str(include_str!("schemas/compose-spec.json")).unwrap();
        let errors: Vec<_> =
            jsonschema::validator_for(&schema).unwrap().iter_errors(&compose).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}\n{compose:#}");
        assert_eq!(compose["services"]["app"]["image"], "r/x:1");
        let deployment: Value = serde_saphyr::from_str(&hand("kubernetes")).unwrap();
        assert_eq!(deployment["kind"], "Deployment");
        let profile: Value = serde_json::from_str(&hand("seccomp")).unwrap();
        assert!(profile["syscalls"].as_array().unwrap().len() > 5);
        // The twin: a verdict without a fit, and a file that is no verdict.
        let output = caller.verify(&["example:hello", "--format", "json"]);
        fs::write(&file, &output.stdout).unwrap();
        let refused = |why: &str| {
            let output =
                caller.austere().args(["fit", "--from", file.to_str().unwrap(), "--to", "docker"]).output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{}", common::said(&output));
            assert!(common::said(&output).contains(why), "{}", common::said(&output));
        };
        refused("it holds no fit");
        fs::write(&file, "{}").unwrap();
        refused("not a verdict of this version");
    }
}

#[test]
fn verify_fits_when_it_fails_and_budgets_hold() {
    for caller in &callers() {
        let (verdict, code) = {
            let output = caller.verify(&["example:stubborn", "--fit", "--format", "json"]);
            assert!(common::said(&output).contains("nothing given back: "), "{}", common::said(&output));
            (common::json(&output), output.status.code())
        };
        // The verdict stays what it was.
        assert_eq!((code, verdict["verdict"].as_str()), (Some(1), Some("fail")));
        assert_eq!(verdict["fit"]["status"], "reached", "{:#}", verdict["fit"]);
        assert!(verdict["fit"]["docker"].as_str().unwrap().contains("docker run "));
        let (verdict, code, said) = fit(caller, "example:stubborn", &["--max-runs", "4"]);
        assert_eq!((code, verdict["fit"]["status"].as_str()), (3, Some("not_tried")), "{said}");
        assert!(verdict["fit"]["reason"].as_str().unwrap().contains("the budget is used up"), "{said}");
        let (verdict, code, said) = fit(caller, "example:hello", &[]);
        assert_eq!((code, verdict["fit"]["proven"].as_u64()), (0, Some(3)), "{said}");
        assert_eq!(verdict["verdict"], "pass");
    }
}
