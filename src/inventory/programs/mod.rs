//! Shells, interpreters and package managers of an image, by what is in them and not by name: a renamed or hard-linked copy is
//! found, and a program that only speaks of a shell is none.
//!
//! The markers are data: `profiles/shells.json`. Each was tried on the real program and on hundreds that are not it.

mod told;

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use object::elf::{FileHeader64, PF_X, PT_LOAD};
use object::read::elf::{FileHeader as _, ProgramHeader as _};
use serde::{Deserialize, Serialize};

use super::binary::{self, Binary};
use super::contents::{Contents, Item, ItemKind};

/// Names there are indirections of names elsewhere.
const ALTERNATIVES: &str = "/etc/alternatives/";

/// A program that can run what it is told, or bring in more programs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Program {
    /// Where it is.
    pub path: String,
    /// What it can do.
    pub kind: Kind,
    /// What it is: `bash`, whatever the file is called.
    pub name: String,
    /// How that is known.
    pub seen: Seen,
    /// The layer that has the path, counted from 1 at the base.
    pub layer: usize,
}

/// What a program can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It runs command lines.
    Shell,
    /// Many programs in one, a shell among them, whatever name it has here: busybox, toybox.
    Multicall,
    /// It runs programs written in its language.
    Interpreter,
    /// It installs more programs.
    PackageManager,
}

/// How a program was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seen {
    /// By its content.
    Content,
    /// It is a link to a program known by its content.
    Link,
    /// By its content; nobody may execute it, but a loader of the image runs it.
    Loader,
    /// `/etc/shells` lists it.
    Listed,
    /// A script of the image names it in its first line.
    Asked,
    /// It is a script of this name.
    Script,
}

/// One way to know a program: all of the markers are in it, and none of those that others have.
#[derive(Deserialize)]
struct Rule {
    name: String,
    kind: Kind,
    all: Vec<String>,
    #[serde(default)]
    none: Vec<String>,
    /// What it is called, where the markers are not enough.
    #[serde(default)]
    names: Vec<String>,
    /// Bytes, for markers that a program which embeds the interpreter has too.
    largest: Option<usize>,
    #[serde(default)]
    language: Language,
}

/// A Go or Rust program with the strings of a C shell speaks of it, and is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Language {
    #[default]
    C,
    Go,
    Rust,
}

#[derive(Deserialize)]
struct Data {
    programs: Vec<Rule>,
    /// What multi-call programs are under these names.
    applets: BTreeMap<Kind, Vec<String>>,
    /// Scripts that are known by name.
    scripts: BTreeMap<Kind, Vec<String>>,
    /// What `/etc/shells` may list that is none.
    no_shells: Vec<String>,
    /// What scripts may be written for that runs no programs.
    no_interpreters: Vec<String>,
}

struct Markers {
    data: Data,
    search: Option<AhoCorasick>,
    /// For each rule, by number: its markers, and those that it may not have.
    numbers: Vec<(Vec<usize>, Vec<usize>)>,
    count: usize,
}

static MARKERS: LazyLock<Markers> = LazyLock::new(|| {
    let empty = Data {
        programs: vec![],
        applets: BTreeMap::new(),
        scripts: BTreeMap::new(),
        no_shells: vec![],
        no_interpreters: vec![],
    };
    let data: Data = serde_json::from_str(include_str!("../../../profiles/shells.json")).unwrap_or(empty);
    let mut unique = HashMap::<&str, usize>::new();
    let mut texts = Vec::new();
    for text in data.programs.iter().flat_map(|rule| rule.all.iter().chain(&rule.none)) {
        unique.entry(text).or_insert_with(|| {
            texts.push(text.clone());
            texts.len() - 1
        });
    }
    let own = |texts: &[String]| texts.iter().filter_map(|text| unique.get(text.as_str()).copied()).collect();
    let numbers = data.programs.iter().map(|rule| (own(&rule.all), own(&rule.none))).collect();
    let count = texts.len();
    let search = AhoCorasick::builder().kind(Some(AhoCorasickKind::DFA)).build(&texts).ok();
    Markers { data, search, numbers, count }
});

/// The rules that a program's content fulfils, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks(Vec<usize>);

/// Looks for the markers in a whole program.
pub(super) fn marks(file: &[u8], is_go: bool, is_rust: bool) -> Marks {
    let Markers { data, search: Some(search), numbers, count } = &*MARKERS else { return Marks::default() };
    let language = match (is_go, is_rust || is_rust_program(file)) {
        (true, _) => Language::Go,
        (_, true) => Language::Rust,
        _ => Language::C,
    };
    let rules = || data.programs.iter().enumerate().filter(|(_, rule)| rule.language == language);
    if language != Language::C {
        // A handful of rules, and large programs: one fast search for each.
        let has = |text: &String| memchr::memmem::find(file, text.as_bytes()).is_some();
        return Marks(rules().filter(|(_, rule)| rule.all.iter().all(has)).map(|(index, _)| index).collect());
    }
    let mut seen = vec![false; *count];
    for part in without_code(file) {
        for found in search.find_iter(part) {
            seen[found.pattern().as_usize()] = true;
        }
    }
    let holds = |index: usize, rule: &Rule| {
        let (all, none) = &numbers[index];
        rule.largest.is_none_or(|largest| file.len() <= largest)
            && all.iter().all(|number| seen[*number])
            && !none.iter().any(|number| seen[*number])
    };
    Marks(rules().filter(|(index, rule)| holds(*index, rule)).map(|(index, _)| index).collect())
}

