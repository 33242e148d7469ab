//! Images of registries.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::holder::Holder;
use super::remembered::{Note, Place, Pulled};
use super::{Found, Options, Pull, SourceError, oci};
use crate::digest::{Digest, Hasher};
use crate::image::manifest::Descriptor;
use crate::platform::Platform;
use crate::reference::ImageName;
use crate::registry::{Blob, Fetched, Kind, Registry, RegistryError};

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A repository, with the documents of it that were read.
pub(super) struct Remote {
    registry: Arc<Registry>,
    /// Whether it may be asked for anything.
    allowed: bool,
    kept: RefCell<BTreeMap<Digest, Vec<u8>>>,
}

impl Remote {
    /// What the repository is called, for a person.
    pub(super) fn name(&self) -> String {
        self.registry.name().to_string()
    }

    /// The document that a descriptor points at, unchecked.
    pub(super) fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        if let Some(bytes) = self.kept.borrow().get(&descriptor.digest) {
            return Ok(bytes.clone());
        }
        if !self.allowed {
            return Err(SourceError::NotPulled { name: self.name() });
        }
        let is_manifest = descriptor.is_index() || descriptor.is_manifest();
        let kind = if is_manifest { Kind::Manifest } else { Kind::Blob };
        let fetched = self.registry.document(kind, &descriptor.digest.to_string())?;
        self.kept.borrow_mut().insert(descriptor.digest.clone(), fetched.bytes.clone());
        Ok(fetched.bytes)
    }

    /// The blob that a descriptor points at. It is fetched by who reads it.
    pub(super) fn blob(&self, descriptor: &Descriptor) -> Blob {
        Blob {
            registry: Arc::clone(&self.registry),
            digest: descriptor.digest.clone(),
            size: descriptor.size,
            allowed: self.allowed,
        }
    }

    fn take(&self, digest: Option<&Digest>) -> Option<Vec<u8>> {
        self.kept.borrow_mut().remove(digest?)
    }
}

/// Finds the image `name`: in what was noted of it before, or in its registry. The note is for when its layers were all right.
pub(super) fn open(
    name: &ImageName,
    options: &Options,
    wanted: &Platform,
) -> Result<(Found, Option<Pulled>), SourceError> {
    let registry = Arc::new(Registry::new(name.clone(), &options.access)?);
    let place = options.store.as_ref().map(|store| Place::new(store, name, wanted));
    let remote = |kept: BTreeMap<Digest, Vec<u8>>| {
        let allowed = options.pull != Pull::Never;
        Holder::remote(Remote { registry: Arc::clone(&registry), allowed, kept: RefCell::new(kept) })
    };
    if options.pull != Pull::Always
        && let Some(note) = place.as_ref().and_then(Place::read)
        // A note that makes no sense any more is as good as none.
        && let Some((descriptor, kept)) = noted(note)
        && let Ok(found) = oci::find(&remote(kept), &[descriptor], wanted)
    {
        return Ok((found, None));
    }
    if options.pull == Pull::Never {
        return Err(SourceError::NotPulled { name: name.to_string() });
    }
    let fetched = registry.document(Kind::Manifest, &name.target())?;
    let descriptor = described(&fetched, name.digest.as_ref())?;
    let media_type = descriptor.media_type.clone();
    let holder = remote(BTreeMap::from([(descriptor.digest.clone(), fetched.bytes)]));
    let found = oci::find(&holder, &[descriptor], wanted)?;
    let pulled = place.zip(holder.as_remote()).and_then(|(place, remote)| {
        let (image, _) = &found;
        let manifest = remote.take(image.manifest_digest.as_ref())?;
        let config = remote.take(image.config_digest.as_ref())?;
        // An index is not noted: the manifest that was chosen is, and it says itself what it is, or is what was asked for.
        let media_type = declared(&manifest).or(Some(media_type)).filter(|kind| kind != OCI_INDEX);
        let note = place.note(media_type.unwrap_or_else(|| OCI_MANIFEST.to_owned()), manifest, config)?;
        Some(Pulled { note, place })
    });
    Ok((found, pulled))
}

