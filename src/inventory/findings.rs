//! What can be wrong with an entrypoint, in words. The codes are those of `austere`'s catalogue of diagnoses.

use std::io;

use super::access::Credentials;
use super::capability::FileCapabilities;
use super::elf::Machine;
use super::libraries::Library;
use super::script::Shebang;
use super::tree::{EntryKind, Found};
use crate::finding::{Finding, Severity};

/// A finding about execve(2) of `path` that ends in `errno`.
fn exec(code: &str, path: &str, errno: &str, message: String, advice: &str) -> Finding {
    Finding {
        code: code.to_owned(),
        severity: Severity::Error,
        call: Some("execve".to_owned()),
        path: Some(path.to_owned()),
        errno: Some(errno.to_owned()),
        message,
        advice: Some(advice.to_owned()),
        ..Finding::default()
    }
}

pub(super) fn no_entrypoint() -> Finding {
    Finding {
        code: "no-entrypoint".to_owned(),
        severity: Severity::Error,
        message: "the image names neither an entrypoint nor a command: there is nothing to start".to_owned(),
        advice: Some("set ENTRYPOINT or CMD, or give a command after `--`".to_owned()),
        ..Finding::default()
    }
}

pub(super) fn not_in_image(program: &str, path: Option<&str>) -> Finding {
    let looked = path.map_or(String::new(), |path| format!(" (PATH is {path})"));
    let message = format!("the entrypoint `{program}` is not in the image{looked}");
    exec("entrypoint-not-found", program, "ENOENT", message, "copy the program into the image, or correct ENTRYPOINT")
}

pub(super) fn shell_form_without_shell(shell: &str) -> Finding {
    let message = format!("the entrypoint is in shell form, and the image has no `{shell}`");
    exec("D22", shell, "ENOENT", message, "use the exec form: ENTRYPOINT [\"/app\", \"argument\"]")
}

pub(super) fn health_check_without_shell(shell: &str) -> Finding {
    let message = format!("the health check is in shell form, and the image has no `{shell}`");
    let finding = exec("D22", shell, "ENOENT", message, "use the exec form: HEALTHCHECK CMD [\"/app\", \"health\"]");
    Finding { severity: Severity::Warning, ..finding }
}

pub(super) fn user_by_name(name: &str) -> Finding {
    Finding {
        code: "D51".to_owned(),
        message: format!(
            "USER is the name `{name}`, and Kubernetes with runAsNonRoot starts only an image whose USER is a number"
        ),
        advice: Some("name the user by its number: USER 65532:65532".to_owned()),
        ..Finding::default()
    }
}

/// D18: no x bit, or none on a directory on the way.
pub(super) fn may_not_start(found: &Found, who: &Credentials) -> Option<Finding> {
    if let Some((directory, entry)) = who.stopped_at(found) {
        let bits = entry.mode & 0o7777;
        let message = format!(
            "`{directory}` ({bits:04o}) may not be searched by user {}, so `{}` cannot be started",
            who.uid, found.path
        );
        let finding = exec("D18", directory, "EACCES", message, "make the directory searchable: chmod a+x");
        return Some(Finding { refused_by: Some("file mode".to_owned()), ..finding });
    }
    let path = &found.path;
    let message = match found.entry.kind {
        EntryKind::File if who.may_execute(&found.entry) => return None,
        EntryKind::File => {
            let bits = found.entry.mode & 0o7777;
            format!("`{path}` ({bits:04o}) may not be executed by user {}", who.uid)
        }
        EntryKind::Directory => format!("`{path}` is a directory, not a program"),
        EntryKind::Special => format!("`{path}` is a device, fifo or socket, not a program"),
    };
    let finding = exec("D18", path, "EACCES", message, "chmod 0755 when the image is built (COPY --chmod=0755)");
    Some(Finding { refused_by: Some("file mode".to_owned()), ..finding })
}

/// D18 where we ourselves stand outside the closed directory.
pub(super) fn hidden(program: &str) -> Finding {
    let message = format!("a directory on the way to `{program}` may not be searched by the app's user");
    let finding = exec("D18", program, "EACCES", message, "make the directory searchable: chmod a+x");
    Finding { refused_by: Some("file mode".to_owned()), ..finding }
}

