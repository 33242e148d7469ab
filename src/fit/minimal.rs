//! A seccomp profile of an app's own: the calls that it was seen to make, and those without which an engine cannot start it.
//!
//! It is never wider than the profile that the app was recorded under, whose rules it keeps with their conditions. Its form is docker's, without what
//! only docker reads (`archMap`, `includes`), so that containerd, which takes the runtime specification's, reads the same file.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::profile::seccomp::{Action, Arch, Condition, Op, Policy, Rule};
use crate::seccomp;
use crate::trace::used::Used;
use crate::verdict::Reached;

/// What comes between the filter and the app's exec, with no-new-privileges. Seen with strace: `close`, `epoll_ctl`, `execve`, `fstatfs`, `futex`,
/// `getdents64`, `getpid`, `openat` and `write` by runc 1.1.5 (docker 20.10, podman), `close` and `execve` by crun 1.8.1. The others are what Go's
/// runtime may do beside runc at any time (a thread, memory, a signal), what newer releases of both close descriptors with, and the `execveat` by
/// which austere's seal shows that it is there.
pub const ENGINES: [&str; 30] = [
    "close",
    "close_range",
    "clone",
    "epoll_ctl",
    "epoll_pwait",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "fcntl",
    "fstat",
    "fstatfs",
    "futex",
    "getdents64",
    "getpid",
    "gettid",
    "madvise",
    "mmap",
    "mprotect",
    "munmap",
    "nanosleep",
    "newfstatat",
    "openat",
    "prctl",
    "read",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_yield",
    "tgkill",
    "write",
];

/// What programs do without a system call where the vDSO has it, and with one on another machine; and what the kernel does in a program's name
/// after it was stopped.
pub const ELSEWHERE: [&str; 8] = [
    "clock_getres",
    "clock_gettime",
    "clock_gettime64",
    "getcpu",
    "gettimeofday",
    "restart_syscall",
    "rt_sigaction",
    "time",
];

/// The errno of calls that the profile does not know: a program that can do without takes it for an older kernel.
#[expect(clippy::cast_possible_truncation)]
const UNKNOWN: u16 = libc::ENOSYS as u16;

/// A profile of the app's own, and how it was come by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Minimal {
    /// Reached when the app worked under it as often as has to be; failed when no such profile was found.
    pub status: Reached,
    /// The same in one sentence.
    pub reason: String,
    /// The calls that the app was seen to make, by name.
    pub calls: Vec<String>,
    /// Calls that it does not make, let through for the engine that starts it and for other machines.
    pub beside: Vec<String>,
    /// Calls that it makes and was refused before; it is refused them still.
    pub refused: Vec<String>,
    /// Calls among the app's that no recording had shown, and a failing run under the profile did.
    pub added: Vec<String>,
    /// `SCMP_ARCH_X86_64`: what the calls were made on.
    pub architectures: Vec<String>,
    /// How many runs were recorded. What none of them did, such as handling an error, is not in the profile.
    pub recordings: u32,
    /// For how many seconds a person, or something else from outside, could use the app while it was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exercised_s: Option<u64>,
    /// How often in a row the app then worked under it.
    pub proven: u32,
    /// The profile, in docker's format.
    pub profile: Value,
}

