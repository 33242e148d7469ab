//! A module uses only floors below its own: what stands lower can be read without what stands higher.
//!
//! The table in `src/lib.rs` is the only place that says which module is on which floor.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

type Floors = BTreeMap<String, u32>;

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Rows of `//! | 3 measures | [`store`] [`unpack`] | … |`.
fn table(library: &str) -> Floors {
    let mut floors = Floors::new();
    for line in library.lines() {
        let cells: Vec<_> = line.trim_start_matches("//!").split('|').map(str::trim).collect();
        let [_, floor, modules, ..] = cells[..] else { continue };
        let Some(Ok(floor)) = floor.split(' ').next().map(str::parse) else { continue };
        for module in modules.split('`').skip(1).step_by(2) {
            assert_eq!(floors.insert(module.to_owned(), floor), None, "`{module}` is in the table twice");
        }
    }
    floors
}

/// The floor of the nearest module that the table names: `smoke::plan` has one of its own, `image::oci` has `image`'s.
fn floor(floors: &Floors, path: &[String]) -> Option<(String, u32)> {
    (1..=path.len()).rev().find_map(|length| {
        let name = path[..length].join("::");
        floors.get(&name).map(|floor| (name, *floor))
    })
}

/// Code without comments. Strings stay: a path in one would be found, and none should be there.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Every path that starts with `crate::`, with braces multiplied out.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        expand(&code[at + "crate::".len()..], &mut Vec::new(), &mut all);
    }
    all
}

/// Reads one path, or a brace with several, and gives what follows it.
fn expand<'a>(rest: &'a str, before: &mut Vec<String>, all: &mut Vec<Vec<String>>) -> &'a str {
    let mut rest = rest.trim_start();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            rest = rest.trim_start().trim_start_matches(',').trim_start();
            if rest.is_empty() || rest.starts_with('}') {
                return rest.get(1..).unwrap_or_default();
            }
            let left = expand(rest, before, all);
            if left.len() == rest.len() {
                return "";
            }
            let next = left.find([',', '}']).unwrap_or(left.len());
            rest = &left[next..];
        }
    }
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    before.push(word.to_owned());
    let after = match after.strip_prefix("::") {
        Some(after) if after.trim_start().starts_with(|c: char| c == '{' || c.is_alphabetic() || c == '_') => {
            expand(after, before, all)
        }
        _ => {
            all.push(before.clone());
            after
        }
    };
    before.pop();
    after
}

fn files(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, all);
        } else if path.extension().is_some_and(|end| end == "rs") {
            all.push(path);
        }
    }
}

fn module(file: &Path) -> Vec<String> {
    let path = file.strip_prefix(source()).unwrap().with_extension("");
    let mut parts: Vec<_> = path.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    parts.pop_if(|last| last == "mod");
    parts
}

/// What `text`, the source of `module`, uses that stands higher.
fn upward(floors: &Floors, module: &[String], text: &str) -> Vec<String> {
    let (own, height) = floor(floors, module).unwrap_or_else(|| panic!("`{}` has no floor", module.join("::")));
    paths(&code(text))
        .iter()
        .filter_map(|path| floor(floors, path))
        .filter(|(used, floor)| *used != own && *floor > height)
        .map(|(used, floor)| format!("{} (floor {height}) uses {used} (floor {floor})", module.join("::")))
        .collect()
}

#[test]
fn no_module_uses_a_higher_floor() {
    let library = fs::read_to_string(source().join("lib.rs")).unwrap();
    let floors = table(&library);
    let mut all = Vec::new();
    files(&source(), &mut all);
    let doors = ["lib.rs", "main.rs"].map(|name| source().join(name));
    let wrong: Vec<_> = all
        .iter()
        .filter(|file| !doors.contains(file))
        .flat_map(|file| upward(&floors, &module(file), &fs::read_to_string(file).unwrap()))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_has_a_floor_and_every_row_a_module() {
    let library = fs::read_to_string(source().join("lib.rs")).unwrap();
    let floors = table(&library);
    for line in library.lines().filter_map(|line| line.strip_prefix("pub mod ")) {
        let name = line.trim_end_matches(';');
        assert!(floors.contains_key(name), "`{name}` is not in the table of src/lib.rs");
    }
    for name in floors.keys() {
        let path = source().join(name.replace("::", "/"));
        assert!(path.with_extension("rs").is_file() || path.join("mod.rs").is_file(), "there is no module `{name}`");
    }
}

#[test]
fn the_test_itself_sees_what_points_upward() {
    let floors = table(
        "//! | 0 words | [`digest`] | x |\n//! | 1 formats | [`image`] [`smoke::plan`] | x |\n//! | 5 evidence | [`smoke`] | x |\n",
    );
    assert_eq!(floors.len(), 4);
    let used = |module: &str, text: &str| {
        upward(&floors, &module.split("::").map(str::to_owned).collect::<Vec<_>>(), text).len()
    };
    assert_eq!(used("image", "use crate::digest::Digest;"), 0);
    assert_eq!(used("digest", "use crate::image::Image;"), 1);
    assert_eq!(used("image::oci", "fn x() { crate::smoke::judge() }"), 1);
    assert_eq!(used("image", "use crate::{digest::{self, Digest}, smoke::{plan::Plan}};"), 0);
    assert_eq!(used("image", "use crate::{digest::{self, Digest}, smoke::{judge, plan::Plan}};"), 1);
    assert_eq!(used("digest", "// see crate::smoke\n"), 0);
    assert_eq!(used("smoke::judge", "use crate::smoke::plan::Plan; use crate::image;"), 0);
}
