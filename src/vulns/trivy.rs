//! Trivy's JSON report.
//!
//! Source: <https://trivy.dev/docs/latest/configuration/reporting/#json>, `pkg/types/report.go` (`SchemaVersion` 2).

use serde_json::Value;

use super::{Found, Report, Severity, list, named, optional, text};

pub(super) fn read(json: &Value) -> Report {
    let mut found = Vec::new();
    for one in list(&json["Results"]).iter().flat_map(|result| list(&result["Vulnerabilities"])) {
        let fixed = text(&one["FixedVersion"]);
        let fixed = fixed.split(',').map(str::trim).filter(|version| !version.is_empty()).map(str::to_owned);
        found.push(Found {
            id: text(&one["VulnerabilityID"]),
            aliases: list(&one["VendorIDs"]).iter().map(text).collect(),
            severity: Severity::parse(&text(&one["Severity"])),
            package: text(&one["PkgName"]),
            version: text(&one["InstalledVersion"]),
            purl: optional(&one["PkgIdentifier"]["PURL"]),
            fixed: fixed.collect(),
        });
    }
    // It does not say how old its data is.
    Report { scanner: named("trivy", &json["Trivy"]["Version"]), data_of: optional(&json["CreatedAt"]), found }
}
