//! Compose files: one of their services as docker would start it.

use std::collections::BTreeMap;

use super::{ManifestError, Settings};

/// What one service of a file is to be.
///
/// # Errors
///
/// [`ManifestError`].
pub fn read(
    _text: &str,
    _choice: Option<&str>,
    _variables: &BTreeMap<String, String>,
) -> Result<Settings, ManifestError> {
    Err(ManifestError::Nothing("soon".to_owned()))
}
