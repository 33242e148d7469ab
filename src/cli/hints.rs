//! What a first try gets wrong, and what was meant.

use std::io;
use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::source::SourceError;
use crate::store::StoreError;

/// What can be done about a file with a tag and without a kind, an engine that may not be asked, or a store that cannot be written to; nothing
/// for other errors.
pub(super) fn hint(error: &anyhow::Error) -> String {
    if let Some(SourceError::Read { path, .. }) = error.downcast_ref() {
        return path.to_str().and_then(tagged).unwrap_or_default();
    }
    let engine = match error.downcast_ref() {
        Some(SourceError::Nowhere { tried, .. }) => tried,
        Some(SourceError::EngineHasNone { why, .. }) => why,
        _ => "",
    };
    if engine.contains(".sock: Permission denied") {
        return "\n  hint: docker's socket is for root and the group docker: call austere with sudo, or `docker save` the image to a file"
            .to_owned();
    }
    if !error.chain().any(<dyn std::error::Error>::is::<StoreError>) {
        return String::new();
    }
    let foreign = error.chain().find_map(|cause| match cause.downcast_ref() {
        Some(StoreError::Io { path, source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
            path.ancestors().find(|at| at.ends_with("layers")).and_then(Path::parent)
        }
        _ => None,
    });
    if let Some(store) = foreign {
        let store = store.display();
        return format!(
            "\n  hint: somebody else unpacked there, such as root with AUSTERE_STORE of a user: `sudo austere store gc --unused --store {store}` \
             removes it, or --store DIR names another place"
        );
    }
    let hint = match error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind) {
        Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            "\n  hint: `austere store gc --unused` makes room; --store DIR or AUSTERE_STORE names another place"
        }
        Some(io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotFound) => {
            "\n  hint: --store DIR or AUSTERE_STORE names another place for unpacked layers"
        }
        _ => "",
    };
    hint.to_owned()
}

/// What was meant by the name of a file that exists, followed by a tag.
fn tagged(word: &str) -> Option<String> {
    let (file, tag) = word.split_once(':').filter(|(file, _)| Path::new(file).exists())?;
    let kinds: &[&str] = if Path::new(file).is_dir() { &["oci"] } else { &["docker-archive", "oci-archive"] };
    let meant: Vec<_> = kinds.iter().map(|kind| format!("{kind}:{file}:{tag}")).collect();
    Some(format!("\n  hint: beside a tag the kind has to be said: {}", meant.join(" or ")))
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
            // Some commands have no arguments to hand on, and a flag may be misspelled.
            let has_arguments = error.to_string().contains("-- <ARGS>...");
            (has_arguments && !word.starts_with('-')).then(|| {
                format!("`{word}` is one word too many\n  hint: arguments for the image's entrypoint follow --: IMAGE -- {word}")
            })
        }
        ErrorKind::ValueValidation => {
            let word = value(ContextKind::InvalidArg)
                .filter(|arg| arg.contains("IMAGE"))
                .and(value(ContextKind::InvalidValue))?;
            let hint = tagged(word)?;
            Some(format!("`{word}` is no file{hint}"))
        }
        _ => None,
    }
}
