//! Why it failed: a program that fails in every way there is a code for, a twin of each that does not, and failures among refusals that the
//! program shrugs off.
//!
//! The app in the image is this very program, which is static: `cargo test --test zoo [PART OF A NAME]`.

// A helper that fails fails the test, and a harness prints. The app exits as it likes.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::exit)]

mod animals;
mod app;
#[path = "../common/callers.rs"]
mod callers;
mod causes;
#[path = "../common/mod.rs"]
mod common;
mod following;
#[path = "../common/image.rs"]
mod image;
mod lessons;

use std::io::Write as _;
use std::process::ExitCode;
use std::thread;

use animals::Animal;
use callers::Caller;
use serde_json::Value;

type Test = (&'static str, fn());

const TESTS: [Test; 14] = [
    ("the_documentation_has_the_zoo", causes::the_documentation_has_the_zoo),
    ("every_code_has_its_animal", causes::every_code_has_its_animal),
    ("every_code_is_named_and_its_twin_passes", causes::every_code_is_named_and_its_twin_passes),
    ("a_doubtful_wall_is_shown_by_a_run_without_it", causes::a_doubtful_wall_is_shown_by_a_run_without_it),
    ("a_folder_of_the_host_belongs_to_another", causes::a_folder_of_the_host_belongs_to_another),
    ("what_went_to_syslog_is_told_to_be_lost", causes::what_went_to_syslog_is_told_to_be_lost),
    ("noise_is_no_cause", causes::noise_is_no_cause),
    ("what_is_shrugged_off_is_not_the_cause", causes::what_is_shrugged_off_is_not_the_cause),
    ("what_the_corpus_taught", lessons::what_the_corpus_taught),
    (
        "a_hundred_threads_and_a_thousand_forks_are_followed",
        following::a_hundred_threads_and_a_thousand_forks_are_followed,
    ),
    ("a_watched_app_ends_as_an_unwatched_one", following::a_watched_app_ends_as_an_unwatched_one),
    ("a_passing_app_is_degraded", following::a_passing_app_is_degraded),
    ("the_trace_is_written", following::the_trace_is_written),
    ("nothing_is_left_when_it_is_killed", following::nothing_is_left_when_it_is_killed),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == app::FLAG) {
        return app::play(&words[1..]).into();
    }
    let asked: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let mut failed = false;
    for (name, test) in
        TESTS.iter().filter(|(name, _)| asked.is_empty() || asked.iter().any(|part| name.contains(*part)))
    {
        let passed = thread::spawn(test).join().is_ok();
        failed |= !passed;
        std::io::stdout()
            .write_all(format!("test {name} ... {}\n", if passed { "ok" } else { "FAILED" }).as_bytes())
            .unwrap();
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The verdict on the program with these steps.
fn verdict(caller: &Caller, image: &str, flags: &[&str], steps: &[&str]) -> (Value, i32) {
    let mut words = vec![image];
    words.extend(flags);
    if !flags.contains(&"--timeout") {
        words.extend(["--timeout", "10"]);
    }
    words.extend(["--format", "json", "--"]);
    words.extend(steps);
    let output = caller.verify(&words);
    (common::json(&output), output.status.code().unwrap())
}

fn short(verdict: &Value) -> String {
    let findings = verdict["findings"].as_array().unwrap().iter();
    let line = |f: &Value| {
        format!("  {} {} {} {} {} {}", f["role"], f["code"], f["call"], f["errno"], f["path"], f["message"])
    };
    format!("{}: {}\n{}", verdict["verdict"], verdict["reason"], findings.map(line).collect::<Vec<_>>().join("\n"))
}

/// Codes of what is harmless elsewhere: there is nothing to advise.
const HARMLESS: [&str; 3] = ["D44", "D55", "no-name-cache"];

/// What is wrong with the first finding.
fn complaint(verdict: &Value, animal: &Animal) -> Option<String> {
    let first = &verdict["findings"][0];
    let field = |name: &str| first[name].as_str().unwrap_or_default();
    let right = first["role"] == "cause"
        && field("code") == animal.code
        && animal.call.contains(&field("call"))
        // Where there is one id, no other is known at all.
        && (field("errno") == animal.errno || (["D08", "D09"].contains(&animal.code) && verdict["ids"]["mode"] == "single" && field("errno") == "EINVAL"))
        && field("path") == animal.path
        && field("refused_by") == animal.wall
        && (first["advice"].is_string() || HARMLESS.contains(&animal.code));
    (!right).then(|| format!("{:?} is not {} {:?}\n{}", animal.steps, animal.code, animal.call, short(verdict)))
}
