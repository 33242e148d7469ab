//! `austere compare`: variants of an image side by side.

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context as _;
use serde_json::Value;

use super::vulns::{SCANNERS, severity};
use super::{exit, print};
use crate::reference::Reference;
use crate::report::compare::{Comparison, Variant};
use crate::verdict::levels::Name;
use crate::vulns::Severity;

/// Columns where nobody says how many there are.
const COLUMNS: usize = 120;

const EXAMPLES: &str = "\
Examples:
  austere compare app-alpine.tar app-distroless.tar app-scratch.tar
  austere compare a.tar b.tar --vulns grype --fail-on high --format markdown

Exit codes: 0 compared, 1 a gate (--max-size, --require, --fail-on) does not hold, 2 wrong usage or input";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Images, as for verify
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<Reference>,
    /// Only look at them: nothing is run
    #[arg(long)]
    no_run: bool,

    /// Flags of verify that say what an image must do, as one text: --probe '--http 8080/health' [repeatable]
    #[arg(
        long,
        value_name = "FLAGS",
        conflicts_with = "no_run",
        allow_hyphen_values = true,
        help_heading = "Smoke plan"
    )]
    probe: Vec<String>,
    /// The platform to choose from an index
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", help_heading = "Image")]
    platform: Option<String>,
    /// Where unpacked layers are kept, instead of in `$AUSTERE_STORE` or the user's data folder
    #[arg(long, value_name = "DIR", help_heading = "Image")]
    store: Option<PathBuf>,
    /// When a registry is asked for an image [default: missing]
    #[arg(long, value_name = "WHEN", value_parser = ["missing", "always", "never"], help_heading = "Image")]
    pull: Option<String>,
    /// With =false: trust any certificate, and take plain HTTP where there is no TLS
    #[arg(long, value_name = "BOOL", value_parser = ["true", "false"], default_missing_value = "true", num_args = 0..=1,
          require_equals = true, help_heading = "Image")]
    tls_verify: Option<String>,
    /// Certificates (PEM) that are trusted beside the system's
    #[arg(long, value_name = "FILE", help_heading = "Image")]
    ca_file: Option<PathBuf>,

    /// A JSON report of Trivy, Grype or OSV-Scanner, one for each image, in their order; or one of these names, to ask it
    #[arg(long, value_name = "FILE|SCANNER", help_heading = "Vulnerabilities")]
    vulns: Vec<String>,
    /// An `OpenVEX` document for all images [repeatable]
    #[arg(long, value_name = "FILE", requires = "vulns", help_heading = "Vulnerabilities")]
    vex: Vec<PathBuf>,
    /// Fail when an image has one as bad as this, or worse
    #[arg(long, value_name = "SEVERITY", requires = "vulns", value_parser = severity, help_heading = "Vulnerabilities")]
    fail_on: Option<Severity>,
    /// Leave out those without a fixed version
    #[arg(long, requires = "vulns", help_heading = "Vulnerabilities")]
    only_fixed: bool,

    /// Fail when an image does not reach these levels, as in verify
    #[arg(long, value_name = "L0,L2,…", value_delimiter = ',', conflicts_with = "no_run", help_heading = "Report")]
    require: Vec<Name>,
    /// Fail when the files of an image are more than this: 50m, 1.5g
    #[arg(long, value_name = "BYTES", value_parser = bytes, help_heading = "Report")]
    max_size: Option<u64>,
    /// How it is written to standard output
    #[arg(long, value_enum, default_value_t, help_heading = "Report")]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// For pull requests
    Markdown,
    /// For programs
    Json,
}

/// Bytes, with `k`, `m` or `g` (powers of 1024) behind the number.
fn bytes(text: &str) -> Result<u64, String> {
    let error = || "not a size such as 500k, 20m or 1.5g".to_owned();
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &lower[digits.len()..] {
        "" | "b" => 1u64,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return Err(error()),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    if part.is_empty() || part.len() > 3 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(error());
    }
    let thousandths = format!("{part:0<3}").parse::<u64>().map_err(|_| error())?;
    let whole = whole.parse::<u64>().ok().and_then(|whole| whole.checked_mul(unit)).ok_or_else(error)?;
    whole.checked_add(unit * thousandths / 1000).ok_or_else(error)
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let asks = args.vulns.len() == 1 && SCANNERS.contains(&args.vulns[0].as_str());
    anyhow::ensure!(
        args.vulns.is_empty() || asks || args.vulns.len() == args.images.len(),
        "there are {} reports for {} images\n  hint: one --vulns for each image, in their order, or --vulns trivy",
        args.vulns.len(),
        args.images.len()
    );
    let mut variants = Vec::new();
    for (index, image) in args.images.iter().enumerate() {
        let vulns = if asks { args.vulns.first() } else { args.vulns.get(index) };
        let inspection = inspect(args, image, vulns)?;
        let verdict = if args.no_run { None } else { Some(verify(args, image)?) };
        variants.push(Variant::new(&inspection, verdict.as_ref()));
    }
    let failed: Vec<String> = variants.iter().flat_map(|variant| args.gates(variant)).collect();
    let code = if failed.is_empty() { exit::PASS } else { exit::fail() };
    let comparison = Comparison::new(variants, failed);
    print(&match args.format {
        Format::Text => comparison.text(columns()),
        Format::Markdown => comparison.markdown(),
        Format::Json => comparison.json(),
    })?;
    Ok(code)
}

