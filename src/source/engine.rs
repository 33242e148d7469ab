//! Images of the engines on this host, as `docker save` and `podman save` give them.
//!
//! An engine's id of an image is the digest of its configuration (but in docker's newer image store), which names the layers. So an image
//! that was here before is known by its id, and is not exported again as long as its layers are in the store.

use std::io::{self, Read as _};
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::Value;

use super::endpoint::{self, Endpoint};
use super::export::{Export, ExportError, How, ask, last_line, message};
use super::holder::Part;
use super::remembered::{Note, Place, Pulled};
use super::{Found, Options, SourceError};
use crate::digest::Digest;
use crate::image::config::ConfigFile;
use crate::image::{Compression, Image, Layer};
use crate::platform::Platform;
use crate::registry::http::{self, Connection};
use crate::registry::url::Url;
use crate::registry::{chain, tcp, unix};

const DOCKER: &str = "docker";
const PODMAN: &str = "podman";
/// What is read of an engine's description of an image.
const DESCRIPTION_MAX: u64 = 4 << 20;

/// An image of a Docker Engine, with the note for when its layers were all right.
pub(super) fn docker(name: &str, options: &Options, wanted: &Platform) -> Result<(Found, Option<Pulled>), SourceError> {
    let none = |why: String| SourceError::EngineHasNone { engine: DOCKER, name: name.to_owned(), why };
    let failed = |why: String| SourceError::Engine { engine: DOCKER, name: name.to_owned(), why };
    let endpoint = endpoint::find(|name| std::env::var(name).ok()).map_err(none)?;
    let (connection, host) = connect(&endpoint).map_err(none)?;
    let full = with_tag(name);
    let known = ask(connection, &host, &format!("/images/{full}/json")).map_err(none)?;
    match known.status {
        200 => {}
        404 => return Err(none("it has no image of that name".to_owned())),
        _ => return Err(failed(message(known))),
    }
    let mut bytes = Vec::new();
    let mut body = known.body;
    (&mut body).take(DESCRIPTION_MAX).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
    let id = serde_json::from_slice::<Value>(&bytes).ok().and_then(|json| json["Id"].as_str().map(str::to_owned));
    // Later there may be nobody who could connect: in a user namespace the groups of the caller count for nothing.
    let connection = match body.into_connection() {
        Some(connection) => connection,
        None => connect(&endpoint).map_err(failed)?.0,
    };
    let how = How::Docker { connection, host, path: format!("/images/{full}/get") };
    image(DOCKER, &format!("docker-daemon:{name}"), id, how, options, wanted).map_err(|error| named(error, failed))
}

/// An image of podman's, by podman itself: its storage has locks and forms of its own.
pub(super) fn podman(name: &str, options: &Options, wanted: &Platform) -> Result<(Found, Option<Pulled>), SourceError> {
    let none = |why: String| SourceError::EngineHasNone { engine: PODMAN, name: name.to_owned(), why };
    let failed = |why: String| SourceError::Engine { engine: PODMAN, name: name.to_owned(), why };
    let arguments = ["image", "inspect", "--format", "{{.Id}}", "--", name];
    let known = Command::new(PODMAN).args(arguments).stdin(Stdio::null()).output();
    let known = known.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => none("it is not installed".to_owned()),
        _ => none(error.to_string()),
    })?;
    if !known.status.success() {
        let why = last_line(&known.stderr, known.status);
        let unknown = why.contains("no such image") || why.contains("image not known");
        return Err(none(if unknown { "it has no image of that name".to_owned() } else { why }));
    }
    // A user's podman cannot be asked later: within austere's user namespace it would look into root's storage.
    let id = String::from_utf8_lossy(&known.stdout).trim().to_owned();
    let id = nix::unistd::geteuid().is_root().then(|| format!("sha256:{}", id.trim_start_matches("sha256:")));
    let how = How::Podman { name: name.to_owned() };
    image(PODMAN, &format!("containers-storage:{name}"), id, how, options, wanted).map_err(|error| named(error, failed))
}

