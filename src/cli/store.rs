//! `austere store`: what is unpacked, and removing it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use serde::Serialize;

use super::session::{self, ImageArgs};
use super::{Format, exit, print};
use crate::ids;
use crate::profile::tmpfs;
use crate::reference::Reference;
use crate::report::clean;
use crate::report::inspect::size;
use crate::source;
use crate::store::{self, Listed, Policy, Removal, Store};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the unpacked layers
    Ls(LsArgs),
    /// Remove layers that are not in use
    Gc(GcArgs),
    /// Unpack an image now, to be run later; a registry is asked for it even when it was pulled before
    Pull(Box<PullImageArgs>),
}

#[derive(clap::Args)]
struct LsArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(clap::Args)]
struct PullImageArgs {
    /// A name as in nginx:1.27, or any other image that verify takes
    image: Reference,
    #[command(flatten)]
    files: ImageArgs,
}

/// Without a rule only what cannot be used any more is removed. What a running austere uses is never removed.
#[derive(clap::Args)]
struct GcArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Remove what was not used for so long, as in 12h or 30days; uses are noted once a day
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,
    /// Remove what was used longest ago, until the rest is no larger, as in 500m or 2g
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    max_size: Option<u64>,
    /// Remove everything that is not in use
    #[arg(long, conflicts_with_all = ["older_than", "max_size"])]
    unused: bool,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
}

#[derive(clap::Args)]
struct PlaceArgs {
    /// The store, instead of the one of the environment or the user's data folder
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

#[derive(Serialize)]
struct Listing {
    schema: &'static str,
    store: String,
    bytes: u64,
    layers: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    diff_id: String,
    projection: String,
    bytes: u64,
    entries: u64,
    /// RFC 3339, in UTC.
    last_used: String,
    in_use: bool,
    synced: bool,
    usable: bool,
    unpacked_for: Option<String>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Ls(args) => ls(args)?,
        Command::Gc(args) => gc(args)?,
        Command::Pull(args) => pull(args)?,
    }
    Ok(exit::PASS)
}

/// Says what it is called by its content, so that it can be asked for again.
fn pull(args: &PullImageArgs) -> anyhow::Result<()> {
    let session = session::prepare_to_pull(&args.image, &args.files)?;
    let image = &session.opened.image;
    let digest = image.manifest_digest.as_ref().or(image.config_digest.as_ref());
    let digest = digest.map_or_else(String::new, |digest| format!(", {digest}"));
    let (layers, bytes) = (plural(image.layers.len()), size(session.unpacked_bytes()));
    let name = clean(&session.opened.reference);
    print(&format!("{name}: {}, {layers}, {bytes} of files{digest}\n", session.opened.kind))
}

fn ls(args: &LsArgs) -> anyhow::Result<()> {
    let path = args.place.path()?;
    let layers = open(&path)?.map_or_else(|| Ok(Vec::new()), |store| store.list())?;
    print(&match args.format {
        Format::Text => text(&layers, &path),
        Format::Json => {
            let rows = layers.iter().map(Row::from).collect();
            let store = path.to_string_lossy().into_owned();
            let listing = Listing { schema: "austere.store/1", store, bytes: bytes_of(&layers), layers: rows };
            serde_json::to_string_pretty(&listing)? + "\n"
        }
    })
}

