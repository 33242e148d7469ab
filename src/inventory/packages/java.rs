//! Java archives: what their manifest, their Maven files and their names say, and the archives within them.
//!
//! Sources: the JAR File Specification, "JAR Manifest"; Maven Archiver (`pom.properties`). Which of them counts is as in syft.

use std::io::{Cursor, Read, Seek};

use zip::ZipArchive;

use super::{Kind, Package, Packages, Search, Unread, url};
use crate::inventory::contents::{Item, ItemKind};

const ENDINGS: [&str; 10] = [".jar", ".war", ".ear", ".par", ".sar", ".nar", ".jpi", ".hpi", ".kar", ".lpkg"];
/// An archive within an archive is held in memory: so large it may be, and so deep they are followed.
const LARGEST_NESTED: u64 = 256 << 20;
const DEEPEST: usize = 4;
/// What all archives within one file may come to, in bytes.
const LARGEST_TOGETHER: u64 = 2 << 30;
const LARGEST_TEXT: u64 = 1 << 20;
/// Archives in one file, with those within; a hostile one must not keep us busy.
const MOST: usize = 10_000;

fn is_archive(name: &str) -> bool {
    ENDINGS.iter().any(|ending| name.len() > ending.len() && name.to_ascii_lowercase().ends_with(ending))
}

pub(super) fn find(search: &Search, all: &mut Packages) {
    let items = search.contents.items.iter();
    for item in items.filter(|item| item.kind == ItemKind::File && is_archive(&item.path)) {
        let Ok(file) = search.contents.open(item) else { continue };
        let mut reading = Reading { item, found: Vec::new(), archives: 0, unpacked: 0 };
        if let Err(error) = reading.archive(file, &item.path, 0) {
            all.unread.push(Unread { path: item.path.clone(), why: format!("not a usable archive: {error}") });
        }
        all.found.append(&mut reading.found);
    }
}

struct Reading<'a> {
    item: &'a Item,
    found: Vec<Package>,
    archives: usize,
    /// Bytes of archives within that have been unpacked.
    unpacked: u64,
}

/// `pom.properties`.
struct Maven {
    group: String,
    artifact: String,
    version: String,
}

impl Reading<'_> {
    fn archive(&mut self, file: impl Read + Seek, location: &str, depth: usize) -> zip::result::ZipResult<()> {
        self.archives += 1;
        let mut zip = ZipArchive::new(file)?;
        let mut manifest = String::new();
        let mut maven = Vec::new();
        let mut nested = Vec::new();
        for index in 0..zip.len() {
            let mut entry = zip.by_index(index)?;
            let name = entry.name()?.into_owned();
            if name.eq_ignore_ascii_case("META-INF/MANIFEST.MF") {
                manifest = text(&mut entry)?;
            } else if name.starts_with("META-INF/maven/") && name.ends_with("/pom.properties") {
                maven.extend(Maven::parse(&text(&mut entry)?));
            } else if is_archive(&name) && depth < DEEPEST && entry.size() <= LARGEST_NESTED {
                nested.push(index);
            }
        }
        self.own(location, &manifest, &maven);
        for index in nested {
            if self.archives >= MOST || self.unpacked > LARGEST_TOGETHER {
                return Err(std::io::Error::other("too much is packed into it").into());
            }
            let mut entry = zip.by_index(index)?;
            let within = format!("{location}:{}", entry.name()?);
            let mut bytes = Vec::new();
            entry.by_ref().take(LARGEST_NESTED).read_to_end(&mut bytes)?;
            drop(entry);
            self.unpacked += bytes.len() as u64;
            // One that is no archive in spite of its name hides nothing.
            let _ = self.archive(Cursor::new(bytes), &within, depth + 1);
        }
        Ok(())
    }

    /// The archive itself, and what was put into it with its Maven files.
    fn own(&mut self, location: &str, manifest: &str, maven: &[Maven]) {
        let file = location.rsplit(['/', ':']).next().unwrap_or(location);
        let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
        let (stem_name, stem_version) = split(stem);
        let field = |names: &[&str]| names.iter().find_map(|name| header(manifest, name));
        let fits = |pom: &Maven| {
            let (artifact, name) = (pom.artifact.as_str(), stem_name);
            artifact == name || name.starts_with(artifact) || artifact.starts_with(name) || name.ends_with(artifact)
        };
        let main = maven.iter().position(fits);
        let title = || field(&["Name", "Bundle-Name", "Short-Name", "Extension-Name", "Implementation-Title"]);
        let name = main
            .map(|at| maven[at].artifact.clone())
            .or_else(|| Some(stem_name.to_owned()).filter(|name| !name.is_empty()));
        let version =
            main.map(|at| maven[at].version.clone()).or_else(|| stem_version.map(str::to_owned)).or_else(|| {
                field(&["Implementation-Version", "Specification-Version", "Plugin-Version", "Bundle-Version"])
            });
        let group = main.map(|at| maven[at].group.clone()).or_else(|| group(manifest));
        let licences: Vec<String> = field(&["Bundle-License"]).into_iter().collect();
        if let Some(name) = name.or_else(title) {
            self.add(location, &name, &version.unwrap_or_default(), &group.unwrap_or_default(), licences);
        }
        for (index, pom) in maven.iter().enumerate() {
            if Some(index) != main {
                self.add(location, &pom.artifact, &pom.version, &pom.group, Vec::new());
            }
        }
    }

    fn add(&mut self, location: &str, name: &str, version: &str, group: &str, licences: Vec<String>) {
        let namespace = if group.is_empty() { name } else { group };
        self.found.push(Package {
            name: name.to_owned(),
            version: version.to_owned(),
            kind: Kind::JavaArchive,
            purl: url::of("maven", namespace, name, version, &[]),
            licences,
            location: location.to_owned(),
            layer: self.item.layer + 1,
            source: None,
        });
    }
}

