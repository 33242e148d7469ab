//! An image as its manifest and configuration describe it.

pub mod config;
pub mod manifest;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::digest::Digest;
use crate::platform::Platform;

/// Bytes that are not the document they should be.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Not JSON, or JSON of another shape.
    #[error("{document} is not valid: {why}")]
    Invalid {
        /// `image index`, `image manifest`, `image configuration`, …
        document: &'static str,
        /// What is wrong, and where.
        why: String,
    },
    /// A layer in a form that austere does not unpack.
    #[error("{0}")]
    LayerType(String),
}

/// An image, whichever archive, layout or registry it lies in.
#[derive(Clone, Debug)]
pub struct Image {
    /// The digest of the manifest; a docker-archive and a rootfs have none.
    pub manifest_digest: Option<Digest>,
    /// The digest of the configuration, which names every layer by its content; a rootfs has none.
    pub config_digest: Option<Digest>,
    /// What the image was built for.
    pub platform: Platform,
    /// What to run, and how.
    pub config: Config,
    /// Base first.
    pub layers: Vec<Layer>,
}

/// One layer as the manifest lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The digest of the bytes as stored; a docker-archive does not say it.
    pub digest: Option<Digest>,
    /// The digest of the uncompressed tar.
    pub diff_id: Digest,
    /// Bytes as stored.
    pub size: u64,
    /// How the bytes are compressed.
    pub compression: Compression,
    /// The build step that made it, from the configuration's history.
    pub created_by: Option<String>,
}

/// How a layer's tar is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, of one or several members.
    Gzip,
    /// Zstandard.
    Zstd,
    /// The media type does not say (docker-archive): the first bytes do.
    ByContent,
}

/// The part of an image configuration that says how to run it.
///
/// Source: OCI image-spec v1.1, `config.md`; Docker's additions from the Docker Image Specification v1.3.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Config {
    /// `USER`: `name`, `uid`, `name:group` or `uid:gid`; empty for root.
    pub user: String,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// What `CMD` is appended to.
    pub entrypoint: Vec<String>,
    /// The default arguments.
    pub cmd: Vec<String>,
    /// Where the app starts; empty for `/`.
    pub working_dir: String,
    /// `EXPOSE`.
    pub exposed_ports: Vec<ExposedPort>,
    /// `VOLUME`.
    pub volumes: Vec<String>,
    /// The signal that asks the app to stop; empty for SIGTERM.
    pub stop_signal: String,
    /// `LABEL`.
    pub labels: BTreeMap<String, String>,
    /// `HEALTHCHECK` (Docker's field).
    pub healthcheck: Option<Healthcheck>,
    /// `SHELL` (Docker's field).
    pub shell: Vec<String>,
}

/// A port the image says it listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ExposedPort {
    /// The port.
    pub port: u16,
    /// TCP unless the image says otherwise.
    pub protocol: Protocol,
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// Docker's `HEALTHCHECK`; durations in nanoseconds, 0 for the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Healthcheck {
    /// `["CMD", …]`, `["CMD-SHELL", line]` or `["NONE"]`.
    pub test: Vec<String>,
    /// Time between two checks.
    pub interval: u64,
    /// Time one check may take.
    pub timeout: u64,
    /// Time before a failure counts.
    pub start_period: u64,
    /// Failures in a row that make the container unhealthy.
    pub retries: u32,
}

impl Config {
    /// The command line: entrypoint, then cmd.
    pub fn argv(&self) -> Vec<String> {
        self.entrypoint.iter().chain(&self.cmd).cloned().collect()
    }
}
