//! OSV-Scanner's JSON report.
//!
//! Sources: <https://google.github.io/osv-scanner/output/#json>; the OSV schema, <https://ossf.github.io/osv-schema/>.

use serde_json::Value;

use super::{Found, Report, Severity, list, text};

pub(super) fn read(json: &Value) -> Report {
    let mut found = Vec::new();
    let mut newest = None;
    for one in list(&json["results"]).iter().flat_map(|result| list(&result["packages"])) {
        let package = &one["package"];
        let groups = list(&one["groups"]);
        for vulnerability in list(&one["vulnerabilities"]) {
            newest = newest.max(vulnerability["modified"].as_str().map(str::to_owned));
            let id = text(&vulnerability["id"]);
            let group = groups.iter().find(|group| list(&group["ids"]).iter().any(|one| one.as_str() == Some(&id)));
            found.push(Found {
                aliases: list(&vulnerability["aliases"]).iter().map(text).collect(),
                severity: severity(vulnerability, group),
                package: text(&package["name"]),
                version: text(&package["version"]),
                purl: None,
                fixed: fixed(vulnerability, package),
                id,
            });
        }
    }
    // It asks a service; the newest entry is all that says how old the data is.
    Report { scanner: "osv-scanner".to_owned(), data_of: newest, found }
}

/// The group's CVSS score, else the word of the database it comes from.
fn severity(vulnerability: &Value, group: Option<&Value>) -> Severity {
    let score = group.and_then(|group| group["max_severity"].as_str()?.parse::<f64>().ok());
    let of_score = score.map(Severity::of_score).filter(|severity| *severity != Severity::Unknown);
    of_score.unwrap_or_else(|| Severity::parse(&text(&vulnerability["database_specific"]["severity"])))
}

/// Where the ranges of this package end.
fn fixed(vulnerability: &Value, package: &Value) -> Vec<String> {
    let of_package = |affected: &&Value| affected["package"]["name"] == package["name"];
    let ranges = list(&vulnerability["affected"]).iter().filter(of_package).flat_map(|one| list(&one["ranges"]));
    let ranges = ranges.filter(|range| range["type"] != "GIT");
    let events = ranges.flat_map(|range| list(&range["events"]));
    let mut versions: Vec<String> = events.filter_map(|event| event["fixed"].as_str()).map(str::to_owned).collect();
    versions.sort();
    versions.dedup();
    versions
}
