//! Several causes at once, and each kind of thing that can be given back.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]

#[path = "common/callers.rs"]
mod callers;
mod common;
#[path = "common/fitting.rs"]
mod fitting;
#[path = "common/image.rs"]
mod image;

use std::fs;

use callers::{Caller, busybox, callers};
use common::each;
use fitting::{fit, is_minimal, set};
use image::{Image, Layer, Stored};
use serde_json::json;

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
    case("home", "mkdir \"$HOME/.cache\";", &["tmpfs /tmp", "env HOME=/tmp"]),
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

/// An image of a script, with folders and files for the causes.
fn scripted(caller: &Caller) -> Option<String> {
    let layer = busybox()?;
    let layer =
        ["run", "var", "var/cache", "srv", "srv/app"].into_iter().fold(layer, |layer, dir| layer.dir(dir, 0o755));
    let layer = layer
        .dir_of("data", 0o755, 65532, 65532)
        .file_of("data/seed", 0o644, 65532, 65532, "seed")
        .file("etc/passwd", 0o644, "root:x:0:0:root:/:/bin/sh\n")
        .file_of("etc/secret", 0o640, 0, 42, "x");
    let image =
        Image::of(layer).config(json!({ "Entrypoint": ["/bin/sh", "-ec"], "ExposedPorts": { "8080/tcp": {} } }));
    // Programs that are not the app's own file.
    let program = fs::read("/bin/busybox").unwrap();
    let helpers = Layer::new().file("opt/a/busybox", 0o755, &program).file("opt/b/busybox", 0o755, &program);
    let image = image.layer(helpers, Stored::Plain);
    Some(caller.put("cases", &image))
}

#[test]
fn each_kind_of_cause_ends_in_exactly_the_set() {
    let callers = callers();
    let Some(root) = callers.iter().find(|caller| caller.is_root()) else { return };
    let Some(image) = scripted(root) else { return };
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

/// Causes that can be had together, and what each ends in.
const CAUSES: [(&str, &[&str]); 4] = [
    ("echo 1 > /run/app.pid;", &["tmpfs /run owned"]),
    ("mkdir /var/cache/app;", &["tmpfs /var/cache owned"]),
    ("httpd -p 80 -h /www;", &["low-ports"]),
    ("touch /dev/shm/x; chown 7:7 /dev/shm/x;", &["capability CHOWN", "root"]),
];

#[test]
fn every_two_three_and_four_causes_end_in_the_sets_of_each() {
    let callers = callers();
    let Some(root) = callers.iter().find(|caller| caller.is_root()) else { return };
    let Some(image) = scripted(root) else { return };
    let together: Vec<u32> = (0..16u32).filter(|some| some.count_ones() > 1).collect();
    assert_eq!(together.len(), 11);
    each(&together, |some| {
        let causes = || CAUSES.iter().enumerate().filter(|(index, _)| some & 1 << index != 0).map(|(_, cause)| cause);
        let script = format!("{} {SERVE}", causes().map(|(script, _)| *script).collect::<Vec<_>>().join(" "));
        let expected: Vec<&str> = causes().flat_map(|(_, set)| set.iter().copied()).collect();
        let words = ["--preset", "kubernetes@containerd-1.7", "--timeout", "10"];
        let (verdict, code, said) = fit(root, &image, &[&words[..], &["--", &script]].concat());
        if code != 0 || set(&verdict["fit"]) != expected {
            return vec![format!("{script} ends with {code} in {:?}\n{said}", set(&verdict["fit"]))];
        }
        if some.count_ones() < 4 {
            return Vec::new();
        }
        is_minimal(root, &image, &words, &["--", &script], &verdict["fit"])
    });
}

#[test]
fn a_sealed_app_gets_its_helpers_back_by_name() {
    let callers = callers();
    let Some(root) = callers.iter().find(|caller| caller.is_root()) else { return };
    let Some(image) = scripted(root) else { return };
    let words = ["--preset", "sealed", "--exit", "0"];
    let script = ["--", "/opt/a/busybox true; /opt/b/busybox true"];
    let (verdict, code, said) = fit(root, &image, &[&words[..], &script].concat());
    let found = &verdict["fit"];
    assert_eq!(
        (code, set(found)),
        (0, vec!["allow-exec /opt/a/busybox".to_owned(), "allow-exec /opt/b/busybox".to_owned()]),
        "{said}"
    );
    assert!(found["docker"].as_str().unwrap().contains("# /opt/a/busybox: an engine lets every program be started"));
    assert_eq!(is_minimal(root, &image, &words, &script, found), Vec::<String>::new());
    // mawk starts a shell.
    let Some(archive) = common::archive("mawk-system") else { return };
    let (verdict, code, said) = fit(root, archive.to_str().unwrap(), &words);
    assert_eq!((code, set(&verdict["fit"])), (0, vec!["allow-exec /bin/sh".to_owned()]), "{said}");
}

#[test]
fn a_system_call_is_given_back_by_name_and_the_profile_is_written() {
    let callers = callers();
    let Some(root) = callers.iter().find(|caller| caller.is_root()) else { return };
    let Some(image) = scripted(root) else { return };
    // Docker lets everybody read the clock's state; the profile of the preset sealed does not.
    let words = ["--preset", "sealed", "--exit", "0", "--entrypoint", "/bin/busybox", "--", "adjtimex"];
    let (verdict, code, said) = fit(root, &image, &words);
    assert_eq!((code, set(&verdict["fit"])), (0, vec!["syscall clock_adjtime".to_owned()]), "{said}");
    let file = root.dir().join("verdict.json");
    fs::write(&file, verdict.to_string()).unwrap();
    let hand = ["fit", "--from", file.to_str().unwrap(), "--preset", "sealed", "--to", "seccomp"];
    let output = root.austere().args(hand).output().unwrap();
    let profile = root.dir().join("profile.json");
    fs::write(&profile, &output.stdout).unwrap();
    let option = format!("seccomp={}", profile.display());
    let words = [&["--security-opt", &option], &words[..]].concat();
    let verified = root.verify(&[&[image.as_str()], &words[..]].concat());
    assert_eq!(verified.status.code(), Some(0), "{}", common::said(&verified));
}

#[test]
fn a_way_out_is_named_and_not_proven() {
    let callers = callers();
    let Some(root) = callers.iter().find(|caller| caller.is_root()) else { return };
    let Some(image) = scripted(root) else { return };
    let script = "busybox nc -w 1 192.0.2.1 443 < /dev/null";
    let (verdict, code, said) = fit(root, &image, &["--exit", "0", "--", script]);
    let found = &verdict["fit"];
    assert_eq!((code, found["status"].as_str()), (3, Some("not_tried")), "{said}");
    assert_eq!(set(found), ["network 192.0.2.1:443"], "{said}");
    assert!(found["relaxations"][0]["evidence"].as_str().unwrap().contains("not proven"), "{found:#}");
    assert!(found["reason"].as_str().unwrap().contains("the room is closed"), "{found:#}");
}
