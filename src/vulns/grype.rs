//! Grype's JSON report.
//!
//! Source: <https://github.com/anchore/grype/tree/main/grype/presenter/models>.

use serde_json::Value;

use super::{Found, Report, Severity, list, named, optional, text};

pub(super) fn read(json: &Value) -> Report {
    let one = |one: &Value| {
        let (vulnerability, artifact) = (&one["vulnerability"], &one["artifact"]);
        Found {
            id: text(&vulnerability["id"]),
            aliases: list(&one["relatedVulnerabilities"]).iter().map(|related| text(&related["id"])).collect(),
            severity: Severity::parse(&text(&vulnerability["severity"])),
            package: text(&artifact["name"]),
            version: text(&artifact["version"]),
            purl: optional(&artifact["purl"]),
            fixed: list(&vulnerability["fix"]["versions"]).iter().map(text).collect(),
        }
    };
    let descriptor = &json["descriptor"];
    // Since version 0.88 it is in `status`.
    let built = [&descriptor["db"]["status"]["built"], &descriptor["db"]["built"], &descriptor["timestamp"]];
    Report {
        scanner: named("grype", &descriptor["version"]),
        data_of: built.into_iter().find_map(optional),
        found: list(&json["matches"]).iter().map(one).collect(),
    }
}
