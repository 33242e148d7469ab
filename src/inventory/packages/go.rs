//! Modules that were built into Go programs, from the build information that the linker leaves in each; stripping keeps it.
//!
//! Source: Go's `debug/buildinfo` and `runtime/debug` (`ParseBuildInfo`). Versions of a main module that says only `(devel)` are
//! looked for as syft does: the commit, the linker's flags, a version between two NULs.

use memchr::memmem;
use object::Endianness;
use object::elf::{FileHeader64, PT_LOAD};
use object::read::elf::{FileHeader as _, ProgramHeader as _};

use super::{Kind, Package, Packages, Search, url};

const MAGIC: &[u8] = b"\xff Go buildinf:";
const HEADER: usize = 32;
const ALIGNMENT: usize = 16;
/// Flags of the 16th byte.
const BIG_ENDIAN: u8 = 1;
const INLINE_STRINGS: u8 = 2;
/// The module list lies between two marks of this length.
const MARK: usize = 16;

/// What the linker wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::inventory) struct BuildInfo {
    /// `go1.22.1`.
    pub(in crate::inventory) go: String,
    /// Module paths and versions; the main module first, if it is known.
    pub(in crate::inventory) modules: Vec<(String, String)>,
}

impl BuildInfo {
    /// Finds it in a whole file.
    pub(in crate::inventory) fn read(file: &[u8]) -> Option<BuildInfo> {
        // Programs that read such information have the mark too, as one string among others.
        memmem::find_iter(file, MAGIC).filter(|at| at % ALIGNMENT == 0).find_map(|at| decode(file, at))
    }
}

fn decode(file: &[u8], at: usize) -> Option<BuildInfo> {
    let header = file.get(at..at + HEADER)?;
    let (pointer_size, flags) = (usize::from(header[14]), header[15]);
    let (go, list) = if flags & INLINE_STRINGS != 0 {
        let (go, rest) = counted(&file[at + HEADER..])?;
        (go, counted(rest).map_or(&[][..], |(list, _)| list))
    } else {
        let pointed = |number: usize| through_pointer(file, at + 16 + number * pointer_size, pointer_size, flags);
        (pointed(0)?, pointed(1).unwrap_or_default())
    };
    let go = std::str::from_utf8(go).ok().filter(|go| !go.is_empty())?.to_owned();
    let list = list.get(MARK..list.len().saturating_sub(MARK)).unwrap_or_default();
    let list = String::from_utf8_lossy(list);
    Some(BuildInfo { modules: modules(&list, file), go })
}

/// A string behind its length as a varint.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut length = 0usize;
    for (index, byte) in bytes.iter().take(9).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let rest = &bytes[index + 1..];
            return Some((rest.get(..length)?, rest.get(length..)?));
        }
    }
    None
}

/// Before Go 1.18: a pointer to a string's header, which is a pointer and a length.
fn through_pointer(file: &[u8], at: usize, size: usize, flags: u8) -> Option<&[u8]> {
    let word = |at: usize| -> Option<u64> {
        let bytes = file.get(at..at.checked_add(size)?)?;
        Some(match (size, flags & BIG_ENDIAN != 0) {
            (8, false) => u64::from_le_bytes(bytes.try_into().ok()?),
            (8, true) => u64::from_be_bytes(bytes.try_into().ok()?),
            (4, false) => u32::from_le_bytes(bytes.try_into().ok()?).into(),
            (4, true) => u32::from_be_bytes(bytes.try_into().ok()?).into(),
            _ => return None,
        })
    };
    let header = in_file(file, word(at)?)?;
    let (start, length) = (in_file(file, word(header)?)?, usize::try_from(word(header + size)?).ok()?);
    file.get(start..start.checked_add(length)?)
}

/// Where in the file an address in memory is.
fn in_file(file: &[u8], address: u64) -> Option<usize> {
    let header = FileHeader64::<Endianness>::parse(file).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, file).ok()?;
    segments.iter().filter(|segment| segment.p_type(endian) == PT_LOAD).find_map(|segment| {
        let within = address.checked_sub(segment.p_vaddr(endian))?;
        let offset = segment.p_offset(endian).checked_add(within)?;
        (within < segment.p_filesz(endian)).then(|| usize::try_from(offset).ok()).flatten()
    })
}

/// Lines of `path`, `mod`, `dep`, `=>` (replaces the one before) and `build`.
fn modules(list: &str, file: &[u8]) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    let mut settings = Vec::new();
    let (mut path, mut has_main) = ("", false);
    for line in list.lines() {
        let words: Vec<&str> = line.split('\t').collect();
        match words[..] {
            ["path", name] => path = name,
            ["mod", name, version, ..] => {
                has_main = true;
                all.insert(0, (name.to_owned(), version.to_owned()));
            }
            ["dep", name, version, ..] => all.push((name.to_owned(), version.to_owned())),
            ["=>", name, version, ..] => {
                if let Some(last) = all.last_mut() {
                    *last = (name.to_owned(), version.to_owned());
                }
            }
            ["build", setting] => settings.extend(setting.split_once('=')),
            _ => {}
        }
    }
    // A program that was not built from a module of its own is called as its package is.
    if !has_main && !path.is_empty() && path != "command-line-arguments" {
        all.insert(0, (path.to_owned(), DEVELOPMENT.to_owned()));
        has_main = true;
    }
    if has_main && matches!(all[0].1.as_str(), DEVELOPMENT | "") {
        all[0].1 = main_version(&settings, file).unwrap_or_else(|| DEVELOPMENT.to_owned());
    }
    all
}

const DEVELOPMENT: &str = "(devel)";

