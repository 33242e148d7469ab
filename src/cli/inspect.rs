//! `austere inspect`: an image's configuration, layers and entrypoint.

use std::process::ExitCode;

use super::session::{self, ImageArgs};
use super::{Format, exit, print};
use crate::inventory;
use crate::reference::Reference;
use crate::report::inspect::{Inspection, UserFacts};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A path; a name as in nginx:1.27, which docker, podman or its registry may have; or oci:DIR[:TAG], oci-archive:FILE[:TAG],
    /// docker-archive:FILE[:TAG], rootfs:DIR, `docker://NAME`, docker-daemon:NAME, containers-storage:NAME, example:hello
    image: Reference,
    /// Arguments for the entrypoint, instead of the image's own
    #[arg(last = true, value_name = "ARGS")]
    arguments: Vec<String>,
    #[command(flatten)]
    files: ImageArgs,
    /// How it is written to standard output
    #[arg(long, value_enum, default_value_t, help_heading = "Report")]
    format: Format,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let session = session::prepare_to_look(&args.image, &args.files)?;
    let image = &session.opened.image;
    let command_line = if args.arguments.is_empty() {
        image.config.argv()
    } else {
        [&image.config.entrypoint[..], &args.arguments].concat()
    };
    let view = session.view()?;
    let entrypoint = session.entrypoint(&view, &command_line);
    let health_check = inventory::health_check(&view, &image.config).into_iter().collect();
    let name = (session.opened.reference.as_str(), session.opened.kind.to_string());
    let user = UserFacts { uid: session.account.uid, gid: session.account.gid };
    let mut inspection = Inspection::new(name, image, user, entrypoint, health_check);
    for (layer, facts) in inspection.layers.iter_mut().zip(session.facts()) {
        (layer.unpacked, layer.entries) = (Some(facts.bytes), Some(facts.entries));
    }
    inspection.findings.extend(session.findings());
    print(&match args.format {
        Format::Text => inspection.text(),
        Format::Json => inspection.json(),
    })?;
    Ok(exit::PASS)
}
