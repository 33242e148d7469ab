//! Programs that no package manager brought, known by a version in their content (`profiles/binaries.json`).

use std::sync::LazyLock;

use memchr::memmem;
use serde::Deserialize;

use super::{Kind, Package, Search, url};

/// A version that was found in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::inventory) struct Known {
    /// What program it is.
    name: String,
    version: String,
}

/// How a program is known. Markers are bytes as text; `\u0000` stands for a NUL.
#[derive(Deserialize)]
struct Rule {
    name: String,
    /// What the file is called; a `*` at the end stands for digits and dots, which then begin the version.
    files: Vec<String>,
    /// What stands before the version.
    before: String,
    /// What stands after it.
    #[serde(default)]
    after: String,
    /// How many numbers the version has at least.
    #[serde(default = "two")]
    numbers: usize,
}

fn two() -> usize {
    2
}

static RULES: LazyLock<Vec<Rule>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../profiles/binaries.json")).unwrap_or_default());

/// Looks for a version in a program of this name.
pub(in crate::inventory) fn read(name: &str, file: &[u8]) -> Option<Known> {
    let named = |rule: &&Rule| rule.files.iter().any(|pattern| begins(pattern, name).is_some());
    RULES.iter().filter(named).find_map(|rule| {
        let start = rule.files.iter().find_map(|pattern| begins(pattern, name)).unwrap_or_default();
        let mut places = memmem::find_iter(file, rule.before.as_bytes()).map(|at| &file[at + rule.before.len()..]);
        let version = places.find_map(|rest| version(rest, rule, start))?;
        Some(Known { name: rule.name.clone(), version })
    })
}

/// Whether the name fits, and the digits that the star stands for.
fn begins<'a>(pattern: &str, name: &'a str) -> Option<&'a str> {
    match pattern.strip_suffix('*') {
        None => (pattern == name).then_some(""),
        Some(start) => {
            let is_number = |rest: &&str| rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            name.strip_prefix(start).filter(is_number).filter(|rest| !rest.is_empty())
        }
    }
}

/// The version at the start of `rest`: numbers with dots, then perhaps letters, as in `1.1.1w` and `3.2.0rc1`.
fn version(rest: &[u8], rule: &Rule, start: &str) -> Option<String> {
    const LONGEST: usize = 32;
    let rest = &rest[..rest.len().min(LONGEST)];
    let numbers = rest.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
    let letters = rest[numbers..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let text = std::str::from_utf8(&rest[..numbers + letters]).ok()?.trim_end_matches('.');
    let count = rest[..numbers].split(|byte| *byte == b'.').filter(|part| !part.is_empty()).count();
    let fits = text.starts_with(|c: char| c.is_ascii_digit())
        && count >= rule.numbers
        && text.starts_with(start)
        && rest[text.len()..].starts_with(rule.after.as_bytes());
    fits.then(|| text.to_owned())
}

/// Programs that the package manager does not know of.
pub(super) fn find(search: &Search, is_owned: &dyn Fn(&[String]) -> bool) -> Vec<Package> {
    let mut all = Vec::new();
    for binary in search.binaries {
        let Some(known) = &binary.known else { continue };
        let item = &search.contents.items[binary.items[0]];
        let paths: Vec<String> = binary.items.iter().map(|at| search.contents.items[*at].path.clone()).collect();
        if is_owned(&paths) {
            continue;
        }
        all.push(Package {
            name: known.name.clone(),
            version: known.version.clone(),
            kind: Kind::Binary,
            purl: url::of("generic", "", &known.name, &known.version, &[]),
            licences: Vec::new(),
            location: item.path.clone(),
            layer: item.layer + 1,
            source: None,
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_out_of_content() {
        assert!(RULES.len() > 15);
        let found =
            |name: &str, content: &[u8]| read(name, content).map(|known| format!("{} {}", known.name, known.version));
        assert_eq!(found("busybox", b"x\0BusyBox v1.36.1 (Debian)\0").as_deref(), Some("busybox 1.36.1"));
        assert_eq!(found("python3.11", b"\x003.9.1\0\x003.11.2\0").as_deref(), Some("python 3.11.2"));
        assert_eq!(found("openssl", b"\0OpenSSL 1.1.1w  11 Sep 2023\0").as_deref(), Some("openssl 1.1.1w"));
        assert_eq!(found("python", b"\x003.11.2\0"), None, "no version in its name says which it is");
        assert_eq!(found("cat", b"BusyBox v1.36.1"), None);
        assert_eq!(found("busybox", b"BusyBox v"), None);
    }
}
