//! Unpacked layers, shared by the images that have them.
//!
//! `layers/HEX/KEY/` holds one layer in one projection: `tree/`, in the form that overlayfs reads, and `facts.json`. It appears
//! there by rename when every digest was right, so what is there is whole, whoever was killed when. What is being written lies
//! in `staging/`, locked with flock(2) by its writer; the kernel drops the lock of a process that died, and the next
//! [`Store::open`] removes what nobody holds. A layer in use is locked too, shared; whoever takes one out needs the exclusive
//! lock, moves it to `staging/` and removes it there.
//!
//! # Power loss
//!
//! A process that dies takes nothing with it that it wrote; a host that goes down does. The rename can be on the disk and the
//! files not, and syncing every layer before its rename would cost more than unpacking it. So nothing is synced, and what may
//! not be whole is not believed:
//!
//! - `facts.json` names the boot (`/proc/sys/kernel/random/boot_id`) in which the layer was published. In that boot the layer is
//!   believed: the kernel has all of it.
//! - A layer with the empty file `synced` is believed in every boot. The mark is made after syncfs(2) returned, so it cannot be
//!   on the disk before the layer is. The first command that uses the layer a minute or more after it was published, in the same
//!   boot, makes it: the kernel has written the layer by itself then, and there is little to wait for. That happens once a
//!   layer.
//! - Any other layer is unpacked again, and its remains removed. It is not examined: to find out that every byte of a tree is
//!   right takes the layer's blob, and about as long as unpacking it.
//!
//! Where the kernel does not show the boot, layers are synced before they are published.
//!
//! # Last used
//!
//! The modification time of `layers/HEX/KEY` is the time of the last use, brought up to date when it is a day old; so a second
//! run on the same day writes nothing. (Access times are kept, or not, as the file system was mounted.)

mod accounts;
mod collect;
mod inherit;
mod lookup;
mod merged;
mod published;
mod stage;
mod staging;
mod trust;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

pub use accounts::Accounts;
pub use collect::{Listed, Policy, Removal};
pub use merged::Merged;

use crate::digest::{Digest, Hasher};
use crate::source::Opened;
use crate::unpack::{Budget, Facts, Limits, Projection, UnpackError};
use published::Published;

/// A folder of unpacked layers.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    layers: OwnedFd,
    staging: OwnedFd,
    privileged: bool,
    boot: Option<String>,
    map: Option<String>,
}

/// An image's layers, held until this is dropped.
#[derive(Debug)]
pub struct Unpacked {
    /// Base first. A reference to a tree of files has none.
    pub layers: Vec<UnpackedLayer>,
    /// Who the image knows.
    pub accounts: Accounts,
    /// How owners were projected.
    pub projection: Projection,
}

/// A layer in the store.
#[derive(Debug)]
pub struct UnpackedLayer {
    /// Its root folder, opened with `O_PATH`.
    pub tree: OwnedFd,
    /// Where that is.
    pub path: PathBuf,
    /// What its tree cannot say.
    pub facts: Facts,
    /// Holds the shared lock.
    _lock: File,
}

/// Why an image is not in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no home folder to put it in.
    #[error(
        "there is no place for unpacked layers: neither XDG_DATA_HOME nor HOME is set\n  hint: --store DIR or AUSTERE_STORE names one"
    )]
    NoHome,
    /// A file or folder of the store itself.
    #[error("cannot {what} {} in the store", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A layer is not what the image says, or cannot be written.
    #[error("cannot unpack to {}", path.display())]
    Unpack {
        /// The store.
        path: PathBuf,
        /// What happened.
        source: UnpackError,
    },
    /// What is in the store cannot be read.
    #[error("{} is damaged: {why}\n  hint: `austere store gc` removes it", path.display())]
    Damaged {
        /// The layer's folder.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Real owners were asked for by someone who cannot give them.
    #[error("only root can give files the owners that the image says")]
    NeedsRoot,
}

/// Whether this process is root of the host: uid 0 in the initial user namespace. In a namespace of its own anyone has uid 0.
pub fn privileged() -> bool {
    nix::unistd::geteuid().is_root() && crate::ids::is_initial()
}

/// Where the store is when nobody says otherwise: `AUSTERE_STORE`, else `/var/lib/austere` for root, else
/// `$XDG_DATA_HOME/austere`, which is `~/.local/share/austere` where that is not set.
///
/// # Errors
///
/// [`StoreError::NoHome`].
pub fn default_path(privileged: bool) -> Result<PathBuf, StoreError> {
    let named = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = named("AUSTERE_STORE") {
        return Ok(path);
    }
    if privileged {
        return Ok(PathBuf::from("/var/lib/austere"));
    }
    // The XDG specification says that a relative path is to be ignored.
    let data = named("XDG_DATA_HOME").filter(|path| path.is_absolute());
    let data = data.or_else(|| named("HOME").map(|home| home.join(".local/share")));
    data.map(|data| data.join("austere")).ok_or(StoreError::NoHome)
}