impl Args {
    /// What does not hold of an image.
    fn gates(&self, variant: &Variant) -> Vec<String> {
        let name = &variant.reference;
        let mut failed = Vec::new();
        if let Some(most) = self.max_size.filter(|most| variant.unpacked > *most) {
            failed.push(format!("{name}: its files are {} bytes, more than {most} (--max-size)", variant.unpacked));
        }
        for level in self.require.iter().map(ToString::to_string) {
            let status = variant.levels.get(&level).map_or("not_tried", String::as_str);
            if status != "reached" {
                let word = if status == "failed" { "not reached" } else { "not tried" };
                failed.push(format!("{name}: {level} is {word} (--require)"));
            }
        }
        if let (Some(limit), Some(counts)) = (self.fail_on, &variant.vulnerabilities) {
            let bad = Severity::ALL.into_iter().filter(|one| *one >= limit);
            let number: u64 = bad.filter_map(|one| counts.get(one.name())).sum();
            if number > 0 {
                failed.push(format!("{name}: {number} known flaws are {} or worse (--fail-on)", limit.name()));
            }
        }
        failed
    }

    fn common(&self, command: &mut Command, image: &Reference) {
        if let Some(platform) = &self.platform {
            command.args(["--platform", platform]);
        }
        if let Some(store) = &self.store {
            command.arg("--store").arg(store);
        }
        if let Some(verify) = &self.tls_verify {
            command.arg(format!("--tls-verify={verify}"));
        }
        if let Some(file) = &self.ca_file {
            command.arg("--ca-file").arg(file);
        }
        command.args(["--format", "json"]).arg(image.to_string());
    }
}

/// This program again: a process enters the user namespace of an image's ids once, and an image that cannot be judged must not take
/// the others along.
fn austere(subcommand: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg(subcommand).stdin(Stdio::null());
    command
}

fn inspect(args: &Args, image: &Reference, vulns: Option<&String>) -> anyhow::Result<Value> {
    let mut command = austere("inspect");
    command.arg("--packages");
    // Once: what is run afterwards is what was looked at.
    command.args(args.pull.iter().flat_map(|when| ["--pull", when]));
    if let Some(vulns) = vulns {
        command.args(["--vulns", vulns]);
        command.args(args.vex.iter().flat_map(|path| ["--vex".as_ref(), path.as_os_str()]));
        if args.only_fixed {
            command.arg("--only-fixed");
        }
    }
    args.common(&mut command, image);
    let output = command.output().context("starting austere inspect")?;
    anyhow::ensure!(output.status.success(), "{image}: {}", said(&output.stderr));
    serde_json::from_slice(&output.stdout).with_context(|| format!("reading the inspection of {image}"))
}

/// A verdict of any kind is one; an image that cannot even be judged has `inconclusive` with the reason.
fn verify(args: &Args, image: &Reference) -> anyhow::Result<Value> {
    let mut command = austere("verify");
    command.arg("--ladder");
    command.args(args.probe.iter().flat_map(|flags| flags.split_whitespace()));
    args.common(&mut command, image);
    let output = command.output().context("starting austere verify")?;
    if let Ok(verdict) = serde_json::from_slice(&output.stdout) {
        return Ok(verdict);
    }
    anyhow::ensure!(output.status.code() == Some(3), "{image}: {}", said(&output.stderr));
    Ok(serde_json::json!({ "verdict": "inconclusive", "reason": said(&output.stderr) }))
}

/// The last thing a process said, without its name.
fn said(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let start = text.rfind("austere: ").map_or(0, |at| at + "austere: ".len());
    text[start..].trim().to_owned()
}

/// `$COLUMNS`, else the terminal's, else enough for a file.
fn columns() -> usize {
    let named = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()).filter(|columns| *columns > 0);
    named.unwrap_or_else(|| terminal_size::terminal_size().map_or(COLUMNS, |(width, _)| width.0.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_written() {
        assert_eq!(bytes("1.5g"), Ok(3 << 29));
        assert_eq!(bytes("20M"), Ok(20 << 20));
        assert_eq!(bytes("100"), Ok(100));
        for wrong in ["", "m", "1.m", "-1", "1.5x", "99999999999999999999", "18446744073709551615k"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
