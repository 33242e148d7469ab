//! What `docker save` and `podman save` give, in a file without a name.
//!
//! A docker-archive names its layers at its end, so it is kept until it is unpacked.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::holder::{Holder, Part};
use super::{Found, SourceError, docker as archive};
use crate::platform::Platform;
use crate::registry::chain;
use crate::registry::http::{self, Connection, Request, Response};

/// What is read of an engine's message.
const MESSAGE_MAX: u64 = 16 << 10;

/// How an engine is asked for an image.
pub(super) enum How {
    Docker { connection: Connection, host: String, path: String },
    Podman { name: String },
}

/// Why there is no export.
pub(super) enum ExportError {
    /// The engine did not give it.
    Failed(String),
    /// It is no image that can be used.
    Source(Box<SourceError>),
}

/// An image that an engine exports when a layer of it is wanted, once.
pub(super) struct Export {
    name: String,
    how: Mutex<Option<How>>,
    store: Option<PathBuf>,
    wanted: Platform,
    layers: OnceLock<Result<Vec<Vec<Part>>, String>>,
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Export {
    /// Nothing is exported yet. `store` is where the export lies for a while.
    pub(super) fn new(name: &str, how: How, store: Option<PathBuf>, wanted: Platform) -> Self {
        Export { name: name.to_owned(), how: Mutex::new(Some(how)), store, wanted, layers: OnceLock::new() }
    }

    /// Exports the image: it, and the bytes of its configuration.
    pub(super) fn now(&self) -> Result<(Found, Vec<u8>), ExportError> {
        let how = self.how.lock().unwrap_or_else(PoisonError::into_inner).take();
        let how = how.ok_or_else(|| ExportError::Failed("it was exported before".to_owned()))?;
        let mut file = self.save(how).map_err(ExportError::Failed)?;
        let source = |error| ExportError::Source(Box::new(error));
        // Whoever wrote it left it at its end.
        file.rewind().map_err(|error| source(SourceError::Read { path: (&self.name).into(), source: error }))?;
        let holder = Holder::file(self.name.as_ref(), file).map_err(source)?;
        archive::open_with_config(&holder, None, &self.wanted).map_err(source)
    }

    /// Where a layer lies in the export, which is made for the first one that is wanted.
    pub(super) fn layer(&self, number: usize) -> io::Result<&[Part]> {
        let layers = self.layers.get_or_init(|| match self.now() {
            Ok(((_, layers), _)) => Ok(layers),
            Err(ExportError::Failed(why)) => Err(why),
            Err(ExportError::Source(error)) => Err(chain(&*error)),
        });
        let layers = layers.as_ref().map_err(|why| io::Error::other(format!("{}: {why}", self.name)))?;
        layers.get(number).map(Vec::as_slice).ok_or_else(|| io::Error::other(format!("{}: a layer is gone", self.name)))
    }

    fn save(&self, how: How) -> Result<File, String> {
        let mut file = scratch(self.store.as_deref()).map_err(|error| format!("no place for its export: {error}"))?;
        match how {
            How::Docker { connection, host, path } => {
                let export = ask(connection, &host, &path)?;
                if export.status != 200 {
                    return Err(message(export));
                }
                let mut body = export.body;
                io::copy(&mut body, &mut file).map_err(|error| format!("its export broke off: {error}"))?;
            }
            How::Podman { name } => {
                let stdout = file.try_clone().map_err(|error| error.to_string())?;
                let mut save = Command::new("podman");
                save.args(["save", "--quiet", "--format", "docker-archive", "--", &name]).stdin(Stdio::null());
                let saved = save.stdout(stdout).stderr(Stdio::piped()).output().map_err(|error| error.to_string())?;
                if !saved.status.success() {
                    return Err(last_line(&saved.stderr, saved.status));
                }
            }
        }
        Ok(file)
    }
}

/// One question.
pub(super) fn ask(connection: Connection, host: &str, path: &str) -> Result<Response, String> {
    let request = Request { method: "GET", target: path, host, fields: &[], body: b"" };
    http::send(connection, "docker", &request).map_err(|(error, _)| chain(&error))
}

/// What an engine says in its JSON, or its status.
pub(super) fn message(response: Response) -> String {
    let status = format!("{} {}", response.status, response.reason);
    let mut bytes = Vec::new();
    let mut body = response.body;
    let _ = (&mut body).take(MESSAGE_MAX).read_to_end(&mut bytes);
    let json: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
    let text = json.as_ref().and_then(|json| json["message"].as_str());
    text.map_or(status, |text| text.escape_debug().to_string())
}

pub(super) fn last_line(stderr: &[u8], status: std::process::ExitStatus) -> String {
    let text = String::from_utf8_lossy(stderr);
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    last.map_or_else(|| status.to_string(), |line| line.trim().escape_debug().to_string())
}

/// A file without a name: whatever happens, nothing of it is left.
fn scratch(store: Option<&Path>) -> io::Result<File> {
    let folder = match store {
        Some(store) => {
            // As the store itself would be made.
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(store)?;
            store.to_owned()
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
