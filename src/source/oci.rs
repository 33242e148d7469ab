//! OCI image layouts: index, nested indexes, manifest, configuration.
//!
//! Source: OCI image-spec v1.1, `image-layout.md`; tags as in containers-transports(5).

use super::holder::Holder;
use super::{Found, SourceError};
use crate::image::config::ConfigFile;
use crate::image::manifest::{self, Descriptor, Document};
use crate::image::{Image, ImageError, Layer};
use crate::platform::Platform;

/// Indexes may point at indexes, but not for ever.
const DEPTH_MAX: usize = 4;
/// Indexes and manifests that are read before giving up.
const DOCUMENTS_MAX: usize = 256;

pub(super) fn open(holder: &Holder, tag: Option<&str>, wanted: &Platform) -> Result<Found, SourceError> {
    let document = |source| SourceError::Document { path: holder.path(), source };
    let bytes = holder.document("index.json")?;
    let mut roots = manifest::index(&bytes).map_err(document)?;
    roots.retain(|root| !root.attached);
    let names = names(&roots);
    if let Some(tag) = tag {
        roots.retain(|root| root.name.as_deref() == Some(tag));
        if roots.is_empty() {
            return Err(SourceError::NoTag { path: holder.path(), wanted: tag.to_owned(), there: names });
        }
    } else if roots.len() > 1 && !one_image(&roots) {
        return Err(SourceError::WhichOne { path: holder.path(), there: names });
    }
    if roots.is_empty() {
        return Err(SourceError::NotAnImage { path: holder.path(), why: "its index.json lists no image".to_owned() });
    }
    find(holder, &roots, wanted)
}

/// The first image for `wanted` among what `roots` point at.
pub(super) fn find(holder: &Holder, roots: &[Descriptor], wanted: &Platform) -> Result<Found, SourceError> {
    let mut search = Search { holder, wanted, seen: Vec::new(), read: 0 };
    match search.first_of(roots, 0)? {
        Some(found) => Ok(found),
        None => Err(SourceError::Platform { wanted: wanted.clone(), there: search.there() }),
    }
}

/// Whether several entries are one image for several platforms.
fn one_image(roots: &[Descriptor]) -> bool {
    roots.iter().all(|root| root.platform.is_some() && root.name == roots[0].name)
}

fn names(roots: &[Descriptor]) -> String {
    let names: Vec<&str> = roots.iter().filter_map(|root| root.name.as_deref()).collect();
    if names.is_empty() { "no tags".to_owned() } else { names.join(", ") }
}

struct Search<'a> {
    holder: &'a Holder,
    wanted: &'a Platform,
    seen: Vec<String>,
    read: usize,
}

impl Search<'_> {
    fn there(&mut self) -> String {
        self.seen.sort();
        self.seen.dedup();
        if self.seen.is_empty() { "no platform at all".to_owned() } else { self.seen.join(", ") }
    }

    fn first_of(&mut self, descriptors: &[Descriptor], depth: usize) -> Result<Option<Found>, SourceError> {
        for descriptor in descriptors.iter().filter(|descriptor| !descriptor.attached) {
            match &descriptor.platform {
                Some(platform) if !platform.satisfies(self.wanted) => self.seen.push(platform.to_string()),
                _ => {
                    if let Some(found) = self.image(descriptor, depth)? {
                        return Ok(Some(found));
                    }
                }
            }
        }
        Ok(None)
    }

    fn image(&mut self, descriptor: &Descriptor, depth: usize) -> Result<Option<Found>, SourceError> {
        self.read += 1;
        if depth > DEPTH_MAX || self.read > DOCUMENTS_MAX {
            let why = "its indexes are nested too deeply or are too many".to_owned();
            return Err(SourceError::NotAnImage { path: self.holder.path(), why });
        }
        let path = self.holder.path();
        let document = |source| SourceError::Document { path: path.clone(), source };
        // A descriptor of unknown type is refused before its blob is looked for.
        if !descriptor.is_index() && !descriptor.is_manifest() {
            return Err(document(manifest::document(descriptor, b"").err().unwrap_or_else(|| unusable("no manifest"))));
        }
        let bytes = self.holder.checked(descriptor)?;
        let (config, layers) = match manifest::document(descriptor, &bytes).map_err(document)? {
            Document::Index(children) => return self.first_of(&children, depth + 1),
            Document::Manifest { config, layers } => (config, layers),
        };
        if !matches!(
            config.media_type.as_str(),
            "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json"
        ) {
            return Err(document(unusable(&format!("it describes a `{}`, not a container image", config.media_type))));
        }
        let file = ConfigFile::parse(&self.holder.checked(&config)?).map_err(document)?;
        let platform = file.platform.clone().or_else(|| descriptor.platform.clone()).unwrap_or_else(Platform::host);
        if !platform.satisfies(self.wanted) {
            self.seen.push(platform.to_string());
            return Ok(None);
        }
        if file.diff_ids.len() != layers.len() {
            let why = format!("{} layers, but the configuration names {}", layers.len(), file.diff_ids.len());
            return Err(document(unusable(&why)));
        }
        let mut parts = Vec::new();
        let mut listed = Vec::new();
        for (index, (layer, diff_id)) in layers.iter().zip(&file.diff_ids).enumerate() {
            listed.push(Layer {
                digest: Some(layer.digest.clone()),
                diff_id: diff_id.clone(),
                size: layer.size,
                compression: layer.compression().map_err(document)?,
                created_by: file.created_by.get(index).cloned().flatten(),
            });
            parts.push(vec![self.holder.layer(layer)?]);
        }
        let image = Image {
            manifest_digest: Some(descriptor.digest.clone()),
            config_digest: Some(config.digest),
            platform,
            config: file.config,
            layers: listed,
        };
        Ok(Some((image, parts)))
    }
}

fn unusable(why: &str) -> ImageError {
    ImageError::Invalid { document: "image manifest", why: why.to_owned() }
}
