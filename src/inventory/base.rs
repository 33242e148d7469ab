//! What an image is built on, and what would serve instead: said only with the reason that was seen in it.

use std::fmt::Write as _;

use memchr::memmem;
use serde::Serialize;

use super::contents::Contents;
use super::elf::{Elf, Linkage};
use super::entrypoint::{Entrypoint, Kind};
use super::programs::{self, Program};
use super::release::Release;

/// The largest entrypoint that is looked into, in bytes.
const LARGEST: u64 = 1 << 30;

/// What starts another program, of which nothing is known here.
const STARTERS: [&str; 13] = [
    "catatonit",
    "chroot",
    "dumb-init",
    "env",
    "gosu",
    "init",
    "nice",
    "s6-svscan",
    "setpriv",
    "su",
    "su-exec",
    "sudo",
    "tini",
];

/// What an image is built on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Base {
    /// `scratch`, `distroless`, `alpine`, `wolfi`, `debian`, `ubuntu`, `ubi`, `busybox`, or the distribution's own id.
    pub name: String,
    /// As the distribution writes it; empty where nothing says so.
    pub version: String,
    /// What was seen.
    pub why: String,
}

/// A smaller base that has all the app needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Serves {
    /// What to build on.
    pub base: String,
    /// What in the image says so.
    pub why: String,
    /// Whether the image is built on no more than that.
    pub already: bool,
}

impl Base {
    /// Recognises the base by the files that only it has.
    pub(super) fn of(contents: &Contents, release: &Release, programs: &[Program]) -> Base {
        let has = |path: &str| contents.resolve(path).is_some();
        let base = |name: &str, why: &str| Base {
            name: name.to_owned(),
            version: release.version.clone(),
            why: why.to_owned(),
        };
        let busybox = programs.iter().any(|program| program.name == "busybox");
        match release.id.as_str() {
            "" if busybox => base("busybox", "busybox, and no os-release"),
            "" if has("/var/lib/dpkg/status") => base("debian", "a database of dpkg, and no os-release"),
            "" => base("scratch", "no os-release and no package manager's files"),
            "debian" if !has("/var/lib/dpkg/status") && has("/var/lib/dpkg/status.d") => {
                base("distroless", "Debian's packages in /var/lib/dpkg/status.d, and no dpkg")
            }
            "rhel" => base("ubi", "os-release says ID=rhel"),
            "chainguard" => base("wolfi", "os-release says ID=chainguard"),
            id => base(id, &format!("os-release says ID={id}")),
        }
    }

    /// Whether there is nothing in it but files: no shell, no package manager.
    fn is_bare(&self) -> bool {
        matches!(self.name.as_str(), "scratch" | "distroless")
    }
}

impl Serves {
    /// What the entrypoint needs, as far as reading it tells; nothing where it tells nothing.
    pub fn of(contents: &Contents, base: &Base, entrypoint: &Entrypoint, programs: &[Program]) -> Option<Serves> {
        let path = entrypoint.path.as_deref()?;
        let item = contents.at(path)?;
        if STARTERS.contains(&item.name()) {
            return None;
        }
        let runs = |kind: programs::Kind| programs.iter().find(|one| one.path == path && one.kind == kind);
        if let Some(shell) = runs(programs::Kind::Shell) {
            return Some(Serves {
                base: base.name.clone(),
                why: format!("the entrypoint {path} is a shell ({}): without it nothing starts", shell.name),
                already: true,
            });
        }
        if let Kind::Script { interpreter, .. } = entrypoint.kind.as_ref()? {
            let why = format!("the entrypoint {path} is a script of {interpreter}, which a smaller base does not have");
            return Some(Serves { base: base.name.clone(), why, already: true });
        }
        let Kind::Elf(elf) = entrypoint.kind.as_ref()? else { return None };
        if let Some(interpreter) = runs(programs::Kind::Interpreter) {
            let own = match interpreter.name.as_str() {
                "python" => "distroless/python3",
                "node" => "distroless/nodejs",
                "java" => "distroless/java",
                _ => return None,
            };
            let why = format!("the entrypoint {path} is the interpreter {}", interpreter.name);
            return Some(Serves { base: own.to_owned(), why, already: base.name == "distroless" });
        }
        let bytes = contents.read(item, LARGEST)?;
        Some(match elf.linkage {
            Linkage::Static | Linkage::StaticPie => fixed(base, path, &bytes),
            Linkage::Dynamic => dynamic(base, path, elf, entrypoint),
        })
    }
}

/// A program that needs no library; perhaps files that it looks for.
fn fixed(base: &Base, path: &str, bytes: &[u8]) -> Serves {
    let looks_for = [
        ("certificates", "/etc/ssl/certs/ca-certificates.crt"),
        ("zoneinfo", "/usr/share/zoneinfo"),
        ("passwd", "/etc/passwd"),
    ];
    let wanted = looks_for.iter().filter(|(_, file)| memmem::find(bytes, file.as_bytes()).is_some());
    let wanted: Vec<&str> = wanted.map(|(what, _)| *what).collect();
    let names = wanted.join(", ");
    let (own, more) = match wanted[..] {
        [] => ("scratch", "names none of certificates, zoneinfo and passwd".to_owned()),
        _ if base.name == "scratch" => {
            ("scratch", format!("names {names}; distroless/static has them, if it needs them"))
        }
        _ => ("distroless/static", format!("names {names}; scratch serves if it never needs them")),
    };
    let why = format!("{path} is a static program and {more}");
    Serves { base: own.to_owned(), why, already: base.is_bare() }
}

fn dynamic(base: &Base, path: &str, elf: &Elf, entrypoint: &Entrypoint) -> Serves {
    let names = || entrypoint.libraries.iter().map(|library| library.name.as_str());
    let is_musl = elf.interpreter.as_deref().is_some_and(|loader| loader.contains("ld-musl"));
    let is_cpp = names().any(|name| name.starts_with("libstdc++.") || name.starts_with("libgcc_s."));
    let others: Vec<&str> = names().filter(|name| !is_of_base(name, is_cpp)).collect();
    let (own, libc) = match (is_musl, is_cpp) {
        (true, _) => ("alpine without apk and busybox, or a static build on scratch", "musl"),
        (false, true) => ("distroless/cc", "glibc with the C++ or GCC runtime"),
        (false, false) => ("distroless/base", "glibc"),
    };
    let mut why = format!("{path} is a dynamic program for {libc}");
    if !others.is_empty() {
        let _ = write!(why, ", and needs {} too", others.join(", "));
    }
    Serves { base: own.to_owned(), why, already: base.is_bare() }
}

/// Libraries of glibc and openssl, which `distroless/base` has; `distroless/cc` has two more.
fn is_of_base(name: &str, cpp: bool) -> bool {
    let own = [
        "libc.",
        "libm.",
        "libdl.",
        "libpthread.",
        "librt.",
        "libresolv.",
        "libutil.",
        "ld-linux",
        "libssl.",
        "libcrypto.",
    ];
    let more = ["libstdc++.", "libgcc_s.", "libgomp."];
    own.iter().chain(more.iter().filter(|_| cpp)).any(|start| name.starts_with(start)) || name.starts_with("ld-musl")
}
