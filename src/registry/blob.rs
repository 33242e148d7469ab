//! A layer's bytes as they come from a registry: what breaks off is taken up again where it ended.
//!
//! Their digest is checked by who takes them, over all connections together, so it does not matter whether the second one served
//! the same blob.

use std::io::{self, Read};
use std::sync::Arc;
use std::thread;

use super::client::{Kind, Registry, backoff};
use super::http::Body;
use super::url::Url;
use super::{HttpError, RegistryError, chain};
use crate::digest::Digest;

/// Connections in a row that bring nothing.
const STUMBLES: u32 = 5;
/// Connections for one blob.
const CONNECTIONS: u32 = 64;

/// A blob in a registry.
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    pub(crate) registry: Arc<Registry>,
    pub(crate) digest: Digest,
    /// Bytes, as the manifest says.
    pub(crate) size: u64,
    /// Whether the registry may be asked for it.
    pub(crate) allowed: bool,
}

/// Reads a blob from its beginning. Nothing is asked before the first byte is wanted.
#[derive(Debug)]
pub(crate) struct BlobReader<'a> {
    blob: &'a Blob,
    at: u64,
    open: Option<(Url, Body)>,
    stumbles: u32,
    connections: u32,
}

impl<'a> BlobReader<'a> {
    pub(crate) fn new(blob: &'a Blob) -> Self {
        BlobReader { blob, at: 0, open: None, stumbles: 0, connections: 0 }
    }

    /// Asks for what is left.
    fn open(&self) -> Result<(Url, Body), RegistryError> {
        let Blob { registry, digest, size, allowed } = self.blob;
        if !allowed {
            let why = format!("the layer {digest} is not here, and --pull never forbids to fetch it");
            return Err(RegistryError::Useless { url: registry.name().to_string(), why });
        }
        let offset = (self.at > 0).then_some(self.at);
        let (url, response) = registry.get(Kind::Blob, &digest.to_string(), offset)?;
        let useless = |why: String| RegistryError::Useless { url: url.to_string(), why };
        if response.status == 206 {
            let range = response.field("content-range").unwrap_or_default();
            if !range.starts_with(&format!("bytes {}-", self.at)) {
                return Err(useless(format!(
                    "it was asked for the bytes from {} on, and sends `{}`",
                    self.at,
                    super::line(range)
                )));
            }
            return Ok((url, response.body));
        }
        if let Some(length) = response.length().filter(|length| length != size) {
            return Err(useless(format!("the blob has {length} bytes, the manifest says {size}")));
        }
        // Without ranges all of it comes again.
        let mut body = response.body;
        let skipped = io::copy(&mut (&mut body).take(self.at), &mut io::sink());
        let source = match skipped {
            Ok(skipped) if skipped == self.at => return Ok((url, body)),
            Ok(_) => io::Error::other("it sends less than before"),
            Err(error) => error,
        };
        Err(HttpError::Broken { server: url.address(), source }.into())
    }

    /// Waits before the next connection, or gives up.
    fn stumbled(&mut self, error: &RegistryError) -> io::Result<()> {
        self.open = None;
        self.stumbles += 1;
        let Blob { registry, digest, size, .. } = self.blob;
        if self.stumbles >= STUMBLES || self.connections >= CONNECTIONS {
            let name = registry.name();
            let why = chain(error);
            let text = format!(
                "{} bytes of {size} of {digest} came from {}/{}: {why}",
                self.at, name.registry, name.repository
            );
            return Err(io::Error::other(text));
        }
        thread::sleep(backoff(self.stumbles));
        Ok(())
    }
}

impl Read for BlobReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let size = self.blob.size;
        loop {
            if self.open.is_none() {
                if self.at == size && self.connections > 0 {
                    return Ok(0);
                }
                self.connections += 1;
                match self.open() {
                    Ok(open) => self.open = Some(open),
                    // Busy servers were waited for already.
                    Err(RegistryError::Http(error @ HttpError::Broken { .. })) => self.stumbled(&error.into())?,
                    Err(error) => return Err(io::Error::other(chain(&error))),
                }
            }
            let Some((url, body)) = &mut self.open else { continue };
            let source = match body.read(buf) {
                Ok(0) if self.at == size => {
                    if let Some((url, body)) = self.open.take() {
                        self.blob.registry.keep(&url, body);
                    }
                    return Ok(0);
                }
                Ok(0) => io::Error::other(format!("the blob ends after {} bytes, the manifest says {size}", self.at)),
                Ok(got) => {
                    self.at += got as u64;
                    self.stumbles = 0;
                    if self.at > size {
                        return Err(io::Error::other(format!(
                            "{url}: the blob is longer than the manifest says ({size} bytes)"
                        )));
                    }
                    return Ok(got);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // All of it is here; how the connection ends does not matter.
                Err(_) if self.at == size => {
                    self.open = None;
                    return Ok(0);
                }
                Err(error) => error,
            };
            let error = HttpError::Broken { server: url.address(), source };
            self.stumbled(&error.into())?;
        }
    }
}
