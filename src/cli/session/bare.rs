//! An image where no jail of namespaces and mounts can be built.

use ::caps::{CapSet, Capability};
use nix::unistd::geteuid;

use super::{Files, Session, resolve};
use crate::host;
use crate::ids;
use crate::jail::Confinement;
use crate::profile::account::{Account, User};
use crate::source::Opened;
use crate::store::{Accounts, Store};
use crate::unpack::Limits;

impl Session {
    /// What a jail is made of here.
    pub(in crate::cli) fn confinement(&self) -> Confinement {
        match &self.barred {
            Some(check) => Confinement::Tree(check.found.clone()),
            None => Confinement::Namespaces,
        }
    }

    /// Whether nothing can be run here, not even in a root of its own: that takes a merged tree, and root's rights to change root and user.
    pub(in crate::cli) fn cannot_run(&self) -> Option<&host::Check> {
        let needed = [
            Capability::CAP_SYS_CHROOT,
            Capability::CAP_SETUID,
            Capability::CAP_SETGID,
            Capability::CAP_SETPCAP,
            Capability::CAP_KILL,
        ];
        let has = |capability| ::caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
        let can = matches!(&*self.files, Files::Merged(_)) && geteuid().is_root() && needed.into_iter().all(has);
        self.barred.as_ref().filter(|_| !can)
    }
}

/// Where no layer can be mounted: they may not even be kept as overlays want them, because container engines refuse whiteouts.
pub(super) fn unpack(
    opened: &Opened,
    store: &Store,
    limits: &Limits,
    user: &User,
) -> anyhow::Result<(Files, Accounts, Account)> {
    if opened.rootfs().is_some() {
        return super::unpack(opened, store, limits, ids::Mode::Single, user);
    }
    let merged = store.merge(opened, limits)?;
    let accounts = merged.accounts.clone();
    let account = resolve(user, &accounts)?;
    Ok((Files::Merged(merged), accounts, account))
}
