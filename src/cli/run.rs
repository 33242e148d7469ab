//! `austere run`: the same jail, for a person.

use std::path::PathBuf;
use std::process::ExitCode;

use super::flags::{EnvVar, Publish};
use super::launch::{self, Hardness};
use super::limits::LimitArgs;
use super::session;
use crate::platform::Platform;
use crate::profile::account::User;
use crate::profile::tmpfs::Tmpfs;
use crate::reference::Reference;

const EXAMPLES: &str = "\
Examples:
  austere run example:hello -p 8080:8080
  austere run ./image.tar -- --help

Exit code: the app's own; 128+N for signal N; 125 austere could not, 126 not executable, 127 not found";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// A path, or oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:TAG], rootfs:DIR, example:hello
    pub image: Reference,
    /// Arguments for the entrypoint, instead of the image's own
    #[arg(last = true, value_name = "ARGS")]
    pub arguments: Vec<String>,

    /// The user the app runs as; its group is passwd's, else 0
    #[arg(long, value_name = "USER[:GROUP]", default_value = "65532", help_heading = "Jail")]
    pub user: User,
    /// Set a variable, or pass the caller's on [repeatable]
    #[arg(short, long, value_name = "NAME[=VALUE]", help_heading = "Jail")]
    pub env: Vec<EnvVar>,
    /// A writable directory in memory, as `docker --tmpfs` [repeatable]
    #[arg(long, value_name = "PATH[:OPTIONS]", help_heading = "Jail")]
    pub tmpfs: Vec<Tmpfs>,
    /// Pass connections to HOST on to the app's port CONTAINER [repeatable]
    #[arg(short, long, value_name = "[IP:]HOST:CONTAINER", help_heading = "Jail")]
    pub publish: Vec<Publish>,

    /// The platform to choose from an index
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", help_heading = "Image")]
    pub platform: Option<Platform>,
    /// Where unpacked layers are kept
    #[arg(long, value_name = "DIR", env = "AUSTERE_STORE", hide_env_values = true, help_heading = "Image")]
    pub store: Option<PathBuf>,
}

pub(super) fn run(_args: &Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not yet")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn line(words: &[&str]) -> Result<Args, clap::Error> {
        Line::try_parse_from(std::iter::once(&"run").chain(words)).map(|line| line.args)
    }

    #[test]
    fn what_follows_the_dashes_is_the_app_s() {
        let args = line(&["example:hello", "-p", "8080:80", "-e", "A=b", "--", "-p", "--user"]).unwrap();
        assert_eq!(args.arguments, ["-p", "--user"]);
        assert_eq!(args.publish, ["8080:80".parse().unwrap()]);
        assert_eq!(args.env, ["A=b".parse().unwrap()]);
    }

    #[test]
    fn an_argument_without_dashes_is_no_argument() {
        for words in [&["example:hello", "sh"][..], &[], &[""], &["example:hello", "-p", "80"]] {
            assert_eq!(line(words).unwrap_err().exit_code(), 2);
        }
    }
}
