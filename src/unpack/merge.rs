//! All layers of an image in one tree, for people and other tools.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::thread;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, fchmod};

use super::decode::Reading;
use super::entries::Entries;
use super::place::{Form, Rights, Writer};
use super::{Budget, Facts, Limits, UnpackError, in_layer, remove};
use crate::source::Opened;

/// Writes the merged tree of `opened` to `dir`, which must be empty or absent. With `privileged` (root of the host), owners
/// and devices are as the image says; otherwise every file belongs to the caller.
///
/// Layers are read ahead by threads of their own, at most one a processor, and written one after the other.
///
/// # Errors
///
/// Any [`UnpackError`]; then nothing is left behind.
pub fn merge(opened: &Opened, dir: &Path, limits: &Limits, privileged: bool) -> Result<Facts, UnpackError> {
    let target = |why: String| UnpackError::Target { path: dir.display().to_string(), why };
    let existed = match dir.read_dir().map(|mut entries| entries.next().is_none()) {
        Ok(true) => true,
        Ok(false) => return Err(target("the folder is not empty".into())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(target(error.to_string())),
    };
    if !existed {
        std::fs::create_dir(dir).map_err(|error| target(error.to_string()))?;
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = open(dir, flags, Mode::empty()).map_err(|errno| target(errno.to_string()))?;
    let result = clone(&root).and_then(|fd| write(opened, fd, limits, privileged));
    if result.is_err() {
        // The first error is the one that matters.
        let names = dir.read_dir().into_iter().flatten().flatten();
        for name in names {
            let _ = remove::any(root.as_fd(), std::os::unix::ffi::OsStrExt::as_bytes(name.file_name().as_os_str()));
        }
        if !existed {
            let _ = std::fs::remove_dir(dir);
        }
    }
    result
}

fn write(opened: &Opened, root: OwnedFd, limits: &Limits, privileged: bool) -> Result<Facts, UnpackError> {
    fchmod(&root, Mode::from_bits_truncate(0o755)).map_err(super::error::refused("chmod", b""))?;
    let budget = Budget::new(limits);
    let rights = if privileged { Rights::All } else { Rights::Modes };
    let image = &opened.image;
    let ahead = thread::available_parallelism().map_or(1, usize::from);
    let mut writer = Writer::new(root, Form::Merged, rights, &budget, None);
    thread::scope(|scope| {
        let mut waiting = VecDeque::new();
        let mut indices = 0..image.layers.len();
        for _ in 0..image.layers.len() {
            while waiting.len() < ahead {
                let Some(index) = indices.next() else { break };
                waiting.push_back((index, Reading::start(scope, opened, index, &budget)));
            }
            let Some((index, mut reading)) = waiting.pop_front() else { break };
            let written = writer.layer(&mut Entries::new(&mut reading.pipe, &budget), index > 0);
            if let Err(error) = reading.finish(written) {
                opened.give_up();
                for (_, reading) in waiting {
                    reading.abandon();
                }
                return Err(in_layer(image, index)(error));
            }
        }
        Ok(())
    })?;
    writer.finish().map(|(facts, _)| facts)
}

fn clone(root: &OwnedFd) -> Result<OwnedFd, UnpackError> {
    root.try_clone().map_err(|error| UnpackError::Target { path: "/".into(), why: error.to_string() })
}
