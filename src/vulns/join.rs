//! A scanner's findings and the packages that austere found, brought together.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Found, Report, Severity, Statement};
use crate::inventory::packages::Package;

/// What is known of an image's vulnerabilities.
#[derive(Clone, Debug, Serialize)]
pub struct Joined {
    /// Who looked.
    pub scanner: String,
    /// How old the data is.
    pub data_of: Option<String>,
    /// How many there are of each severity, those left aside not counted.
    pub counts: BTreeMap<&'static str, usize>,
    /// How many of them have a fixed version.
    pub with_fix: usize,
    /// How many a VEX document says do not matter here.
    pub not_affected: usize,
    /// How many are of packages that were not found in the image. They count.
    pub unmatched: usize,
    /// The worst first.
    pub found: Vec<Vulnerability>,
}

/// A vulnerability of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Vulnerability {
    /// `CVE-…`, `GHSA-…`, …
    pub id: String,
    /// Other names of the same.
    pub aliases: Vec<String>,
    /// How bad it is.
    pub severity: Severity,
    /// The package.
    pub package: String,
    /// The version that is there.
    pub version: String,
    /// Versions without it.
    pub fixed: Vec<String>,
    /// The file that says the package is there; nothing when it was not found.
    pub location: Option<String>,
    /// The layer of that file, counted from 1 at the base.
    pub layer: Option<usize>,
    /// What a VEX document says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vex: Option<String>,
}

impl Vulnerability {
    /// Whether it counts: no VEX document says that it does not matter here.
    pub fn counts(&self) -> bool {
        !matches!(self.vex.as_deref(), Some("not_affected" | "fixed"))
    }
}

impl Joined {
    /// `1 high, 2 low; 2 with a fix`.
    pub fn summary(&self) -> String {
        let counts =
            Severity::ALL.iter().filter_map(|one| Some(format!("{} {}", self.counts.get(one.name())?, one.name())));
        let mut parts = vec![counts.collect::<Vec<_>>().join(", ")];
        if parts[0].is_empty() {
            parts = vec!["none found".to_owned()];
        }
        let more = [
            (self.with_fix, "with a fix"),
            (self.not_affected, "left aside by a VEX document"),
            (self.unmatched, "of packages that were not found in the image"),
        ];
        parts.extend(more.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
        parts.join("; ")
    }
}

/// Finds the package of each vulnerability, and what statements say of it. With `only_fixed`, those without a fix are left out.
pub fn join(report: Report, statements: &[Statement], packages: &[Package], only_fixed: bool) -> Joined {
    let mut found: Vec<Vulnerability> = Vec::new();
    for one in report.found.into_iter().filter(|one| !only_fixed || !one.fixed.is_empty()) {
        let package = packages.iter().find(|package| is_of(&one, package));
        let vex = statements.iter().rev().find(|statement| is_about(statement, &one, package));
        let vulnerability = Vulnerability {
            location: package.map(|package| package.location.clone()),
            layer: package.map(|package| package.layer),
            vex: vex.map(|statement| statement.status.clone()),
            id: one.id,
            aliases: one.aliases,
            severity: one.severity,
            package: one.package,
            version: one.version,
            fixed: one.fixed,
        };
        if !found.contains(&vulnerability) {
            found.push(vulnerability);
        }
    }
    found.sort_by(|a, b| {
        let rest = |one: &Vulnerability| (one.id.clone(), one.package.clone());
        b.severity.cmp(&a.severity).then_with(|| rest(a).cmp(&rest(b)))
    });
    let counted = || found.iter().filter(|one| one.counts());
    let counts =
        Severity::ALL.map(|severity| (severity.name(), counted().filter(|one| one.severity == severity).count()));
    Joined {
        scanner: report.scanner,
        data_of: report.data_of,
        counts: counts.into_iter().filter(|(_, count)| *count > 0).collect(),
        with_fix: counted().filter(|one| !one.fixed.is_empty()).count(),
        not_affected: found.iter().filter(|one| !one.counts()).count(),
        unmatched: counted().filter(|one| one.location.is_none()).count(),
        found,
    }
}

/// A package URL without what follows the version: scanners differ in it.
fn plain(purl: &str) -> &str {
    purl.split(['?', '#']).next().unwrap_or(purl)
}

/// By URL, else by name and version. Databases of distributions speak of source packages, whose binaries may have been rebuilt.
fn is_of(found: &Found, package: &Package) -> bool {
    if found.purl.as_deref().is_some_and(|purl| plain(purl) == plain(&package.purl)) {
        return true;
    }
    let named = found.package == package.name || package.source.as_ref() == Some(&found.package);
    let rebuilt = |rest: &str| rest.strip_prefix("+b").is_some_and(|n| n.bytes().all(|byte| byte.is_ascii_digit()));
    named
        && (package.version.trim_start_matches('v') == found.version.trim_start_matches('v')
            || package.version.trim_start_matches("go") == found.version
            || package.version.strip_prefix(found.version.as_str()).is_some_and(rebuilt))
}

fn is_about(statement: &Statement, found: &Found, package: Option<&Package>) -> bool {
    let named = statement.ids.iter().any(|id| *id == found.id || found.aliases.contains(id));
    let purls = || found.purl.iter().map(String::as_str).chain(package.map(|package| package.purl.as_str()));
    let has_purl = |stated: &String| {
        // Without a version it is about all versions; an image's own URL is about everything in it.
        purls().any(|purl| plain(purl) == plain(stated) || plain(purl).split('@').next() == Some(plain(stated)))
            || stated.starts_with("pkg:oci/")
            || stated.starts_with("pkg:docker/")
    };
    named && (statement.packages.is_empty() || statement.packages.iter().any(has_purl))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::packages::Kind;

    fn package(name: &str, version: &str, source: Option<&str>) -> Package {
        Package {
            name: name.into(),
            version: version.into(),
            kind: Kind::Deb,
            purl: format!("pkg:deb/debian/{name}@{version}?arch=amd64"),
            licences: vec![],
            location: "/var/lib/dpkg/status".into(),
            layer: 1,
            source: source.map(str::to_owned),
        }
    }

    #[test]
    fn packages_are_found_by_url_name_or_source() {
        let found = |package: &str, version: &str, purl: Option<&str>| Found {
            package: package.into(),
            version: version.into(),
            purl: purl.map(str::to_owned),
            ..Found::default()
        };
        let libc = package("libc6", "2.36-9+b1", Some("glibc"));
        assert!(is_of(&found("glibc", "2.36-9", None), &libc));
        assert!(is_of(&found("libc6", "2.36-9+b1", None), &libc));
        assert!(is_of(&found("x", "", Some("pkg:deb/debian/libc6@2.36-9+b1?distro=debian-12")), &libc));
        assert!(!is_of(&found("libc6", "2.36-8", None), &libc));
        assert!(!is_of(&found("glibc", "2.36", None), &libc), "not a rebuild of it");
    }
}
