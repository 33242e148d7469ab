//! The flags that say where an image is, whom it is for, and what it may cost.

use std::path::PathBuf;

use crate::cli::limits::LimitArgs;
use crate::cli::pull::PullArgs;
use crate::ids;
use crate::image;
use crate::manifest::Who;
use crate::platform::Platform;
use crate::profile::account::{AccountError, User};
use crate::profile::preset::Preset;
use crate::source;
use crate::store;

/// The modes that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum IdChoice {
    Auto,
    Mapped,
    Single,
}

impl IdChoice {
    /// The flag's, else the variable's.
    pub(super) fn settle(flag: Option<Self>) -> anyhow::Result<ids::Choice> {
        let named = || std::env::var("AUSTERE_IDS").ok().filter(|value| !value.is_empty());
        let choice = match (flag, named()) {
            (Some(choice), _) => choice,
            (None, None) => IdChoice::Auto,
            (None, Some(name)) => <IdChoice as clap::ValueEnum>::from_str(&name, false)
                .map_err(|_| anyhow::anyhow!("AUSTERE_IDS is `{name}`, which is none of auto, mapped, single"))?,
        };
        Ok(match choice {
            IdChoice::Auto => ids::Choice::Auto,
            IdChoice::Mapped => ids::Choice::Mapped,
            IdChoice::Single => ids::Choice::Single,
        })
    }
}

/// Who an app is unless something else is asked for: a user that no image gives a right to.
const HARDENED_USER: &str = "65532";

// Where an image is, whom it is for, and what it may cost.
#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct ImageArgs {
    /// The user the app runs as [default: 65532, or the manifest's]; its group is passwd's, else 0
    #[arg(short, long, value_name = "USER[:GROUP]", help_heading = "Jail")]
    pub(in crate::cli) user: Option<User>,
    /// What a manifest says of that
    #[arg(skip)]
    pub(in crate::cli) said: Option<Who>,
    /// A further group of the app's user [repeatable]
    #[arg(long, value_name = "GROUP", help_heading = "Jail")]
    pub(in crate::cli) group_add: Vec<String>,
    /// The engine to be like: docker, docker@26.1 or docker@20.10; or sealed, austere's own and strictest [default: docker, or the
    /// manifest's or profile's]
    #[arg(long, value_name = "ENGINE[@VERSION]", help_heading = "Jail")]
    pub(in crate::cli) preset: Option<Preset>,
    /// How ids become ids of the host: mapped needs subordinate ids, single projects file modes onto one id. Instead of
    /// `AUSTERE_IDS`; auto is the most faithful that can be had, which for root is the ids themselves
    #[arg(long, value_name = "MODE", help_heading = "Jail")]
    pub(in crate::cli) ids: Option<IdChoice>,
    /// The platform to choose from an index
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", help_heading = "Image")]
    pub(in crate::cli) platform: Option<Platform>,
    /// Where unpacked layers are kept, instead of in `$AUSTERE_STORE` or the user's data folder
    #[arg(long, value_name = "DIR", help_heading = "Image")]
    pub(in crate::cli) store: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) pull: PullArgs,
    #[command(flatten)]
    pub(in crate::cli) limits: LimitArgs,
}

impl ImageArgs {
    pub(super) fn store_path(&self, privileged: bool) -> Result<PathBuf, store::StoreError> {
        self.store.clone().map_or_else(|| store::default_path(privileged), Ok)
    }

    /// The engine that is meant.
    pub(in crate::cli) fn preset(&self) -> Preset {
        self.preset.clone().unwrap_or_default()
    }

    /// How the image is looked for.
    pub(in crate::cli) fn source(&self) -> anyhow::Result<source::Options> {
        // Files and folders need no store to be found in; whoever has no place for one is told so later.
        let store = self.store_path(store::privileged()).ok();
        Ok(source::Options { platform: self.platform.clone(), store, ..self.pull.options()? })
    }

    /// The user with all groups that were asked for. A manifest that names none means the image's own.
    pub(in crate::cli) fn user(&self, config: &image::Config) -> Result<User, AccountError> {
        let named = |said: &Who| said.user.clone().unwrap_or_else(|| config.user.clone());
        let user = match (&self.user, self.said.as_ref().map(named)) {
            (Some(user), _) => user.clone(),
            (None, None) => match self.preset().gid {
                Some(gid) => format!("{HARDENED_USER}:{gid}").parse()?,
                None => HARDENED_USER.parse()?,
            },
            (None, Some(name)) if name.is_empty() => User::ROOT,
            (None, Some(name)) => name.parse()?,
        };
        let said = self.said.clone().unwrap_or_default();
        let user = match said.group.filter(|_| self.user.is_none()) {
            Some(group) => user.in_group(group, said.keeps_memberships),
            None => user,
        };
        user.with_groups(&[&said.groups[..], &self.group_add].concat())
    }

    /// What is asked for that the strictest jail would not have, as the flags say it.
    pub(in crate::cli) fn relaxations(&self) -> Vec<String> {
        let user = self.user.as_ref().map(ToString::to_string);
        let user = user.filter(|user| user != HARDENED_USER).map(|user| format!("--user {user}"));
        user.into_iter().chain(self.group_add.iter().map(|group| format!("--group-add {group}"))).collect()
    }
}
