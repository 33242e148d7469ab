//! The least that makes an image work: found, minimal, proven, and handed over.

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

use callers::callers;
use common::each;
use fitting::{fit, is_minimal, set};
use serde_json::Value;

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
