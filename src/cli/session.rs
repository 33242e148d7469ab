//! What `verify` and `run` do before the jail: find the image, settle the ids, unpack what is not unpacked yet.

mod bare;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::unistd::{getegid, geteuid};

use super::CannotEnforce;
use super::launch;
use super::limits::LimitArgs;
use super::progress;
use super::pull::PullArgs;
use crate::finding::Finding;
use crate::host;
use crate::ids;
use crate::image;
use crate::inventory::{self, Credentials, Entrypoint};
use crate::layers::{Layer, View};
use crate::manifest::Who;
use crate::measure::Measure;
use crate::phases::{self, Phase};
use crate::platform::Platform;
use crate::profile::account::{self, Account, AccountError, User};
use crate::profile::preset::Preset;
use crate::reference::Reference;
use crate::source::{self, Opened};
use crate::store::{self, Accounts, Merged, Store, Unpacked};
use crate::unpack::{Facts, Limits, OWNERS_NOT_MAPPED, Projection, Special, SpecialKind};
use crate::verdict::facts::ImageFacts;

/// An image that is ready to be jailed.
pub(super) struct Session {
    /// Where it was found, and what it says of itself.
    pub(super) opened: Rc<Opened>,
    /// How its ids relate to the host's.
    pub(super) ids: ids::Mode,
    /// Why they do not relate more faithfully.
    pub(super) ids_why: Option<String>,
    /// Who the app will be.
    pub(super) account: Account,
    /// Why nothing can be run here: what is left is to look at the files.
    pub(super) barred: Option<host::Check>,
    /// Finding and reading the image's documents.
    pub(super) open_took: Duration,
    /// Unpacking, or finding out that there is nothing to unpack.
    pub(super) unpack_took: Duration,
    files: Rc<Files>,
    accounts: Accounts,
    store: Rc<Store>,
    limits: Limits,
}

/// The layers, held in the store while they are in use; or one tree of them, where they could not be mounted; or a folder that is used
/// as it is.
enum Files {
    Layers(Unpacked),
    Merged(Merged),
    Folder(PathBuf),
}

/// The modes that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum IdChoice {
    Auto,
    Mapped,
    Single,
}

impl IdChoice {
    /// The flag's, else the variable's.
    fn settle(flag: Option<Self>) -> anyhow::Result<ids::Choice> {
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

/// Where an image is, whom it is for, and what it may cost.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ImageArgs {
    /// The user the app runs as [default: 65532, or the manifest's]; its group is passwd's, else 0
    #[arg(short, long, value_name = "USER[:GROUP]", help_heading = "Jail")]
    pub(super) user: Option<User>,
    /// What a manifest says of that
    #[arg(skip)]
    pub(super) said: Option<Who>,
    /// A further group of the app's user [repeatable]
    #[arg(long, value_name = "GROUP", help_heading = "Jail")]
    pub(super) group_add: Vec<String>,
    /// The engine to be like: docker, docker@26.1 or docker@20.10; or sealed, austere's own and strictest
    #[arg(long, value_name = "ENGINE[@VERSION]", default_value = "docker", help_heading = "Jail")]
    pub(super) preset: Preset,
    /// How ids become ids of the host: mapped needs subordinate ids, single projects file modes onto one id. Instead of
    /// `AUSTERE_IDS`; auto is the most faithful that can be had, which for root is the ids themselves
    #[arg(long, value_name = "MODE", help_heading = "Jail")]
    pub(super) ids: Option<IdChoice>,
    /// The platform to choose from an index
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", help_heading = "Image")]
    pub(super) platform: Option<Platform>,
    /// Where unpacked layers are kept, instead of in `$AUSTERE_STORE` or the user's data folder
    #[arg(long, value_name = "DIR", help_heading = "Image")]
    pub(super) store: Option<PathBuf>,
    #[command(flatten)]
    pub(super) pull: PullArgs,
    #[command(flatten)]
    pub(super) limits: LimitArgs,
}

impl ImageArgs {
    fn store_path(&self, privileged: bool) -> Result<PathBuf, store::StoreError> {
        self.store.clone().map_or_else(|| store::default_path(privileged), Ok)
    }

