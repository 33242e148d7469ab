//! Real images with known answers: every one, as root and as a normal user, gets the verdict that its label says.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]

#[path = "common/callers.rs"]
mod callers;
mod common;
#[path = "common/image.rs"]
mod image;

use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use callers::{Caller, callers};
use common::said;
use serde_json::Value;

/// The label's probe in the words of the command line.
fn probe(label: &Value) -> Vec<String> {
    let probe = &label["probe"];
    let port = &probe["port"];
    let mut words = match probe["kind"].as_str().unwrap() {
        "http" => vec!["--http".to_owned(), format!("{port}{}", probe["path"].as_str().unwrap())],
        "tcp" => vec!["--tcp".to_owned(), port.to_string()],
        "exit" => vec!["--exit".to_owned(), probe["code"].to_string()],
        other => panic!("a probe of the kind {other}"),
    };
    let timeout = probe["timeout"].as_u64().unwrap_or(20);
    words.extend(["--timeout".to_owned(), timeout.to_string()]);
    words
}

/// One image as one caller: a row of the table, with what is wrong.
fn row(caller: &Caller, label: &Value, schema: &jsonschema::Validator) -> (String, Vec<String>) {
    let name = label["name"].as_str().unwrap();
    let Some(archive) = common::archive(name) else { return (format!("{name:20} skipped"), Vec::new()) };
    let archive = match caller {
        Caller::Root(_) => archive,
        Caller::User(user) => user.readable(&archive),
    };
    let begun = Instant::now();
    let output =
        caller.austere().args(["verify", "--format", "json"]).args(probe(label)).arg(&archive).output().unwrap();
    let took = begun.elapsed();
    let verdict = common::json(&output);
    let mut wrong = Vec::new();
    let mut expect = |what: &str, holds: bool| {
        if !holds {
            wrong.push(format!("{name}, {}: {what}\n{}", caller.mode(), said(&output)));
        }
    };
    let (expected, code) = if label["verdict_strict"] == "works" { ("pass", 0) } else { ("fail", 1) };
    expect(&format!("is not {expected}"), verdict["verdict"] == expected && output.status.code() == Some(code));
    expect("something on standard error", output.stderr.is_empty());
    expect("the id mode", verdict["ids"]["mode"] == caller.mode());
    let measures = verdict["measures"].as_array().unwrap();
    let held = measures.iter().filter(|measure| measure["status"] == "holds").count();
    let lacking = |measure: &Value| measure["required"] == true && measure["status"] != "holds";
    // Where the exec itself was refused there was never an app to ask about.
    let never_started = measures.is_empty() && verdict["findings"][0]["call"] == "execve";
    expect("a measure does not hold", never_started || measures.len() >= 18);
    expect("a required measure does not hold", !measures.iter().any(lacking));
    for error in schema.iter_errors(&verdict) {
        expect(&format!("not of the schema: {error} at {}", error.instance_path()), false);
    }
    let baseline = verdict["baseline"].as_str().unwrap();
    let labelled = if label["baseline_works"] == true { "works" } else { "fails" };
    match (expected, caller.is_root()) {
        ("pass", _) => expect("a baseline that was not needed", baseline == "not_tried"),
        (_, true) => expect("the baseline", baseline == labelled),
        // One id cannot show that an image which changes its user fails by itself.
        (_, false) => expect("the baseline", baseline == labelled || baseline == "not_tried"),
    }
    // The call that a person found fatal in strace's output is the first finding, by its name, error and path.
    let (cause, first) = (&label["cause"], &verdict["findings"][0]);
    if expected == "fail" {
        let is_named = first["role"] == "cause"
            && first["call"] == cause["syscall"]
            && first["errno"] == cause["errno"]
            && first["path"] == cause["path"];
        expect(&format!("the cause is not {cause}"), is_named);
        let is_known = first["code"].as_str().unwrap().starts_with('D') && first["advice"].is_string();
        expect("a cause without a code, advice or what to relax", is_known && first["relax"].is_array());
    }
    let verdict = verdict["verdict"].as_str().unwrap();
    let row = format!(
        "{name:20} {:8} {verdict:8} {baseline:11} {held:>2} of {} hold {took:8.2?}",
        caller.mode(),
        measures.len()
    );
    (row, wrong)
}

#[test]
fn every_image_gets_its_label_s_verdict() {
    let labels = common::labels();
    assert!(labels.len() >= 16);
    let schema = serde_json::from_str(include_str!("../docs/verdict.schema.json")).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let callers = callers();
    let jobs: Vec<_> = callers.iter().flat_map(|caller| labels.iter().map(move |label| (caller, label))).collect();
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((caller, label)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = row(caller, label, &schema);
                    results.lock().unwrap().push(result);
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap();
    results.sort();
    let mut out = std::io::stderr().lock();
    for (row, _) in &results {
        writeln!(out, "{row}").unwrap();
    }
    let wrong: Vec<_> = results.into_iter().flat_map(|(_, wrong)| wrong).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
