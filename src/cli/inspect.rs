//! `austere inspect`: an image's configuration, layers, entrypoint and contents.

use std::process::ExitCode;
use std::time::SystemTime;

use super::session::{self, ImageArgs};
use super::vulns::VulnArgs;
use super::{Format, exit, print};
use crate::inventory::{self, Contents, Serves, Survey};
use crate::reference::Reference;
use crate::report::inspect::contents::ContentFacts;
use crate::report::inspect::{Inspection, UserFacts};
use crate::report::sbom::{self, Subject};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A path; a name as in nginx:1.27, which docker, podman or its registry may have; or oci:DIR[:TAG], oci-archive:FILE[:TAG],
    /// docker-archive:FILE[:TAG], rootfs:DIR, `docker://NAME`, docker-daemon:NAME, containers-storage:NAME, example:hello
    image: Reference,
    /// Arguments for the entrypoint, instead of the image's own
    #[arg(last = true, value_name = "ARGS")]
    arguments: Vec<String>,
    /// List the packages: of apk, dpkg, Go, Rust, Python, npm and Java, and programs known by their content
    #[arg(long, help_heading = "Report")]
    packages: bool,
    /// Write the list of packages in this form instead, and nothing else
    #[arg(long, value_enum, value_name = "FORM", help_heading = "Report")]
    sbom: Option<Sbom>,
    #[command(flatten)]
    vulns: VulnArgs,
    #[command(flatten)]
    files: ImageArgs,
    /// How it is written to standard output
    #[arg(long, value_enum, default_value_t, help_heading = "Report")]
    format: Format,
}

/// A list of packages for other tools.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Sbom {
    /// `CycloneDX` 1.5, JSON
    Cyclonedx,
    /// SPDX 2.3, JSON
    Spdx,
}

impl From<Sbom> for sbom::Form {
    fn from(form: Sbom) -> Self {
        match form {
            Sbom::Cyclonedx => sbom::Form::CycloneDx,
            Sbom::Spdx => sbom::Form::Spdx,
        }
    }
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
    let mut failed = false;
    // A folder may be a whole system: it is looked through only when that is asked for.
    if args.packages || args.sbom.is_some() || args.vulns.vulns.is_some() || session.opened.rootfs().is_none() {
        let listing = view.list();
        let contents = Contents::new(&listing.items, &view);
        let survey = Survey::of(&contents);
        let subject = Subject {
            reference: &inspection.reference,
            digest: inspection.manifest_digest.as_deref().or(inspection.config_digest.as_deref()),
            release: &survey.release,
            packages: &survey.packages.found,
            at: SystemTime::now(),
        };
        let vulnerabilities = args.vulns.joined(|| sbom::render(&subject, sbom::Form::CycloneDx), subject.packages)?;
        failed = args.vulns.fails(vulnerabilities.as_ref());
        if let Some(form) = args.sbom {
            print(&sbom::render(&subject, form.into()))?;
            return Ok(if failed { exit::fail() } else { exit::PASS });
        }
        let serves = Serves::of(&contents, &survey.base, &inspection.entrypoint, &survey.programs);
        let mut facts = ContentFacts::new(&listing, &contents, &survey, serves);
        facts.vulnerabilities = vulnerabilities;
        facts.owned = session.owner().map(|uid| inventory::owned(&contents, uid));
        facts.packages = args.packages.then_some(survey.packages.found);
        inspection.contents = Some(facts);
        // One tree of all layers no longer says which did what.
        let changes = listing.changes.iter().filter(|_| listing.changes.len() == image.layers.len());
        for (layer, change) in inspection.layers.iter_mut().zip(changes) {
            layer.added = Some(change.added);
            (layer.changed, layer.removed) = (Some(change.changed), Some(change.removed));
        }
    }
    print(&match args.format {
        Format::Text => inspection.text(),
        Format::Json => inspection.json(),
    })?;
    Ok(if failed { exit::fail() } else { exit::PASS })
}
