//! Folders that are being written, each locked by its writer.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fchmod, fstat, mkdirat};

use crate::unpack::remove;

/// A locked folder in `staging/`; dropped, it is gone, unless it was renamed away.
pub(super) struct Staging {
    parent: OwnedFd,
    pub(super) name: String,
    pub(super) dir: File,
    pub(super) published: bool,
}

impl Staging {
    pub(super) fn new(parent: BorrowedFd<'_>) -> Result<Self, Errno> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let parent = parent.try_clone_to_owned().map_err(|_| Errno::EMFILE)?;
        loop {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
            let name = format!("{}-{}-{now:x}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            match mkdirat(&parent, name.as_str(), Mode::S_IRWXU) {
                Err(Errno::EEXIST) => continue,
                other => other?,
            }
            let dir = match open_dir(parent.as_fd(), name.as_bytes()) {
                Ok(dir) => File::from(dir),
                // Another process swept it before it was locked.
                Err(Errno::ENOENT) => continue,
                Err(errno) => return Err(errno),
            };
            if dir.try_lock().is_ok() && fstat(&dir)?.st_nlink > 0 {
                fchmod(&dir, Mode::S_IRWXU)?;
                return Ok(Staging { parent, name, dir, published: false });
            }
        }
    }
}

impl Staging {
    /// Removes it, and says whether that went well.
    pub(super) fn clear(mut self) -> Result<(), Errno> {
        self.published = true;
        remove(self.parent.as_fd(), self.name.as_bytes()).map(drop)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.published {
            // What cannot be removed now, the next sweep removes.
            let _ = remove(self.parent.as_fd(), self.name.as_bytes());
        }
    }
}

/// Removes the folders whose writers are gone.
pub(super) fn sweep(staging: BorrowedFd<'_>) {
    let Ok(mut listing) =
        Dir::openat(staging, c".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
    else {
        return;
    };
    for entry in listing.iter().flatten() {
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        let Ok(dir) = open_dir(staging, name) else { continue };
        let dir = File::from(dir);
        if dir.try_lock().is_ok() {
            let _ = remove(staging, name);
        }
    }
}

pub(super) fn open_dir(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_writer_is_not_swept() {
        let dir = tempfile::tempdir().unwrap();
        let fd = File::open(dir.path()).unwrap();
        let held = Staging::new(fd.as_fd()).unwrap();
        std::fs::create_dir(dir.path().join("left-by-the-dead")).unwrap();
        sweep(fd.as_fd());
        assert!(dir.path().join(&held.name).exists());
        assert!(!dir.path().join("left-by-the-dead").exists());
        drop(held);
        assert_eq!(dir.path().read_dir().unwrap().count(), 0);
    }
}
