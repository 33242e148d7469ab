//! An image's command line, followed as far as the kernel and the loader would follow it.

use std::io::{self, Read};

use serde::Serialize;

use super::access::Credentials;
use super::capability::FileCapabilities;
use super::elf::Elf;
use super::findings;
use super::libraries::{self, Library};
use super::script::{self, Line, Shebang};
use super::tree::{EntryKind, Found, Tree};
use crate::finding::Finding;
use crate::image::Config;

/// What engines set when the image has no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// A script's interpreter may be a script: the kernel goes on this often, then it answers ELOOP (`fs/exec.c`, `exec_binprm`).
const DEEPEST_SCRIPT: usize = 5;

/// What is to be started, and as what.
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    /// Entrypoint and arguments.
    pub argv: &'a [String],
    /// `NAME=value`; the last of a name counts.
    pub env: &'a [String],
    /// Where it starts; empty for `/`.
    pub working_dir: &'a str,
    /// The ids it runs with.
    pub credentials: &'a Credentials,
    /// The `GOARCH` it is meant for.
    pub architecture: &'a str,
}

/// An entrypoint, looked at without starting it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Entrypoint {
    /// Entrypoint and arguments.
    pub argv: Vec<String>,
    /// The file that would be started, without links.
    pub path: Option<String>,
    /// What that file is.
    pub kind: Option<Kind>,
    /// What starts it: interpreters of scripts, then a loader.
    pub interpreters: Vec<String>,
    /// All shared libraries, with those of its interpreter if it is a script.
    pub libraries: Vec<Library>,
    /// Interpreters, loaders and libraries that are not in the image.
    pub missing: Vec<String>,
    /// File capabilities, as getcap(8) writes them.
    pub capabilities: Option<String>,
    /// What would go wrong.
    #[serde(skip)]
    pub findings: Vec<Finding>,
}

/// What a file that is to be started is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "type")]
pub enum Kind {
    /// A program.
    Elf(Elf),
    /// A file that names its interpreter.
    Script {
        /// The program that runs it.
        interpreter: String,
        /// The rest of the `#!` line.
        argument: Option<String>,
    },
    /// Nothing the kernel starts.
    Other,
}

/// Follows a command line from its first word to the last library.
pub fn resolve(tree: &dyn Tree, command: &Command) -> Entrypoint {
    let mut resolver =
        Resolver { tree, command, result: Entrypoint { argv: command.argv.to_vec(), ..Default::default() } };
    match command.argv.first().map(String::as_str) {
        None | Some("") => resolver.result.findings.push(findings::no_entrypoint()),
        Some(program) => resolver.start(program),
    }
    resolver.result
}

/// A health check that needs a shell which the image does not have (D22).
pub fn health_check(tree: &dyn Tree, config: &Config) -> Option<Finding> {
    let check = config.healthcheck.as_ref()?;
    if check.test.first().map(String::as_str) != Some("CMD-SHELL") {
        return None;
    }
    let shell = config.shell.first().map_or("/bin/sh", String::as_str);
    tree.find(shell).is_err().then(|| findings::health_check_without_shell(shell))
}

/// A user that is a name, which `runAsNonRoot` refuses (D51).
pub fn user(config: &Config) -> Option<Finding> {
    let name = config.user.split(':').next().unwrap_or_default();
    let is_name = !name.is_empty() && name.parse::<u32>().is_err();
    is_name.then(|| findings::user_by_name(name))
}

struct Resolver<'a> {
    tree: &'a dyn Tree,
    command: &'a Command<'a>,
    result: Entrypoint,
}

