//! `austere inspect`: an image's configuration, layers and entrypoint.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;

use super::{Format, exit, print};
use crate::inventory::{self, Command, Credentials, Tree as _};
use crate::layers::View;
use crate::platform::Platform;
use crate::profile::account::User;
use crate::reference::Reference;
use crate::report::inspect::{Inspection, UserFacts};
use crate::source;

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
    args: Vec<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let opened = source::open(&args.image, &source::Options { platform: args.platform.clone() })?;
    let rootfs = opened.rootfs().context("only rootfs: so far")?;
    let files = files_of_folder(rootfs, &args.user)?;
    let image = &opened.image;
    let command_line =
        if args.args.is_empty() { image.config.argv() } else { [&image.config.entrypoint[..], &args.args].concat() };
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
    let inspection = Inspection::new(name, image, files.user, entrypoint, more);
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
}

fn files_of_folder(folder: &Path, user: &User) -> anyhow::Result<Files> {
    let view = View::of_folder(folder).with_context(|| format!("cannot open the folder {}", folder.display()))?;
    let account = user.resolve(&database(&view, "/etc/passwd"), &database(&view, "/etc/group"))?;
    let user = UserFacts { uid: account.uid, gid: account.gid };
    let credentials = Credentials { uid: account.uid, gid: account.gid, groups: account.groups };
    Ok(Files { view, user, credentials })
}

/// A file of accounts; one that is absent or cannot be read has none.
fn database(view: &View, path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = view.find(path).and_then(|found| view.open(&found)) {
        let _ = file.take(LARGEST_DATABASE).read_to_end(&mut bytes);
    }
    bytes
}
