//! `austere doctor`: what this host can enforce, a line each.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::{Format, exit, print};
use crate::host::{self, Check};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Where unpacked layers would lie
    #[arg(long, env = "AUSTERE_STORE", value_name = "FOLDER")]
    store: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Serialize)]
struct Examination<'a> {
    schema: &'static str,
    can_verify: bool,
    checks: &'a [Check],
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let store = args.store.clone().unwrap_or_else(default_store);
    let checks = host::examine(&store);
    let can_verify = host::can_verify(&checks);
    print(&match args.format {
        Format::Text => text(&checks, can_verify),
        Format::Json => {
            let examination = Examination { schema: "austere.doctor/1", can_verify, checks: &checks };
            serde_json::to_string_pretty(&examination)? + "\n"
        }
    })?;
    Ok(if can_verify { exit::PASS } else { exit::inconclusive() })
}

fn text(checks: &[Check], can_verify: bool) -> String {
    let mut text = String::new();
    for check in checks {
        let _ = write!(text, "{:<5} {:<16} {}", check.status.name(), check.name, check.found);
        if let Some(means) = &check.means {
            let _ = write!(text, "; {means}");
        }
        text.push('\n');
        if let Some(remedy) = &check.remedy {
            let _ = writeln!(text, "{:22} remedy: {remedy}", "");
        }
    }
    let answer = if can_verify {
        "`austere verify` can come to a verdict here"
    } else {
        "`austere verify` would be inconclusive here"
    };
    let _ = writeln!(text, "\n{answer}");
    text
}

/// `/var/lib/austere` for root, else the XDG base directory specification's folder for a user's data.
fn default_store() -> PathBuf {
    if nix::unistd::geteuid().is_root() {
        return PathBuf::from("/var/lib/austere");
    }
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")));
    data.unwrap_or_else(std::env::temp_dir).join("austere")
}
