//! An unpacked image, looked at.

use std::collections::BTreeMap;

use anyhow::Context as _;
use nix::unistd::{getegid, geteuid};

use super::{Files, Session};
use crate::ids;
use crate::inventory::{self, Credentials, Entrypoint};
use crate::layers::{Layer, View};
use crate::unpack::{Facts, Special, SpecialKind};

impl Session {
    /// The merged files, for looking at.
    pub(in crate::cli) fn view(&self) -> anyhow::Result<View> {
        match &*self.files {
            Files::Layers(unpacked) => {
                let mut layers = Vec::new();
                for layer in unpacked.layers.iter().rev() {
                    layers.push(stacked(layer.tree.try_clone()?, &layer.facts));
                }
                Ok(View::new(layers))
            }
            Files::Merged(merged) => {
                let tree = std::fs::File::open(&merged.path)
                    .with_context(|| format!("opening {}", merged.path.display()))?
                    .into();
                Ok(View::new(vec![stacked(tree, &merged.facts)]))
            }
            Files::Folder(folder) => {
                View::of_folder(folder).with_context(|| format!("cannot open the folder {}", folder.display()))
            }
        }
    }

    /// What a command line of this image leads to, as the app's user would find it.
    pub(in crate::cli) fn entrypoint(&self, view: &View, argv: &[String]) -> Entrypoint {
        let credentials = self.credentials();
        let image = &self.opened.image;
        inventory::resolve(
            view,
            &inventory::Command {
                argv,
                env: &image.config.env,
                working_dir: &image.config.working_dir,
                credentials: &credentials,
                architecture: &image.platform.architecture,
            },
        )
    }

    /// Whose files are the app's own; nothing where all belong to one id.
    pub(in crate::cli) fn owner(&self) -> Option<u32> {
        let all_are_ours = self.ids == ids::Mode::Single && !matches!(&*self.files, Files::Folder(_));
        (!all_are_ours).then_some(self.account.uid)
    }

    /// Who the app's user is to the files, as they lie in the store.
    pub(in crate::cli) fn credentials(&self) -> Credentials {
        match (self.ids, &*self.files) {
            // Every file is ours, and its owner's bits are those that the user would have had.
            (ids::Mode::Single, Files::Layers(..) | Files::Merged(..)) => {
                Credentials { uid: geteuid().as_raw(), gid: getegid().as_raw(), groups: Vec::new() }
            }
            _ => Credentials { uid: self.account.uid, gid: self.account.gid, groups: self.account.groups.clone() },
        }
    }
}

/// A layer to look at, with what modes and the store cannot hold.
fn stacked(tree: std::os::fd::OwnedFd, facts: &Facts) -> Layer {
    let set_id = |special: &Special| match special.kind {
        SpecialKind::SetId { mode } => Some((special.path.trim_start_matches('/').to_owned(), mode)),
        _ => None,
    };
    Layer { tree, capabilities: capabilities(facts), set_ids: facts.specials.iter().filter_map(set_id).collect() }
}

/// What files ask for, as the image says, whether or not the store could hold it.
fn capabilities(facts: &Facts) -> BTreeMap<String, Vec<u8>> {
    let digits = |hex: &str| -> Option<Vec<u8>> {
        hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
    };
    let one = |special: &Special| match &special.kind {
        SpecialKind::FileCapability { hex, .. } => {
            Some((special.path.trim_start_matches('/').to_owned(), digits(hex)?))
        }
        _ => None,
    };
    facts.specials.iter().filter_map(one).collect()
}
