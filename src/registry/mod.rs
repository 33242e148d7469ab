//! A client for registries, as far as reading an image takes one.
//!
//! Why not a kept crate: `oci-client` is asynchronous (tokio, reqwest), and streams no layer with ranges into our unpacker. A blocking
//! HTTP client such as `ureq` is closer; but its limits on time are for a whole body, so a layer that takes an hour and one that
//! stands still look the same, and it resolves names in threads of its own, while austere must have one thread when it enters a
//! user namespace. What is left of HTTP for reading images is small, and `rustls` and `httparse` are here already. Challenges,
//! credential files and image names are read by kept crates.
//!
//! Sources: OCI distribution-spec v1.1; Docker Registry v2 authentication, "Token Authentication Specification".

mod auth;
mod blob;
mod client;
mod connect;
mod credentials;
pub(crate) mod http;
mod login;
mod proxy;
mod transport;
mod trust;
pub(crate) mod url;

use std::io;
use std::path::PathBuf;

pub(crate) use blob::{Blob, BlobReader};
pub use client::Registry;
pub(crate) use client::{Fetched, Kind};
pub(crate) use connect::{tcp, unix};

/// How registries are asked.
#[derive(Clone, Debug)]
pub struct Access {
    /// User and password, instead of what the files of docker and podman say.
    pub credentials: Option<(String, String)>,
    /// Whether certificates have to be trusted, and HTTP is refused but on loopback.
    pub tls_verify: bool,
    /// Certificates (PEM) that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
}

impl Default for Access {
    fn default() -> Self {
        Access { credentials: None, tls_verify: true, ca_file: None }
    }
}

/// A server that cannot be spoken with.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The name has no address.
    #[error("cannot find the address of {host}")]
    Unknown {
        /// The name.
        host: String,
        /// What the resolver says.
        source: io::Error,
    },
    /// Nobody answers there.
    #[error("cannot connect to {server}")]
    Connect {
        /// `host:port`.
        server: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The connection was lost.
    #[error("lost the connection to {server}")]
    Broken {
        /// `host:port`.
        server: String,
        /// What happened.
        source: io::Error,
    },
    /// No TLS session.
    #[error("no TLS with {server}: {why}")]
    Tls {
        /// `host:port`.
        server: String,
        /// What went wrong.
        why: String,
        /// Whether the server speaks TLS at all.
        is_tls: bool,
    },
    /// Something else than HTTP.
    #[error("{server}: {why}")]
    Protocol {
        /// `host:port`.
        server: String,
        /// What it did.
        why: String,
    },
    /// A proxy that cannot be used.
    #[error("{name} names no proxy: {why}")]
    Proxy {
        /// The variable.
        name: &'static str,
        /// What is wrong with its value.
        why: &'static str,
    },
    /// Certificates that cannot be read.
    #[error("cannot use the certificates in {}: {why}", path.display())]
    Ca {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl HttpError {
    /// Whether asking again may help.
    fn is_transient(&self) -> bool {
        matches!(self, HttpError::Broken { .. })
    }
}

/// A registry that does not give what is asked for.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// It cannot be spoken with.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// It wants credentials, or others.
    #[error("{registry} does not let {who} read {repository}: {why}\n  hint: {hint}")]
    Refused {
        /// The registry's host.
        registry: String,
        /// Whose credentials were shown, and where they came from.
        who: String,
        /// What was to be read.
        repository: String,
        /// What it said.
        why: String,
        /// What can be done.
        hint: String,
    },
    /// It has no such image.
    #[error("{registry} has no {what} ({why})")]
    Absent {
        /// The registry's host.
        registry: String,
        /// The image or blob.
        what: String,
        /// What it said.
        why: String,
    },
    /// It answered something else.
    #[error("{url} answered {answer}")]
    Answer {
        /// What was asked for.
        url: String,
        /// Status and message.
        answer: String,
    },
    /// Its answer cannot be used.
    #[error("{url}: {why}")]
    Useless {
        /// What was asked for.
        url: String,
        /// What is wrong with the answer.
        why: String,
    },
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// What a server said, for a person: one line, not too long, and nothing in it that a terminal acts on.
fn line(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}
