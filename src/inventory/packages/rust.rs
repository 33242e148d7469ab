//! Crates that were built into Rust programs, where `cargo auditable` wrote them down.
//!
//! Source: <https://github.com/rust-secure-code/cargo-auditable/blob/master/PARSING.md>: the section `.dep-v0`, zlib of JSON. The crate
//! `auditable-info` would bring a second inflater and a resolver for what is one list here.

use std::io::Read as _;

use object::{Object as _, ObjectSection as _};
use serde::Deserialize;

use super::{Kind, Package, Packages, Search, url};

/// As `auditable-info` limits it, in bytes.
const LARGEST: u64 = 8 << 20;

/// A crate, as far as it is reported.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(in crate::inventory) struct Crate {
    name: String,
    version: String,
    /// `build` for what only the build needed.
    #[serde(default)]
    kind: String,
}

#[derive(Deserialize)]
struct Document {
    packages: Vec<Crate>,
}

/// Reads the section of a whole file; nothing where there is none.
pub(in crate::inventory) fn read(file: &[u8]) -> Vec<Crate> {
    let section = || -> Option<Vec<Crate>> {
        let file = object::read::elf::ElfFile64::<object::Endianness>::parse(file).ok()?;
        let packed = file.section_by_name(".dep-v0")?.data().ok()?;
        let mut text = Vec::new();
        flate2::read::ZlibDecoder::new(packed).take(LARGEST).read_to_end(&mut text).ok()?;
        Some(serde_json::from_slice::<Document>(&text).ok()?.packages)
    };
    section().unwrap_or_default()
}

pub(super) fn find(search: &Search, all: &mut Packages) {
    for binary in search.binaries {
        let item = &search.contents.items[binary.items[0]];
        let runtime = binary.crates.iter().filter(|one| one.kind != "build");
        all.found.extend(runtime.map(|one| Package {
            name: one.name.clone(),
            version: one.version.clone(),
            kind: Kind::RustCrate,
            purl: url::of("cargo", "", &one.name, &one.version, &[]),
            licences: Vec::new(),
            location: item.path.clone(),
            layer: item.layer + 1,
            source: None,
        }));
    }
}
