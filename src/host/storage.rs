//! Where unpacked layers lie, and whether an overlay of them would show what it should.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, SFlag, mknod};
use nix::sys::statfs::{Statfs, statfs};

use super::{Check, Status};
use crate::sys::xattr;

const GIB: u64 = 1 << 30;
/// A few layers of real images.
const LITTLE: u64 = 2 * GIB;

/// A folder beside, or in, the store, with two small layers in it. It goes when this is dropped.
pub(super) struct Place {
    store: PathBuf,
    /// The nearest folder that exists.
    base: PathBuf,
    folder: Result<PathBuf, io::Error>,
    layers: Result<(), io::Error>,
}

impl Place {
    pub(super) fn near(store: &Path) -> Self {
        let base = store.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new(".")).to_owned();
        let base = if base.as_os_str().is_empty() { PathBuf::from(".") } else { base };
        let folder = nix::unistd::mkdtemp(&base.join(".doctor-XXXXXX")).map_err(io::Error::from);
        let layers = match &folder {
            Ok(folder) => make_layers(folder),
            Err(_) => Ok(()),
        };
        Place { store: store.to_owned(), base, folder, layers }
    }

    /// The folder with `upper` and `lower` (two layers), and `merged` and `proc` (empty), if all of it could be made.
    pub(super) fn folder(&self) -> Option<&Path> {
        self.layers.as_ref().ok().and(self.folder.as_deref().ok())
    }

    pub(super) fn checks(&self) -> Vec<Check> {
        let name = self.store.display();
        let folder = match &self.folder {
            Ok(folder) => folder,
            Err(error) => {
                let found = format!("{name}: no folder can be made in {}: {error}", self.base.display());
                let check = Check::new("store", Status::No, found).means("there is nowhere to unpack to");
                return vec![check.remedy("export AUSTERE_STORE=$HOME/.austere").needed()];
            }
        };
        let state = if self.base == self.store { "exists" } else { "can be made" };
        let mut checks = vec![Check::new("store", Status::Ok, format!("{name} {state}")).needed()];
        if let Err(error) = &self.layers {
            let found = format!("no whiteout (mknod 0:0) or user.* xattr can be made in {name}: {error}");
            let check =
                Check::new("layers", Status::No, found).means("layers cannot be kept in the form that overlays need");
            checks.push(
                check
                    .remedy("export AUSTERE_STORE=FOLDER with a folder on ext4, xfs, btrfs or, since Linux 6.6, tmpfs")
                    .needed(),
            );
        }
        if let Ok(status) = statfs(folder) {
            checks.push(space(&status));
        }
        checks
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Ok(folder) = &self.folder {
            // What is left is small, and has a name that says whose it is.
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// `lower` has a file, a file that `upper` whites out, and a directory that is opaque in `upper`.
fn make_layers(folder: &Path) -> io::Result<()> {
    for name in ["lower/replaced", "upper/replaced", "merged", "proc"] {
        fs::create_dir_all(folder.join(name))?;
    }
    for name in ["lower/seen", "lower/deleted", "lower/replaced/old"] {
        fs::write(folder.join(name), name)?;
    }
    mknod(&folder.join("upper/deleted"), SFlag::S_IFCHR, Mode::empty(), 0)?;
    xattr::set(File::open(folder.join("upper/replaced"))?.as_fd(), c"user.overlay.opaque", b"y")
}

fn space(status: &Statfs) -> Check {
    let block = u64::try_from(status.block_size()).unwrap_or(0);
    let free = status.blocks_available().saturating_mul(block);
    let found = format!("{}, {} MiB free", filesystem(status), free >> 20);
    if free < LITTLE {
        return Check::new("space", Status::Warn, found)
            .means("that is little for unpacked images")
            .remedy("export AUSTERE_STORE=FOLDER with a folder on a larger filesystem");
    }
    Check::new("space", Status::Ok, found)
}

/// Source: statfs(2), and `linux/magic.h` for what it does not list.
fn filesystem(status: &Statfs) -> String {
    // As text, because the number's type differs between C libraries.
    let number = format!("{:x}", status.filesystem_type().0);
    let name = match number.as_str() {
        "ef53" => "ext4",
        "58465342" => "xfs",
        "9123683e" => "btrfs",
        "1021994" => "tmpfs",
        "794c7630" => "overlay",
        "2fc12fc1" => "zfs",
        "f2f52010" => "f2fs",
        "6969" => "nfs",
        "65735546" => "fuse",
        "1021997" => "9p",
        _ => return format!("filesystem 0x{number}"),
    };
    name.to_owned()
}