/// The descriptor of a noted manifest, and its documents.
fn noted(note: Note) -> Option<(Descriptor, BTreeMap<Digest, Vec<u8>>)> {
    let (manifest, config) = (note.manifest.into_bytes(), note.config.into_bytes());
    let descriptor = plain(note.media_type, note.digest.parse().ok()?, manifest.len() as u64);
    let kept = [(descriptor.digest.clone(), manifest), (Digest::sha256(&config), config)];
    Some((descriptor, BTreeMap::from(kept)))
}

/// What a registry's answer to a reference is.
fn described(fetched: &Fetched, wanted: Option<&Digest>) -> Result<Descriptor, RegistryError> {
    let useless = |why: String| RegistryError::Useless { url: fetched.url.clone(), why };
    let digest = match wanted {
        Some(wanted) => {
            let mut hasher = Hasher::new(wanted.algorithm());
            hasher.update(&fetched.bytes);
            let found = hasher.finish();
            if found != *wanted {
                return Err(useless(format!("it has the digest {found}")));
            }
            found
        }
        None => Digest::sha256(&fetched.bytes),
    };
    let size = fetched.bytes.len() as u64;
    let said = plain(fetched.media_type.clone(), digest.clone(), size);
    if said.is_index() || said.is_manifest() {
        return Ok(said);
    }
    // Some registries say `application/json` or nothing; then the document itself is asked.
    let media_type = declared(&fetched.bytes).ok_or_else(|| {
        useless(format!("neither a manifest nor an index, but `{}`", fetched.media_type.escape_debug()))
    })?;
    let found = plain(media_type, digest, size);
    if found.is_index() || found.is_manifest() {
        return Ok(found);
    }
    Err(useless(format!("`{}` is not supported", found.media_type.escape_debug())))
}

/// What a document says of itself, or what its fields say.
fn declared(bytes: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Sketch {
        schema_version: Option<u32>,
        media_type: Option<String>,
        manifests: Option<serde::de::IgnoredAny>,
        layers: Option<serde::de::IgnoredAny>,
    }
    let sketch: Sketch = serde_json::from_slice(bytes).ok()?;
    match (sketch.media_type, sketch.schema_version) {
        (Some(media_type), _) if !media_type.is_empty() => Some(media_type),
        (_, Some(1)) => Some("application/vnd.docker.distribution.manifest.v1+json".to_owned()),
        _ if sketch.manifests.is_some() => Some(OCI_INDEX.to_owned()),
        _ if sketch.layers.is_some() => Some(OCI_MANIFEST.to_owned()),
        _ => None,
    }
}

fn plain(media_type: String, digest: Digest, size: u64) -> Descriptor {
    Descriptor { media_type, digest, size, platform: None, name: None, attached: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(media_type: &str, text: &str) -> Result<String, String> {
        let fetched = Fetched {
            bytes: text.into(),
            media_type: media_type.to_owned(),
            url: "http://r/v2/a/manifests/1".to_owned(),
        };
        described(&fetched, None).map(|found| found.media_type).map_err(|error| error.to_string())
    }

    #[test]
    fn what_the_registry_does_not_say_the_document_does() {
        assert_eq!(kind(OCI_MANIFEST, "{}").unwrap(), OCI_MANIFEST);
        assert_eq!(kind("application/json", r#"{"layers":[]}"#).unwrap(), OCI_MANIFEST);
        assert_eq!(kind("", r#"{"manifests":[]}"#).unwrap(), OCI_INDEX);
        let docker = "application/vnd.docker.distribution.manifest.v2+json";
        assert_eq!(kind("text/plain", &format!(r#"{{"mediaType":"{docker}"}}"#)).unwrap(), docker);
        assert!(kind("text/html", "<html>").unwrap_err().contains("text/html"));
        assert!(kind("", r#"{"schemaVersion":1,"fsLayers":[]}"#).unwrap_err().contains("manifest.v1"));
    }
}
