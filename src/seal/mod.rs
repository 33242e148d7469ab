//! The seal: after the app's own exec there is no other, in whatever form.
//!
//! A filter answers every execve(2) and execveat(2) by asking a guard, who holds the filter's listener. The guard lets the launcher's own exec
//! through: at that moment no foreign code has run, so there is nothing that could be raced. After that it says no, or leaves, and then the
//! kernel says no (ENOSYS). So what it reads out of a caller's memory is evidence and never a decision, and its death opens nothing.
//!
//! The right to execute that Landlock gives would not do: `ld.so ./program` and a memfd are no execs of a file that it sees. A filter that lets one
//! form of execveat(2) through can be forged, because an absolute path ignores the descriptor. A newer listener would outrank this one, so
//! seccomp(2) with `NEW_LISTENER` is refused.
//!
//! Source: `seccomp_unotify(2)`. Linux 5.5.

mod caller;
pub mod door;

use nix::errno::Errno;

pub use caller::RefusedExec;

use crate::measure::Measure;
use crate::profile::seccomp::{Action, Arch, Condition, Flags, Op, Policy, Rule};
use crate::seccomp::{CompileError, Filter, compile};
use crate::sys::execve::{Form, exec_nothing};

/// What the guard does once the app has been started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarding {
    /// It refuses, and tells who tried what.
    Stays,
    /// It is gone, and the kernel refuses.
    Leaves,
}

/// The calls that start a program, on every architecture that has them.
const EXECS: [&str; 2] = ["execve", "execveat"];

#[expect(clippy::cast_possible_truncation)]
const EPERM: u16 = libc::EPERM as u16;

/// The filter. Its program is to be installed with `SECCOMP_FILTER_FLAG_NEW_LISTENER`.
///
/// # Errors
///
/// None that a policy of three rules could have.
pub fn filter() -> Result<Filter, CompileError> {
    let newer_listener = Condition {
        index: 1,
        op: Op::MaskedEq(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER),
        value: libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
    };
    let rule = |name: &str, action, conditions| Rule { name: name.to_owned(), action, conditions };
    let mut rules: Vec<Rule> = EXECS.iter().map(|name| rule(name, Action::Notify, Vec::new())).collect();
    rules.push(rule("seccomp", Action::Errno(EPERM), vec![newer_listener]));
    let mut filter = compile(&Policy {
        architectures: Arch::NATIVE.runs().to_vec(),
        default: Action::Allow,
        newer: None,
        foreign: Action::KillThread,
        rules,
        flags: Flags::default(),
    })?;
    filter.flags |= libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    Ok(filter)
}

/// What the launcher saw right before its exec: what an exec of nothing came to, before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witness {
    /// By path, before: the kernel looked for the file.
    pub before: Errno,
    /// By path, behind the seal.
    pub by_path: Errno,
    /// By descriptor, behind the seal.
    pub by_descriptor: Errno,
}

/// How often the launcher tries an exec that has to be refused: the next one is its own.
const TRIES: u32 = 2;

/// Tries an exec that no seal refuses.
pub fn before() -> Errno {
    exec_nothing(Form::Path)
}

/// Tries both forms behind the seal.
pub fn witness(before: Errno) -> Witness {
    Witness { before, by_path: exec_nothing(Form::Path), by_descriptor: exec_nothing(Form::Descriptor) }
}

/// The measure, from what the launcher saw.
pub fn read_back(guarding: Guarding, witness: Option<Witness>) -> Measure {
    let name = "seal";
    let asked = match guarding {
        Guarding::Stays => "every exec after the app's own is refused and reported",
        Guarding::Leaves => "every exec after the app's own is refused",
    };
    match witness {
        None => Measure::unverified(name, asked, "the launcher did not report what it saw"),
        Some(Witness { before: Errno::ENOENT, by_path: Errno::EACCES, by_descriptor: Errno::EACCES }) => {
            Measure::judged(name, asked, Ok("an exec was refused, by path and by descriptor".to_owned()))
        }
        Some(Witness { before: Errno::ENOENT, by_path, by_descriptor }) => {
            let why =
                format!("an exec of nothing gave {by_path:?} by path and {by_descriptor:?} by descriptor, not EACCES");
            Measure::judged(name, asked, Err(why))
        }
        Some(Witness { before, .. }) => {
            Measure::unverified(name, asked, format!("an exec of nothing gave {before:?} without the seal too"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::{SeccompData, evaluate, number};

    #[test]
    fn every_exec_of_every_architecture_is_asked_about() {
        let program = filter().unwrap().program;
        let answer = |arch, name, flags| {
            let number = number(arch, name).unwrap();
            evaluate(&program, &SeccompData::new(arch, number, [0, flags, 0, 0, 0, 0]))
        };
        for &arch in Arch::NATIVE.runs() {
            for name in EXECS {
                assert_eq!(answer(arch, name, 0), libc::SECCOMP_RET_USER_NOTIF, "{name} on {arch:?}");
            }
            assert_eq!(answer(arch, "getppid", 0), libc::SECCOMP_RET_ALLOW, "{arch:?}");
            let refused = libc::SECCOMP_RET_ERRNO | u32::from(EPERM);
            for flags in [8, 9, 0x28] {
                assert_eq!(answer(arch, "seccomp", flags), refused, "{flags} on {arch:?}");
            }
            // A filter of its own without a listener can only take more away.
            assert_eq!(answer(arch, "seccomp", 1), libc::SECCOMP_RET_ALLOW);
        }
    }

    #[test]
    fn only_a_refusal_that_was_not_there_before_counts() {
        use crate::measure::MeasureStatus::{Broken, Holds, Unverified};
        let status = |before, by_path, by_descriptor| {
            read_back(Guarding::Stays, Some(Witness { before, by_path, by_descriptor })).status
        };
        assert_eq!(status(Errno::ENOENT, Errno::EACCES, Errno::EACCES), Holds);
        assert_eq!(status(Errno::ENOENT, Errno::ENOENT, Errno::ENOENT), Broken);
        assert_eq!(status(Errno::ENOENT, Errno::EACCES, Errno::ENOENT), Broken);
        assert_eq!(status(Errno::EACCES, Errno::EACCES, Errno::EACCES), Unverified);
        assert_eq!(read_back(Guarding::Leaves, None).status, Unverified);
    }
}