impl Store {
    /// Opens the store at `path`, makes it if it is not there, and removes what killed processes left in it.
    ///
    /// `privileged` says whether files can have any owner; see [`privileged()`]. The store is closed to other users: it
    /// may hold set-id programs of any origin.
    ///
    /// # Errors
    ///
    /// When a folder cannot be made or opened.
    pub fn open(path: &Path, privileged: bool) -> Result<Self, StoreError> {
        let dir = |path: &Path| {
            let io = |what| move |source| StoreError::Io { what, path: path.to_owned(), source };
            if !path.is_dir() {
                use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
                std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io("create"))?;
                std::fs::set_permissions(path, PermissionsExt::from_mode(0o700)).map_err(io("chmod"))?;
            }
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            open(path, flags, Mode::empty()).map_err(|errno| io("open")(errno.into()))
        };
        // Made absolute, so that the paths given out hold after a change of folder.
        let path = &std::path::absolute(path).map_err(|source| StoreError::Io {
            what: "find",
            path: path.to_owned(),
            source,
        })?;
        dir(path)?;
        let (layers, staging) = (dir(&path.join("layers"))?, dir(&path.join("staging"))?);
        staging::sweep(staging.as_fd());
        Ok(Store { path: path.clone(), layers, staging, privileged, boot: trust::boot(), map: None })
    }

    /// The same store for a process in a user namespace that maps the ids of images: files can have any owner there. `map` is
    /// that of [`Projection::Mapped`].
    #[must_use]
    pub fn mapped(self, map: String) -> Self {
        Store { privileged: true, map: Some(map), ..self }
    }

    /// The name given to [`Store::mapped`].
    pub fn map(&self) -> Option<&str> {
        self.map.as_deref()
    }

    /// The layers of `opened`, unpacked unless they are here already, with owners as `project` says once it knows the
    /// image's accounts. An image that is here is not read, and nothing is written for it but the marks that the module speaks of.
    ///
    /// # Errors
    ///
    /// When a layer is not what the image says, a limit is reached, or the store cannot be written; nothing of the layers
    /// that were being unpacked is left then.
    pub fn ensure(
        &self,
        opened: &Opened,
        limits: &Limits,
        project: impl FnOnce(&Accounts) -> Projection,
    ) -> Result<Unpacked, StoreError> {
        if let Some(rootfs) = opened.rootfs() {
            let accounts = Accounts::of_folder(rootfs)?;
            let projection = project(&accounts);
            return Ok(Unpacked { layers: Vec::new(), accounts, projection });
        }
        let budget = Budget::new(limits);
        let ids: Vec<&Digest> = opened.image.layers.iter().map(|layer| &layer.diff_id).collect();
        // In any projection: the accounts are the same.
        let mut known: Vec<Option<Published>> = ids.iter().map(|id| self.any(id)).collect::<Result<_, _>>()?;
        let missing: Vec<usize> = (0..ids.len()).filter(|index| known[*index].is_none()).collect();
        let mut staged = self.stage(opened, &missing, &budget, |id| Ok(self.any(id)?.is_some()))?;
        for index in missing {
            if !staged.has(ids[index]) {
                known[index] = self.any(ids[index])?;
            }
        }
        let trees = ids.iter().zip(&known).rev().filter_map(|(id, known)| match known {
            Some(known) => Some(known.tree.as_fd()),
            None => staged.tree(id),
        });
        let accounts = Accounts::of_layers(&trees.collect::<Vec<_>>(), &self.path)?;
        let projection = project(&accounts);
        let owners = matches!(projection, Projection::Real | Projection::Mapped { .. });
        if owners && !self.privileged {
            return Err(StoreError::NeedsRoot);
        }
        let key = projection.key();
        let mut layers: Vec<Option<Published>> = Vec::new();
        for (index, id) in ids.iter().enumerate() {
            let reuse = known[index].take_if(|known| known.key == key);
            layers.push(match reuse {
                Some(known) => Some(known),
                None => self.published(id, &key, &chain(&ids[..index]))?,
            });
        }
        drop(known);
        let rest: Vec<usize> =
            (0..ids.len()).filter(|index| layers[*index].is_none() && !staged.has(ids[*index])).collect();
        staged.extend(self.stage(opened, &rest, &budget, |id| Ok(self.at(id, &key)?.is_some()))?);
        for (index, id) in ids.iter().enumerate() {
            let chain = chain(&ids[..index]);
            // The same layer may be there twice, and have been published for its first place just now.
            if layers[index].is_none() {
                layers[index] = self.published(id, &key, &chain)?;
            }
            if layers[index].is_none() {
                if !staged.has(id) {
                    // Our own lock on it would be waited for too.
                    staged.unlock();
                    staged.extend(self.stage(opened, &[index], &budget, |_| Ok(false))?);
                }
                let lower: Vec<_> = layers[..index].iter().flatten().rev().map(|layer| layer.tree.as_fd()).collect();
                layers[index] = Some(self.publish(id, &mut staged, &projection, &chain, &lower, &opened.reference)?);
            }
        }
        self.settle(layers.iter().flatten());
        let layers = layers.into_iter().flatten().map(Published::into_layer).collect();
        Ok(Unpacked { layers, accounts, projection })
    }

    fn io(&self, what: &'static str, name: &str) -> impl FnOnce(nix::Error) -> StoreError + use<> {
        let path = self.path.join(name);
        move |errno| StoreError::Io { what, path, source: errno.into() }
    }
}

/// A name for what lies below a layer: folders that the layer does not speak of have the attributes they have there.
fn chain(lower: &[&Digest]) -> String {
    let mut hasher = Hasher::new(crate::digest::Algorithm::Sha256);
    for id in lower {
        hasher.update(id.to_string().as_bytes());
    }
    hasher.finish().hex()[..16].to_owned()
}
