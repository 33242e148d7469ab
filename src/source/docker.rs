//! What `docker save` writes, before and since version 25.
//!
//! `manifest.json` names the configuration and the layers by their names in the archive; older versions name `ID/layer.tar`,
//! which may be a link, newer ones `blobs/sha256/HEX`.
//!
//! Source: Docker Image Specification v1.2, "Combined Image JSON + Filesystem Changeset Format".

use serde::Deserialize;

use super::holder::Holder;
use super::{Found, SourceError};
use crate::digest::Digest;
use crate::image::config::ConfigFile;
use crate::image::{Compression, Image, ImageError, Layer};
use crate::platform::Platform;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

pub(super) fn open(holder: &Holder, tag: Option<&str>, wanted: &Platform) -> Result<Found, SourceError> {
    open_with_config(holder, tag, wanted).map(|(found, _)| found)
}

/// The image, and the bytes of its configuration.
pub(super) fn open_with_config(
    holder: &Holder,
    tag: Option<&str>,
    wanted: &Platform,
) -> Result<(Found, Vec<u8>), SourceError> {
    let path = holder.path();
    let document = |source| SourceError::Document { path: path.clone(), source };
    let invalid = |why: String| document(ImageError::Invalid { document: "manifest.json", why });
    let bytes = holder.document("manifest.json")?;
    let entries: Vec<Entry> = serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
    let entry = choose(holder, &entries, tag)?;
    let config_bytes = holder.document(&entry.config)?;
    let config_digest = Digest::sha256(&config_bytes);
    if digest_in_name(&entry.config).is_some_and(|named| named != config_digest) {
        return Err(SourceError::Blob {
            path,
            name: entry.config.clone(),
            why: format!("has the digest {config_digest}"),
        });
    }
    let file = ConfigFile::parse(&config_bytes).map_err(document)?;
    let platform = file.platform.clone().unwrap_or_else(Platform::host);
    if !platform.satisfies(wanted) {
        return Err(SourceError::Platform { wanted: wanted.clone(), there: platform.to_string() });
    }
    if file.diff_ids.len() != entry.layers.len() {
        let why = format!("{} layers, but the configuration names {}", entry.layers.len(), file.diff_ids.len());
        return Err(invalid(why));
    }
    let mut parts = Vec::new();
    let mut layers = Vec::new();
    for (index, (name, diff_id)) in entry.layers.iter().zip(&file.diff_ids).enumerate() {
        let part = holder.part(name)?;
        layers.push(Layer {
            digest: name.starts_with("blobs/").then(|| digest_in_name(name)).flatten(),
            diff_id: diff_id.clone(),
            size: part.size(),
            compression: Compression::ByContent,
            created_by: file.created_by.get(index).cloned().flatten(),
        });
        parts.push(vec![part]);
    }
    let image =
        Image { manifest_digest: None, config_digest: Some(config_digest), platform, config: file.config, layers };
    Ok(((image, parts), config_bytes))
}

fn choose<'a>(holder: &Holder, entries: &'a [Entry], tag: Option<&str>) -> Result<&'a Entry, SourceError> {
    let tags = || entries.iter().flat_map(|entry| entry.repo_tags.iter().flatten());
    let all: Vec<&str> = tags().map(String::as_str).collect();
    let there = if all.is_empty() { "no tags".to_owned() } else { all.join(", ") };
    let Some(tag) = tag else {
        return match entries {
            [only] => Ok(only),
            [] => Err(SourceError::NotAnImage { path: holder.path(), why: "its manifest.json is empty".to_owned() }),
            _ => Err(SourceError::WhichOne { path: holder.path(), there }),
        };
    };
    let by_number = tag.strip_prefix('@').and_then(|text| text.parse::<usize>().ok());
    let found = match by_number {
        Some(number) => entries.get(number),
        None => entries.iter().find(|entry| entry.repo_tags.iter().flatten().any(|name| full(name) == full(tag))),
    };
    found.ok_or_else(|| SourceError::NoTag { path: holder.path(), wanted: tag.to_owned(), there })
}

/// The name with what Docker leaves out: registry, `library/`, `:latest`.
fn full(name: &str) -> String {
    let (path, tag) = match name.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, tag),
        _ => (name, "latest"),
    };
    let registry = path.split_once('/').is_some_and(|(host, _)| host == "localhost" || host.contains(['.', ':']));
    match (registry, path.contains('/')) {
        (true, _) => format!("{path}:{tag}"),
        (false, true) => format!("docker.io/{path}:{tag}"),
        (false, false) => format!("docker.io/library/{path}:{tag}"),
    }
}

/// `HEX.json` and `blobs/sha256/HEX` promise a digest.
fn digest_in_name(name: &str) -> Option<Digest> {
    let last = name.rsplit('/').next()?;
    let hex = last.strip_suffix(".json").unwrap_or(last);
    format!("sha256:{hex}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::full;

    #[test]
    fn short_names_are_dockers_full_names() {
        assert_eq!(full("nginx"), "docker.io/library/nginx:latest");
        assert_eq!(full("docker.io/library/nginx:latest"), full("nginx:latest"));
        assert_eq!(full("me/app:1"), "docker.io/me/app:1");
        assert_eq!(full("localhost:5000/app"), "localhost:5000/app:latest");
    }
}