fn main_version(settings: &[(&str, &str)], file: &[u8]) -> Option<String> {
    let setting = |name: &str| {
        let found = settings.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| *value).filter(|value| !value.is_empty())
    };
    let flags = setting("-ldflags").and_then(from_linker_flags);
    let written = flags.or_else(|| between_nuls(file));
    // Modules have a `v` there.
    written.map(|text| if text.starts_with('v') { text } else { format!("v{text}") }).or_else(|| {
        // `v0.0.0-20060102150405-0123456789ab`.
        let (commit, time) = (setting("vcs.revision")?, setting("vcs.time")?);
        let digits: String = time.chars().filter(char::is_ascii_digit).take(14).collect();
        Some(format!("v0.0.0-{digits}-{}", commit.get(..12)?))
    })
}

/// `-X main.version=1.2.3`.
fn from_linker_flags(flags: &str) -> Option<String> {
    flags.split_whitespace().find_map(|word| {
        let (name, value) = word.trim_matches(['"', '\'']).split_once('=')?;
        let value = value.trim_matches(['"', '\'']);
        let is_version = name.to_ascii_lowercase().ends_with("version") && is_semantic(value);
        is_version.then(|| value.to_owned())
    })
}

/// Three numbers, perhaps with a `v` before and a suffix after.
fn is_semantic(text: &str) -> bool {
    let text = text.strip_prefix('v').unwrap_or(text);
    let (numbers, suffix) = text.split_at(text.find(['-', '+']).unwrap_or(text.len()));
    let parts: Vec<&str> = numbers.split('.').collect();
    let plain = |part: &&str| !part.is_empty() && part.len() < 6 && part.bytes().all(|byte| byte.is_ascii_digit());
    parts.len() == 3
        && parts.iter().all(plain)
        && suffix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-+._".contains(&byte))
}

fn between_nuls(file: &[u8]) -> Option<String> {
    const LONGEST: usize = 40;
    memchr::memchr_iter(0, file).find_map(|at| {
        let rest = file.get(at + 1..)?;
        if !matches!(rest.first(), Some(b'v' | b'0'..=b'9')) {
            return None;
        }
        let end = rest.iter().take(LONGEST).position(|byte| *byte == 0)?;
        let text = std::str::from_utf8(&rest[..end]).ok()?;
        is_semantic(text).then(|| text.to_owned())
    })
}

pub(super) fn find(search: &Search, all: &mut Packages) {
    for binary in search.binaries {
        let (Some(info), item) = (&binary.go, &search.contents.items[binary.items[0]]) else { continue };
        let package = |name: &str, version: &str, purl: String, licences: Vec<String>| Package {
            name: name.to_owned(),
            version: version.to_owned(),
            kind: Kind::GoModule,
            purl,
            licences,
            location: item.path.clone(),
            layer: item.layer + 1,
            source: None,
        };
        for (name, version) in &info.modules {
            let (namespace, last) = name.rsplit_once('/').unwrap_or(("", name));
            let purl = url::of("golang", namespace, last, version, &[]);
            all.found.push(package(name, version, purl, Vec::new()));
        }
        let number = info.go.trim_start_matches("go");
        let purl = url::of("golang", "", "stdlib", number.split(' ').next().unwrap_or(number), &[]);
        all.found.push(package("stdlib", &info.go, purl, vec!["BSD-3-Clause".to_owned()]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(go: &str, list: &str) -> Vec<u8> {
        let mut file = vec![0; 64];
        file.extend(MAGIC);
        file.extend([8, INLINE_STRINGS]);
        file.resize(64 + HEADER, 0);
        let list = format!("0123456789abcdef{list}0123456789abcdef");
        for text in [go, &list] {
            let length = text.len();
            assert!(length < 1 << 14);
            let part = |bits: usize| u8::try_from(bits & 0x7f).unwrap();
            file.extend([part(length) | 0x80, part(length >> 7)]);
            file.extend(text.as_bytes());
        }
        file
    }

    fn versions(list: &str) -> Vec<(String, String)> {
        BuildInfo::read(&image("go1.22.1", list)).unwrap().modules
    }

    #[test]
    fn modules_are_those_that_were_built_in() {
        let found = versions(
            "path\tx.org/a/cmd\nmod\tx.org/a\tv1.2.3\th1:x\ndep\tb\tv0.1.0\ndep\tc\tv1.0.0\n=>\td\tv2.0.0\th1:y\n",
        );
        let found: Vec<_> = found.iter().map(|(name, version)| format!("{name} {version}")).collect();
        assert_eq!(found, ["x.org/a v1.2.3", "b v0.1.0", "d v2.0.0"]);
    }

    #[test]
    fn a_version_that_was_not_recorded_is_looked_for() {
        assert_eq!(versions("mod\ta\t(devel)\nbuild\t-ldflags=\"-s -X main.Version=1.4.2\"\n")[0].1, "v1.4.2");
        let commit = "build\tvcs.revision=0123456789abcdef\nbuild\tvcs.time=2024-01-02T03:04:05Z\n";
        assert_eq!(versions(&format!("mod\ta\t(devel)\n{commit}"))[0].1, "v0.0.0-20240102030405-0123456789ab");
        assert_eq!(versions("path\ta/cmd\n"), [("a/cmd".to_owned(), DEVELOPMENT.to_owned())]);
    }

    #[test]
    fn bytes_cut_off_anywhere_are_nothing_and_no_panic() {
        let whole = image("go1.22.1", "mod\ta\tv1.0.0\n");
        for length in 0..whole.len() {
            BuildInfo::read(&whole[..length]);
        }
        assert_eq!(BuildInfo::read(b"\xff Go buildinf:"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(flags in 0u8..4, size in 0u8.., rest in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let bytes = [MAGIC, &[size, flags], &rest].concat();
            BuildInfo::read(&bytes);
        }
    }
}
