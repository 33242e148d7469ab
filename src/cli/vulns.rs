//! The flags that say what is known of vulnerabilities, and the scanners that can be asked.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::inventory::packages::Package;
use crate::vulns::{self, Document, Joined, Severity, Statement};

/// The largest report that is read, in bytes.
const LARGEST: u64 = 512 << 20;
/// Scanners that read a list of packages, by the names of their programs.
pub(super) const SCANNERS: [&str; 3] = ["trivy", "grype", "osv-scanner"];

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Vulnerabilities")]
pub(super) struct VulnArgs {
    /// A JSON report of Trivy, Grype or OSV-Scanner; or trivy, grype, osv-scanner, to ask the one that is installed
    #[arg(long, value_name = "FILE|SCANNER")]
    pub(super) vulns: Option<String>,
    /// An `OpenVEX` document: what it says does not matter here is not counted [repeatable]
    #[arg(long, value_name = "FILE", requires = "vulns")]
    pub(super) vex: Vec<PathBuf>,
    /// Fail when there is one as bad as this, or worse
    #[arg(long, value_name = "SEVERITY", requires = "vulns", value_parser = severity)]
    pub(super) fail_on: Option<Severity>,
    /// Leave out those without a fixed version
    #[arg(long, requires = "vulns")]
    pub(super) only_fixed: bool,
}

/// What `--fail-on` takes.
pub(super) fn severity(text: &str) -> Result<Severity, String> {
    let known = Severity::ALL.into_iter().find(|severity| severity.name().eq_ignore_ascii_case(text));
    known.ok_or_else(|| "it is one of critical, high, medium, low, negligible, unknown".to_owned())
}

impl VulnArgs {
    /// What is known; nothing without a source.
    pub(super) fn joined(&self, sbom: impl FnOnce() -> String, packages: &[Package]) -> anyhow::Result<Option<Joined>> {
        let Some(source) = &self.vulns else { return Ok(None) };
        let bytes = if SCANNERS.contains(&source.as_str()) { ask(source, &sbom())? } else { read(source.as_ref())? };
        let document = vulns::read(&bytes).with_context(|| format!("the report {source}"))?;
        let Document::Report(report) = document else {
            anyhow::bail!(
                "{source} is an OpenVEX document, not a scanner's report\n  hint: --vulns REPORT --vex {source}"
            );
        };
        let mut statements: Vec<Statement> = Vec::new();
        for path in &self.vex {
            let name = || format!("the OpenVEX document {}", path.display());
            match vulns::read(&read(path)?).with_context(name)? {
                Document::Statements(more) => statements.extend(more),
                Document::Report(_) => {
                    anyhow::bail!("{} is a scanner's report, not an OpenVEX document", path.display())
                }
            }
        }
        Ok(Some(vulns::join(report, &statements, packages, self.only_fixed)))
    }

    /// Whether there is one as bad as `--fail-on` says.
    pub(super) fn fails(&self, joined: Option<&Joined>) -> bool {
        let (Some(limit), Some(joined)) = (self.fail_on, joined) else { return false };
        joined.found.iter().any(|one| one.counts() && one.severity >= limit)
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let name = || format!("reading {}", path.display());
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).with_context(name)?;
    file.take(LARGEST + 1).read_to_end(&mut bytes).with_context(name)?;
    anyhow::ensure!(bytes.len() as u64 <= LARGEST, "{} is larger than {LARGEST} bytes", path.display());
    Ok(bytes)
}

/// Has an installed scanner read the list of packages.
fn ask(scanner: &str, sbom: &str) -> anyhow::Result<Vec<u8>> {
    // In a folder of our own: OSV-Scanner knows the form by the file's name.
    let folder = std::env::temp_dir().join(format!("austere-sbom-{}", std::process::id()));
    std::fs::create_dir(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let file = folder.join("image.cdx.json");
    let result = std::fs::File::create_new(&file)
        .and_then(|mut file| file.write_all(sbom.as_bytes()))
        .with_context(|| format!("writing {}", file.display()))
        .and_then(|()| scan(scanner, &file));
    // It is in the temporary folder, and nobody else's.
    let _ = std::fs::remove_dir_all(&folder);
    result
}

fn scan(scanner: &str, file: &Path) -> anyhow::Result<Vec<u8>> {
    let file = file.display().to_string();
    let ways: &[&[&str]] = match scanner {
        "trivy" => &[&["sbom", "--quiet", "--format", "json", &file]],
        "grype" => &[&[&format!("sbom:{file}"), "-q", "-o", "json"]],
        // The second is version 2's.
        _ => &[&["--format", "json", "--sbom", &file], &["scan", "source", "--format", "json", "-L", &file]],
    };
    let mut failure = None;
    for arguments in ways {
        let output = Command::new(scanner).args(*arguments).stdin(Stdio::null()).output();
        let output = output
            .with_context(|| format!("starting {scanner}\n  hint: install it, or give a report: --vulns FILE"))?;
        // OSV-Scanner ends with 1 when it found something.
        if output.status.success() || (scanner == "osv-scanner" && output.status.code() == Some(1)) {
            return Ok(output.stdout);
        }
        let said = crate::report::clean(String::from_utf8_lossy(&output.stderr).trim());
        failure.get_or_insert(format!("{scanner} failed ({}): {said}", output.status));
    }
    anyhow::bail!(failure.unwrap_or_default())
}
