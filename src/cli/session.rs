//! What `verify` and `run` do before the jail: find the image, settle the ids, unpack what is not unpacked yet.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::CannotEnforce;
use super::launch;
use crate::finding::Finding;
use crate::ids;
use crate::measure::Measure;
use crate::platform::Platform;
use crate::profile::account::{Account, AccountError, User};
use crate::reference::Reference;
use crate::source::{self, Opened};
use crate::store::{self, Accounts, Store, Unpacked};
use crate::unpack::{Limits, Projection};

/// An image that is ready to be jailed.
pub(super) struct Session {
    /// Where it was found, and what it says of itself.
    pub(super) opened: Rc<Opened>,
    /// How its ids relate to the host's.
    pub(super) ids: ids::Mode,
    /// Who the app will be.
    pub(super) account: Account,
    /// Finding and reading the image's documents.
    pub(super) open_took: Duration,
    /// Unpacking, or finding out that there is nothing to unpack.
    pub(super) unpack_took: Duration,
    files: Files,
    store: Rc<Store>,
    limits: Limits,
}

/// The layers, held in the store while they are in use; or a folder that is used as it is.
enum Files {
    Layers(Unpacked),
    Folder(PathBuf),
}

/// Finds and unpacks an image. Call it while the process has one thread.
pub(super) fn prepare(
    reference: &Reference,
    platform: Option<&Platform>,
    store_path: Option<&Path>,
    limits: &Limits,
    user: &User,
) -> anyhow::Result<Session> {
    let begun = Instant::now();
    let opened = source::open(reference, &source::Options { platform: platform.cloned() })?;
    launch::check_platform(&opened.image.platform)?;
    let open_took = begun.elapsed();

    let begun = Instant::now();
    let privileged = store::privileged();
    let store_path = match store_path {
        Some(path) => path.to_owned(),
        None => store::default_path(privileged)?,
    };
    let ids = ids::enter().map_err(|error| CannotEnforce(error.to_string()))?;
    let store = Store::open(&store_path, privileged)?;
    let (files, account) = unpack(&opened, &store, limits, ids, user)?;
    let unpack_took = begun.elapsed();
    Ok(Session { opened: Rc::new(opened), ids, account, open_took, unpack_took, files, store: Rc::new(store), limits: *limits })
}

fn unpack(
    opened: &Opened,
    store: &Store,
    limits: &Limits,
    ids: ids::Mode,
    user: &User,
) -> anyhow::Result<(Files, Account)> {
    if let Some(folder) = opened.rootfs() {
        let folder = folder.canonicalize().with_context(|| format!("opening {}", folder.display()))?;
        // Where one id is mapped, what is the caller's shows as root's, and austere could not even add /etc/hosts to another's.
        let owner = folder.metadata().with_context(|| format!("opening {}", folder.display()))?.uid();
        anyhow::ensure!(
            ids == ids::Mode::Real || owner == 0,
            "{} belongs to another user, and a normal user can run a folder of their own only\n  hint: run austere as root, or an archive of the image",
            folder.display()
        );
        let read = |name: &str| std::fs::read(folder.join("etc").join(name)).ok();
        let accounts = Accounts { passwd: read("passwd"), group: read("group") };
        let account = resolve(user, &accounts)?;
        return Ok((Files::Folder(folder), account));
    }
    let mut account = None;
    let unpacked = store.ensure(opened, limits, |accounts| {
        // What is wrong with the name is told below, when there is something to return it from.
        let found = resolve(user, accounts).ok();
        let projection = match (ids, &found) {
            (ids::Mode::Single, Some(found)) => {
                Projection::Owner { uid: found.uid, gid: found.gid, groups: found.groups.clone() }
            }
            (ids::Mode::Single, None) => Projection::Owner { uid: 0, gid: 0, groups: Vec::new() },
            (ids::Mode::Real, _) => Projection::Real,
        };
        account = found;
        projection
    })?;
    let account = match account {
        Some(account) => account,
        None => resolve(user, &unpacked.accounts)?,
    };
    Ok((Files::Layers(unpacked), account))
}

fn resolve(user: &User, accounts: &Accounts) -> Result<Account, AccountError> {
    user.resolve(accounts.passwd.as_deref().unwrap_or(b""), accounts.group.as_deref().unwrap_or(b""))
}

impl Session {
    /// The folders of the layers, base first.
    pub(super) fn layers(&self) -> Vec<PathBuf> {
        match &self.files {
            Files::Layers(unpacked) => unpacked.layers.iter().map(|layer| layer.path.clone()).collect(),
            Files::Folder(folder) => vec![folder.clone()],
        }
    }

    /// Bytes of all files of all layers.
    pub(super) fn unpacked_bytes(&self) -> u64 {
        match &self.files {
            Files::Layers(unpacked) => unpacked.layers.iter().map(|layer| layer.facts.bytes).sum(),
            Files::Folder(..) => 0,
        }
    }

    /// What was noticed while unpacking.
    pub(super) fn findings(&self) -> Vec<Finding> {
        match &self.files {
            Files::Layers(unpacked) => unpacked.layers.iter().flat_map(|layer| layer.facts.findings.clone()).collect(),
            Files::Folder(..) => Vec::new(),
        }
    }

    /// What the id mode cannot carry over from the image.
    pub(super) fn measures(&self) -> Vec<Measure> {
        match (&self.files, self.ids) {
            (Files::Folder(..), ids::Mode::Single) => {
                let why = "a folder is used as it is: with one id, everything in it that is the caller's becomes the app's";
                vec![Measure::unavailable("file-owners", "as in the folder", why).giving()]
            }
            _ => Vec::new(),
        }
    }

    /// The same image for another user: the one it names itself.
    pub(super) fn as_shipped(&self) -> anyhow::Result<Session> {
        let user = match self.opened.image.config.user.as_str() {
            "" => User::ROOT,
            user => user.parse()?,
        };
        let (files, account) = unpack(&self.opened, &self.store, &self.limits, self.ids, &user)?;
        Ok(Session {
            opened: Rc::clone(&self.opened),
            ids: self.ids,
            account,
            open_took: Duration::ZERO,
            unpack_took: Duration::ZERO,
            files,
            store: Rc::clone(&self.store),
            limits: self.limits,
        })
    }
}