/// The profile of an app that used `used` under `policy`.
pub fn profile(policy: &Policy, used: &Used) -> Value {
    let calls = used.names();
    let beside: BTreeSet<&str> = beside(policy, used).collect();
    let wanted = |name: &str| calls.contains(name) || beside.contains(name);
    let mut said: BTreeSet<&str> = BTreeSet::new();
    let (mut plain, mut entries) = (BTreeSet::new(), Vec::new());
    for rule in policy.rules.iter().filter(|rule| wanted(&rule.name)) {
        match (rule.action, rule.conditions.is_empty()) {
            (Action::Errno(UNKNOWN), true) => continue,
            (Action::Allow | Action::Log, true) => {
                plain.insert(rule.name.as_str());
            }
            _ => entries.push(entry(rule)),
        }
        // An exception from a default that lets through is no answer for the rest.
        if lets(rule.action) || !lets(policy.default) {
            said.insert(&rule.name);
        }
    }
    // What no rule named: the policy's default let it through, or an engine cannot do without.
    plain.extend(calls.iter().chain(&beside).filter(|name| !said.contains(**name)));
    let mut refusals: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for (name, errno) in still_refused(policy, used).filter(|(_, errno)| *errno != UNKNOWN) {
        refusals.entry(errno).or_default().push(name);
    }
    let architectures = architectures(used);
    let mentioned: BTreeSet<&str> =
        plain.iter().copied().chain(said).chain(refusals.values().flatten().copied()).collect();
    let unknown: BTreeSet<&str> = architectures
        .iter()
        .flat_map(|arch| seccomp::names(*arch))
        .map(|(_, name)| name)
        .filter(|name| !mentioned.contains(name))
        .collect();
    let (own, others): (Vec<&str>, Vec<&str>) = plain.into_iter().partition(|name| calls.contains(name));
    let allow =
        |names: Vec<&str>, comment: &str| json!({ "names": names, "action": "SCMP_ACT_ALLOW", "comment": comment });
    let mut syscalls = vec![allow(own, "what the app was seen to use")];
    if !others.is_empty() {
        syscalls.push(allow(others, "what runc and crun need to start it, and other machines' clocks"));
    }
    syscalls.append(&mut entries);
    syscalls.extend(refusals.into_iter().map(|(errno, names)| {
        json!({ "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno, "comment": "what it was refused before" })
    }));
    // docker before 23 does not read defaultErrnoRet, so each is named.
    syscalls.push(json!({
        "names": unknown, "action": "SCMP_ACT_ERRNO", "errnoRet": UNKNOWN, "comment": "all others, as if the kernel did not have them",
    }));
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": UNKNOWN,
        "architectures": architectures.iter().map(|arch| arch.scmp_name()).collect::<Vec<_>>(),
        "syscalls": syscalls,
    })
}

/// What the app was refused and nothing lets through under some condition.
pub fn still_refused<'a>(policy: &'a Policy, used: &'a Used) -> impl Iterator<Item = (&'static str, u16)> + 'a {
    let names = used.names();
    let is_plain = move |name: &str| {
        !names.contains(name) && !policy.rules.iter().any(|rule| rule.name == name && !rule.conditions.is_empty())
    };
    used.refused.iter().map(|(name, errno)| (*name, *errno)).filter(move |(name, _)| is_plain(name))
}

/// What is let through and not used.
pub fn beside<'a>(policy: &'a Policy, used: &'a Used) -> impl Iterator<Item = &'static str> + 'a {
    let calls = used.names();
    // What the app's own architectures do not have is of no use.
    let architectures = architectures(used);
    let exists = move |name: &&str| architectures.iter().any(|arch| seccomp::number(*arch, name).is_some());
    // Other machines' clocks only where they were not refused; an engine's calls in every case, or it does not start.
    let elsewhere = ELSEWHERE.into_iter().filter(|name| may(policy, name));
    ENGINES.into_iter().chain(elsewhere).filter(exists).filter(move |name| !calls.contains(name))
}

/// Whether a call is allowed, at least under some condition.
pub fn may(policy: &Policy, name: &str) -> bool {
    let mut rules = policy.rules.iter().filter(|rule| rule.name == name).peekable();
    if rules.peek().is_none() { lets(policy.default) } else { rules.any(|rule| lets(rule.action)) }
}

fn lets(action: Action) -> bool {
    matches!(action, Action::Allow | Action::Log)
}

/// The machine's own architecture, and others whose calls were used.
pub fn architectures(used: &Used) -> Vec<Arch> {
    let others = used.allowed.keys().copied().filter(|arch| *arch != Arch::NATIVE);
    std::iter::once(Arch::NATIVE).chain(others).collect()
}

