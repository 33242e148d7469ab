//! Where a registry is, in which protocol, and the requests to it and to others.

use std::fmt;
use std::io::Read as _;
use std::sync::Arc;

use rustls::ClientConfig;

use super::client::lock_of;
use super::http::{self, Request, Response};
use super::proxy::is_loopback;
use super::url::{Url, host_and_port};
use super::{HttpError, Registry, RegistryError, connect, line, trust};

/// Connections that wait for another request.
const IDLE_MAX: usize = 8;
/// What is read of a message, or of a redirect's body.
const MESSAGE_MAX: u64 = 16 << 10;

impl Registry {
    /// The URL of `path`, as far as it is known where the registry is.
    pub(super) fn place(&self, path: &str) -> Url {
        let path = path.to_owned();
        match &*lock_of(&self.base) {
            Some(base) => Url { path, ..base.clone() },
            None => self.https(path),
        }
    }

    fn https(&self, path: String) -> Url {
        let registry = match self.name().registry.as_str() {
            // The registry of this name is a web site.
            "docker.io" => "registry-1.docker.io",
            other => other,
        };
        let (host, port) = host_and_port(registry).unwrap_or_else(|| (registry.to_owned(), None));
        Url { tls: true, host, port: port.unwrap_or(443), path }
    }

    /// Asks the registry itself: in HTTPS, or in HTTP where that is allowed and nothing else is spoken.
    pub(super) fn at_registry(
        &self,
        path: &str,
        fields: &[(&'static str, String)],
    ) -> Result<(Url, Response), HttpError> {
        if let Some(base) = lock_of(&self.base).clone() {
            let url = Url { path: path.to_owned(), ..base };
            let response = self.exchange(&url, "GET", fields, b"")?;
            return Ok((url, response));
        }
        let url = self.https(path.to_owned());
        let may_be_plain = !self.access().tls_verify || is_loopback(&url.host);
        let (url, response) = match self.exchange(&url, "GET", fields, b"") {
            Err(first @ (HttpError::Tls { is_tls: false, .. } | HttpError::Connect { .. })) if may_be_plain => {
                let has_port = host_and_port(&self.name().registry).is_some_and(|(_, port)| port.is_some());
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
        let proxy = self.proxies.of(url)?;
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
        let config = trust::config(self.access(), &self.name().registry, &self.extra)?;
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
    pub(super) fn give_back(&self, url: &Url, response: Response) {
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
