//! Which shared libraries a program gets, by the rules of the loader it names.
//!
//! Sources: ld.so(8); glibc `elf/dl-load.c` (`_dl_map_object`) and `sysdeps/generic/dl-cache.h`; musl `ldso/dynlink.c` (`load_library`).

use std::collections::{HashMap, HashSet};
use std::io::Read;

use serde::Serialize;

use super::elf::Elf;
use super::tree::{EntryKind, Tree};

/// More than any real program has; a hostile one must not keep us busy.
const MOST_LIBRARIES: usize = 1024;
const LARGEST_CONFIGURATION: u64 = 4 << 20;

/// A library that a program, or a library of it, asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Library {
    /// As `DT_NEEDED` has it.
    pub name: String,
    /// Where the loader finds it.
    pub path: Option<String>,
    /// The first file that asks for it.
    pub needed_by: String,
}

/// A file the loader has mapped, with what it says about further ones.
struct Loaded {
    path: String,
    elf: Elf,
    /// Index of the file that asked for this one.
    loader: Option<usize>,
}

/// All libraries of the program at `path`, in the order in which the loader looks for them.
pub(super) fn closure(tree: &dyn Tree, path: &str, program: &Elf, library_path: &str) -> Vec<Library> {
    let Some(interpreter) = &program.interpreter else { return Vec::new() };
    let own_name = base(interpreter);
    let musl = own_name.starts_with("ld-musl-");
    let search = Search {
        tree,
        program,
        environment: library_path.split([':', ';']).filter(|dir| !dir.is_empty()).map(str::to_owned).collect(),
        musl,
        standard: if musl { musl_directories(tree, interpreter) } else { glibc_directories(program) },
        cache: if musl { HashMap::new() } else { glibc_cache(tree) },
    };
    let mut loaded = vec![Loaded { path: path.to_owned(), elf: program.clone(), loader: None }];
    let mut known = HashSet::from([own_name.to_owned()]);
    let mut libraries = Vec::new();
    let mut next = 0;
    while next < loaded.len() {
        for name in loaded[next].elf.needed.clone() {
            if libraries.len() == MOST_LIBRARIES || (musl && is_musl_itself(&name)) || !known.insert(name.clone()) {
                continue;
            }
            let found = search.find(&loaded, next, &name);
            let path = found.as_ref().map(|(path, _)| path.clone());
            libraries.push(Library { name, path, needed_by: loaded[next].path.clone() });
            if let Some((path, Some(elf))) = found {
                known.extend(elf.soname.clone());
                loaded.push(Loaded { path, elf, loader: Some(next) });
            }
        }
        next += 1;
    }
    libraries
}

struct Search<'a> {
    tree: &'a dyn Tree,
    program: &'a Elf,
    environment: Vec<String>,
    musl: bool,
    standard: Vec<String>,
    cache: HashMap<String, Vec<String>>,
}

impl Search<'_> {
    fn find(&self, loaded: &[Loaded], by: usize, name: &str) -> Option<(String, Option<Elf>)> {
        if name.contains('/') {
            return self.usable(&expand(name, &loaded[by].path, "lib"));
        }
        let cached = self.cache.get(name).into_iter().flatten().cloned();
        let places = self.directories(loaded, by).into_iter().map(|dir| format!("{dir}/{name}"));
        let standard = self.standard.iter().map(|dir| format!("{dir}/{name}"));
        places.chain(cached).chain(standard).find_map(|path| self.usable(&path))
    }

    /// The directories that come before the system's own.
    fn directories(&self, loaded: &[Loaded], by: usize) -> Vec<String> {
        let chain = || std::iter::successors(Some(by), |&at| loaded[at].loader).map(|at| &loaded[at]);
        let paths = |file: &Loaded, list: &[String]| -> Vec<String> {
            let each = |dir: &String| ["lib", "lib64"].map(|lib| expand(dir, &file.path, lib));
            list.iter().flat_map(each).collect()
        };
        let mut all = Vec::new();
        if self.musl {
            // musl makes no difference between the two, and lets libraries inherit both.
            all.extend(self.environment.iter().cloned());
            all.extend(chain().flat_map(|file| paths(file, &[&file.elf.rpath[..], &file.elf.runpath[..]].concat())));
            return all;
        }
        if loaded[by].elf.runpath.is_empty() {
            let older = chain().filter(|file| file.elf.runpath.is_empty());
            all.extend(older.flat_map(|file| paths(file, &file.elf.rpath)));
        }
        all.extend(self.environment.iter().cloned());
        all.extend(paths(&loaded[by], &loaded[by].elf.runpath));
        all
    }

    /// A library of another processor or class is passed over, as the loader does. One that we may not read counts as found.
    fn usable(&self, path: &str) -> Option<(String, Option<Elf>)> {
        let found = self.tree.find(path).ok().filter(|found| found.entry.kind == EntryKind::File)?;
        let Ok(file) = self.tree.open(&found) else { return Some((path.to_owned(), None)) };
        let elf = Elf::read(file).ok()?;
        let fits = elf.machine == self.program.machine && elf.wide == self.program.wide;
        fits.then(|| (path.to_owned(), Some(elf)))
    }
}

