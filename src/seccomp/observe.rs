//! The same policy for a run that is watched: what it refuses, and the calls that tell why an app fails, stop for a tracer.
//!
//! The tracer answers a refusal in the policy's place, so the app sees the same errno as without it. Everything else runs at full speed, which
//! `PTRACE_SYSCALL` alone, with two stops for every call, would not allow.

use crate::profile::seccomp::{Action, Arch, Condition, Flags, Op, Policy, Rule};

/// The message with calls that the policy allows. Every other message is the errno that it answers with; those end at 4095.
pub const SEEN: u16 = 0x8000;

/// Calls that name a path, an address, an id or a limit, or that start something.
const WATCHED: &[&str] = &[
    // Files by name.
    "open",
    "openat",
    "openat2",
    "creat",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "unlink",
    "unlinkat",
    "rmdir",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "truncate",
    "access",
    "faccessat",
    "faccessat2",
    "stat",
    "lstat",
    "newfstatat",
    "statx",
    "readlink",
    "readlinkat",
    "chdir",
    "fchdir",
    "chroot",
    "inotify_add_watch",
    // Their owners, modes and times.
    "chmod",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "chown",
    "fchown",
    "lchown",
    "fchownat",
    "utime",
    "utimes",
    "futimesat",
    "utimensat",
    "setxattr",
    "lsetxattr",
    "fsetxattr",
    "removexattr",
    "lremovexattr",
    "fremovexattr",
    "ftruncate",
    "fallocate",
    // Programs, processes, memory.
    "execve",
    "execveat",
    "clone",
    "clone3",
    "fork",
    "vfork",
    "mlock",
    "mlock2",
    "mlockall",
    "memfd_create",
    "kill",
    "tgkill",
    // Who it is.
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "getresuid",
    "getresgid",
    "setuid",
    "setgid",
    "setreuid",
    "setregid",
    "setresuid",
    "setresgid",
    "setgroups",
    "setfsuid",
    "setfsgid",
    "capset",
    // The network.
    "socket",
    "bind",
    "connect",
    "listen",
    "sendmmsg",
    // Limits and priorities.
    "setrlimit",
    "prlimit64",
    "setpriority",
    "sched_setscheduler",
    "sched_setparam",
    "sched_setattr",
    "sched_setaffinity",
    "ioprio_set",
    // The machine.
    "mount",
    "umount2",
    "pivot_root",
    "unshare",
    "setns",
    "sethostname",
    "setdomainname",
    "ptrace",
    "bpf",
    "perf_event_open",
    "keyctl",
    "add_key",
    "request_key",
    "io_uring_setup",
    "mbind",
    "set_mempolicy",
    "get_mempolicy",
    "iopl",
    "ioperm",
    "settimeofday",
    "clock_settime",
    "clock_adjtime",
    "syslog",
    "fanotify_init",
    "inotify_init1",
    "userfaultfd",
    "quotactl",
    "reboot",
    "swapon",
    "shmget",
    "mq_open",
    "name_to_handle_at",
    "open_by_handle_at",
    "init_module",
    "finit_module",
    "pidfd_open",
    "pidfd_getfd",
    "personality",
];

/// What holds in each of several cases.
type Cases = Vec<Vec<Condition>>;

