//! Whose signature on a server's certificate is believed: the system's bundle, what docker and podman keep for one registry, and
//! what the command line names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::{Access, HttpError};
use crate::tls;

/// Where distributions keep their bundle: Debian and Alpine, Fedora, openSUSE, older Red Hat, newer Red Hat, and BSD's name for it.
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Where docker and podman keep certificates for one registry, in a folder of its name.
const FOLDERS: [&str; 2] = ["/etc/docker/certs.d", "/etc/containers/certs.d"];

/// The certificates in a file that was named on the command line: it has to have some.
pub(super) fn named(path: &Path) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    let error = |why: String| HttpError::Ca { path: path.to_owned(), why };
    let bytes = std::fs::read(path).map_err(|source| error(source.to_string()))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let certificates = certificates.map_err(|source| error(source.to_string()))?;
    if certificates.is_empty() { Err(error("there are none in PEM".to_owned())) } else { Ok(certificates) }
}

/// The configuration of TLS for `registry` (`host[:port]`).
pub(super) fn config(
    access: &Access,
    registry: &str,
    extra: &[CertificateDer<'static>],
) -> Result<Arc<ClientConfig>, HttpError> {
    let failed =
        |error: rustls::Error| HttpError::Tls { server: registry.to_owned(), why: error.to_string(), is_tls: true };
    let mut config = if access.tls_verify {
        let mut roots = RootCertStore::empty();
        for path in bundle().into_iter().chain(of_registry(registry)) {
            // One bad certificate among many is no reason to trust none of them.
            let found = std::fs::read(&path).unwrap_or_default();
            roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&found).filter_map(Result::ok));
        }
        roots.add_parsable_certificates(extra.iter().cloned());
        tls::builder().map_err(failed)?.with_root_certificates(roots).with_no_client_auth()
    } else {
        tls::believing_anyone().map_err(failed)?.with_no_client_auth()
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn bundle() -> Option<PathBuf> {
    let named = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()).map(PathBuf::from);
    named.or_else(|| BUNDLES.iter().map(PathBuf::from).find(|path| path.is_file()))
}

fn of_registry(registry: &str) -> Vec<PathBuf> {
    let listings = FOLDERS.iter().filter_map(|folder| Path::new(folder).join(registry).read_dir().ok());
    let files = listings.flat_map(|listing| listing.flatten().map(|entry| entry.path()));
    files.filter(|path| path.extension().is_some_and(|end| end == "crt")).collect()
}
