//! The flags that say when and how a registry is asked.

use std::io::Read as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::ArgAction;

use crate::registry::Access;
use crate::source::{self, Pull};

/// More than any password.
const PASSWORD_MAX: u64 = 64 << 10;

/// `--pull`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum When {
    /// When the image was not pulled before
    Missing,
    /// Always; layers that are here are not fetched again
    Always,
    /// Never
    Never,
}

// How images of registries are got.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Image")]
pub(super) struct PullArgs {
    /// When a registry is asked for the image [default: missing]
    #[arg(long, value_enum, value_name = "WHEN")]
    pull: Option<When>,
    /// The user at the registry, instead of what `docker login` and `podman login` left
    #[arg(long, value_name = "NAME", requires = "password_stdin")]
    username: Option<String>,
    /// Take the password from standard input
    #[arg(long, requires = "username")]
    password_stdin: bool,
    /// With =false: trust any certificate, and take plain HTTP where there is no TLS
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = true, default_missing_value = "true",
          num_args = 0..=1, require_equals = true, hide_default_value = true)]
    tls_verify: bool,
    /// Certificates (PEM) that are trusted beside the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl PullArgs {
    /// What was chosen, if anything.
    pub(super) fn chosen(&self) -> Option<Pull> {
        self.pull.map(|when| match when {
            When::Missing => Pull::Missing,
            When::Always => Pull::Always,
            When::Never => Pull::Never,
        })
    }

    /// How an image is looked for. Reads the password.
    pub(super) fn options(&self) -> anyhow::Result<source::Options> {
        let credentials = match &self.username {
            Some(user) => Some((user.clone(), password()?)),
            None => None,
        };
        Ok(source::Options {
            pull: self.chosen().unwrap_or_default(),
            access: Access { credentials, tls_verify: self.tls_verify, ca_file: self.ca_file.clone() },
            ..source::Options::default()
        })
    }
}

fn password() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .take(PASSWORD_MAX)
        .read_to_string(&mut text)
        .context("cannot read the password from standard input")?;
    let password = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    anyhow::ensure!(!password.is_empty(), "--password-stdin: standard input has no password");
    Ok(password.to_owned())
}