fn expand(path: &str, file: &str, lib: &str) -> String {
    let origin = file.rsplit_once('/').map_or("", |(directory, _)| directory);
    let path = ["${ORIGIN}", "$ORIGIN"].iter().fold(path.to_owned(), |path, mark| path.replace(mark, origin));
    ["${LIB}", "$LIB"].iter().fold(path, |path, mark| path.replace(mark, lib))
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// glibc's built-in directories differ by distribution; a program finds its libraries in the ones its image has.
fn glibc_directories(program: &Elf) -> Vec<String> {
    let triplet = match (program.machine.name().as_str(), program.wide) {
        ("amd64", true) => "x86_64-linux-gnu",
        ("amd64", false) => "x86_64-linux-gnux32",
        ("386", _) => "i386-linux-gnu",
        ("arm64", _) => "aarch64-linux-gnu",
        ("arm", _) => "arm-linux-gnueabihf",
        ("riscv64", _) => "riscv64-linux-gnu",
        ("ppc64le", _) => "powerpc64le-linux-gnu",
        ("s390x", _) => "s390x-linux-gnu",
        _ => "",
    };
    let multiarch = [format!("/lib/{triplet}"), format!("/usr/lib/{triplet}")];
    let plain = ["/lib64", "/usr/lib64", "/lib", "/usr/lib"].map(str::to_owned);
    multiarch.into_iter().filter(|_| !triplet.is_empty()).chain(plain).collect()
}

/// musl reads `/etc/ld-musl-ARCH.path`, under the prefix that its own path has, or uses its built-in directories.
fn musl_directories(tree: &dyn Tree, interpreter: &str) -> Vec<String> {
    let mut parts = interpreter.rsplitn(3, '/');
    let name = parts.next().unwrap_or_default().trim_end_matches(".1").trim_end_matches(".so");
    let prefix = parts.nth(1).unwrap_or_default();
    let list = read(tree, &format!("{prefix}/etc/{name}.path"));
    let text =
        list.map_or("/lib:/usr/local/lib:/usr/lib".to_owned(), |bytes| String::from_utf8_lossy(&bytes).into_owned());
    text.split([':', '\n']).filter(|dir| !dir.is_empty()).map(str::to_owned).collect()
}

/// Names that musl answers itself: they are parts of the C library.
fn is_musl_itself(name: &str) -> bool {
    let parts = ["c.", "pthread.", "rt.", "m.", "dl.", "util.", "xnet."];
    name.strip_prefix("lib").is_some_and(|rest| parts.iter().any(|part| rest.starts_with(part)))
}

fn read(tree: &dyn Tree, path: &str) -> Option<Vec<u8>> {
    let found = tree.find(path).ok().filter(|found| found.entry.kind == EntryKind::File)?;
    let mut bytes = Vec::new();
    tree.open(&found).ok()?.take(LARGEST_CONFIGURATION).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// `/etc/ld.so.cache`: the directories of `/etc/ld.so.conf` count only through it.
fn glibc_cache(tree: &dyn Tree) -> HashMap<String, Vec<String>> {
    read(tree, "/etc/ld.so.cache").map(|bytes| parse_cache(&bytes)).unwrap_or_default()
}

/// Names and paths of a cache in the format glibc has written since 2.2, alone or after the older one.
fn parse_cache(bytes: &[u8]) -> HashMap<String, Vec<String>> {
    const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
    const HEADER: usize = 48;
    const ENTRY: usize = 24;
    let mut names = HashMap::<String, Vec<String>>::new();
    let Some(start) = bytes.windows(MAGIC.len()).position(|window| window == MAGIC) else { return names };
    let bytes = &bytes[start..];
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
    let text = |at: usize| {
        let rest = bytes.get(at..)?;
        let end = rest.iter().take(4096).position(|&b| b == 0)?;
        Some(String::from_utf8_lossy(&rest[..end]).into_owned())
    };
    let count = word(MAGIC.len()).unwrap_or(0).min(bytes.len() / ENTRY);
    for entry in (0..count).map(|index| HEADER + index * ENTRY) {
        let (key, value) = (word(entry + 4).and_then(text), word(entry + 8).and_then(text));
        if let (Some(key), Some(value)) = (key, value) {
            names.entry(key).or_default().push(value);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_read_as_ldconfig_writes_it() {
        let mut bytes = b"ld.so-1.7.0\0\0\0\0\0\0\0\0\0\0\0\0\0glibc-ld.so.cache1.1".to_vec();
        bytes.extend(1u32.to_le_bytes());
        bytes.resize(24 + 48, 0);
        for word in [3u32, 72, 82, 0, 0, 0] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(b"libx.so.1\0/opt/libx.so.1\0");
        assert_eq!(parse_cache(&bytes)["libx.so.1"], ["/opt/libx.so.1"]);
        for length in 0..bytes.len() {
            parse_cache(&bytes[..length]);
        }
    }

    #[test]
    fn musl_knows_its_own_parts() {
        assert!(is_musl_itself("libc.musl-x86_64.so.1"));
        assert!(is_musl_itself("libpthread.so.0"));
        assert!(!is_musl_itself("libcrypto.so.3"));
        assert!(!is_musl_itself("libmagic.so.1"));
    }

    #[test]
    fn the_origin_is_the_directory_of_the_file_that_says_it() {
        assert_eq!(expand("$ORIGIN/../${LIB}", "/opt/app/bin/x", "lib64"), "/opt/app/bin/../lib64");
    }
}
