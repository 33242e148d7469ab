//! The packages of an image: what package managers recorded, and what programs and archives say of themselves.
//!
//! One file an ecosystem. Types and names are those of syft (<https://github.com/anchore/syft>), so that lists can be compared.

mod apk;
mod dpkg;
mod go;
mod java;
mod npm;
mod python;
mod rust;
mod url;
mod wellknown;

use serde::Serialize;

use super::binary::Binary;
use super::contents::Contents;
use super::release::Release;

pub(super) use go::BuildInfo;
pub(super) use rust::{Crate, read as crates};
pub(super) use wellknown::{Known, read as known};

/// The largest text file that is read for packages, in bytes.
const LARGEST: u64 = 64 << 20;

/// One package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Package {
    /// As its ecosystem calls it.
    pub name: String,
    /// As its ecosystem writes it.
    pub version: String,
    /// What kind of package it is.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The package URL: <https://github.com/package-url/purl-spec>.
    pub purl: String,
    /// What its own files say it may be used under.
    pub licences: Vec<String>,
    /// The file that says so.
    pub location: String,
    /// The layer of that file, counted from 1 at the base.
    pub layer: usize,
    /// The source package, where it is called otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// Where a package comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Alpine's and Wolfi's.
    Apk,
    /// A program without a package, known by its content.
    Binary,
    /// Debian's and Ubuntu's.
    Deb,
    /// A module that was built into a Go program, or Go's standard library.
    GoModule,
    /// A jar, war or ear.
    JavaArchive,
    /// A package of npm.
    Npm,
    /// A distribution of Python.
    Python,
    /// A crate that was built into a Rust program.
    RustCrate,
}

impl Kind {
    /// As the report has it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Apk => "apk",
            Kind::Binary => "binary",
            Kind::Deb => "deb",
            Kind::GoModule => "go-module",
            Kind::JavaArchive => "java-archive",
            Kind::Npm => "npm",
            Kind::Python => "python",
            Kind::RustCrate => "rust-crate",
        }
    }
}

/// All packages, and what may hide more of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packages {
    /// Sorted by name, version and kind; each once, however many files say so.
    pub found: Vec<Package>,
    /// What is there and was not read.
    pub unread: Vec<Unread>,
}

/// A record of packages that was not read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unread {
    /// The file.
    pub path: String,
    /// Why not.
    pub why: String,
}

/// Databases of rpm: Berkeley DB, NDB and `SQLite`. Source: rpm's `macros.in` (`_dbpath`) and `lib/backend`.
const RPM: [&str; 3] = ["/var/lib/rpm", "/usr/lib/sysimage/rpm", "/usr/share/rpm"];
const RPM_FILES: [&str; 3] = ["Packages", "Packages.db", "rpmdb.sqlite"];

/// What an ecosystem's reader is given.
pub(super) struct Search<'a> {
    pub(super) contents: &'a Contents<'a>,
    pub(super) binaries: &'a [Binary],
    pub(super) release: &'a Release,
}

/// Finds the packages of an image.
pub(super) fn find(search: &Search) -> Packages {
    let mut all = Packages::default();
    let system = all.found.len();
    apk::find(search, &mut all);
    dpkg::find(search, &mut all);
    let is_owned = |paths: &[String]| {
        let known = all.found.len() > system && !paths.is_empty();
        known && (apk::owns(search.contents, paths) || dpkg::owns(search.contents, paths))
    };
    let known: Vec<Package> = wellknown::find(search, &is_owned);
    all.found.extend(known);
    go::find(search, &mut all);
    rust::find(search, &mut all);
    python::find(search, &mut all);
    npm::find(search, &mut all);
    java::find(search, &mut all);
    for (folder, file) in RPM.iter().flat_map(|folder| RPM_FILES.iter().map(move |file| (folder, file))) {
        if let Some(item) = search.contents.resolve(&format!("{folder}/{file}"))
            && all.unread.iter().all(|unread| unread.path != item.path)
        {
            let why = "a database of rpm, which austere does not read: its packages are not in this list".to_owned();
            all.unread.push(Unread { path: item.path.clone(), why });
        }
    }
    all.found.sort();
    all.found.dedup();
    all
}
