//! Asking a registry: connections that are kept, redirects, patience with a busy server.

use std::fmt;
use std::io::Read as _;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;

use super::http::{self, Connection, Request, Response};
use super::login::Login;
use super::proxy::{Proxies, is_loopback};
use super::url::{Url, host_and_port};
use super::{Access, HttpError, RegistryError, connect, line, trust};
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
/// Connections that wait for another request.
const IDLE_MAX: usize = 8;
/// What is read of a message, or of a redirect's body.
const MESSAGE_MAX: u64 = 16 << 10;

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
    proxies: Proxies,
    extra: Vec<CertificateDer<'static>>,
    tls: OnceLock<Arc<ClientConfig>>,
    /// Where the registry is, once it is known whether it speaks TLS.
    base: Mutex<Option<Url>>,
    pub(super) login: Mutex<Login>,
    idle: Mutex<Vec<(Url, Connection)>>,
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
    /// When the environment's proxies or `--ca-file` cannot be used.
    pub fn new(name: ImageName, access: &Access) -> Result<Self, HttpError> {
        let extra = access.ca_file.as_deref().map_or_else(|| Ok(Vec::new()), trust::named)?;
        Ok(Registry {
            name,
            access: access.clone(),
            proxies: Proxies::from(|name| std::env::var(name).ok())?,
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

    /// The URL of `path`, as far as it is known where the registry is.
    fn place(&self, path: &str) -> Url {
        let path = path.to_owned();
        match &*lock_of(&self.base) {
            Some(base) => Url { path, ..base.clone() },
            None => self.https(path),
        }
    }

    fn https(&self, path: String) -> Url {
        let registry = match self.name.registry.as_str() {
            // The registry of this name is a web site.
            "docker.io" => "registry-1.docker.io",
            other => other,
        };
        let (host, port) = host_and_port(registry).unwrap_or_else(|| (registry.to_owned(), None));
        Url { tls: true, host, port: port.unwrap_or(443), path }
    }

    /// Asks the registry itself: in HTTPS, or in HTTP where that is allowed and nothing else is spoken.
    fn at_registry(&self, path: &str, fields: &[(&'static str, String)]) -> Result<(Url, Response), HttpError> {
        if let Some(base) = lock_of(&self.base).clone() {
            let url = Url { path: path.to_owned(), ..base };
            let response = self.exchange(&url, "GET", fields, b"")?;
            return Ok((url, response));
        }
        let url = self.https(path.to_owned());
        let may_be_plain = !self.access.tls_verify || is_loopback(&url.host);
        let (url, response) = match self.exchange(&url, "GET", fields, b"") {
            Err(first @ (HttpError::Tls { is_tls: false, .. } | HttpError::Connect { .. })) if may_be_plain => {
                let has_port = host_and_port(&self.name.registry).is_some_and(|(_, port)| port.is_some());
                let plain = Url { tls: false, port: if has_port { url.port } else { 80 }, ..url };
                match self.exchange(&plain, "GET", fields, b"") {
                    Err(HttpError::Connect { .. }) => return Err(first),
                    other => (plain, other?),
                }
            }
            other => (url, other?),
        };
        *lock_of(&self.base) = Some(url.clone());
        Ok((url, response))
    }

    /// One request to one server, over a connection that is left from before if there is one.
    pub(super) fn exchange(
        &self,
        url: &Url,
        method: &'static str,
        fields: &[(&'static str, String)],
        body: &[u8],
    ) -> Result<Response, HttpError> {
        let proxy = self.proxies.of(url);
        let (host, server) = (url.authority(), url.address());
        let mut fields = fields.to_vec();
        let mut target = url.path.clone();
        if let Some(proxy) = proxy.filter(|_| !url.tls) {
            target = format!("http://{host}{target}");
            fields.extend(proxy.authorization.clone().map(|value| ("Proxy-Authorization", value)));
        }
        let request = Request { method, target: &target, host: &host, fields: &fields, body };
        let idle = {
            let mut idle = lock_of(&self.idle);
            let found = idle.iter().position(|(of, _)| of.same_origin(url));
            found.map(|index| idle.swap_remove(index).1)
        };
        if let Some(connection) = idle {
            match http::send(connection, &server, &request) {
                // The server hung up while nobody looked.
                Err((_, false)) => {}
                other => return other.map_err(|(error, _)| error),
            }
        }
        let stream = connect::to(url, proxy, || self.tls())?;
        http::send(http::fresh(stream), &server, &request).map_err(|(error, _)| error)
    }

    /// Whom it trusts is read when it is needed: many registries of tests have no TLS.
    fn tls(&self) -> Result<Arc<ClientConfig>, HttpError> {
        if let Some(config) = self.tls.get() {
            return Ok(Arc::clone(config));
        }
        let config = trust::config(&self.access, &self.name.registry, &self.extra)?;
        Ok(Arc::clone(self.tls.get_or_init(|| config)))
    }

    /// The whole of a small body.
    pub(super) fn body(&self, url: &Url, mut response: Response, most: u64) -> Result<Vec<u8>, RegistryError> {
        let too_large = |size: &dyn fmt::Display| {
            let why = format!("{size} bytes are too many for an image's document (at most {most})");
            RegistryError::Useless { url: url.to_string(), why }
        };
        if let Some(length) = response.length().filter(|length| *length > most) {
            return Err(too_large(&length));
        }
        let mut bytes = Vec::new();
        let read = (&mut response.body).take(most + 1).read_to_end(&mut bytes);
        read.map_err(|source| HttpError::Broken { server: url.address(), source })?;
        if bytes.len() as u64 > most {
            return Err(too_large(&format!("more than {most}")));
        }
        self.keep(url, response.body);
        Ok(bytes)
    }

    /// Status and message of an answer, in one line.
    pub(super) fn answer(&self, url: &Url, response: Response) -> String {
        let status = line(&format!("{} {}", response.status, response.reason));
        let is_json = response.field("content-type").is_some_and(|kind| kind.contains("json"));
        let mut bytes = Vec::new();
        let mut body = response.body;
        let _ = (&mut body).take(MESSAGE_MAX).read_to_end(&mut bytes);
        self.keep(url, body);
        let message = serde_json::from_slice::<serde_json::Value>(&bytes).ok().filter(|_| is_json).and_then(|json| {
            let error = json.get("errors").and_then(|errors| errors.get(0)).unwrap_or(&json);
            let text = |name| error.get(name).and_then(serde_json::Value::as_str).filter(|text| !text.is_empty());
            text("message").or_else(|| text("details")).or_else(|| text("code")).map(line)
        });
        message.map_or_else(|| status.clone(), |message| format!("{status}: {message}"))
    }

    /// Reads the rest of a small body that nobody needs, so that the connection can be used again.
    fn give_back(&self, url: &Url, response: Response) {
        let mut body = response.body;
        if std::io::copy(&mut (&mut body).take(MESSAGE_MAX), &mut std::io::sink()).is_ok() {
            self.keep(url, body);
        }
    }

    /// Keeps a connection whose body was read to its end.
    pub(super) fn keep(&self, url: &Url, body: http::Body) {
        if let Some(connection) = body.into_connection() {
            let mut idle = lock_of(&self.idle);
            idle.truncate(IDLE_MAX - 1);
            idle.push((url.clone(), connection));
        }
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
