//! Vulnerabilities, as a scanner found them: austere has no data of its own, and reads a scanner's report.
//!
//! Without a report nothing is known, and that is what is said: "not scanned", never "none found".

mod grype;
mod join;
mod openvex;
mod osv;
mod trivy;

use serde::Serialize;
use serde_json::Value;

pub use join::{Joined, Vulnerability, join};

/// A document that is none of those that are read.
#[derive(Debug, thiserror::Error)]
pub enum VulnError {
    /// Not JSON at all.
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Some other JSON.
    #[error(
        "neither a JSON report of Trivy, Grype or OSV-Scanner nor an OpenVEX document\n  hint: trivy image -f json, grype -o json, osv-scanner --format json"
    )]
    Unknown,
}

/// A scanner's report, or what a vendor says of single vulnerabilities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// What was found.
    Report(Report),
    /// What it means for this image.
    Statements(Vec<Statement>),
}

/// What a scanner found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// `trivy`, `grype`, `osv-scanner`, with the version if it says so.
    pub scanner: String,
    /// How old its data is, or the report where it does not say (RFC 3339).
    pub data_of: Option<String>,
    /// One a vulnerability and package.
    pub found: Vec<Found>,
}

/// One vulnerability of one package, as a scanner wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// `CVE-…`, `GHSA-…`, …
    pub id: String,
    /// Other names of the same.
    pub aliases: Vec<String>,
    /// How bad it is.
    pub severity: Severity,
    /// The package's name.
    pub package: String,
    /// The package's version.
    pub version: String,
    /// The package's URL, where the scanner gives it.
    pub purl: Option<String>,
    /// Versions without it.
    pub fixed: Vec<String>,
}

/// How bad a vulnerability is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nobody rated it.
    #[default]
    Unknown,
    /// Not worth a fix, as the distribution says.
    Negligible,
    /// CVSS below 4.
    Low,
    /// CVSS below 7.
    Medium,
    /// CVSS below 9.
    High,
    /// CVSS from 9.
    Critical,
}

impl Severity {
    /// Worst first.
    pub const ALL: [Severity; 6] =
        [Severity::Critical, Severity::High, Severity::Medium, Severity::Low, Severity::Negligible, Severity::Unknown];

    /// As the scanners write it, in any case.
    pub fn parse(text: &str) -> Severity {
        match text.to_ascii_lowercase().as_str() {
            "critical" => Severity::Critical,
            "high" | "important" => Severity::High,
            "medium" | "moderate" => Severity::Medium,
            "low" => Severity::Low,
            "negligible" | "none" => Severity::Negligible,
            _ => Severity::Unknown,
        }
    }

    /// The rating of a CVSS base score (CVSS 3.1, table 14).
    fn of_score(score: f64) -> Severity {
        match score {
            score if score >= 9.0 => Severity::Critical,
            score if score >= 7.0 => Severity::High,
            score if score >= 4.0 => Severity::Medium,
            score if score > 0.0 => Severity::Low,
            _ => Severity::Unknown,
        }
    }

    /// As the report has it.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Unknown => "unknown",
            Severity::Negligible => "negligible",
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }
}

/// What somebody says of a vulnerability in a product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its names.
    pub ids: Vec<String>,
    /// Package URLs it is about; empty for the image as a whole.
    pub packages: Vec<String>,
    /// `not_affected`, `affected`, `fixed` or `under_investigation`.
    pub status: String,
    /// Why.
    pub justification: Option<String>,
}

/// Reads a document; which form it has follows from its content.
///
/// # Errors
///
/// [`VulnError`] for anything else. Fields that are missing in a known form are no error: forms grow and shrink.
pub fn read(bytes: &[u8]) -> Result<Document, VulnError> {
    let json: Value = serde_json::from_slice(bytes)?;
    let report = if json["@context"].as_str().is_some_and(|context| context.contains("openvex")) {
        return Ok(Document::Statements(openvex::read(&json)));
    } else if json["matches"].is_array() {
        grype::read(&json)
    } else if json["SchemaVersion"].is_u64() || json["Results"].is_array() {
        trivy::read(&json)
    } else if json["results"].is_array() {
        osv::read(&json)
    } else {
        return Err(VulnError::Unknown);
    };
    Ok(Document::Report(report))
}

/// The elements of a list, or none.
fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn optional(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// A program's name with its version.
fn named(name: &str, version: &Value) -> String {
    format!("{name} {}", version.as_str().unwrap_or_default()).trim_end().to_owned()
}

#[cfg(test)]
mod tests;
