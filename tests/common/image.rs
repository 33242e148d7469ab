//! Small images, made without network and without committed binaries: layers with `tar::Builder`, then the documents around
//! them in each form that austere reads.
//!
//! Use it as `#[path = "common/image.rs"] mod image;`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(dead_code, reason = "each test crate uses a part of it")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use austere::digest::Digest;
use serde_json::{Value, json};

/// The time that entries have unless they say otherwise.
pub const MTIME: u64 = 1_600_000_000;

/// One layer's tar.
pub struct Layer(tar::Builder<Vec<u8>>);

impl Layer {
    pub fn new() -> Self {
        Layer(tar::Builder::new(Vec::new()))
    }

    fn header(kind: tar::EntryType, mode: u32, uid: u64, gid: u64, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(uid);
        header.set_gid(gid);
        header.set_size(size);
        header.set_mtime(MTIME);
        header
    }

    pub fn dir(self, path: &str, mode: u32) -> Self {
        self.dir_of(path, mode, 0, 0)
    }

    pub fn dir_of(self, path: &str, mode: u32, uid: u64, gid: u64) -> Self {
        let header = Self::header(tar::EntryType::Directory, mode, uid, gid, 0);
        self.raw(path.as_bytes(), b"", header, b"")
    }

    pub fn file(self, path: &str, mode: u32, data: impl AsRef<[u8]>) -> Self {
        self.file_of(path, mode, 0, 0, data)
    }

    pub fn file_of(self, path: &str, mode: u32, uid: u64, gid: u64, data: impl AsRef<[u8]>) -> Self {
        let data = data.as_ref();
        let header = Self::header(tar::EntryType::Regular, mode, uid, gid, data.len() as u64);
        self.raw(path.as_bytes(), b"", header, data)
    }

    pub fn symlink(self, path: &str, target: &str) -> Self {
        let header = Self::header(tar::EntryType::Symlink, 0o777, 0, 0, 0);
        self.raw(path.as_bytes(), target.as_bytes(), header, b"")
    }

    pub fn hardlink(self, path: &str, target: &str) -> Self {
        let header = Self::header(tar::EntryType::Link, 0o644, 0, 0, 0);
        self.raw(path.as_bytes(), target.as_bytes(), header, b"")
    }

    pub fn fifo(self, path: &str) -> Self {
        self.raw(path.as_bytes(), b"", Self::header(tar::EntryType::Fifo, 0o644, 0, 0, 0), b"")
    }

    pub fn device(self, path: &str, major: u32, minor: u32) -> Self {
        let mut header = Self::header(tar::EntryType::Char, 0o666, 0, 0, 0);
        header.set_device_major(major).unwrap();
        header.set_device_minor(minor).unwrap();
        self.raw(path.as_bytes(), b"", header, b"")
    }

    /// Removes `path` of the layers below.
    pub fn whiteout(self, path: &str) -> Self {
        let (dir, name) = path.rsplit_once('/').map_or(("", path), |(dir, name)| (dir, name));
        let slash = if dir.is_empty() { "" } else { "/" };
        self.file(&format!("{dir}{slash}.wh.{name}"), 0o644, "")
    }

    /// Removes everything in `dir` of the layers below.
    pub fn opaque(self, dir: &str) -> Self {
        self.file(&format!("{dir}/.wh..wh..opq"), 0o644, "")
    }

    /// An extended header for the next entry.
    pub fn pax(mut self, records: &[(&str, &[u8])]) -> Self {
        self.0.append_pax_extensions(records.iter().copied()).unwrap();
        self
    }

    /// Any entry at all: name and link go into the header as they are, and the data need not be as long as the header says.
    pub fn raw(mut self, name: &[u8], link: &[u8], mut header: tar::Header, data: &[u8]) -> Self {
        let old = header.as_old_mut();
        assert!(name.len() <= old.name.len() && link.len() <= old.linkname.len(), "use pax for long names");
        old.name[..name.len()].copy_from_slice(name);
        old.linkname[..link.len()].copy_from_slice(link);
        header.set_cksum();
        let out = self.0.get_mut();
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(data);
        out.resize(out.len().next_multiple_of(512), 0);
        self
    }

    /// The tar, with its end.
    pub fn tar(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// How a layer is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    Plain,
    Gzip,
    /// Two gzip members, cut in the middle.
    GzipMembers,
    Zstd,
}

impl Stored {
    fn media_type(self) -> &'static str {
        match self {
            Stored::Plain => "application/vnd.oci.image.layer.v1.tar",
            Stored::Gzip | Stored::GzipMembers => "application/vnd.oci.image.layer.v1.tar+gzip",
            Stored::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }

    pub fn store(self, tar: &[u8]) -> Vec<u8> {
        let gzip = |bytes: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        match self {
            Stored::Plain => tar.to_vec(),
            Stored::Gzip => gzip(tar),
            Stored::GzipMembers => [gzip(&tar[..tar.len() / 2]), gzip(&tar[tar.len() / 2..])].concat(),
            Stored::Zstd => ruzstd::encoding::compress_to_vec(tar, ruzstd::encoding::CompressionLevel::Fastest),
        }
    }
}

/// An image to be written; fields may be bent before it is.
pub struct Image {
    pub layers: Vec<(Vec<u8>, Stored)>,
    /// The `config` section of the configuration.
    pub config: Value,
    pub architecture: String,
    /// The tag.
    pub name: Option<String>,
    /// Used instead of the first layer's media type.
    pub media_type: Option<String>,
    /// Used instead of the first layer's diffID.
    pub diff_id: Option<Digest>,
}

impl Image {
    pub fn new() -> Self {
        let architecture = austere::platform::Platform::host().architecture;
        Image { layers: Vec::new(), config: json!({}), architecture, name: None, media_type: None, diff_id: None }
    }

