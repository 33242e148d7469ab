//! What a first try gets wrong, and what was meant.

use std::io;
use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::store::StoreError;

/// What can be done about a store that cannot be written to; nothing for other errors.
pub(super) fn hint(error: &anyhow::Error) -> &'static str {
    if !error.chain().any(|cause| cause.is::<StoreError>()) {
        return "";
    }
    match error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind) {
        Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            "\n  hint: `austere store gc --unused` makes room; --store DIR or AUSTERE_STORE names another place"
        }
        Some(io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotFound) => {
            "\n  hint: --store DIR or AUSTERE_STORE names another place for unpacked layers"
        }
        _ => "",
    }
}

/// What to say instead of clap's own words; nothing for other errors.
pub(super) fn explain(error: &clap::Error) -> Option<String> {
    let value = |kind| match error.get(kind) {
        Some(ContextValue::String(value)) => Some(value.as_str()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let word = value(ContextKind::InvalidSubcommand)?;
            let is_image = word.contains([':', '/']) || Path::new(word).exists();
            is_image.then(|| format!("`{word}` is no command\n  hint: austere verify {word}"))
        }
        ErrorKind::UnknownArgument => {
            let word = value(ContextKind::InvalidArg)?;
            // A command with a second image has nothing to do with this, and a flag may be misspelled.
            let has_arguments = error.to_string().contains("[-- <ARGS>...]");
            (has_arguments && !word.starts_with('-')).then(|| {
                format!(
                    "`{word}` would be an argument for the image's entrypoint, and those follow `--`\n  \
                     hint: put -- before it; docker has no such mark"
                )
            })
        }
        _ => None,
    }
}
