//! `austere doctor`: what this host can enforce, a line each.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use serde::Serialize;

use super::{Format, exit, print};
use crate::host::{self, Check};
use crate::store;
use crate::verdict::diagnose;

/// It is where findings, measures and levels are described.
const VERDICT: &str = include_str!("../../docs/verdict.md");

/// Columns before what was found.
const MARGIN: usize = 23;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Where unpacked layers would lie, instead of in `$AUSTERE_STORE` or the user's data folder
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Print what a code of a finding means (D03, no-port-exposed), instead of examining the host
    #[arg(long, value_name = "CODE", conflicts_with = "store")]
    explain: Option<String>,
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
    if let Some(code) = &args.explain {
        let text = diagnose::explained(code).or_else(|| described(code)).with_context(|| {
            format!(
                "`{code}` is no code of a finding\n  hint: a code stands in brackets at the end of a finding, as D03 or \
                 no-port-exposed do; docs/diagnosis.md and docs/verdict.md have them all"
            )
        })?;
        print(&text)?;
        return Ok(exit::PASS);
    }
    let store = args.store.clone().map_or_else(|| store::default_path(store::privileged()), Ok)?;
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

/// What the description of a verdict says of a code that no rule of a diagnosis has: its row of a table, else the paragraph that has it.
fn described(code: &str) -> Option<String> {
    let quoted = format!("`{}`", code.to_ascii_lowercase());
    let is_named = |text: &str| text.to_ascii_lowercase().contains(&quoted) || text.eq_ignore_ascii_case(code);
    let rows = VERDICT.lines().filter_map(|line| line.strip_prefix("| ")?.trim_end_matches(" |").split_once(" | "));
    let row = rows.filter(|(codes, _)| is_named(codes)).map(|(_, means)| means.replacen(" | ", ": ", 1)).next();
    let block =
        || VERDICT.split("\n\n").find(|block| !block.starts_with(['#', '|']) && is_named(block)).map(str::to_owned);
    row.or_else(block).map(|means| format!("## {code}\n\n{means}\n"))
}

/// `text` in lines for a terminal of 80 columns, beside the names of the checks. Remedies are not broken: they are there to be copied.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= 80 - MARGIN => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join(&format!("\n{:MARGIN$}", ""))
}

fn text(checks: &[Check], can_verify: bool) -> String {
    let mut text = String::new();
    for check in checks {
        let means = check.means.as_ref().map_or_else(String::new, |means| format!("; {means}"));
        let said = wrapped(&format!("{}{means}", check.found));
        let _ = writeln!(text, "{:<5} {:<16} {said}", check.status.name(), check.name);
        if let Some(remedy) = &check.remedy {
            let _ = writeln!(text, "{:MARGIN$}remedy: {remedy}", "");
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
