//! Asking a registry: connections that are kept, redirects, patience with a busy server.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;

use super::http::{Connection, Response};
use super::login::Login;
use super::proxy::Proxies;
use super::url::Url;
use super::{Access, HttpError, RegistryError, trust};
use crate::digest::{Digest, Hasher};
use crate::reference::ImageName;

/// Indexes, manifests and configurations are not larger than this; registries refuse them too.
const DOCUMENT_MAX: u64 = 4 << 20;
/// How often the same thing is asked.
const ATTEMPTS: u32 = 5;
/// The first wait; each next one is twice as long.
const BACKOFF: Duration = Duration::from_millis(250);
/// The longest wait that a registry may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A redirect to a redirect.
const REDIRECTS: usize = 5;

const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// What a registry keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Manifests and indexes, by tag or digest.
    Manifest,
    /// Everything else, by digest.
    Blob,
}

/// A small document.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) bytes: Vec<u8>,
    /// What the registry says it is, without parameters.
    pub(crate) media_type: String,
    /// Where it came from, for a person.
    pub(crate) url: String,
}

/// One repository of one registry, and everything that was learned about it.
pub struct Registry {
    name: ImageName,
    access: Access,
    pub(super) proxies: Proxies,
    pub(super) extra: Vec<CertificateDer<'static>>,
    pub(super) tls: OnceLock<Arc<ClientConfig>>,
    /// Where the registry is, once it is known whether it speaks TLS.
    pub(super) base: Mutex<Option<Url>>,
    pub(super) login: Mutex<Login>,
    pub(super) idle: Mutex<Vec<(Url, Connection)>>,
}

impl fmt::Debug for Registry {
    /// Without what is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Registry {
    /// A client for the repository of `name`. Nothing is asked yet.
    ///
    /// # Errors
    ///
    /// When `--ca-file` cannot be used.
    pub fn new(name: ImageName, access: &Access) -> Result<Self, HttpError> {
        let extra = access.ca_file.as_deref().map_or_else(|| Ok(Vec::new()), trust::named)?;
        Ok(Registry {
            name,
            access: access.clone(),
            proxies: Proxies::from(|name| std::env::var(name).ok()),
            extra,
            tls: OnceLock::new(),
            base: Mutex::default(),
            login: Mutex::default(),
            idle: Mutex::default(),
        })
    }

    /// The image that this client was made for.
    pub fn name(&self) -> &ImageName {
        &self.name
    }

    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    /// A manifest, an index or a configuration. Its bytes are not checked, but for their number and for what the answer itself
    /// says of them.
    pub(crate) fn document(&self, kind: Kind, reference: &str) -> Result<Fetched, RegistryError> {
        let mut attempt = 1;
        loop {
            let (url, response) = self.get(kind, reference, None)?;
            let media_type = response.field("content-type").unwrap_or_default();
            let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            let said = response.field("docker-content-digest").and_then(|text| text.parse::<Digest>().ok());
            let bytes = match self.body(&url, response, DOCUMENT_MAX) {
                Err(RegistryError::Http(error)) if error.is_transient() && attempt < ATTEMPTS => {
                    thread::sleep(backoff(attempt));
                    attempt += 1;
                    continue;
                }
                other => other?,
            };
            if let Some(said) = said.filter(|_| kind == Kind::Manifest) {
                let mut hasher = Hasher::new(said.algorithm());
                hasher.update(&bytes);
                let found = hasher.finish();
                if found != said {
                    let why = format!("it has the digest {found}, and the registry says {said}");
                    return Err(RegistryError::Useless { url: url.to_string(), why });
                }
            }
            return Ok(Fetched { bytes, media_type, url: url.to_string() });
        }
    }

