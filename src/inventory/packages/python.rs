//! Distributions of Python: `*.dist-info/METADATA` and `*.egg-info/PKG-INFO`.
//!
//! Sources: `PyPA` specifications, "Recording installed projects" and "Core metadata".

use super::{Kind, Package, Packages, Search, url};
use crate::inventory::contents::{Item, ItemKind};

/// Descriptions come along; the fields stand before them.
const LARGEST: u64 = 4 << 20;

fn is_metadata(item: &Item) -> bool {
    let path = item.path.as_str();
    let lower = path.to_ascii_lowercase();
    item.kind == ItemKind::File
        && (lower.ends_with(".dist-info/metadata")
            || lower.ends_with(".egg-info/pkg-info")
            || lower.ends_with(".egg-info"))
}

pub(super) fn find(search: &Search, all: &mut Packages) {
    for item in search.contents.items.iter().filter(|item| is_metadata(item)) {
        let Some(bytes) = search.contents.read(item, LARGEST) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        let head: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).collect();
        let field = |name: &str| {
            let found = head.iter().find_map(|line| line.split_once(':').filter(|(key, _)| *key == name));
            found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty() && *value != "UNKNOWN")
        };
        let (Some(name), Some(version)) = (field("Name"), field("Version")) else { continue };
        let classified = head.iter().filter_map(|line| line.strip_prefix("Classifier: License :: "));
        let mut licences: Vec<String> =
            field("License-Expression").or_else(|| field("License")).map(str::to_owned).into_iter().collect();
        if licences.is_empty() {
            licences.extend(classified.filter_map(|line| line.rsplit(" :: ").next()).map(str::to_owned));
        }
        all.found.push(Package {
            purl: url::of("pypi", "", &normal(name), version, &[]),
            name: normal(name),
            version: version.to_owned(),
            kind: Kind::Python,
            licences,
            location: item.path.clone(),
            layer: item.layer + 1,
            source: None,
        });
    }
}

/// As package indexes compare names: in lower case, each run of `-`, `_` and `.` a `-` (PEP 503).
fn normal(name: &str) -> String {
    let mut normal = String::new();
    for character in name.chars() {
        let character = if matches!(character, '-' | '_' | '.') { '-' } else { character.to_ascii_lowercase() };
        if character != '-' || !normal.ends_with('-') {
            normal.push(character);
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_those_of_the_index() {
        assert_eq!(super::normal("Foo._-Bar"), "foo-bar");
    }
}