/// Calls that are often made and matter with some arguments only: the conditions for those, and for the others. Together they cover every
/// call, because a rule without conditions would count for all.
fn partly(name: &str) -> Option<(Cases, Cases)> {
    let one = |index, op, value| Condition { index, op, value };
    let is = |index: u8, values: &[u64]| -> Vec<Vec<Condition>> {
        values.iter().map(|value| vec![one(index, Op::Eq, *value)]).collect()
    };
    let is_none_of = |index: u8, values: &[u64]| -> Vec<Vec<Condition>> {
        vec![values.iter().map(|value| one(index, Op::Ne, *value)).collect()]
    };
    let (streams, executable) = ([1, 2], libc::PROT_EXEC.cast_unsigned().into());
    // KEEPCAPS, CAPBSET_DROP, GET_NO_NEW_PRIVS, CAP_AMBIENT: linux/prctl.h.
    let options = [8, 24, 39, 47];
    Some(match name {
        "write" | "writev" => (is(0, &streams), is_none_of(0, &streams)),
        "mmap" | "mprotect" => {
            (vec![vec![one(2, Op::MaskedEq(executable), executable)]], vec![vec![one(2, Op::MaskedEq(executable), 0)]])
        }
        "prctl" => (is(0, &options), is_none_of(0, &options)),
        // SOL_SOCKET and SO_ERROR: how a connection that was not waited for ended.
        "getsockopt" => (
            vec![vec![one(1, Op::Eq, 1), one(2, Op::Eq, 4)]],
            vec![vec![one(1, Op::Ne, 1)], vec![one(1, Op::Eq, 1), one(2, Op::Ne, 4)]],
        ),
        // With an address.
        "sendto" => (is_none_of(4, &[0]), is(4, &[0])),
        _ => return None,
    })
}

/// Calls that are watched only where room seems to be short: each of them stops, and they are many.
const WRITES: &[&str] =
    &["write", "writev", "pwrite64", "pwritev", "pwritev2", "copy_file_range", "sendfile", "splice"];

/// Calls that are watched with some arguments only: what [`partly`] knows.
const PARTLY: &[&str] = &["write", "writev", "mmap", "mprotect", "prctl", "getsockopt", "sendto"];

/// Lets everything through, for an app without a filter that is watched all the same.
pub fn unconfined() -> Policy {
    Policy {
        architectures: Arch::NATIVE.runs().to_vec(),
        default: Action::Allow,
        newer: None,
        foreign: Action::Allow,
        rules: Vec::new(),
        flags: Flags::default(),
    }
}