fn gc(args: &GcArgs) -> anyhow::Result<()> {
    let path = args.place.path()?;
    let Some(store) = open(&path)? else { return print(&format!("there is no store at {}\n", path.display())) };
    let policy = Policy { older_than: args.older_than, max_bytes: args.max_size, unused: args.unused };
    let layers = store.list()?;
    let mut removed = Vec::new();
    for layer in policy.choose(&layers) {
        if args.dry_run || store.remove(&layer)? == Removal::Removed {
            print(&format!("{}\n", line(&layer)))?;
            removed.push(layer);
        }
    }
    if !args.dry_run {
        store.remove_empty()?;
        let left: Vec<_> = store.list()?.into_iter().map(|layer| layer.diff_id).collect();
        source::forget(&path, |diff_id| left.contains(diff_id));
    }
    let verb = if args.dry_run { "would be removed" } else { "removed" };
    let (count, freed) = (removed.len(), bytes_of(&removed));
    let (left, rest) = (layers.len() - count, bytes_of(&layers) - freed);
    print(&format!("{count} of {} {verb} ({}), {left} left ({})\n", plural(layers.len()), size(freed), size(rest)))?;
    let in_use = layers.iter().filter(|layer| layer.in_use).count();
    if in_use > 0 {
        print(&format!("{} in use\n", plural(in_use)))?;
    }
    Ok(())
}

impl PlaceArgs {
    fn path(&self) -> Result<PathBuf, store::StoreError> {
        self.store.clone().map_or_else(|| store::default_path(store::privileged()), Ok)
    }
}

impl From<&Listed> for Row {
    fn from(layer: &Listed) -> Self {
        Row {
            diff_id: layer.diff_id.to_string(),
            projection: layer.projection.clone(),
            bytes: layer.bytes,
            entries: layer.entries,
            last_used: humantime::format_rfc3339_seconds(layer.last_used).to_string(),
            in_use: layer.in_use,
            synced: layer.synced,
            usable: layer.usable,
            unpacked_for: layer.image.clone(),
        }
    }
}

/// The store at `path`, if there is one: to look must not make it.
fn open(path: &Path) -> anyhow::Result<Option<Store>> {
    if !path.join("layers").is_dir() {
        return Ok(None);
    }
    // Trees of subordinate ids can be removed in their namespace only; where there is none, there are no such trees either.
    let ids = ids::enter(ids::Choice::Auto, 0).map_or(ids::Mode::Single, |entered| entered.mode);
    session::open_store(path, ids).map(Some)
}

fn text(layers: &[Listed], path: &Path) -> String {
    let mut text = String::new();
    if !layers.is_empty() {
        let _ = writeln!(text, "{}", columns("layer", "for", "size", "entries", "last used", "unpacked for"));
    }
    for layer in layers {
        let _ = writeln!(text, "{}", line(layer));
    }
    let _ = writeln!(
        text,
        "{}{}, {} of files in {}",
        if layers.is_empty() { "" } else { "\n" },
        plural(layers.len()),
        size(bytes_of(layers)),
        clean(&path.to_string_lossy())
    );
    text
}

fn line(layer: &Listed) -> String {
    let used = match (layer.in_use, layer.usable) {
        (true, _) => "now".to_owned(),
        (_, false) => "never again".to_owned(),
        _ => humantime::format_rfc3339_seconds(layer.last_used).to_string()[..10].to_owned(),
    };
    let image = layer.image.as_deref().map_or_else(String::new, clean);
    let projection = layer.projection.split_once('.').map_or(layer.projection.as_str(), |(projection, _)| projection);
    let entries = layer.entries.to_string();
    columns(&layer.diff_id.hex()[..12], &clean(projection), &size(layer.bytes), &entries, &used, &image)
}

fn columns(layer: &str, projection: &str, size: &str, entries: &str, used: &str, image: &str) -> String {
    format!("{layer:<13} {projection:<19} {size:>10} {entries:>8}  {used:<11} {image}").trim_end().to_owned()
}

fn plural(count: usize) -> String {
    format!("{count} {}", if count == 1 { "layer" } else { "layers" })
}

fn bytes_of(layers: &[Listed]) -> u64 {
    layers.iter().map(|layer| layer.bytes).sum()
}

fn bytes(text: &str) -> Result<u64, String> {
    let zero = (text == "0").then_some(0);
    zero.or_else(|| tmpfs::bytes(text)).ok_or_else(|| "not a number of bytes, as in 500m or 2g".to_owned())
}