/// A rule with conditions, or one that refuses.
fn entry(rule: &Rule) -> Value {
    let (action, errno) = match rule.action {
        Action::Errno(errno) => ("SCMP_ACT_ERRNO", Some(errno)),
        Action::KillProcess => ("SCMP_ACT_KILL_PROCESS", None),
        Action::KillThread => ("SCMP_ACT_KILL_THREAD", None),
        Action::Trap => ("SCMP_ACT_TRAP", None),
        // Nobody is there to be told.
        Action::Trace(_) | Action::Notify => ("SCMP_ACT_ERRNO", Some(UNKNOWN)),
        Action::Log | Action::Allow => ("SCMP_ACT_ALLOW", None),
    };
    let mut entry = json!({ "names": [rule.name], "action": action });
    if let Some(errno) = errno {
        entry["errnoRet"] = json!(errno);
    }
    if !rule.conditions.is_empty() {
        entry["args"] = rule.conditions.iter().map(argument).collect();
    }
    entry
}

fn argument(condition: &Condition) -> Value {
    let (op, value, second) = match condition.op {
        Op::Ne => ("SCMP_CMP_NE", condition.value, 0),
        Op::Lt => ("SCMP_CMP_LT", condition.value, 0),
        Op::Le => ("SCMP_CMP_LE", condition.value, 0),
        Op::Eq => ("SCMP_CMP_EQ", condition.value, 0),
        Op::Ge => ("SCMP_CMP_GE", condition.value, 0),
        Op::Gt => ("SCMP_CMP_GT", condition.value, 0),
        Op::MaskedEq(mask) => ("SCMP_CMP_MASKED_EQ", mask, condition.value),
    };
    json!({ "index": condition.index, "value": value, "valueTwo": second, "op": op })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::seccomp::{Conditions, Profile, shipped};
    use crate::seccomp::{SeccompData, compile, evaluate};

    fn policy(name: &str) -> Policy {
        resolved(shipped(name).unwrap())
    }

    fn resolved(text: &str) -> Policy {
        let conditions = Conditions { caps: &[], arch: Arch::NATIVE, kernel: (6, 1) };
        Profile::parse(text).unwrap().resolve(&conditions).unwrap()
    }

    fn used() -> Used {
        Used {
            allowed: BTreeMap::from([(Arch::NATIVE, BTreeSet::from(["read", "socket", "clone", "uname"]))]),
            refused: BTreeMap::from([("keyctl", 1), ("clone3", 38), ("clone", 1)]),
        }
    }

    #[test]
    fn it_lets_through_what_was_used_and_no_more_than_before() {
        for name in ["docker-26.1", "docker-20.10", "podman-4.3", "containerd-2.1", "sealed"] {
            let before = policy(name);
            let after = resolved(&profile(&before, &used()).to_string());
            let (old, new) = (compile(&before).unwrap(), compile(&after).unwrap());
            assert_eq!(new.unknown, Vec::<String>::new(), "{name}");
            let mut allowed = BTreeSet::new();
            for (number, call) in seccomp::names(Arch::NATIVE) {
                for first in [0, 1, 40, 0x7e02_0000] {
                    let data = SeccompData::new(Arch::NATIVE, number, [first; 6]);
                    let (old, new) = (evaluate(&old.program, &data), evaluate(&new.program, &data));
                    if new == libc::SECCOMP_RET_ALLOW {
                        allowed.insert(call);
                        assert!(old == new || ENGINES.contains(&call), "{name}: {call} {first}");
                    }
                    if used().names().contains(call) && old == libc::SECCOMP_RET_ALLOW {
                        assert_eq!(old, new, "{name}: {call} {first}");
                    }
                    let refused = i32::try_from(new & libc::SECCOMP_RET_DATA).unwrap();
                    match call {
                        "keyctl" => assert_eq!(refused, libc::EPERM, "{name}"),
                        "clone3" | "bpf" | "mount" | "getxattr" => assert_eq!(refused, libc::ENOSYS, "{name}: {call}"),
                        _ => {}
                    }
                }
            }
            let expected = used().names().union(&beside(&before, &used()).collect()).copied().collect();
            assert_eq!(allowed, expected, "{name}");
        }
    }

    #[test]
    fn an_app_that_nothing_confines_gets_a_profile_too() {
        let open = Policy::open(Arch::NATIVE);
        let after = profile(&open, &used());
        assert_eq!(after["architectures"], json!([Arch::NATIVE.scmp_name()]));
        assert_eq!(after["syscalls"][0]["names"], json!(["clone", "read", "socket", "uname"]));
        assert!(resolved(&after.to_string()).rules.iter().any(|rule| rule.name == "execve"));
    }
}
