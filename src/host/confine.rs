//! Walls that need no privilege: seccomp, Landlock; and the right to look into one's own child.

use nix::errno::Errno;

use super::{Check, Status, setting};
use crate::sys::landlock_abi::landlock_abi;
use crate::sys::seccomp_action::seccomp_action;

pub(super) fn checks() -> Vec<Check> {
    vec![seccomp(), landlock(), ptrace()]
}

fn seccomp() -> Check {
    let wanted = [
        ("errno", libc::SECCOMP_RET_ERRNO),
        ("kill_process", libc::SECCOMP_RET_KILL_PROCESS),
        ("trace", libc::SECCOMP_RET_TRACE),
        ("user_notif", libc::SECCOMP_RET_USER_NOTIF),
    ];
    let (known, unknown): (Vec<_>, Vec<_>) = wanted.iter().partition(|(_, action)| seccomp_action(*action).is_ok());
    let names = |list: &[&(&str, u32)]| list.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    if unknown.is_empty() {
        return Check::new("seccomp", Status::Ok, format!("filters can answer {}", names(&known))).needed();
    }
    Check::new("seccomp", Status::No, format!("filters cannot answer {}", names(&unknown)))
        .means("system calls cannot be filtered and watched; Linux 5.5 with CONFIG_SECCOMP_FILTER can")
        .needed()
}

fn landlock() -> Check {
    let error = match landlock_abi() {
        Ok(abi) => return Check::new("Landlock", Status::Ok, format!("ABI {abi}")),
        Err(error) => error,
    };
    let check = Check::new("Landlock", Status::Warn, format!("landlock_create_ruleset: {error:?} ({})", error.desc()));
    match error {
        nix::Error::EOPNOTSUPP => check
            .means("it is built into this kernel and was left out at boot: the second wall around the app is missing")
            .remedy("add `landlock` to the list in the kernel's boot parameter lsm="),
        _ => check.means("the second wall around the app is missing; Linux 5.13 has it"),
    }
}

pub(super) fn untraced(tracer: i32, errno: Errno) -> Check {
    let means = "the app ran before it was looked at";
    let ptrace = ptrace();
    let check = if tracer != 0 {
        let name = setting(&format!("/proc/{tracer}/comm")).unwrap_or_default();
        Check::new("ptrace", Status::Warn, format!("`{name}` (process {tracer}) traces it already"))
            .remedy("start austere without a tracer that follows forks")
    } else if ptrace.status == Status::Ok {
        Check::new("ptrace", Status::Warn, format!("ptrace(PTRACE_SEIZE) of the app: {errno:?} ({})", errno.desc()))
            .remedy("start austere where its children may be traced: not below a tracer, nor behind a filter that refuses ptrace(2)")
    } else {
        ptrace
    };
    check.means(means)
}

fn ptrace() -> Check {
    // Source: Documentation/admin-guide/LSM/Yama.rst
    match setting("/proc/sys/kernel/yama/ptrace_scope").as_deref() {
        Some("3") => Check::new("ptrace", Status::Warn, "kernel.yama.ptrace_scope is 3")
            .means("no app can be stopped at its first instruction, so no app can be said to pass")
            .remedy("set kernel.yama.ptrace_scope=1 in /etc/sysctl.d, and reboot"),
        Some("2") if !nix::unistd::geteuid().is_root() => {
            Check::new("ptrace", Status::Warn, "kernel.yama.ptrace_scope is 2: only root may trace")
                .means("a failing app cannot be traced, so its diagnosis is poorer")
                .remedy("sudo sysctl -w kernel.yama.ptrace_scope=1")
        }
        Some(scope) => {
            Check::new("ptrace", Status::Ok, format!("kernel.yama.ptrace_scope is {scope}: one's own children"))
        }
        None => Check::new("ptrace", Status::Ok, "no restriction by Yama"),
    }
}
