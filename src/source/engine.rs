//! Images of the engines on this host, as `docker save` and `podman save` give them.
//!
//! A docker-archive names its layers at its end, so it is kept in a file without a name until it is unpacked; what was unpacked before
//! is not read from there.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::endpoint::{self, Endpoint};
use super::holder::Holder;
use super::{Found, Options, SourceError, docker as archive};
use crate::platform::Platform;
use crate::registry::http::{self, Request, Response};
use crate::registry::url::Url;
use crate::registry::{chain, tcp, unix};

const DOCKER: &str = "docker";
const PODMAN: &str = "podman";
/// What is read of an engine's message.
const MESSAGE_MAX: u64 = 16 << 10;

/// An image of a Docker Engine.
pub(super) fn docker(name: &str, options: &Options, wanted: &Platform) -> Result<Found, SourceError> {
    let none = |why: String| SourceError::EngineHasNone { engine: DOCKER, name: name.to_owned(), why };
    let failed = |why: String| SourceError::Engine { engine: DOCKER, name: name.to_owned(), why };
    let endpoint = endpoint::find(|name| std::env::var(name).ok()).map_err(none)?;
    let full = with_tag(name);
    let known = ask(&endpoint, &format!("/images/{full}/json")).map_err(none)?;
    match known.status {
        200 => {}
        404 => return Err(none("it has no image of that name".to_owned())),
        _ => return Err(failed(message(known))),
    }
    let export = ask(&endpoint, &format!("/images/{full}/get")).map_err(failed)?;
    if export.status != 200 {
        return Err(failed(message(export)));
    }
    let mut file = scratch(options).map_err(|error| failed(format!("no place for its export: {error}")))?;
    let mut body = export.body;
    io::copy(&mut body, &mut file).map_err(|error| failed(format!("its export broke off: {error}")))?;
    found(&format!("docker-daemon:{name}"), file, wanted)
}

/// An image of podman's, by podman itself: its storage has locks and forms of its own.
pub(super) fn podman(name: &str, options: &Options, wanted: &Platform) -> Result<Found, SourceError> {
    let none = |why: String| SourceError::EngineHasNone { engine: PODMAN, name: name.to_owned(), why };
    let failed = |why: String| SourceError::Engine { engine: PODMAN, name: name.to_owned(), why };
    let known = Command::new(PODMAN).args(["image", "exists", "--", name]).stdin(Stdio::null()).output();
    let known = known.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => none("it is not installed".to_owned()),
        _ => none(error.to_string()),
    })?;
    match known.status.code() {
        Some(0) => {}
        Some(1) => return Err(none("it has no image of that name".to_owned())),
        _ => return Err(none(last_line(&known.stderr, known.status))),
    }
    let file = scratch(options).and_then(|file| Ok((file.try_clone()?, file)));
    let (stdout, file) = file.map_err(|error| failed(format!("no place for its export: {error}")))?;
    let mut save = Command::new(PODMAN);
    save.args(["save", "--quiet", "--format", "docker-archive", "--", name]).stdin(Stdio::null()).stdout(stdout);
    let saved = save.stderr(Stdio::piped()).output().map_err(|error| failed(error.to_string()))?;
    if !saved.status.success() {
        return Err(failed(last_line(&saved.stderr, saved.status)));
    }
    found(&format!("containers-storage:{name}"), file, wanted)
}

fn found(name: &str, mut file: File, wanted: &Platform) -> Result<Found, SourceError> {
    // Whoever wrote it left it at its end.
    file.rewind().map_err(|source| SourceError::Read { path: name.into(), source })?;
    archive::open(&Holder::file(name.as_ref(), file)?, None, wanted)
}

/// Without a tag an engine would export all that the name has. An id has none.
fn with_tag(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or_default();
    let is_id = (12..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if last.contains([':', '@']) || is_id { name.to_owned() } else { format!("{name}:latest") }
}

/// One question over a connection of its own.
fn ask(endpoint: &Endpoint, path: &str) -> Result<Response, String> {
    let (stream, host) = match endpoint {
        Endpoint::Unix(socket) => {
            let stream = unix(socket).map_err(|error| format!("{}: {error}", socket.display()))?;
            (stream, "docker".to_owned())
        }
        Endpoint::Tcp(address) => {
            let url = Url::parse(&format!("http://{address}/")).ok_or_else(|| format!("`{address}` is no address"))?;
            (tcp(&url).map_err(|error| chain(&error))?, url.authority())
        }
    };
    let request = Request { method: "GET", target: path, host: &host, fields: &[], body: b"" };
    http::send(http::fresh(stream), DOCKER, &request).map_err(|(error, _)| chain(&error))
}

/// What an engine says in its JSON, or its status.
fn message(response: Response) -> String {
    let status = format!("{} {}", response.status, response.reason);
    let mut bytes = Vec::new();
    let mut body = response.body;
    let _ = (&mut body).take(MESSAGE_MAX).read_to_end(&mut bytes);
    let json: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
    let text = json.as_ref().and_then(|json| json["message"].as_str());
    text.map_or(status, |text| text.escape_debug().to_string())
}

fn last_line(stderr: &[u8], status: std::process::ExitStatus) -> String {
    let text = String::from_utf8_lossy(stderr);
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    last.map_or_else(|| status.to_string(), |line| line.trim().escape_debug().to_string())
}

/// A file without a name: whatever happens, nothing of it is left.
fn scratch(options: &Options) -> io::Result<File> {
    let folder = match &options.store {
        Some(store) => {
            // As the store itself would be made.
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(store)?;
            store.clone()
        }
        None => std::env::temp_dir(),
    };
    let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    match open(&folder, flags, Mode::S_IRUSR | Mode::S_IWUSR) {
        Ok(fd) => Ok(OwnedFd::into(fd)),
        // Some file systems cannot (overlayfs before Linux 6.1).
        Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::ENOENT) => unnamed(&folder),
        Err(errno) => Err(errno.into()),
    }
}

fn unnamed(folder: &Path) -> io::Result<File> {
    let path = folder.join(format!(".export-{}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
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
