//! `austere unpack`: an image's merged root filesystem in a folder.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use super::limits::LimitArgs;
use super::progress;
use super::pull::PullArgs;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::unpack::{Facts, SpecialKind, merge};
use crate::{source, store};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The image: a path, a name as in nginx:1.27, or TRANSPORT:REST as for verify
    image: Reference,
    /// The folder to write to; it must be empty or absent
    dir: PathBuf,
    /// What the image must be built for, as os/arch[/variant]; this host's platform by default
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    #[command(flatten)]
    pull: PullArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let store = store::default_path(store::privileged()).ok();
    let options = source::Options { platform: args.platform.clone(), store, ..args.pull.options()? };
    let opened = source::open(&args.image, &options)?;
    if let Some(dir) = opened.rootfs() {
        anyhow::bail!("{} is a root filesystem already", dir.display());
    }
    let limits = args.limits.limits();
    let facts = progress::shown(&opened, || merge(&opened, &args.dir, &limits, store::privileged()))?;
    eprintln!(
        "{}: {} entries of {} layer{}, {:.1} MB of files, to {} in {} ms",
        opened.reference,
        facts.entries,
        opened.image.layers.len(),
        if opened.image.layers.len() == 1 { "" } else { "s" },
        megabytes(facts.bytes),
        args.dir.display(),
        started.elapsed().as_millis(),
    );
    tell(&facts);
    Ok(super::exit::PASS)
}

#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// What is not in the folder as the image has it.
fn tell(facts: &Facts) {
    for special in &facts.specials {
        match &special.kind {
            SpecialKind::Device { kind, major, minor, made: false } => {
                let kind = format!("{kind:?}").to_lowercase();
                eprintln!("not made: {} ({kind} device {major}:{minor})", special.path);
            }
            SpecialKind::FileCapability { stored: false, .. } => {
                eprintln!("not stored: capabilities of {}", special.path);
            }
            _ => {}
        }
    }
    for finding in &facts.findings {
        eprintln!("{}: {}", finding.path.as_deref().unwrap_or("/"), finding.message);
    }
}