    /// Asks until there is an answer that is one: 200, or 206 where `offset` is given.
    pub(super) fn get(
        &self,
        kind: Kind,
        reference: &str,
        offset: Option<u64>,
    ) -> Result<(Url, Response), RegistryError> {
        let (folder, accept) = match kind {
            Kind::Manifest => ("manifests", MANIFESTS),
            Kind::Blob => ("blobs", "*/*"),
        };
        let path = format!("/v2/{}/{folder}/{reference}", self.name.repository);
        let mut fields = vec![("Accept", accept.to_owned())];
        fields.extend(offset.map(|offset| ("Range", format!("bytes={offset}-"))));
        let mut asked = false;
        loop {
            let authorization = self.authorization()?;
            let mut at = None;
            let response = self.patiently(&self.place(&path), || {
                let (url, response) = self.follow(&path, authorization.as_deref(), &fields)?;
                at = Some(url);
                Ok(response)
            })?;
            let url = at.unwrap_or_else(|| self.place(&path));
            let is_own = url.same_origin(&self.place(&path));
            match response.status {
                200 => return Ok((url, response)),
                206 if offset.is_some() => return Ok((url, response)),
                401 if is_own && !asked => {
                    self.challenged(&url, &response)?;
                    self.give_back(&url, response);
                    asked = true;
                }
                401 | 403 if is_own => {
                    let why = self.answer(&url, response);
                    return Err(self.not_let_in(&why));
                }
                404 if is_own => {
                    let what = match kind {
                        Kind::Manifest if reference.contains(':') => format!("{}@{reference}", self.name.repository),
                        Kind::Manifest => format!("{}:{reference}", self.name.repository),
                        Kind::Blob => format!("blob {reference} in {}", self.name.repository),
                    };
                    let why = self.answer(&url, response);
                    return Err(RegistryError::Absent { registry: self.name.registry.clone(), what, why });
                }
                _ => {
                    let answer = self.answer(&url, response);
                    return Err(RegistryError::Answer { url: url.to_string(), answer });
                }
            }
        }
    }

    /// Asks again where the server is busy or the connection broke.
    pub(super) fn patiently(
        &self,
        url: &Url,
        mut ask: impl FnMut() -> Result<Response, RegistryError>,
    ) -> Result<Response, RegistryError> {
        let mut attempt = 1;
        loop {
            let wait = match ask() {
                Ok(response) if !matches!(response.status, 408 | 429 | 500 | 502 | 503 | 504) => return Ok(response),
                Ok(response) => {
                    // A date is possible too; whoever says one is answered with our own patience.
                    let said =
                        response.field("retry-after").and_then(|text| text.parse().ok()).map(Duration::from_secs);
                    let wait = said.unwrap_or_else(|| backoff(attempt));
                    if attempt == ATTEMPTS || wait > LONGEST_WAIT {
                        let mut answer = self.answer(url, response);
                        if let Some(said) = said {
                            answer = format!("{answer} (it asks to wait {} s)", said.as_secs());
                        }
                        return Err(RegistryError::Answer { url: url.to_string(), answer });
                    }
                    wait
                }
                Err(RegistryError::Http(error)) if error.is_transient() && attempt < ATTEMPTS => backoff(attempt),
                Err(error) => return Err(error),
            };
            thread::sleep(wait);
            attempt += 1;
        }
    }

    /// Asks the registry, and whom it redirects to. Nobody else sees the credentials.
    fn follow(
        &self,
        path: &str,
        authorization: Option<&str>,
        fields: &[(&'static str, String)],
    ) -> Result<(Url, Response), RegistryError> {
        let mut known = fields.to_vec();
        known.extend(authorization.map(|value| ("Authorization", value.to_owned())));
        let (origin, mut response) = self.at_registry(path, &known)?;
        let mut url = origin.clone();
        for _ in 0..REDIRECTS {
            if !matches!(response.status, 301 | 302 | 303 | 307 | 308) {
                return Ok((url, response));
            }
            let useless = |why: &str| RegistryError::Useless { url: url.to_string(), why: why.to_owned() };
            let next = response.field("location").and_then(|location| url.join(location));
            let next = next.ok_or_else(|| useless("it redirects to nowhere"))?;
            if url.tls && !next.tls && self.access.tls_verify {
                return Err(useless("it redirects from HTTPS to plain HTTP\n  hint: --tls-verify=false follows it"));
            }
            self.give_back(&url, response);
            response = self.exchange(&next, "GET", if next.same_origin(&origin) { &known } else { fields }, b"")?;
            url = next;
        }
        Err(RegistryError::Useless { url: url.to_string(), why: "it redirects too often".to_owned() })
    }
}

/// The wait before the next attempt.
pub(super) fn backoff(attempt: u32) -> Duration {
    BACKOFF * 2_u32.pow(attempt.saturating_sub(1).min(6))
}

/// What a thread that panicked held is whole: nothing here panics between two writes.
pub(super) fn lock_of<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
