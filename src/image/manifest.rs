//! Indexes and manifests, in OCI's and in Docker's media types.
//!
//! Source: OCI image-spec v1.1, `image-index.md`, `manifest.md`, `layer.md`; Docker Image Manifest V2, Schema 2.

use oci_spec::image::{Descriptor as Raw, ImageIndex, ImageManifest};

use super::{Compression, ImageError};
use crate::digest::Digest;
use crate::platform::Platform;

/// The annotation that carries the tag in a layout's `index.json`.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Marks what build tools attach to an image: provenance, an inventory.
const ATTACHED: &str = "vnd.docker.reference.type";

/// A pointer to a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// What the blob is.
    pub media_type: String,
    /// What it must hash to.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// What it was built for, where the index says so.
    pub platform: Option<Platform>,
    /// Its tag, where it has one.
    pub name: Option<String>,
    /// Whether it describes another image and is none itself.
    pub attached: bool,
}

/// What a manifest descriptor may point at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// Several images, one a platform.
    Index(Vec<Descriptor>),
    /// One image.
    Manifest {
        /// The image configuration.
        config: Descriptor,
        /// Base first.
        layers: Vec<Descriptor>,
    },
}

impl Descriptor {
    /// Whether it points at an index.
    pub fn is_index(&self) -> bool {
        matches!(
            self.media_type.as_str(),
            "application/vnd.oci.image.index.v1+json" | "application/vnd.docker.distribution.manifest.list.v2+json"
        )
    }

    /// Whether it points at a manifest.
    pub fn is_manifest(&self) -> bool {
        matches!(
            self.media_type.as_str(),
            "application/vnd.oci.image.manifest.v1+json" | "application/vnd.docker.distribution.manifest.v2+json"
        )
    }

    /// How the layer it points at is compressed.
    ///
    /// # Errors
    ///
    /// [`ImageError::LayerType`] for what is no layer, and for layers whose bytes lie elsewhere ("foreign").
    pub fn compression(&self) -> Result<Compression, ImageError> {
        let kind = self.media_type.as_str();
        let refused = |why: &str| ImageError::LayerType(format!("layer {} {why} `{kind}`", self.digest));
        if kind.contains("nondistributable") || kind.contains("foreign") {
            return Err(refused("is not part of the image: its type is"));
        }
        let rest = kind
            .strip_prefix("application/vnd.oci.image.layer.v1.tar")
            .or_else(|| kind.strip_prefix("application/vnd.docker.image.rootfs.diff.tar"));
        match rest {
            Some("") => Ok(Compression::None),
            Some("+gzip" | ".gzip") => Ok(Compression::Gzip),
            Some("+zstd" | ".zstd") => Ok(Compression::Zstd),
            _ => Err(refused("has the unknown media type")),
        }
    }

    fn from_raw(raw: &Raw) -> Result<Self, String> {
        let annotation = |key| raw.annotations().as_ref().and_then(|all| all.get(key)).cloned();
        let platform = raw.platform().as_ref().map(|platform| Platform {
            os: platform.os().to_string(),
            architecture: platform.architecture().to_string(),
            variant: platform.variant().clone().filter(|text| !text.is_empty()),
        });
        let unknown = platform.as_ref().is_some_and(|p| p.os == "unknown" && p.architecture == "unknown");
        Ok(Descriptor {
            media_type: raw.media_type().to_string(),
            digest: raw.digest().to_string().parse().map_err(|error| format!("{error}"))?,
            size: raw.size(),
            platform,
            name: annotation(REF_NAME),
            attached: unknown || annotation(ATTACHED).is_some(),
        })
    }
}

/// Reads a layout's `index.json`, or any other index.
///
/// # Errors
///
/// When the bytes are no index, or name a digest that cannot be checked.
pub fn index(bytes: &[u8]) -> Result<Vec<Descriptor>, ImageError> {
    let invalid = |why: String| ImageError::Invalid { document: "image index", why };
    let raw = serde_json::from_slice::<ImageIndex>(bytes).map_err(|error| invalid(error.to_string()))?;
    raw.manifests().iter().map(Descriptor::from_raw).collect::<Result<_, _>>().map_err(invalid)
}

/// Reads the blob that `descriptor` points at.
///
/// # Errors
///
/// When it is neither an index nor a manifest, by its media type or by its content.
pub fn document(descriptor: &Descriptor, bytes: &[u8]) -> Result<Document, ImageError> {
    if descriptor.is_index() {
        return index(bytes).map(Document::Index);
    }
    let invalid = |why: String| ImageError::Invalid { document: "image manifest", why };
    if !descriptor.is_manifest() {
        return Err(invalid(format!("{} has the unknown media type `{}`", descriptor.digest, descriptor.media_type)));
    }
    let raw = serde_json::from_slice::<ImageManifest>(bytes).map_err(|error| invalid(error.to_string()))?;
    let config = Descriptor::from_raw(raw.config()).map_err(invalid)?;
    let layers = raw.layers().iter().map(Descriptor::from_raw).collect::<Result<_, _>>().map_err(invalid)?;
    Ok(Document::Manifest { config, layers })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(media_type: &str) -> Descriptor {
        let text = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{media_type}","size":3,"digest":"{}",
                "annotations":{{"org.opencontainers.image.ref.name":"app:1"}}}}]}}"#,
            Digest::sha256(b"abc")
        );
        index(text.as_bytes()).unwrap().remove(0)
    }

    #[test]
    fn layer_types_of_both_families_are_known() {
        for (text, compression) in [
            ("application/vnd.oci.image.layer.v1.tar", Compression::None),
            ("application/vnd.oci.image.layer.v1.tar+zstd", Compression::Zstd),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", Compression::Gzip),
        ] {
            assert_eq!(descriptor(text).compression().unwrap(), compression);
        }
        for text in [
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            "application/wasm",
        ] {
            let error = descriptor(text).compression().unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn a_descriptor_keeps_its_name_and_digest() {
        let index = descriptor("application/vnd.oci.image.index.v1+json");
        assert!(index.is_index() && !index.is_manifest());
        assert_eq!((index.name.as_deref(), index.size), (Some("app:1"), 3));
    }

    #[test]
    fn what_is_neither_index_nor_manifest_is_refused() {
        let error = document(&descriptor("text/plain"), b"{}").unwrap_err().to_string();
        assert!(error.contains("text/plain"), "{error}");
        assert!(index(b"[]").is_err());
        assert!(document(&descriptor("application/vnd.oci.image.manifest.v1+json"), b"{").is_err());
    }
}
