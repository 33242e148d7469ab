//! `OpenVEX`: what a vendor says of single vulnerabilities.
//!
//! Source: <https://github.com/openvex/spec/blob/main/OPENVEX-SPEC.md>, 0.0.1 to 0.2.0.

use serde_json::Value;

use super::{Statement, list, optional, text};

pub(super) fn read(json: &Value) -> Vec<Statement> {
    list(&json["statements"]).iter().map(statement).collect()
}

fn statement(one: &Value) -> Statement {
    let vulnerability = &one["vulnerability"];
    // Version 0.0.1 has a text there.
    let mut ids: Vec<String> =
        vulnerability.as_str().or_else(|| vulnerability["name"].as_str()).map(str::to_owned).into_iter().collect();
    ids.extend(list(&vulnerability["aliases"]).iter().map(text));
    let mut packages = Vec::new();
    for product in list(&one["products"]) {
        let parts = list(&product["subcomponents"]);
        let named = if parts.is_empty() { std::slice::from_ref(product) } else { parts };
        packages.extend(named.iter().filter_map(|one| one.as_str().or_else(|| one["@id"].as_str())).map(str::to_owned));
    }
    Statement { ids, packages, status: text(&one["status"]), justification: optional(&one["justification"]) }
}
