//! What `verify` is told, and how its verdict is delivered.

use std::path::PathBuf;
use std::process::ExitCode;

use super::levels::LevelArgs;
use super::plan::PlanArgs;
use crate::cli::container::ContainerArgs;
use crate::cli::fit::SearchArgs;
use crate::cli::flags::PublishArgs;
use crate::cli::manifest::ManifestArgs;
use crate::cli::profile::{self, ProfileArgs};
use crate::cli::session::ImageArgs;
use crate::cli::usage::UsageArgs;
use crate::cli::{self, Format, exit};
use crate::reference::Reference;
use crate::report;
use crate::verdict::{Status, Verdict};

const EXAMPLES: &str = "\
Examples:
  austere verify example:hello
  austere verify ./image.tar --no-shell
  austere verify ./image.tar --http 8080/healthz --tmpfs /tmp
  austere verify ./job.tar --exit 0 -- --once
  austere verify registry.example.com/team/app:1.2 --pull always
  austere verify oci:layout:latest --tmpfs /run --format json

Without a probe the plan comes from the image: every exposed TCP port must accept a
connection; without one, the app must stay up for 3 s or exit 0. --no-shell fails an image
that has a shell or interpreter, on disk or to be started as `docker exec` would.

Exit codes: 0 pass, 1 fail, 2 wrong usage or input, 3 inconclusive";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(in crate::cli) struct Args {
    /// A path; a name as in nginx:1.27, which docker, podman or its registry may have; or oci:DIR[:TAG], oci-archive:FILE[:TAG],
    /// docker-archive:FILE[:TAG], rootfs:DIR, `docker://NAME`, docker-daemon:NAME, containers-storage:NAME, example:hello
    #[arg(required_unless_present_any = ["pod", "compose", "dry_run"])]
    pub image: Option<Reference>,
    /// Arguments for the entrypoint, instead of the image's own; with rootfs:DIR the whole command line
    #[arg(last = true, value_name = "ARGS")]
    pub arguments: Vec<String>,

    #[command(flatten)]
    pub plan: PlanArgs,

    #[command(flatten)]
    pub manifest: ManifestArgs,

    #[command(flatten)]
    pub levels: LevelArgs,

    #[command(flatten)]
    pub profile: ProfileArgs,
    /// Check the profile and the flags, print what they add up to, and look at no image
    #[arg(long, conflicts_with_all = ["pod", "compose"], help_heading = "Jail")]
    pub dry_run: bool,
    #[command(flatten)]
    pub container: ContainerArgs,
    #[command(flatten)]
    pub published: PublishArgs,
    /// Watch one more run, and write what the app was refused: to standard error, or to FILE (as JSON lines to FILE.jsonl)
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-", help_heading = "Report")]
    pub trace: Option<PathBuf>,
    /// When it fails, find the least that has to be given back for it to work, as `austere fit` does
    #[arg(long, help_heading = "Fit")]
    pub fit: bool,
    #[command(flatten)]
    pub search: SearchArgs,
    /// Leave a measure out, so that its read-back must say so
    #[arg(long, value_name = "NAME", hide = true)]
    pub without_measure: Vec<String>,
    /// Write a line to this file as each phase begins
    #[arg(long, value_name = "FILE", hide = true)]
    pub phases: Option<PathBuf>,

    #[command(flatten)]
    pub usage: UsageArgs,
    #[command(flatten)]
    pub files: ImageArgs,

    /// How the verdict is written to standard output
    #[arg(long, value_enum, default_value_t, help_heading = "Report")]
    pub format: Format,
    /// Print the first line of the text only
    #[arg(short, long, help_heading = "Report")]
    pub quiet: bool,
    /// Print the app's own last 64 KiB of output to standard error, after each run
    #[arg(long, help_heading = "Report")]
    pub show_logs: bool,
}

impl Args {
    /// Puts what the profile file says where no flag says it.
    pub(in crate::cli) fn settle(&mut self) -> anyhow::Result<Option<profile::File>> {
        let file = self.profile.settle(&mut self.container, &mut self.usage, &mut self.files)?;
        self.levels.also(file.iter().flat_map(|file| &file.require));
        Ok(file)
    }

    pub(super) fn flags(&self) -> profile::Flags {
        let (container, usage, files) = (self.container.clone(), self.usage.clone(), self.files.clone());
        profile::Flags { container, usage, files, require: self.levels.required() }
    }

    /// Says what the jail would be.
    pub(super) fn deliver_settings(mut self) -> anyhow::Result<ExitCode> {
        let given = self.flags();
        let file = self.settle()?;
        let effective = profile::effective(&self.flags(), &given, file.as_ref())?;
        cli::print(&match self.format {
            Format::Text => effective.text(),
            Format::Json => effective.json(),
        })?;
        Ok(exit::PASS)
    }

    /// Writes the verdict to standard output and gives its exit code.
    pub(in crate::cli) fn deliver(&self, verdict: &Verdict) -> anyhow::Result<ExitCode> {
        cli::print(&match self.format {
            Format::Text if self.quiet => report::text::judgement(verdict),
            Format::Text => report::text::render(verdict),
            Format::Json => report::json::render(verdict),
        })?;
        Ok(match verdict.verdict {
            Status::Pass => exit::PASS,
            Status::Fail => exit::fail(),
            Status::Inconclusive => exit::inconclusive(),
        })
    }
}