impl Maven {
    fn parse(text: &str) -> Option<Maven> {
        let field = |name: &str| {
            let line =
                text.lines().find_map(|line| line.trim().strip_prefix(name)?.trim_start().strip_prefix(['=', ':']));
            line.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        Some(Maven { group: field("groupId")?, artifact: field("artifactId")?, version: field("version")? })
    }
}

fn text(entry: &mut impl Read) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    entry.take(LARGEST_TEXT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `guava-32.1.jar` is `guava`, `32.1`.
fn split(stem: &str) -> (&str, Option<&str>) {
    let at =
        stem.match_indices('-').map(|(at, _)| at).find(|at| stem[at + 1..].starts_with(|c: char| c.is_ascii_digit()));
    at.map_or((stem, None), |at| (&stem[..at], Some(&stem[at + 1..])))
}

/// A field of the manifest's main section; lines that go on start with a space.
fn header(manifest: &str, name: &str) -> Option<String> {
    let mut value: Option<String> = None;
    for line in manifest.lines() {
        match (&mut value, line.strip_prefix(' ')) {
            (Some(value), Some(more)) => value.push_str(more),
            (Some(_), None) => break,
            (None, _) if line.trim().is_empty() => break,
            (None, _) => {
                let found = line.split_once(':').filter(|(key, _)| *key == name);
                value = found.map(|(_, rest)| rest.trim().to_owned());
            }
        }
    }
    value.filter(|value| !value.is_empty())
}

/// The group that a manifest lets one guess, as for package URLs.
fn group(manifest: &str) -> Option<String> {
    let fields = [
        "Group-Id",
        "Bundle-SymbolicName",
        "Extension-Name",
        "Specification-Vendor",
        "Implementation-Vendor",
        "Implementation-Vendor-Id",
        "Implementation-Title",
        "Bundle-Activator",
    ];
    fields.iter().filter_map(|name| header(manifest, name)).find_map(|value| {
        let value = value.split(['#', ';']).next().unwrap_or_default().trim();
        let is_group =
            value.contains('.') && !value.contains(' ') && value.starts_with(|c: char| c.is_ascii_lowercase());
        is_group.then(|| value.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_where_the_version_begins() {
        assert_eq!(split("commons-lang3-3.12.0"), ("commons-lang3", Some("3.12.0")));
        assert_eq!(split("app"), ("app", None));
        assert_eq!(split("a-1-2.0-b"), ("a", Some("1-2.0-b")));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(rest in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let item = Item {
                path: "/a.jar".into(), raw: None, layer: 0, kind: ItemKind::File, mode: 0, uid: 0, gid: 0, size: 0, inode: 0, names: 1, capability: None,
            };
            let mut reading = Reading { item: &item, found: Vec::new(), archives: 0, unpacked: 0 };
            for bytes in [[b"PK\x03\x04", &rest[..]].concat(), [&rest[..], b"PK\x05\x06", &[0; 18]].concat()] {
                let _ = reading.archive(Cursor::new(bytes), "/a.jar", 0);
            }
            Maven::parse(&String::from_utf8_lossy(&rest));
            header(&String::from_utf8_lossy(&rest), "Name");
        }
    }

    #[test]
    fn manifests_go_on_after_a_space() {
        let manifest = "Manifest-Version: 1.0\r\nImplementation-Title: a lo\r\n ng name\r\nImplementation-Version: 2\r\n\r\nName: x\r\n";
        assert_eq!(header(manifest, "Implementation-Title").as_deref(), Some("a long name"));
        assert_eq!(header(manifest, "Name"), None, "it is of another section");
    }
}
