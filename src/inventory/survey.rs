//! Everything that is in an image, seen in one pass over its files.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::base::Base;
use super::binary::{self, Binary};
use super::capability::FileCapabilities;
use super::contents::{Contents, Item, ItemKind};
use super::packages::{self, Packages};
use super::programs::{self, Program};
use super::release::Release;

/// Modes of set-id files, and of directories where only owners remove.
const SET_ID: u32 = 0o6000;
const STICKY: u32 = 0o1000;
const WRITABLE_BY_ALL: u32 = 0o002;

/// What was seen.
#[derive(Clone, Debug)]
pub struct Survey {
    /// What the image says it is.
    pub release: Release,
    /// What it is built on.
    pub base: Base,
    /// Packages, and records of packages that were not read.
    pub packages: Packages,
    /// Shells, interpreters, package managers.
    pub programs: Vec<Program>,
    /// Files that somebody may execute and that the kernel can start: ELF programs and scripts. Links are not counted.
    pub executables: Vec<String>,
    /// Files with a set-user-id or set-group-id bit, and their modes.
    pub set_ids: BTreeMap<String, u32>,
    /// Files with capabilities, as getcap(8) writes them.
    pub capabilities: BTreeMap<String, String>,
    /// What everybody may write to.
    pub world_writable: Vec<Writable>,
    /// Libraries that programs ask for and that are nowhere in the image.
    pub missing: Vec<Missing>,
    /// Programs that could not be read, and why.
    pub unread: BTreeMap<String, String>,
}

/// A file or directory that everybody may write to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Writable {
    /// The path.
    pub path: String,
    /// Whether it is a directory; those where only owners remove (`/tmp`) are not listed.
    pub directory: bool,
}

/// A library that is not there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Missing {
    /// As `DT_NEEDED` has it.
    pub library: String,
    /// The first file that asks for it.
    pub needed_by: String,
}

impl Survey {
    /// Reads what has to be read of the image, each file once.
    pub fn of(contents: &Contents) -> Survey {
        let binaries = binary::read(contents);
        let release = Release::read(contents);
        let programs = programs::find(contents, &binaries);
        let search = packages::Search { contents, binaries: &binaries, release: &release };
        let packages = packages::find(&search);
        let files = || contents.items.iter().filter(|item| item.kind == ItemKind::File);
        let capability = |item: &Item| {
            let text = FileCapabilities::parse(item.capability.as_deref()?)?.text();
            Some((item.path.clone(), text))
        };
        let path = |item: &Item| item.path.clone();
        let unread = |binary: &Binary| Some((path(&contents.items[binary.items[0]]), binary.unread.clone()?));
        Survey {
            base: Base::of(contents, &release, &programs),
            executables: executables(contents, &binaries),
            set_ids: files().filter(|item| item.mode & SET_ID != 0).map(|item| (path(item), item.mode)).collect(),
            capabilities: files().filter_map(capability).collect(),
            world_writable: contents.items.iter().filter_map(writable).collect(),
            missing: missing(contents, &binaries),
            unread: binaries.iter().filter_map(unread).collect(),
            release,
            packages,
            programs,
        }
    }

    /// Set-id files with their modes in octal.
    pub fn set_id_modes(&self) -> BTreeMap<String, String> {
        self.set_ids.iter().map(|(path, mode)| (path.clone(), format!("{mode:04o}"))).collect()
    }

    /// Programs of one kind.
    pub fn of_kind(&self, kind: programs::Kind) -> impl Iterator<Item = &Program> {
        self.programs.iter().filter(move |program| program.kind == kind)
    }
}

/// Files and directories that belong to a user.
pub fn owned(contents: &Contents, uid: u32) -> Vec<String> {
    let is_owned = |item: &&Item| item.uid == uid && matches!(item.kind, ItemKind::File | ItemKind::Directory);
    contents.items.iter().filter(is_owned).map(|item| item.path.clone()).collect()
}

fn executables(contents: &Contents, binaries: &[Binary]) -> Vec<String> {
    let starts = |binary: &&Binary| binary.script.is_some() || binary.is_program();
    let items = binaries.iter().filter(starts).flat_map(|binary| &binary.items);
    let mut paths: Vec<String> = items
        .map(|at| &contents.items[*at])
        .filter(|item| item.is_executable())
        .map(|item| item.path.clone())
        .collect();
    paths.sort();
    paths
}

fn writable(item: &Item) -> Option<Writable> {
    let directory = match item.kind {
        ItemKind::File => false,
        ItemKind::Directory if item.mode & STICKY == 0 => true,
        _ => return None,
    };
    (item.mode & WRITABLE_BY_ALL != 0).then(|| Writable { path: item.path.clone(), directory })
}

/// What no file or link of the image is called, by any path: no loader would find that.
fn missing(contents: &Contents, binaries: &[Binary]) -> Vec<Missing> {
    let names: HashSet<&str> = contents.items.iter().map(Item::name).collect();
    let mut all = Vec::new();
    for binary in binaries {
        let Some(elf) = binary.elf.as_ref() else { continue };
        let needed_by = &contents.items[binary.items[0]].path;
        for library in elf.needed.iter().filter(|name| !name.contains("libc.musl-")) {
            let name = library.rsplit('/').next().unwrap_or(library);
            if !names.contains(name) {
                all.push(Missing { library: library.clone(), needed_by: needed_by.clone() });
            }
        }
    }
    all.sort();
    all.dedup_by(|a, b| a.library == b.library);
    all
}