/// What `policy` is for a tracer; with `writes`, every write to a file stops too.
pub fn observed(policy: &Policy, writes: bool) -> Policy {
    let is_watched = |name: &str| WATCHED.contains(&name) || (writes && WRITES.contains(&name));
    let partly = |name: &str| if writes && WRITES.contains(&name) { None } else { partly(name) };
    let told = |action| match action {
        Action::Errno(errno) => Action::Trace(errno),
        action => action,
    };
    let mut rules = Vec::new();
    for rule in &policy.rules {
        let with = |conditions, action| Rule { name: rule.name.clone(), action, conditions };
        match (rule.action, partly(&rule.name)) {
            (Action::Allow, Some((seen, unseen))) if rule.conditions.is_empty() => {
                rules.extend(seen.into_iter().map(|conditions| with(conditions, Action::Trace(SEEN))));
                rules.extend(unseen.into_iter().map(|conditions| with(conditions, Action::Allow)));
            }
            (Action::Allow, _) if is_watched(&rule.name) => {
                rules.push(with(rule.conditions.clone(), Action::Trace(SEEN)));
            }
            (action, _) => rules.push(with(rule.conditions.clone(), told(action))),
        }
    }
    if policy.default == Action::Allow {
        // What no rule names is allowed, and to be seen all the same.
        let is_named = |name: &str| policy.rules.iter().any(|rule| rule.name == name);
        let seen = |name: &str, conditions| Rule { name: name.to_owned(), action: Action::Trace(SEEN), conditions };
        let whole = WATCHED.iter().chain(WRITES.iter().filter(|_| writes)).filter(|name| !is_named(name));
        rules.extend(whole.map(|name| seen(name, Vec::new())));
        for name in PARTLY.iter().filter(|name| !is_named(name)) {
            let cases = partly(name).map_or_else(Vec::new, |(cases, _)| cases);
            rules.extend(cases.into_iter().map(|conditions| seen(name, conditions)));
        }
    }
    Policy {
        rules,
        default: told(policy.default),
        newer: policy.newer.map(told),
        foreign: told(policy.foreign),
        ..policy.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::seccomp::{Conditions, DOCKER, Profile, shipped};
    use crate::seccomp::{SeccompData, compile, evaluate, number};

    fn docker() -> Policy {
        let conditions = Conditions { caps: &[], arch: Arch::NATIVE, kernel: (6, 1) };
        Profile::parse(shipped(DOCKER).unwrap()).unwrap().resolve(&conditions).unwrap()
    }

    /// Every number of every architecture gets the policy's answer, or a stop that stands for it.
    #[test]
    fn nothing_is_answered_otherwise() {
        for (policy, writes) in [(docker(), false), (docker(), true), (unconfined(), false), (unconfined(), true)] {
            same_answers(&policy, writes);
        }
    }

    fn same_answers(policy: &Policy, writes: bool) {
        let (plain, traced) = (compile(policy).unwrap(), compile(&observed(policy, writes)).unwrap());
        let arguments = [[0; 6], [1; 6], [2; 6], [39; 6], [5; 6], [u64::MAX; 6], [0x7e02_0000; 6]];
        for arch in Arch::NATIVE.runs() {
            for (number, args) in (0..600).flat_map(|number| arguments.map(|args| (number, args))) {
                let data = SeccompData::new(*arch, number, args);
                let (before, after) = (evaluate(&plain.program, &data), evaluate(&traced.program, &data));
                let message = u16::try_from(after & libc::SECCOMP_RET_DATA).unwrap();
                let expected = match after & libc::SECCOMP_RET_ACTION_FULL {
                    libc::SECCOMP_RET_TRACE if message == SEEN => libc::SECCOMP_RET_ALLOW,
                    libc::SECCOMP_RET_TRACE => Action::Errno(message).code(),
                    _ => after,
                };
                assert_eq!(before, expected, "{arch:?} {number} {args:?}");
                assert_ne!(after & libc::SECCOMP_RET_ACTION_FULL, libc::SECCOMP_RET_ERRNO);
            }
        }
    }

    #[test]
    fn what_is_often_done_and_tells_nothing_does_not_stop() {
        let traced = compile(&observed(&docker(), false)).unwrap();
        let stops = |name: &str, args| {
            let data = SeccompData::new(Arch::NATIVE, number(Arch::NATIVE, name).unwrap(), args);
            evaluate(&traced.program, &data) & libc::SECCOMP_RET_ACTION_FULL == libc::SECCOMP_RET_TRACE
        };
        let first = |value| [value, 0, 0, 0, 0, 0];
        for (name, args) in [("read", first(0)), ("write", first(3)), ("write", first(0)), ("mmap", [0, 0, 3, 0, 0, 0])]
        {
            assert!(!stops(name, args), "{name}");
        }
        for (name, args) in
            [("write", first(2)), ("mmap", [0, 0, 5, 0, 0, 0]), ("openat", first(0)), ("prctl", first(39))]
        {
            assert!(stops(name, args), "{name}");
        }
        // Without a filter the same.
        let open = compile(&observed(&unconfined(), false)).unwrap();
        let data = |fd| SeccompData::new(Arch::NATIVE, number(Arch::NATIVE, "write").unwrap(), first(fd));
        let action = |program, fd| evaluate(program, &data(fd)) & libc::SECCOMP_RET_ACTION_FULL;
        assert_eq!([2, 3].map(|fd| action(&open.program, fd)), [libc::SECCOMP_RET_TRACE, libc::SECCOMP_RET_ALLOW]);
        let writes = compile(&observed(&docker(), true)).unwrap();
        assert_eq!([2, 3].map(|fd| action(&writes.program, fd)), [libc::SECCOMP_RET_TRACE; 2]);
        assert!(!stops("prctl", first(15)) && !stops("sendto", first(1)) && stops("sendto", [1; 6]));
    }
}
