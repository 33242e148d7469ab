//! Every program, library and script of an image, each read once for all that is asked of it.

use std::collections::HashMap;
use std::io::{Cursor, Read as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::contents::{Contents, Item, ItemKind};
use super::elf::{Elf, Linkage};
use super::packages::{BuildInfo, Crate, Known};
use super::programs::Marks;
use super::script::{self, Shebang};
use super::{packages, programs};

/// What is read of a file, which is in memory then; node is 120 MiB.
const LARGEST: u64 = 512 << 20;
/// No program that a loader could run is smaller, if there is an interpreter in it: Perl's, which is its library's, has 14 KiB.
const SMALLEST_HIDDEN: u64 = 8 << 10;
/// Enough for the kernel's `BINPRM_BUF_SIZE`.
const BEGINNING: u64 = 256;
/// More threads would wait for the disk and for each other.
const MOST_THREADS: usize = 4;

/// What a file turned out to be. Names of one file share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Binary {
    /// Indices of its names in the listing, ascending.
    pub(super) items: Vec<usize>,
    /// Its ELF headers.
    pub(super) elf: Option<Elf>,
    /// The first line of a script.
    pub(super) script: Option<Shebang>,
    /// What Go's linker wrote.
    pub(super) go: Option<BuildInfo>,
    /// What `cargo auditable` wrote.
    pub(super) crates: Vec<Crate>,
    /// A program known by its name and content.
    pub(super) known: Option<Known>,
    /// What interpreters and the like have in them.
    pub(super) marks: Marks,
    /// Why it could not be read.
    pub(super) unread: Option<String>,
}

impl Binary {
    /// Whether the kernel starts it, not another program's loader.
    pub(super) fn is_program(&self) -> bool {
        self.elf
            .as_ref()
            .is_some_and(|elf| elf.soname.is_none() && (elf.interpreter.is_some() || elf.linkage != Linkage::Dynamic))
    }
}

/// Reads what may be a program. Nothing is run.
pub(super) fn read(contents: &Contents) -> Vec<Binary> {
    let mut work: Vec<Vec<usize>> = Vec::new();
    let mut known = HashMap::<(usize, u64), usize>::new();
    for (at, item) in contents.items.iter().enumerate().filter(|(_, item)| is_candidate(item)) {
        if item.names > 1 {
            if let Some(first) = known.get(&(item.layer, item.inode)) {
                work[*first].push(at);
                continue;
            }
            known.insert((item.layer, item.inode), work.len());
        }
        work.push(vec![at]);
    }
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut buffer = Vec::new();
                let mut own = Vec::new();
                while let Some(items) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    own.extend(one(contents, items, &mut buffer));
                }
                done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).append(&mut own);
            });
        }
    });
    let mut all = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    all.sort_by_key(|binary: &Binary| binary.items[0]);
    all
}

fn is_candidate(item: &Item) -> bool {
    item.kind == ItemKind::File
        && item.size > 0
        && (item.mode & 0o111 != 0 || item.size >= SMALLEST_HIDDEN || item.name().contains(".so"))
}

/// What a file is; nothing for one that is neither a program nor a script.
fn one(contents: &Contents, items: &[usize], buffer: &mut Vec<u8>) -> Option<Binary> {
    let item = &contents.items[items[0]];
    let mut binary = Binary { items: items.to_owned(), ..Binary::default() };
    buffer.clear();
    let mut fill = || -> std::io::Result<()> {
        let mut file = contents.open(item)?;
        file.by_ref().take(BEGINNING).read_to_end(buffer)?;
        if Elf::is_one(buffer) {
            file.take(LARGEST - BEGINNING).read_to_end(buffer)?;
        }
        Ok(())
    };
    if let Err(error) = fill() {
        binary.unread = Some(error.to_string());
        return item.is_executable().then_some(binary);
    }
    if !Elf::is_one(buffer) {
        let script::Line::Script(line) = script::parse(buffer) else { return None };
        binary.script = Some(line);
        return item.is_executable().then_some(binary);
    }
    if item.size > LARGEST {
        binary.unread = Some(format!("only its first {LARGEST} bytes were looked into"));
    }
    binary.elf = Elf::read(Cursor::new(&buffer[..])).ok();
    binary.elf.as_ref()?;
    binary.go = BuildInfo::read(buffer);
    if binary.go.is_none() {
        binary.crates = packages::crates(buffer);
    }
    if binary.is_program() {
        let names = items.iter().map(|at| contents.items[*at].name());
        binary.known = names.filter(|_| binary.go.is_none()).find_map(|name| packages::known(name, buffer));
        binary.marks = programs::marks(buffer, binary.go.is_some(), !binary.crates.is_empty());
    }
    Some(binary)
}
