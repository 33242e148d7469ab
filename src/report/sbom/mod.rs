//! A list of packages in the two forms that other tools read.
//!
//! The crates `cyclonedx-bom` and `spdx-rs` bring some 50 and 40 crates, among them an XML writer and a graph library, for two
//! documents that are only written here, with a dozen fields each. `tests/compare.rs` checks both against the published schemas.

mod cyclonedx;
mod spdx;

use std::fmt::Write as _;
use std::time::SystemTime;

use crate::digest::Digest;
use crate::inventory::Release;
use crate::inventory::packages::Package;

/// What a list of packages is about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The image, as it was written.
    pub reference: &'a str,
    /// The digest of its manifest or configuration.
    pub digest: Option<&'a str>,
    /// Its distribution.
    pub release: &'a Release,
    /// Its packages.
    pub packages: &'a [Package],
    /// When it was looked at.
    pub at: SystemTime,
}

/// A form of such a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `CycloneDX` 1.5, JSON: <https://cyclonedx.org/docs/1.5/json/>.
    CycloneDx,
    /// SPDX 2.3, JSON: <https://spdx.github.io/spdx-spec/v2.3/>.
    Spdx,
}

/// Writes it.
pub fn render(subject: &Subject, form: Form) -> String {
    match form {
        Form::CycloneDx => super::json::page(&cyclonedx::document(subject)),
        Form::Spdx => super::json::page(&spdx::document(subject)),
    }
}

impl Subject<'_> {
    /// To the second, as both forms want it.
    fn time(&self) -> String {
        humantime::format_rfc3339_seconds(self.at).to_string()
    }

    /// A UUID that depends on the image and its packages only (RFC 9562, version 8).
    fn uuid(&self) -> String {
        let mut text = format!("{}\n{}\n", self.reference, self.digest.unwrap_or_default());
        for package in self.packages {
            let _ = writeln!(text, "{} {}", package.purl, package.location);
        }
        let digest = Digest::sha256(text.as_bytes());
        let hex = digest.hex();
        format!("{}-{}-8{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
    }
}
