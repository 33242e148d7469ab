//! `austere inspect`: an image's configuration, layers and entrypoint.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use nix::unistd::{getegid, geteuid};

use super::limits::LimitArgs;
use super::{CannotEnforce, Format, exit, print};
use crate::ids;
use crate::inventory::{self, Command, Credentials, Tree as _};
use crate::layers::{Layer, View};
use crate::platform::Platform;
use crate::profile::account::User;
use crate::reference::Reference;
use crate::report::inspect::{Inspection, UserFacts};
use crate::source::{self, Opened};
use crate::store::{self, Store};
use crate::unpack::{Facts, Projection, Special, SpecialKind};

/// Real ones have some hundreds of lines.
const LARGEST_DATABASE: u64 = 16 << 20;

#[derive(clap::Args)]
pub(super) struct Args {
    /// A file, a folder, oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:TAG], rootfs:DIR or example:NAME
    image: Reference,
    /// Choose among images for several machines: os/arch[/variant]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Whom the entrypoint must serve, as in `docker run --user`
    #[arg(long, value_name = "USER[:GROUP]", default_value = "65532")]
    user: User,
    /// Arguments in place of the image's CMD
    #[arg(last = true, value_name = "ARGS")]
    command: Vec<String>,
    /// Where unpacked layers are kept
    #[arg(long, env = "AUSTERE_STORE", value_name = "FOLDER")]
    store: Option<PathBuf>,
    #[command(flatten)]
    limits: LimitArgs,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let opened = source::open(&args.image, &source::Options { platform: args.platform.clone() })?;
    let files = match opened.rootfs() {
        Some(folder) => files_of_folder(folder, &args.user)?,
        None => files_of_image(&opened, args)?,
    };
    let image = &opened.image;
    let command_line = if args.command.is_empty() {
        image.config.argv()
    } else {
        [&image.config.entrypoint[..], &args.command].concat()
    };
    let command = Command {
        argv: &command_line,
        env: &image.config.env,
        working_dir: &image.config.working_dir,
        credentials: &files.credentials,
        architecture: &image.platform.architecture,
    };
    let entrypoint = inventory::resolve(&files.view, &command);
    let more = inventory::health_check(&files.view, &image.config).into_iter().collect();
    let name = (opened.reference.as_str(), opened.kind.to_string());
    let mut inspection = Inspection::new(name, image, files.user, entrypoint, more);
    for (layer, facts) in inspection.layers.iter_mut().zip(&files.facts) {
        (layer.unpacked, layer.entries) = (Some(facts.bytes), Some(facts.entries));
    }
    inspection.findings.extend(files.facts.into_iter().flat_map(|facts| facts.findings));
    print(&match args.format {
        Format::Text => inspection.text(),
        Format::Json => inspection.json(),
    })?;
    Ok(exit::PASS)
}

/// An image's files, and whom they are looked at for.
struct Files {
    view: View,
    user: UserFacts,
    /// The same user, by the ids that its files have here.
    credentials: Credentials,
    /// Of each layer, base first.
    facts: Vec<Facts>,
}

/// The layers come from the store, and are unpacked there if need be.
fn files_of_image(opened: &Opened, args: &Args) -> anyhow::Result<Files> {
    let mode = ids::enter().map_err(|error| CannotEnforce(error.to_string()))?;
    let privileged = store::privileged();
    let place = args.store.clone().map_or_else(|| store::default_path(privileged), Ok)?;
    let store = Store::open(&place, privileged)?;
    let mut account = None;
    let unpacked = store.ensure(opened, &args.limits.limits(), |accounts| {
        let (passwd, group) = (accounts.passwd.as_deref(), accounts.group.as_deref());
        let found = account.insert(args.user.resolve(passwd.unwrap_or_default(), group.unwrap_or_default()));
        match (mode, found) {
            (ids::Mode::Single, Ok(found)) => {
                Projection::Owner { uid: found.uid, gid: found.gid, groups: found.groups.clone() }
            }
            // Nobody was found, so nobody will be asked about.
            (ids::Mode::Single, Err(_)) => Projection::Owner { uid: 0, gid: 0, groups: Vec::new() },
            (ids::Mode::Real, _) => Projection::Real,
        }
    })?;
    let account = account.context("the store did not ask for the user")??;
    let user = UserFacts { uid: account.uid, gid: account.gid };
    let credentials = match mode {
        ids::Mode::Real => Credentials { uid: account.uid, gid: account.gid, groups: account.groups },
        // Every file is ours, and its owner's bits are those that the user would have had.
        ids::Mode::Single => Credentials { uid: geteuid().as_raw(), gid: getegid().as_raw(), groups: Vec::new() },
    };
    let mut layers = Vec::new();
    for layer in unpacked.layers.iter().rev() {
        layers.push(Layer { tree: layer.tree.try_clone()?, capabilities: capabilities(&layer.facts) });
    }
    let facts = unpacked.layers.iter().map(|layer| layer.facts.clone()).collect();
    Ok(Files { view: View::new(layers), user, credentials, facts })
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

fn files_of_folder(folder: &Path, user: &User) -> anyhow::Result<Files> {
    let view = View::of_folder(folder).with_context(|| format!("cannot open the folder {}", folder.display()))?;
    let account = user.resolve(&database(&view, "/etc/passwd"), &database(&view, "/etc/group"))?;
    let user = UserFacts { uid: account.uid, gid: account.gid };
    let credentials = Credentials { uid: account.uid, gid: account.gid, groups: account.groups };
    Ok(Files { view, user, credentials, facts: Vec::new() })
}

/// A file of accounts; one that is absent or cannot be read has none.
fn database(view: &View, path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = view.find(path).and_then(|found| view.open(&found)) {
        let _ = file.take(LARGEST_DATABASE).read_to_end(&mut bytes);
    }
    bytes
}
