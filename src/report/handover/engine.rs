//! How engines with a command line differ.

use crate::fit::{Relaxation, Scratch};

/// How an engine with a command line differs.
pub(super) trait Engine {
    fn name(&self) -> &'static str;
    fn closes_low_ports(&self) -> bool;
    fn adds_passwd_line(&self) -> bool;
    fn tmpfs(&self, scratch: &Scratch, uid: u32) -> String;

    fn flag(&self, what: &Relaxation, uid: u32) -> Option<String> {
        match what {
            Relaxation::Tmpfs(scratch) => Some(format!("--tmpfs {}", quoted(&self.tmpfs(scratch, uid)))),
            Relaxation::Volume(path) => Some(format!("-v {}", quoted(path))),
            Relaxation::Env(pair) => Some(format!("-e {}", quoted(pair))),
            Relaxation::PasswdLine if self.adds_passwd_line() => None,
            Relaxation::PasswdLine => Some("-v \"$PWD/passwd:/etc/passwd:ro\"".to_owned()),
            // They stand there already, a seccomp profile is named once for all, and the last two every engine gives.
            Relaxation::User(_)
            | Relaxation::Root
            | Relaxation::WritableRoot
            | Relaxation::Syscall(_)
            | Relaxation::AllowExec(_)
            | Relaxation::Network(_) => None,
            _ => Some(what.flag(uid)),
        }
    }
}

/// Its tmpfs has the mode of the image's folder and is noexec; since 20.10 low ports are everybody's.
pub(super) struct Docker;

impl Engine for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn closes_low_ports(&self) -> bool {
        false
    }

    fn adds_passwd_line(&self) -> bool {
        false
    }

    fn tmpfs(&self, scratch: &Scratch, uid: u32) -> String {
        scratch.flag(uid)
    }
}

/// Its tmpfs has mode 1777, runs programs, and has in it what the image has there; it takes no owner (4.3).
pub(super) struct Podman;

impl Engine for Podman {
    fn name(&self) -> &'static str {
        "podman"
    }

    fn closes_low_ports(&self) -> bool {
        true
    }

    fn adds_passwd_line(&self) -> bool {
        true
    }

    fn tmpfs(&self, scratch: &Scratch, _: u32) -> String {
        let noexec = if scratch.exec { "" } else { ",noexec" };
        let size = scratch.size.map_or_else(String::new, |size| format!(",size={}m", size >> 20));
        format!("{}:rw{noexec}{size}", scratch.path)
    }
}

/// For a shell.
pub(super) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/:=,._-@+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}
