//! Packages of npm: each `package.json` that names a package and its version.
//!
//! Source: <https://docs.npmjs.com/cli/configuring-npm/package-json>.

use serde_json::Value;

use super::{Kind, Package, Packages, Search, url};
use crate::inventory::contents::ItemKind;

const LARGEST: u64 = 8 << 20;

pub(super) fn find(search: &Search, all: &mut Packages) {
    let named = |item: &&crate::inventory::Item| item.kind == ItemKind::File && item.path.ends_with("/package.json");
    for item in search.contents.items.iter().filter(named) {
        let Some(bytes) = search.contents.read(item, LARGEST) else { continue };
        let Ok(json) = serde_json::from_slice::<Value>(&bytes) else { continue };
        let text = |key: &str| json[key].as_str().map(str::trim).filter(|text| !text.is_empty());
        let (Some(name), Some(version)) = (text("name"), text("version")) else { continue };
        let (scope, short) = match name.split_once('/') {
            Some((scope, short)) if scope.starts_with('@') => (scope, short),
            _ => ("", name),
        };
        all.found.push(Package {
            name: name.to_owned(),
            version: version.to_owned(),
            kind: Kind::Npm,
            purl: url::of("npm", scope, short, version, &[]),
            licences: licences(&json),
            location: item.path.clone(),
            layer: item.layer + 1,
            source: None,
        });
    }
}

/// `license` is a text or an object with a `type`; `licenses`, the older form, a list of such.
fn licences(json: &Value) -> Vec<String> {
    let one = |value: &Value| value.as_str().or_else(|| value["type"].as_str()).map(str::to_owned);
    match (&json["license"], &json["licenses"]) {
        (Value::Null, Value::Array(list)) => list.iter().filter_map(one).collect(),
        (Value::Null, other) => one(other).into_iter().collect(),
        (license, _) => one(license).into_iter().collect(),
    }
}
