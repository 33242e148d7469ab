//! Programs that the image itself says are shells or interpreters: in `/etc/shells`, and in the `#!` lines of its scripts.

use super::{Kind, MARKERS, Program, Seen, named};
use crate::inventory::binary::Binary;
use crate::inventory::contents::{Contents, Item};
use crate::inventory::script::Shebang;

/// The largest `/etc/shells` that is read, in bytes.
const LARGEST: u64 = 64 << 10;
/// Where `env` finds a name, in an image that says nothing else.
const PATH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Shells that only `/etc/shells` knows as such.
pub(super) fn listed(contents: &Contents, binaries: &[Binary], known: &[Program]) -> Vec<Program> {
    let text = contents.text("/etc/shells", LARGEST).unwrap_or_default();
    let mut all: Vec<Program> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| line.starts_with('/')) {
        let Some(item) = contents.resolve(line).filter(|item| item.is_executable()) else { continue };
        let is_known = known.iter().chain(&all).any(|program| program.path == item.path);
        if !is_none(&MARKERS.data.no_shells, item) && !is_known && is_program(contents, binaries, item) {
            all.push(named(item, Kind::Shell, item.name(), Seen::Listed));
        }
    }
    all
}

/// Interpreters that only the image's scripts know as such.
pub(super) fn asked_for(contents: &Contents, binaries: &[Binary], known: &[Program]) -> Vec<Program> {
    let mut all: Vec<Program> = Vec::new();
    for script in binaries.iter().filter_map(|binary| binary.script.as_ref()) {
        let Some(item) = interpreter(contents, script).filter(|item| item.is_executable()) else { continue };
        let is_known = known.iter().chain(&all).any(|program| program.path == item.path);
        let is_none = is_none(&MARKERS.data.no_interpreters, item) || is_none(&MARKERS.data.no_shells, item);
        if !is_none && !is_known && is_program(contents, binaries, item) {
            all.push(named(item, Kind::Interpreter, item.name(), Seen::Asked));
        }
    }
    all
}

fn interpreter<'a>(contents: &Contents<'a>, script: &Shebang) -> Option<&'a Item> {
    match script.program_of_env() {
        Some(name) => PATH.iter().find_map(|folder| contents.resolve(&format!("{folder}/{name}"))),
        None => contents.resolve(&script.interpreter),
    }
}

fn is_none(names: &[String], item: &Item) -> bool {
    names.iter().any(|name| name == item.name())
}

fn is_program(contents: &Contents, binaries: &[Binary], item: &Item) -> bool {
    let is_it = |binary: &Binary| binary.items.iter().any(|at| contents.items[*at].path == item.path);
    binaries.iter().any(|binary| binary.is_program() && is_it(binary))
}