    /// An image of one plain layer.
    pub fn of(layer: Layer) -> Self {
        Image::new().layer(layer, Stored::Plain)
    }

    pub fn layer(mut self, layer: Layer, stored: Stored) -> Self {
        self.layers.push((layer.tar(), stored));
        self
    }

    pub fn config(mut self, config: Value) -> Self {
        self.config = config;
        self
    }

    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    pub fn architecture(mut self, architecture: &str) -> Self {
        architecture.clone_into(&mut self.architecture);
        self
    }

    fn config_file(&self) -> Vec<u8> {
        let mut diff_ids: Vec<_> = self.layers.iter().map(|(tar, _)| Digest::sha256(tar)).collect();
        if let Some(diff_id) = &self.diff_id {
            diff_ids[0] = diff_id.clone();
        }
        let diff_ids: Vec<_> = diff_ids.iter().map(ToString::to_string).collect();
        let file = json!({
            "architecture": self.architecture, "os": "linux", "config": self.config,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        file.to_string().into_bytes()
    }

    /// Writes an OCI layout, or adds the image to the one that is there.
    pub fn oci_dir(&self, dir: &Path) -> PathBuf {
        let mut layers = Vec::new();
        for (tar, stored) in &self.layers {
            layers.push(blob(dir, stored.media_type(), &stored.store(tar)));
        }
        if let Some(media_type) = &self.media_type {
            layers[0]["mediaType"] = json!(media_type);
        }
        let config = blob(dir, "application/vnd.oci.image.config.v1+json", &self.config_file());
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers });
        let mut entry = blob(dir, "application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes());
        if let Some(name) = &self.name {
            entry["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        }
        add(dir, entry);
        dir.to_owned()
    }

    /// Writes an OCI layout as one tar file.
    pub fn oci_archive(&self, file: &Path) -> PathBuf {
        let dir = tempfile::tempdir().unwrap();
        self.oci_dir(dir.path());
        archive_of(dir.path(), file)
    }

    /// What `docker save` wrote before version 25: `ID/layer.tar`, the second and later ones as links.
    pub fn docker_archive(&self, file: &Path) -> PathBuf {
        let mut archive = tar::Builder::new(fs::File::create(file).unwrap());
        let mut names = Vec::new();
        for (number, (tar, stored)) in self.layers.iter().enumerate() {
            let name = format!("{number:064}/layer.tar");
            append(&mut archive, &format!("{number:064}/VERSION"), b"1.0");
            append(&mut archive, &format!("{number:064}.tar"), &stored.store(tar));
            let header = Layer::header(tar::EntryType::Symlink, 0o777, 0, 0, 0);
            archive.append_link(&mut header.clone(), &name, format!("../{number:064}.tar")).unwrap();
            names.push(name);
        }
        let config = self.config_file();
        let config_name = format!("{}.json", Digest::sha256(&config).hex());
        append(&mut archive, &config_name, &config);
        let tags: Vec<_> = self.name.iter().collect();
        let manifest = json!([{ "Config": config_name, "RepoTags": tags, "Layers": names }]);
        append(&mut archive, "manifest.json", manifest.to_string().as_bytes());
        archive.finish().unwrap();
        file.to_owned()
    }

    /// What `docker save` writes since version 25: an OCI layout with a `manifest.json` beside it.
    pub fn docker_archive_25(&self, file: &Path) -> PathBuf {
        let dir = tempfile::tempdir().unwrap();
        self.oci_dir(dir.path());
        let name = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::sha256(bytes).hex());
        let layers: Vec<_> = self.layers.iter().map(|(tar, stored)| name(&stored.store(tar))).collect();
        let tags: Vec<_> = self.name.iter().collect();
        let manifest = json!([{ "Config": name(&self.config_file()), "RepoTags": tags, "Layers": layers }]);
        fs::write(dir.path().join("manifest.json"), manifest.to_string()).unwrap();
        archive_of(dir.path(), file)
    }
}

/// Puts a blob into a layout and gives its descriptor.
pub fn blob(dir: &Path, media_type: &str, bytes: &[u8]) -> Value {
    let digest = Digest::sha256(bytes);
    fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
    fs::write(dir.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
    json!({ "mediaType": media_type, "digest": digest.to_string(), "size": bytes.len() })
}

/// Adds a descriptor to a layout's `index.json`, which is made if need be.
pub fn add(dir: &Path, descriptor: Value) {
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let mut index = index(dir).unwrap_or_else(|| json!({ "schemaVersion": 2, "manifests": [] }));
    index["manifests"].as_array_mut().unwrap().push(descriptor);
    fs::write(dir.join("index.json"), index.to_string()).unwrap();
}

/// A layout's `index.json`.
pub fn index(dir: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(dir.join("index.json")).ok()?).ok()
}

/// Packs a layout into a tar file.
pub fn archive_of(dir: &Path, file: &Path) -> PathBuf {
    let mut archive = tar::Builder::new(fs::File::create(file).unwrap());
    archive.append_dir_all(".", dir).unwrap();
    archive.finish().unwrap();
    file.to_owned()
}

fn append(archive: &mut tar::Builder<fs::File>, name: &str, bytes: &[u8]) {
    let mut header = Layer::header(tar::EntryType::Regular, 0o644, 0, 0, bytes.len() as u64);
    archive.append_data(&mut header, name, bytes).unwrap();
}
