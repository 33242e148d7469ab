//! Package URLs.
//!
//! Source: <https://github.com/package-url/purl-spec>, `purl-types`.

use packageurl::PackageUrl;

/// Puts a package URL together; what the specification does not allow in one gives an empty text.
pub(super) fn of(kind: &str, namespace: &str, name: &str, version: &str, qualifiers: &[(&str, &str)]) -> String {
    let build = || -> Option<String> {
        let mut url = PackageUrl::new(kind.to_owned(), name.to_owned()).ok()?;
        if !namespace.is_empty() {
            url.with_namespace(namespace.to_owned()).ok()?;
        }
        if !version.is_empty() {
            url.with_version(version.to_owned()).ok()?;
        }
        for (key, value) in qualifiers.iter().filter(|(_, value)| !value.is_empty()) {
            url.add_qualifier((*key).to_owned(), (*value).to_owned()).ok()?;
        }
        Some(url.to_string())
    };
    build().unwrap_or_default()
}
