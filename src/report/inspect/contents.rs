//! What is in the files of an image: the part of `austere.inspect/1` that takes reading them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Page, size};
use crate::inventory::packages::{Package, Unread};
use crate::inventory::programs::Kind;
use crate::inventory::{Base, Contents, ItemKind, Missing, Program, Serves, Survey, Writable};
use crate::layers::{Hidden, Listing};
use crate::vulns::{Joined, Vulnerability};

/// How many of the largest files are named, and how many rows a list has at most in the text.
const LARGEST: usize = 10;
const ROWS: usize = 12;

/// What was seen in the files.
#[derive(Clone, Debug, Serialize)]
pub struct ContentFacts {
    /// What it is built on.
    pub base: Base,
    /// What would serve instead.
    pub serves: Option<Serves>,
    /// Files that are shown.
    pub files: usize,
    /// Their bytes; a file with several names counts once.
    pub bytes: u64,
    /// What is shipped and not shown.
    pub wasted: Wasted,
    /// The largest files, largest first.
    pub largest: Vec<Large>,
    /// Shells, interpreters, package managers.
    pub programs: Vec<Program>,
    /// Files that the kernel can start and somebody may execute.
    pub executables: Vec<String>,
    /// Set-id files and their modes, in octal.
    pub set_ids: BTreeMap<String, String>,
    /// File capabilities.
    pub capabilities: BTreeMap<String, String>,
    /// What everybody may write to.
    pub world_writable: Vec<Writable>,
    /// Files and directories of the app's user; `null` where one id stands for all.
    pub owned: Option<Vec<String>>,
    /// Libraries that are nowhere in the image.
    pub missing_libraries: Vec<Missing>,
    /// How many packages there are.
    pub package_count: usize,
    /// The packages, if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packages: Option<Vec<Package>>,
    /// What a scanner found; `null` when none was asked, which says nothing about the image.
    pub vulnerabilities: Option<Joined>,
    /// Records of packages, directories and programs that were not read.
    pub unread: Vec<Unread>,
}

/// Bytes that are shipped in one layer and hidden by another.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Wasted {
    /// How many.
    pub bytes: u64,
    /// How many files.
    pub files: usize,
    /// The largest of them.
    pub largest: Vec<Waste>,
}

/// A file that is shipped and not shown; layers count from 1 at the base.
#[derive(Clone, Debug, Serialize)]
pub struct Waste {
    /// Its path.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// The layer that has it.
    pub layer: usize,
    /// The layer that replaced or removed it.
    pub hidden_by: usize,
}

/// A large file.
#[derive(Clone, Debug, Serialize)]
pub struct Large {
    /// Its path.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// The layer that has it, counted from 1 at the base.
    pub layer: usize,
}