    /// How the image is looked for.
    fn source(&self) -> anyhow::Result<source::Options> {
        // Files and folders need no store to be found in; whoever has no place for one is told so later.
        let store = self.store_path(store::privileged()).ok();
        Ok(source::Options { platform: self.platform.clone(), store, ..self.pull.options()? })
    }

    /// The user with all groups that were asked for. A manifest that names none means the image's own.
    pub(super) fn user(&self, config: &image::Config) -> Result<User, AccountError> {
        let named = |said: &Who| said.user.clone().unwrap_or_else(|| config.user.clone());
        let user = match (&self.user, self.said.as_ref().map(named)) {
            (Some(user), _) => user.clone(),
            (None, None) => match self.preset.gid {
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
    pub(super) fn relaxations(&self) -> Vec<String> {
        let user = self.user.as_ref().map(ToString::to_string);
        let user = user.filter(|user| user != HARDENED_USER).map(|user| format!("--user {user}"));
        user.into_iter().chain(self.group_add.iter().map(|group| format!("--group-add {group}"))).collect()
    }
}

/// Finds and unpacks an image that will be run here.
pub(super) fn prepare_to_run(reference: &Reference, args: &ImageArgs) -> anyhow::Result<Session> {
    let begun = Instant::now();
    phases::begin(Phase::Open);
    let opened = source::open(reference, &args.source()?)?;
    launch::check_platform(&opened.image.platform)?;
    let session = prepare(opened, begun.elapsed(), args)?;
    if session.barred.is_none() {
        session.check_owner()?;
    }
    Ok(session)
}

/// Finds and unpacks an image to look at, whatever machine it is for.
pub(super) fn prepare_to_look(reference: &Reference, args: &ImageArgs) -> anyhow::Result<Session> {
    let begun = Instant::now();
    let opened = source::open(reference, &args.source()?)?;
    prepare(opened, begun.elapsed(), args)
}

/// Finds and unpacks an image for later. Who says it in so many words wants what the registry has now.
pub(super) fn prepare_to_pull(reference: &Reference, args: &ImageArgs) -> anyhow::Result<Session> {
    let begun = Instant::now();
    let options = args.source()?;
    let pull = args.pull.chosen().unwrap_or(source::Pull::Always);
    let opened = source::open(reference, &source::Options { pull, ..options })?;
    prepare(opened, begun.elapsed(), args)
}

/// Opens the store as a process that has entered `ids`.
pub(super) fn open_store(path: &Path, ids: ids::Mode) -> anyhow::Result<Store> {
    let store = Store::open(path, ids == ids::Mode::Real)?;
    Ok(match ids {
        ids::Mode::Mapped => store.mapped(ids::map_name().context("reading the map of ids")?),
        ids::Mode::Real | ids::Mode::Single => store,
    })
}

/// Settles the ids and unpacks. The process has one thread.
fn prepare(opened: Opened, open_took: Duration, args: &ImageArgs) -> anyhow::Result<Session> {
    let begun = Instant::now();
    phases::begin(Phase::Unpack);
    let privileged = store::privileged();
    let store_path = args.store_path(privileged)?;
    let limits = args.limits.limits();
    let user = args.user(&opened.image.config)?;
    let choice = IdChoice::settle(args.ids)?;
    let (entered, barred) = match ids::enter(choice, user.highest_id()) {
        Ok(entered) => (entered, None),
        Err(ids::EnterError::NoUserNamespace(refusal)) => {
            let mode = if privileged { ids::Mode::Real } else { ids::Mode::Single };
            (ids::Entered { mode, why: Some(refusal.to_string()) }, Some(host::about(&refusal)))
        }
        Err(error) => return Err(CannotEnforce(error.to_string()).into()),
    };
    let ids::Entered { mode: ids, why: ids_why } = entered;
    let store = open_store(&store_path, ids)?;
    let (files, accounts, account) = if barred.is_some() {
        bare::unpack(&opened, &store, &limits, &user)?
    } else {
        unpack(&opened, &store, &limits, ids, &user)?
    };
    opened.remember();
    let unpack_took = begun.elapsed();
    Ok(Session {
        opened: Rc::new(opened),
        ids,
        ids_why,
        account,
        barred,
        open_took,
        unpack_took,
        files: Rc::new(files),
        accounts,
        store: Rc::new(store),
        limits,
    })
}

fn unpack(
    opened: &Opened,
    store: &Store,
    limits: &Limits,
    ids: ids::Mode,
    user: &User,
) -> anyhow::Result<(Files, Accounts, Account)> {
    let mut account = None;
    let project = |accounts: &Accounts| {
        // What is wrong with the name is told below, when there is something to return it from.
        let found = resolve(user, accounts).ok();
        let projection = match (ids, &found) {
            (ids::Mode::Single, Some(found)) => {
                Projection::Owner { uid: found.uid, gid: found.gid, groups: found.groups.clone() }
            }
            (ids::Mode::Single, None) => Projection::Owner { uid: 0, gid: 0, groups: Vec::new() },
            (ids::Mode::Real, _) => Projection::Real,
            (ids::Mode::Mapped, _) => Projection::Mapped { map: store.map().unwrap_or_default().to_owned() },
        };
        account = found;
        projection
    };
    let unpacked = progress::shown(opened, || store.ensure(opened, limits, project))?;
    let account = match account {
        Some(account) => account,
        None => resolve(user, &unpacked.accounts)?,
    };
    has_place(ids, &account)?;
    let accounts = unpacked.accounts.clone();
    let files = match opened.rootfs() {
        Some(folder) => Files::Folder(folder.canonicalize().with_context(|| format!("opening {}", folder.display()))?),
        None => Files::Layers(unpacked),
    };
    Ok((files, accounts, account))
}

fn resolve(user: &User, accounts: &Accounts) -> Result<Account, AccountError> {
    user.resolve(accounts.passwd.as_deref().unwrap_or(b""), accounts.group.as_deref().unwrap_or(b""))
}

/// Says so when the user namespace has no id for the app.
fn has_place(mode: ids::Mode, account: &Account) -> Result<(), CannotEnforce> {
    let identity = ids::Identity { uid: account.uid, gid: account.gid, groups: account.groups.clone() };
    if ids::holds(mode, &identity) {
        return Ok(());
    }
    let Account { uid, gid, .. } = account;
    Err(CannotEnforce(format!(
        "the user {uid}:{gid} has ids above those that are mapped here\n  hint: --ids single maps it to the caller"
    )))
}

impl Session {
    /// The image's `/etc/passwd`; empty where it has none.
    pub(super) fn passwd(&self) -> &[u8] {
        self.accounts.passwd.as_deref().unwrap_or(b"")
    }

    /// Whether the app's user has an entry there.
    pub(super) fn knows_user(&self) -> bool {
        account::has_entry(self.passwd(), self.account.uid)
    }

    /// The folders of the layers, base first.
    pub(super) fn layers(&self) -> Vec<PathBuf> {
        match &*self.files {
            Files::Layers(unpacked) => unpacked.layers.iter().map(|layer| layer.path.clone()).collect(),
            Files::Merged(merged) => vec![merged.path.clone()],
            Files::Folder(folder) => vec![folder.clone()],
        }
    }

    /// Says so when a folder is another user's: where one id is mapped, austere could not even add /etc/hosts to it.
    fn check_owner(&self) -> anyhow::Result<()> {
        let (Files::Folder(folder), ids::Mode::Single | ids::Mode::Mapped) = (&*self.files, self.ids) else {
            return Ok(());
        };
        // What is the caller's shows as root's there.
        let owner = folder.metadata().with_context(|| format!("opening {}", folder.display()))?.uid();
        anyhow::ensure!(
            owner == 0,
            "{} belongs to another user, and a normal user can run a folder of their own only\n  hint: run austere as root, or an archive of the image",
            folder.display()
        );
        Ok(())
    }

    /// The image, for a verdict.
    pub(super) fn image_facts(&self) -> ImageFacts {
        let Opened { reference, kind, image, .. } = &*self.opened;
        ImageFacts::new(reference, &kind.to_string(), image, self.unpacked_bytes())
    }

    /// Bytes of all files of all layers.
    pub(super) fn unpacked_bytes(&self) -> u64 {
        match &*self.files {
            Files::Layers(unpacked) => unpacked.layers.iter().map(|layer| layer.facts.bytes).sum(),
            Files::Merged(merged) => merged.facts.bytes,
            Files::Folder(..) => 0,
        }
    }

    /// What each layer came to, base first; nothing for one tree of all.
    pub(super) fn facts(&self) -> Vec<&Facts> {
        match &*self.files {
            Files::Layers(unpacked) => unpacked.layers.iter().map(|layer| &layer.facts).collect(),
            Files::Merged(..) | Files::Folder(..) => Vec::new(),
        }
    }

    /// The merged files, for looking at.
    pub(super) fn view(&self) -> anyhow::Result<View> {
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
    pub(super) fn entrypoint(&self, view: &View, argv: &[String]) -> Entrypoint {
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

    /// Who the app's user is to the files, as they lie in the store.
    pub(super) fn credentials(&self) -> Credentials {
        match (self.ids, &*self.files) {
            // Every file is ours, and its owner's bits are those that the user would have had.
            (ids::Mode::Single, Files::Layers(..) | Files::Merged(..)) => {
                Credentials { uid: geteuid().as_raw(), gid: getegid().as_raw(), groups: Vec::new() }
            }
            _ => Credentials { uid: self.account.uid, gid: self.account.gid, groups: self.account.groups.clone() },
        }
    }

    /// What was noticed while unpacking.
    pub(super) fn findings(&self) -> Vec<Finding> {
        match &*self.files {
            Files::Layers(unpacked) => unpacked.layers.iter().flat_map(|layer| layer.facts.findings.clone()).collect(),
            Files::Merged(merged) => merged.facts.findings.clone(),
            Files::Folder(..) => Vec::new(),
        }
    }

    /// What the id mode cannot carry over from the image.
    pub(super) fn measures(&self) -> Vec<Measure> {
        match (&*self.files, self.ids) {
            (Files::Folder(..), ids::Mode::Single) => {
                let why =
                    "a folder is used as it is: with one id, everything in it that is the caller's becomes the app's";
                vec![Measure::unavailable("file-owners", "as in the folder", why).giving()]
            }
            (Files::Folder(..), ids::Mode::Mapped) => {
                let why =
                    "a folder is used as it is: what is the caller's in it becomes root's, what is others' nobody's";
                vec![Measure::unavailable("file-owners", "as in the folder", why).giving()]
            }
            (Files::Layers(unpacked), ids::Mode::Mapped) => {
                let mut findings = unpacked.layers.iter().flat_map(|layer| &layer.facts.findings);
                let unmapped = findings.find(|finding| finding.code == OWNERS_NOT_MAPPED);
                let measure = |finding: &Finding| {
                    let path = finding.path.as_deref().unwrap_or("/");
                    let why = format!("{path}: {}", finding.message);
                    Measure::unavailable("file-owners", "as in the image", why).giving()
                };
                unmapped.map(measure).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    /// Who a user is by the image's own files.
    pub(super) fn account_of(&self, user: &User) -> Result<Account, AccountError> {
        resolve(user, &self.accounts)
    }

    /// The same image for another user: the one it names itself.
    pub(super) fn as_shipped(&self) -> anyhow::Result<Session> {
        // What uid 0 may do does not depend on permission bits, so the projection for another user serves it as well.
        let user = match self.opened.image.config.user.as_str() {
            "" => User::ROOT,
            user => user.parse()?,
        };
        self.as_user(&user)
    }

    /// The same image for this user.
    pub(super) fn as_user(&self, user: &User) -> anyhow::Result<Session> {
        let account = resolve(user, &self.accounts)?;
        has_place(self.ids, &account)?;
        let is_projected = self.ids == ids::Mode::Single && account.uid != 0 && account != self.account;
        let (files, account) = if is_projected {
            let (files, _, account) = unpack(&self.opened, &self.store, &self.limits, self.ids, user)?;
            (Rc::new(files), account)
        } else {
            (Rc::clone(&self.files), account)
        };
        Ok(Session {
            opened: Rc::clone(&self.opened),
            ids: self.ids,
            ids_why: None,
            account,
            barred: self.barred.clone(),
            open_took: Duration::ZERO,
            unpack_took: Duration::ZERO,
            files,
            accounts: self.accounts.clone(),
            store: Rc::clone(&self.store),
            limits: self.limits,
        })
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
