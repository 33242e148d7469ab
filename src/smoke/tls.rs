//! TLS to an app in its room (RFC 8446, RFC 5246), for questions that need no secret.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Error, StreamOwned};

use crate::tls;

/// TLS over a stream whose reads may time out and be tried again.
pub(super) type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A session with `to`, whose handshake is yet to come. By its address, as the kubelet asks, so no server name is sent.
pub(super) fn over(stream: TcpStream, to: SocketAddr) -> Result<Stream, Error> {
    let session = ClientConnection::new(config()?, ServerName::IpAddress(to.ip().into()))?;
    Ok(StreamOwned::new(session, stream))
}

fn config() -> Result<Arc<ClientConfig>, Error> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(Arc::clone(config));
    }
    // As the kubelet does for its probes: the app is ours, nobody is in between, and nothing secret is said.
    let mut config = tls::believing_anyone()?.with_no_client_auth();
    // Every question is one that the app has not heard yet.
    config.resumption = Resumption::disabled();
    Ok(Arc::clone(CONFIG.get_or_init(|| Arc::new(config))))
}

/// One step of the handshake; true when it is done.
pub(super) fn handshake(stream: &mut Stream) -> io::Result<bool> {
    if stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(!stream.conn.is_handshaking())
}

/// The next bytes. An end without a closing alert is an end: many servers just close.
pub(super) fn read(stream: &mut Stream, buffer: &mut [u8]) -> io::Result<usize> {
    match stream.read(buffer) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(0),
        read => read,
    }
}

/// Writes all of `bytes`, as TLS records.
pub(super) fn write(stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)?;
    stream.flush()
}

/// What went wrong, as people call it; nothing where it was not TLS itself.
pub(super) fn plainly(error: &io::Error) -> Option<String> {
    let inner = error.get_ref()?.downcast_ref::<Error>()?;
    Some(match inner {
        Error::InvalidMessage(_) => "it does not speak TLS".to_owned(),
        Error::AlertReceived(alert) => format!("it refused TLS: {alert:?}"),
        Error::PeerIncompatible(why) => format!("no TLS 1.2 or 1.3 in common: {why:?}"),
        other => format!("TLS failed: {other}"),
    })
}