/// The segments that hold no instructions; all of the file where it does not tell them apart.
fn without_code(file: &[u8]) -> Vec<&[u8]> {
    let segments = || -> Option<Vec<&[u8]>> {
        let header = FileHeader64::<object::Endianness>::parse(file).ok()?;
        let endian = header.endian().ok()?;
        let loaded = header.program_headers(endian, file).ok()?.iter();
        let loaded = loaded.filter(|segment| segment.p_type(endian) == PT_LOAD);
        let plain = loaded.filter(|segment| !segment.p_flags(endian).contains(PF_X));
        plain.map(|segment| segment.data(endian, file).ok()).collect()
    };
    segments().filter(|parts| !parts.is_empty()).unwrap_or_else(|| vec![file])
}

/// Rust's standard library leaves its path in what can panic.
fn is_rust_program(file: &[u8]) -> bool {
    memchr::memmem::find(file, b"/rustc/").is_some() && memchr::memmem::find(file, b"library/std/src/").is_some()
}

/// Every shell of an image, multi-call programs among them.
pub fn shells(contents: &Contents) -> Vec<Program> {
    let mut all = find(contents, &binary::read(contents));
    all.retain(|program| matches!(program.kind, Kind::Shell | Kind::Multicall));
    all
}

/// Everything of the kinds above, sorted by path.
pub(super) fn find(contents: &Contents, binaries: &[Binary]) -> Vec<Program> {
    let mut all = Vec::new();
    // What a file is, by its place in the listing.
    let mut known = HashMap::<&str, &Rule>::new();
    for binary in binaries {
        for item in binary.items.iter().map(|at| &contents.items[*at]) {
            if let Some(rule) = binary.marks.rule(item.name()) {
                known.insert(&item.path, rule);
                if item.is_executable() {
                    all.push(rule.program(item, Seen::Content));
                } else if has_loader(contents, binary) {
                    all.push(rule.program(item, Seen::Loader));
                }
            } else if binary.script.is_some() {
                let kind = by_name(&MARKERS.data.scripts, item.name());
                all.extend(kind.map(|kind| named(item, kind, item.name(), Seen::Script)));
            }
        }
    }
    for item in contents.items.iter().filter(|item| matches!(item.kind, ItemKind::Link(_))) {
        if item.path.starts_with(ALTERNATIVES) {
            continue;
        }
        let Some(target) = contents.resolve(&item.path).filter(|target| target.is_executable()) else { continue };
        let Some(rule) = known.get(target.path.as_str()) else { continue };
        // A multi-call program is what it is called; under a name that is not one of these it is no more than that name.
        if rule.kind != Kind::Multicall || applet(item.name()).is_some() {
            all.push(rule.program(item, Seen::Link));
        }
    }
    all.extend(told::listed(contents, binaries, &all));
    all.extend(told::asked_for(contents, binaries, &all));
    all.sort();
    all.dedup_by(|a, b| a.path == b.path);
    all
}

/// Whether `/lib64/ld-linux-x86-64.so.2 FILE` would run a program without its x bits.
fn has_loader(contents: &Contents, binary: &Binary) -> bool {
    let loader = binary.elf.as_ref().and_then(|elf| elf.interpreter.as_deref());
    loader.and_then(|loader| contents.resolve(loader)).is_some_and(Item::is_executable)
}

fn applet(name: &str) -> Option<Kind> {
    by_name(&MARKERS.data.applets, name)
}

fn by_name(names: &BTreeMap<Kind, Vec<String>>, name: &str) -> Option<Kind> {
    names.iter().find(|(_, names)| names.iter().any(|one| one == name)).map(|(kind, _)| *kind)
}

fn named(item: &Item, kind: Kind, name: &str, seen: Seen) -> Program {
    Program { path: item.path.clone(), kind, name: name.to_owned(), seen, layer: item.layer + 1 }
}

impl Marks {
    /// The first rule that holds for a file of this name.
    fn rule(&self, name: &str) -> Option<&'static Rule> {
        let rules = self.0.iter().filter_map(|index| MARKERS.data.programs.get(*index));
        let mut fitting = rules.filter(|rule| rule.names.is_empty() || rule.names.iter().any(|one| one == name));
        fitting.next()
    }
}

impl Rule {
    fn program(&self, item: &Item, seen: Seen) -> Program {
        let kind = if self.kind == Kind::Multicall { applet(item.name()).unwrap_or(self.kind) } else { self.kind };
        named(item, kind, &self.name, seen)
    }
}
