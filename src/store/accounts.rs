//! Who the image knows: its `/etc/passwd` and `/etc/group`.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;

use super::StoreError;
use super::lookup::find;
use crate::unpack::below;

/// No account file of an image is larger than this.
const SIZE_MAX: u64 = 4 << 20;

/// The account files of a merged image, as they are; absent where the image has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// `/etc/passwd`.
    pub passwd: Option<Vec<u8>>,
    /// `/etc/group`.
    pub group: Option<Vec<u8>>,
}

impl Accounts {
    /// Of layers, the topmost first.
    pub(super) fn of_layers(trees: &[BorrowedFd<'_>], place: &Path) -> Result<Self, StoreError> {
        let file = |path: &str| {
            read(trees, path.as_bytes()).map_err(|source| StoreError::Io {
                what: "read the image's",
                path: place.join(path),
                source,
            })
        };
        Ok(Accounts { passwd: file("etc/passwd")?, group: file("etc/group")? })
    }

    /// Of a folder that is a root filesystem.
    pub(super) fn of_folder(path: &Path) -> Result<Self, StoreError> {
        let folder =
            File::open(path).map_err(|source| StoreError::Io { what: "open", path: path.to_owned(), source })?;
        Self::of_layers(&[folder.as_fd()], path)
    }
}

fn read(trees: &[BorrowedFd<'_>], path: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let Some(found) = find(trees, path, true)? else { return Ok(None) };
    if found.stat.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFREG.bits() {
        return Ok(None);
    }
    let fd = match below(trees[found.layer], &found.path, OFlag::O_RDONLY | OFlag::O_NONBLOCK) {
        Ok(fd) => fd,
        Err(Errno::ENOENT) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let mut bytes = Vec::new();
    File::from(fd).take(SIZE_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SIZE_MAX {
        return Err(io::Error::other("it is larger than 4 MiB"));
    }
    Ok(Some(bytes))
}