/// Why an export failed, with the image's name.
fn named(error: ExportError, failed: impl FnOnce(String) -> SourceError) -> SourceError {
    match error {
        ExportError::Failed(why) => failed(why),
        ExportError::Source(error) => *error,
    }
}

/// The image that an engine knows by `id`: as it was noted before, exported only if a layer of it is wanted; else exported now.
fn image(
    engine: &str,
    name: &str,
    id: Option<String>,
    how: How,
    options: &Options,
    wanted: &Platform,
) -> Result<(Found, Option<Pulled>), ExportError> {
    let place = options.store.as_ref().zip(id.as_ref()).map(|(store, id)| Place::of_engine(store, engine, id, wanted));
    let export = Export::new(name, how, options.store.clone(), wanted.clone());
    if let (Some(note), Some(id)) = (place.as_ref().and_then(Place::read), &id) {
        let export = Arc::new(export);
        return match noted(&note, id, &export) {
            Some(found) => Ok((found, None)),
            None => export.now().map(|(found, _)| (found, None)),
        };
    }
    let (found, config) = export.now()?;
    // Where the id is another digest than the configuration's, nothing could be checked later.
    let is_named = id.is_some_and(|id| Digest::sha256(&config).to_string() == id);
    let pulled = place.filter(|_| is_named).and_then(|place| {
        let sizes: Vec<u64> = found.0.layers.iter().map(|layer| layer.size).collect();
        let note = place.note("sizes".to_owned(), serde_json::to_vec(&sizes).ok()?, config)?;
        Some(Pulled { note, place })
    });
    Ok((found, pulled))
}

/// The image of a note; nothing when it makes no sense any more.
fn noted(note: &Note, id: &str, export: &Arc<Export>) -> Option<Found> {
    let config_digest = Digest::sha256(note.config.as_bytes());
    let sizes: Vec<u64> = serde_json::from_str(&note.manifest).ok()?;
    let file = ConfigFile::parse(note.config.as_bytes()).ok()?;
    if config_digest.to_string() != id || sizes.len() != file.diff_ids.len() {
        return None;
    }
    let mut layers = Vec::new();
    let mut parts = Vec::new();
    for (number, (size, diff_id)) in sizes.into_iter().zip(&file.diff_ids).enumerate() {
        let created_by = file.created_by.get(number).cloned().flatten();
        let (digest, compression) = (None, Compression::ByContent);
        layers.push(Layer { digest, diff_id: diff_id.clone(), size, compression, created_by });
        parts.push(vec![Part::Exported { export: Arc::clone(export), number, size }]);
    }
    let platform = file.platform.clone().unwrap_or_else(Platform::host);
    let config_digest = Some(config_digest);
    Some((Image { manifest_digest: None, config_digest, platform, config: file.config, layers }, parts))
}

/// Without a tag an engine would export all that the name has. An id has none.
fn with_tag(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or_default();
    let is_id = (12..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if last.contains([':', '@']) || is_id { name.to_owned() } else { format!("{name}:latest") }
}

/// A connection, and the host that is named in requests over it.
fn connect(endpoint: &Endpoint) -> Result<(Connection, String), String> {
    match endpoint {
        Endpoint::Unix(socket) => {
            let stream = unix(socket).map_err(|error| format!("{}: {error}", socket.display()))?;
            Ok((http::fresh(stream), "docker".to_owned()))
        }
        Endpoint::Tcp(address) => {
            let url = Url::parse(&format!("http://{address}/")).ok_or_else(|| format!("`{address}` is no address"))?;
            Ok((http::fresh(tcp(&url).map_err(|error| chain(&error))?), url.authority()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::with_tag;

    #[test]
    fn a_name_has_a_tag_and_an_id_none() {
        assert_eq!(with_tag("app"), "app:latest");
        assert_eq!(with_tag("r.example:5000/app"), "r.example:5000/app:latest");
        for name in ["app:1", "app@sha256:00", "sha256:00ff", "0123456789ab"] {
            assert_eq!(with_tag(name), name);
        }
    }
}
