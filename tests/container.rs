//! austere inside a container as docker starts it without further options: no namespace can be made there, and nothing mounted.
//!
//! The container is made of what keeps austere from it: docker's 14 capabilities and its filter of system calls, put on a thread of the
//! test, whose child austere then is. The twin of every refusal is the same call without them, or with the two options that austere names.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]

#[path = "common/callers.rs"]
mod callers;
mod common;
#[path = "common/image.rs"]
mod image;

use std::process::{Command, Output};
use std::thread;

use austere::caps;
use austere::profile::preset::Preset;
use austere::profile::seccomp::{self as profile, Arch, Conditions, Profile};
use austere::seccomp;
use callers::{Caller, callers};
use common::{json, said};
use serde_json::Value;

const OPTIONS: &str = "--security-opt seccomp=unconfined --security-opt systempaths=unconfined";

/// What the engine gives the container beside its default.
#[derive(Clone, Copy, PartialEq)]
enum Seccomp {
    Default,
    Unconfined,
}

/// Runs a command in such a container; `None` where this host's root cannot make one.
fn contained(seccomp: Seccomp, mut command: Command) -> Output {
    let run = move || {
        let preset: Preset = "docker".parse().unwrap();
        let kept = caps::Set::from_names(preset.capabilities.iter().map(String::as_str)).unwrap();
        if seccomp == Seccomp::Default {
            let names = kept.names();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let conditions =
                Conditions { caps: &names, arch: Arch::NATIVE, kernel: austere::seccomp::running_kernel().unwrap() };
            let text = profile::shipped(&preset.seccomp).unwrap();
            let policy = Profile::parse(text).unwrap().resolve(&conditions).unwrap();
            let filter = seccomp::compile(&policy).unwrap();
            austere::sys::seccomp::install(&filter.program, 0).unwrap();
        }
        caps::limit(kept).unwrap();
        caps::apply(kept).unwrap();
        command.env("container", "test").output().unwrap()
    };
    // The filter and the capabilities are this thread's alone, and its children's.
    thread::spawn(run).join().unwrap()
}

fn verify(caller: &Caller, image: &str) -> Command {
    let mut command = caller.austere();
    command.args(["verify", image, "--format", "json"]);
    command
}

fn finding<'a>(verdict: &'a Value, code: &str) -> &'a Value {
    verdict["findings"].as_array().unwrap().iter().find(|finding| finding["code"] == code).unwrap_or(&Value::Null)
}

#[test]
fn a_default_container_is_inconclusive_and_told_what_it_needs() {
    for caller in callers().iter().filter(|_| common::root()) {
        let whole = verify(caller, "example:hello").output().unwrap();
        assert_eq!(
            (json(&whole)["verdict"].as_str(), whole.status.code()),
            (Some("pass"), Some(0)),
            "{}",
            said(&whole)
        );

        let output = contained(Seccomp::Default, verify(caller, "example:hello"));
        let verdict = json(&output);
        assert_eq!((verdict["verdict"].as_str(), output.status.code()), (Some("inconclusive"), Some(3)));
        let advice = finding(&verdict, "not-tested")["advice"].as_str().unwrap();
        assert!(advice.contains(OPTIONS), "{advice}");

        let freed = contained(Seccomp::Unconfined, verify(caller, "example:hello"));
        let (verdict, code) = (json(&freed), freed.status.code());
        assert_eq!((verdict["verdict"].as_str(), code), (Some("pass"), Some(0)), "{}", said(&freed));
    }
}