pub(super) fn unreadable(path: &str, error: &io::Error) -> Finding {
    Finding {
        code: "entrypoint-not-read".to_owned(),
        severity: Severity::Notice,
        path: Some(path.to_owned()),
        message: format!("`{path}` could not be read here ({error}), so what it needs is not known"),
        ..Finding::default()
    }
}

pub(super) fn no_interpreter(script: &str, line: &Shebang) -> Finding {
    let name = line.interpreter.escape_debug();
    if line.interpreter.ends_with('\r') {
        let message =
            format!("`{script}` ends its first line in CR LF, so the kernel looks for an interpreter named `{name}`");
        return exec("D20", script, "ENOENT", message, "save the script with LF line ends (dos2unix, `* text eol=lf`)");
    }
    let message = format!("`{script}` wants the interpreter `{name}`, which is not in the image");
    exec("D20", script, "ENOENT", message, "start the program itself instead of a script, or add the interpreter")
}

pub(super) fn env_without_program(script: &str, program: &str, carriage_return: bool) -> Finding {
    let (why, advice) = if carriage_return {
        (", and its first line ends in CR LF", "save the script with LF line ends (dos2unix, `* text eol=lf`)")
    } else {
        ("", "add the program, or name it by its whole path")
    };
    let program = program.escape_debug();
    let message = format!("`{script}` has env start `{program}`, which is nowhere in PATH{why}");
    exec("D20", script, "ENOENT", message, advice)
}

pub(super) fn too_many_interpreters(path: &str) -> Finding {
    let message = format!("`{path}` is the sixth script in a row that has a script as its interpreter");
    exec("D20", path, "ELOOP", message, "name a program as the interpreter")
}

pub(super) fn no_loader(path: &str, loader: &str) -> Finding {
    let message = format!("`{path}` wants the loader `{loader}`, which is not in the image");
    let advice = if loader.contains("ld-musl-") {
        "it was built for musl (Alpine): build it for this image's C library, or statically"
    } else {
        "it was built for glibc: use a base with glibc, or build it statically"
    };
    exec("D20", path, "ENOENT", message, advice)
}

pub(super) fn no_library(library: &Library) -> Finding {
    Finding {
        code: "D23".to_owned(),
        severity: Severity::Error,
        path: Some(library.needed_by.clone()),
        message: format!(
            "`{}` needs `{}`, which the loader finds nowhere in the image",
            library.needed_by, library.name
        ),
        advice: Some("copy the library into the image, or link statically".to_owned()),
        ..Finding::default()
    }
}

pub(super) fn wrong_machine(path: &str, machine: Machine, architecture: &str) -> Finding {
    let message = format!("`{path}` is a program for {}, the image is for {architecture}", machine.name());
    exec("D21", path, "ENOEXEC", message, "build or copy the program for the image's platform")
}

pub(super) fn broken_elf(path: &str, why: &str) -> Finding {
    exec("D21", path, "ENOEXEC", format!("`{path}`: {why}"), "copy the program into the image again")
}

pub(super) fn no_program(path: &str, empty: bool, unusable_line: bool) -> Finding {
    if empty {
        return exec(
            "D21",
            path,
            "ENOEXEC",
            format!("`{path}` is an empty file"),
            "copy the program into the image again",
        );
    }
    let why = if unusable_line {
        "has a `#!` line without a usable interpreter"
    } else {
        "is neither a program nor starts with `#!`"
    };
    exec("D21", path, "ENOEXEC", format!("`{path}` {why}"), "start a script with `#!` and the path of its interpreter")
}

pub(super) fn file_capabilities(path: &str, capabilities: FileCapabilities) -> Finding {
    let message = format!(
        "`{path}` has file capabilities ({}) that a process with no capabilities cannot be given",
        capabilities.text()
    );
    let advice =
        "remove them (setcap -r, or COPY the file, which drops them), or leave out the effective flag (setcap …=+p)";
    let finding = exec("D07", path, "EPERM", message, advice);
    let text = capabilities.text();
    let names = text.split([',', ' ', '=', '+']).filter_map(|word| word.strip_prefix("cap_"));
    let relax = names.map(|name| format!("--cap-add {}", name.to_uppercase())).collect();
    Finding { refused_by: Some("capabilities".to_owned()), relax, ..finding }
}
