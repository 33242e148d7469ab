//! Searches for a fit, and looks whether what they found is the least.
#![allow(dead_code, reason = "each test crate uses a part of it")]

use serde_json::Value;

use crate::callers::Caller;
use crate::common::{self, said};

/// What `fit` finds, with its exit code and what it said on the way.
pub fn fit(caller: &Caller, image: &str, flags: &[&str]) -> (Value, i32, String) {
    let output = caller.austere().args(["fit", image, "--format", "json"]).args(flags).output().unwrap();
    (common::json(&output), output.status.code().unwrap(), said(&output))
}

/// The relaxations as `verify` takes them; nothing for one that has no flag.
pub fn flags(relaxations: &[&Value], uid: u64) -> Option<Vec<String>> {
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
            "allow-exec" => vec!["--allow-exec".to_owned(), text],
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
pub fn set(fit: &Value) -> Vec<String> {
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
pub fn is_minimal(caller: &Caller, image: &str, words: &[&str], script: &[&str], fit: &Value) -> Vec<String> {
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