impl Resolver<'_> {
    fn start(&mut self, program: &str) {
        let found = match self.locate(program) {
            Ok(found) => found,
            Err(error) => return self.report(self.not_located(program, &error)),
        };
        self.result.path = Some(found.path.clone());
        self.follow(found);
    }

    /// As runc does: with a slash from the working directory, without along PATH, and there the first that may be started.
    fn locate(&self, program: &str) -> io::Result<Found> {
        if program.contains('/') {
            return self.tree.find(&self.absolute(program));
        }
        let mut first = None;
        let mut refused = io::Error::from(io::ErrorKind::NotFound);
        for directory in self.variable("PATH").unwrap_or(DEFAULT_PATH).split(':') {
            match self.tree.find(&self.absolute(&format!("{directory}/{program}").replace("//", "/"))) {
                Ok(found) if found.entry.kind != EntryKind::File => {}
                Ok(found) if self.command.credentials.may_start(&found) => return Ok(found),
                Ok(found) => first = first.or(Some(found)),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => refused = error,
                Err(_) => {}
            }
        }
        first.ok_or(refused)
    }

    fn follow(&mut self, mut found: Found) {
        for depth in 0..=DEEPEST_SCRIPT {
            if let Some(finding) = findings::may_not_start(&found, self.command.credentials) {
                return self.report(finding);
            }
            match self.step(&found, depth == 0) {
                Some(next) => found = next,
                None => return,
            }
        }
        self.report(findings::too_many_interpreters(&found.path));
    }

    /// Looks at one file; gives the next one, when it is a script.
    fn step(&mut self, found: &Found, first: bool) -> Option<Found> {
        let start = match self.beginning(found) {
            Ok(start) => start,
            Err(error) => {
                self.report(findings::unreadable(&found.path, &error));
                return None;
            }
        };
        let kind = if Elf::is_one(&start) {
            match self
                .tree
                .open(found)
                .map_err(|error| error.to_string())
                .and_then(|file| Elf::read(file).map_err(|e| e.to_string()))
            {
                Ok(elf) => Kind::Elf(elf),
                Err(why) => {
                    self.report(findings::broken_elf(&found.path, &why));
                    Kind::Other
                }
            }
        } else {
            match script::parse(&start) {
                Line::Script(shebang) => {
                    let next = self.interpreter(&found.path, &shebang);
                    self.kind(first, Kind::Script { interpreter: shebang.interpreter, argument: shebang.argument });
                    return next;
                }
                line => {
                    self.report(findings::no_program(&found.path, start.is_empty(), line == Line::Unusable));
                    Kind::Other
                }
            }
        };
        if let Kind::Elf(elf) = &kind {
            self.elf(found, elf);
        }
        self.kind(first, kind);
        None
    }

    fn kind(&mut self, first: bool, kind: Kind) {
        if first {
            self.result.kind = Some(kind);
        }
    }

    fn beginning(&self, found: &Found) -> io::Result<Vec<u8>> {
        let mut start = Vec::with_capacity(script::LOOKED_AT);
        self.tree.open(found)?.take(script::LOOKED_AT as u64).read_to_end(&mut start)?;
        Ok(start)
    }

    fn interpreter(&mut self, script: &str, shebang: &Shebang) -> Option<Found> {
        self.result.interpreters.push(shebang.interpreter.clone());
        if let Ok(found) = self.tree.find(&self.absolute(&shebang.interpreter)) {
            if let Some(program) = shebang.program_of_env().filter(|program| self.locate(program).is_err()) {
                let finding = findings::env_without_program(script, program, shebang.has_carriage_return());
                self.result.missing.push(program.to_owned());
                self.report(finding);
            }
            return Some(found);
        }
        self.result.missing.push(shebang.interpreter.clone());
        self.report(findings::no_interpreter(script, shebang));
        None
    }

    fn elf(&mut self, found: &Found, elf: &Elf) {
        let path = &found.path;
        if elf.machine.runs_on(self.command.architecture) == Some(false) {
            return self.report(findings::wrong_machine(path, elf.machine, self.command.architecture));
        }
        if let Some(capabilities) = found.entry.capability.as_deref().and_then(FileCapabilities::parse) {
            self.result.capabilities = Some(capabilities.text());
            if capabilities.refuse_without_bounding_set() {
                self.report(findings::file_capabilities(path, capabilities));
            }
        }
        let Some(loader) = &elf.interpreter else { return };
        self.result.interpreters.push(loader.clone());
        if let Ok(loader) = self.tree.find(&self.absolute(loader)) {
            self.result.findings.extend(findings::may_not_start(&loader, self.command.credentials));
        } else {
            self.result.missing.push(loader.clone());
            self.report(findings::no_loader(path, loader));
        }
        let libraries = libraries::closure(self.tree, path, elf, self.variable("LD_LIBRARY_PATH").unwrap_or_default());
        for library in libraries.iter().filter(|library| library.path.is_none()) {
            self.result.missing.push(library.name.clone());
            self.report(findings::no_library(library));
        }
        self.result.libraries = libraries;
    }

    fn not_located(&self, program: &str, error: &io::Error) -> Finding {
        let shell_form = self.command.argv.get(1).is_some_and(|argument| argument == "-c");
        match error.kind() {
            io::ErrorKind::PermissionDenied => findings::hidden(program),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory if shell_form && is_shell(program) => {
                findings::shell_form_without_shell(program)
            }
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                let path = (!program.contains('/')).then(|| self.variable("PATH").unwrap_or(DEFAULT_PATH));
                findings::not_in_image(program, path)
            }
            _ => findings::unreadable(program, error),
        }
    }

    fn variable(&self, name: &str) -> Option<&str> {
        let value = |line: &'_ String| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('='));
        self.command.env.iter().rfind(|line| value(line)).map(|line| &line[name.len() + 1..])
    }

    fn absolute(&self, path: &str) -> String {
        if path.starts_with('/') { path.to_owned() } else { format!("/{}/{path}", self.command.working_dir) }
    }

    fn report(&mut self, finding: Finding) {
        self.result.findings.push(finding);
    }
}

fn is_shell(program: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or(program);
    matches!(name, "sh" | "bash" | "ash" | "dash" | "zsh" | "ksh")
}

#[cfg(test)]
mod tests;