impl ContentFacts {
    /// Joins what the walk and the survey saw.
    pub fn new(listing: &Listing, contents: &Contents, survey: &Survey, serves: Option<Serves>) -> Self {
        let mut seen = std::collections::HashSet::new();
        let once = |item: &&crate::inventory::Item| item.names < 2 || seen.insert((item.layer, item.inode));
        let mut files: Vec<_> = contents.items.iter().filter(|item| item.kind == ItemKind::File).filter(once).collect();
        files.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.path.cmp(&b.path)));
        let large =
            |item: &&crate::inventory::Item| Large { path: item.path.clone(), size: item.size, layer: item.layer + 1 };
        let programs = survey.unread.iter().map(|(path, why)| Unread { path: path.clone(), why: why.clone() });
        let directories = listing.unread.iter().map(|text| match text.split_once(": ") {
            Some((path, why)) => Unread { path: path.to_owned(), why: why.to_owned() },
            None => Unread { path: text.clone(), why: String::new() },
        });
        ContentFacts {
            base: survey.base.clone(),
            serves,
            files: files.len(),
            bytes: files.iter().map(|item| item.size).sum(),
            wasted: Wasted::of(&listing.hidden),
            largest: files.iter().take(LARGEST).map(large).collect(),
            programs: survey.programs.clone(),
            executables: survey.executables.clone(),
            set_ids: survey.set_id_modes(),
            capabilities: survey.capabilities.clone(),
            world_writable: survey.world_writable.clone(),
            owned: None,
            missing_libraries: survey.missing.clone(),
            package_count: survey.packages.found.len(),
            packages: None,
            vulnerabilities: None,
            unread: survey.packages.unread.iter().cloned().chain(programs).chain(directories).collect(),
        }
    }

    /// Adds the rows of the text.
    pub(super) fn rows(&self, page: &mut Page) {
        page.section = "base";
        page.row(
            "built on",
            [format!("{} ({})", format!("{} {}", self.base.name, self.base.version).trim_end(), self.base.why)],
        );
        if let Some(serves) = &self.serves {
            let name = if serves.already { "fits" } else { "would serve" };
            page.row(name, [format!("{}: {}", serves.base, serves.why)]);
        }
        page.section = "contents";
        page.row("files", [format!("{} in {}", size(self.bytes), plural(self.files, "file"))]);
        if self.wasted.files > 0 {
            let what = plural(self.wasted.files, "file");
            page.row(
                "wasted",
                [format!("{} in {what} that a later layer replaced or removed", size(self.wasted.bytes))],
            );
            let waste = |waste: &Waste| {
                format!("{}  {} of layer {}, hidden by {}", size(waste.size), waste.path, waste.layer, waste.hidden_by)
            };
            page.row("", self.wasted.largest.iter().take(3).map(waste));
        }
        page.row("largest", self.largest.iter().take(5).map(|large| format!("{}  {}", size(large.size), large.path)));
        let kinds = [
            ("shells", Kind::Shell),
            ("multi-call", Kind::Multicall),
            ("interpreters", Kind::Interpreter),
            ("package mgrs", Kind::PackageManager),
        ];
        for (name, kind) in kinds {
            let programs: Vec<String> = self.of_kind(kind).map(Program::text).collect();
            page.row(name, Some(if programs.is_empty() { "none".to_owned() } else { programs.join(", ") }));
        }
        page.row("executables", [self.executables.len().to_string()]);
        page.row("set-id", cut(self.set_ids.iter().map(|(path, mode)| format!("{mode} {path}")).collect()));
        page.row("capabilities", cut(self.capabilities.iter().map(|(path, text)| format!("{path} {text}")).collect()));
        page.row("all may write", cut(self.world_writable.iter().map(|writable| writable.path.clone()).collect()));
        page.row("owned", cut(self.owned.clone().unwrap_or_default()));
        let missing = |missing: &Missing| format!("{} (for {})", missing.library, missing.needed_by);
        page.row("missing", cut(self.missing_libraries.iter().map(missing).collect()));
        page.row(
            "not read",
            cut(self.unread.iter().map(|unread| format!("{}: {}", unread.path, unread.why)).collect()),
        );
        page.row("packages", [self.package_count.to_string()]);
        self.vulnerabilities(page);
        if let Some(packages) = &self.packages {
            page.table(packages);
        }
    }

    fn vulnerabilities(&self, page: &mut Page) {
        let Some(joined) = &self.vulnerabilities else {
            return page.row("known flaws", ["not scanned (--vulns reads a report of Trivy, Grype or OSV-Scanner)"]);
        };
        let data = joined.data_of.as_deref().map_or(String::new(), |date| format!(", data of {date}"));
        page.row("known flaws", [format!("{} ({}{data})", joined.summary(), joined.scanner)]);
        let line = |one: &Vulnerability| {
            let fixed =
                if one.fixed.is_empty() { "no fix".to_owned() } else { format!("fixed in {}", one.fixed.join(", ")) };
            let state = one.vex.as_ref().map_or(String::new(), |vex| format!(" ({vex})"));
            let place = if one.location.is_none() { " (not found in the image)" } else { "" };
            format!("{:10}  {}  {} {}{place}, {fixed}{state}", one.severity.name(), one.id, one.package, one.version)
        };
        page.row("", cut(joined.found.iter().map(line).collect()));
    }

    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Program> {
        self.programs.iter().filter(move |program| program.kind == kind)
    }
}

impl Program {
    /// `/bin/sh (busybox)`, or the path alone where it says the name.
    fn text(&self) -> String {
        if self.path.rsplit('/').next() == Some(&self.name) {
            self.path.clone()
        } else {
            format!("{} ({})", self.path, self.name)
        }
    }
}

impl Wasted {
    fn of(hidden: &[Hidden]) -> Wasted {
        let waste = |hidden: &Hidden| Waste {
            path: hidden.path.clone(),
            size: hidden.size,
            layer: hidden.layer + 1,
            hidden_by: hidden.by + 1,
        };
        Wasted {
            bytes: hidden.iter().map(|hidden| hidden.size).sum(),
            files: hidden.len(),
            largest: hidden.iter().take(LARGEST).map(waste).collect(),
        }
    }
}

impl Page {
    /// A line for each package: name, version, type, layer, licences.
    fn table(&mut self, packages: &[Package]) {
        self.section = "packages";
        let width = |text: fn(&Package) -> &str, most: usize| {
            packages.iter().map(|package| text(package).chars().count()).max().unwrap_or(0).min(most)
        };
        let (name, version) = (width(|package| &package.name, 40), width(|package| &package.version, 28));
        for package in packages {
            let licences = package.licences.join(", ");
            let line = format!(
                "{:name$}  {:version$}  {:12}  layer {}  {licences}",
                package.name,
                package.version,
                package.kind.name(),
                package.layer
            );
            self.row("", [line.trim_end()]);
        }
    }
}

fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A list of which the end is only counted.
fn cut(mut list: Vec<String>) -> Vec<String> {
    if list.len() > ROWS {
        let more = list.len() - ROWS;
        list.truncate(ROWS);
        list.push(format!("and {more} more (--format json has them)"));
    }
    list
}
