//! Connections: TCP, through a proxy if need be, TLS above it; or an engine's socket.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::HttpError;
use super::proxy::Proxy;
use super::url::Url;

/// What connecting to one address may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long nothing may come. A registry that takes longer to answer is asked again.
pub(super) const IDLE: Duration = Duration::from_secs(30);
/// What can be done about a registry without TLS.
const PLAIN: &str = "\n  hint: --tls-verify=false allows plain HTTP";
/// The longest answer of a proxy to CONNECT.
const PROXY_HEAD: u64 = 16 << 10;

/// Bytes to and from a server.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    Unix(UnixStream),
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = match self {
            Stream::Plain(stream) => stream.read(buf),
            Stream::Tls(stream) => stream.read(buf),
            Stream::Unix(stream) => stream.read(buf),
        };
        read.map_err(patience)
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.write(buf),
            Stream::Tls(stream) => stream.write(buf),
            Stream::Unix(stream) => stream.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(stream) => stream.flush(),
            Stream::Tls(stream) => stream.flush(),
            Stream::Unix(stream) => stream.flush(),
        }
    }
}

/// What the end of a socket's patience is called.
fn patience(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            io::Error::new(io::ErrorKind::TimedOut, "nothing came for too long")
        }
        _ => error,
    }
}

/// Connects to an engine's socket.
pub(crate) fn unix(path: &Path) -> io::Result<Stream> {
    let stream = UnixStream::connect(path)?;
    // An engine that exports an image thinks for a while before the first byte.
    stream.set_read_timeout(Some(IDLE * 4))?;
    Ok(Stream::Unix(stream))
}

/// Connects to an engine that listens for plain HTTP.
pub(crate) fn tcp(url: &Url) -> Result<Stream, HttpError> {
    dial(&url.host, url.port).map(Stream::Plain)
}

/// Connects to the server of `url`.
pub(super) fn to(
    url: &Url,
    proxy: Option<&Proxy>,
    tls: impl FnOnce() -> Result<Arc<ClientConfig>, HttpError>,
) -> Result<Stream, HttpError> {
    let tcp = match proxy {
        Some(proxy) => {
            let tcp = dial(&proxy.host, proxy.port)?;
            if url.tls { tunnel(tcp, url, proxy)? } else { tcp }
        }
        None => dial(&url.host, url.port)?,
    };
    if !url.tls {
        return Ok(Stream::Plain(tcp));
    }
    let failed = |why: String| HttpError::Tls { server: url.address(), why, is_tls: true };
    let name = ServerName::try_from(url.host.clone()).map_err(|error| failed(error.to_string()))?;
    let session = ClientConnection::new(tls()?, name).map_err(|error| failed(error.to_string()))?;
    let mut stream = StreamOwned::new(session, tcp);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).map_err(|error| handshake(url, error))?;
    }
    Ok(Stream::Tls(Box::new(stream)))
}

fn dial(host: &str, port: u16) -> Result<TcpStream, HttpError> {
    let unknown = |source| HttpError::Unknown { host: host.to_owned(), source };
    let mut last = None;
    for address in (host, port).to_socket_addrs().map_err(unknown)? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => {
                let set = stream.set_read_timeout(Some(IDLE)).and_then(|()| stream.set_write_timeout(Some(IDLE)));
                // Requests are written at once, and the answer is waited for.
                set.and_then(|()| stream.set_nodelay(true))
                    .map_err(|source| HttpError::Broken { server: address.to_string(), source })?;
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    let source = last.unwrap_or_else(|| io::Error::other("the name has no address"));
    Err(HttpError::Connect { server: format!("{host}:{port}"), source })
}

/// Asks a proxy for a connection to the server itself (RFC 9110, section 9.3.6).
fn tunnel(mut tcp: TcpStream, url: &Url, proxy: &Proxy) -> Result<TcpStream, HttpError> {
    let server = || format!("{}:{} (a proxy)", proxy.host, proxy.port);
    let broken = |source| HttpError::Broken { server: server(), source };
    let authorization =
        proxy.authorization.as_ref().map_or_else(String::new, |value| format!("Proxy-Authorization: {value}\r\n"));
    let address = url.address();
    let request = format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n{authorization}\r\n");
    tcp.write_all(request.as_bytes()).map_err(broken)?;
    // Nothing may be read beyond the head, which a buffer of one byte makes sure of; the server speaks second.
    let mut reader = BufReader::with_capacity(1, (&mut tcp).take(PROXY_HEAD));
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && !head.ends_with(b"\n\n") {
        if reader.read_until(b'\n', &mut head).map_err(broken)? == 0 {
            return Err(HttpError::Protocol { server: server(), why: "it closed without an answer".to_owned() });
        }
    }
    let text = String::from_utf8_lossy(&head);
    let line = text.lines().next().unwrap_or_default();
    if line.split(' ').nth(1).is_some_and(|status| status.starts_with('2')) {
        return Ok(tcp);
    }
    let why = format!("it answered `{}` to CONNECT {address}", line.escape_debug());
    Err(HttpError::Protocol { server: server(), why })
}

fn handshake(url: &Url, error: io::Error) -> HttpError {
    let server = url.address();
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let (why, is_tls) = match inner {
        Some(rustls::Error::InvalidMessage(_)) => (format!("it does not speak TLS{PLAIN}"), false),
        Some(rustls::Error::InvalidCertificate(why)) => (
            format!(
                "its certificate is not trusted ({why})\n  hint: --ca-file FILE names who signed it; --tls-verify=false trusts anyone"
            ),
            true,
        ),
        Some(rustls::Error::AlertReceived(alert)) => (format!("it refused TLS: {alert:?}"), true),
        Some(other) => (other.to_string(), true),
        // What is no TLS server may also just hang up.
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            (format!("it hung up during the handshake{PLAIN}"), false)
        }
        None => return HttpError::Broken { server, source: patience(error) },
    };
    HttpError::Tls { server, why, is_tls }
}
