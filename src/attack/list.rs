//! The attempts, group by group.
//!
//! A refusal of the arguments (the errnos behind a call) comes after that of a wall, so it says that there is none.

use nix::errno::Errno;
use nix::errno::Errno::{EBADF, EBUSY, EFAULT, EINVAL, ENODEV, ENOENT, ENOEXEC, ENOKEY, EOVERFLOW};

use super::{Act, Attempt, acts, exec, gain, sweep, terminal};

/// Rows of one group and one meaning.
type Row = (&'static str, &'static str, Act, &'static [Errno]);

const fn call(name: &'static str, tried: &'static str, open: &'static [Errno]) -> Row {
    (name, tried, Act::Call(name), open)
}

const fn does(name: &'static str, tried: &'static str, act: fn(&str) -> Result<(), Errno>) -> Row {
    (name, tried, Act::Do(act), &[])
}

const fn write(name: &'static str, path: &'static str) -> Row {
    (name, path, Act::Write(path), &[])
}

const fn read(name: &'static str, path: &'static str) -> Row {
    (name, path, Act::Read(path), &[])
}

const fn make(name: &'static str, path: &'static str) -> Row {
    (name, path, Act::Make(path), &[])
}

const EXECS: &[Row] = &[
    does("exec-path", "execve of a path", exec::by_path),
    does("exec-fd", "execveat of a descriptor with AT_EMPTY_PATH", exec::by_descriptor),
    does("exec-absolute", "execveat of an absolute path with AT_EMPTY_PATH", exec::by_absolute_path),
    does("exec-memfd", "execveat of a file in memory", exec::memory),
    does("exec-memfd-proc", "execve of a file in memory by /proc/self/fd", exec::memory_by_proc),
    does("exec-thread", "execve from a second thread", exec::in_thread),
    does("exec-vfork", "execve after vfork", exec::after_vfork),
    does("exec-own-filter", "execve behind a filter of its own", exec::behind_own_filter),
    does("exec-dropped-root", "a script written to / and started", exec::dropped_in_root),
    does("exec-dropped-dev", "a script written to /dev and started", exec::dropped_in_dev),
    does("exec-loader", "the image's loader started", exec::loader),
];

const LISTENERS: &[Row] = &[does("listener", "a filter with NEW_LISTENER", exec::own_listener)];

const MEMORY: &[Row] = &[
    does("memory-wx", "memory that can be written to and executed", acts::writable_executable),
    does("memory-then-executed", "memory that was written to made executable", acts::written_then_executable),
    does("memory-file", "a file in memory that can be executed", acts::executable_memfd),
];

const NAMESPACES: &[Row] = &[
    call("unshare-user", "unshare(CLONE_NEWUSER)", &[]),
    call("unshare-mount", "unshare(CLONE_NEWNS)", &[]),
    call("unshare-pid", "unshare(CLONE_NEWPID)", &[]),
    call("unshare-net", "unshare(CLONE_NEWNET)", &[]),
    call("unshare-ipc", "unshare(CLONE_NEWIPC)", &[]),
    call("unshare-uts", "unshare(CLONE_NEWUTS)", &[]),
    call("unshare-cgroup", "unshare(CLONE_NEWCGROUP)", &[]),
    call("unshare-time", "unshare(CLONE_NEWTIME)", &[]),
    call("unshare-user-mount", "unshare(CLONE_NEWUSER|CLONE_NEWNS)", &[]),
    does("unshare-thread", "unshare(CLONE_NEWNS) from a second thread", acts::unshare_in_thread),
    does("unshare-32", "unshare(CLONE_NEWUSER) by int 0x80", acts::unshare_32),
    call("unshare-x32", "unshare(CLONE_NEWUSER) by the number of x32", &[]),
    call("clone-user", "clone(CLONE_NEWUSER)", &[]),
    call("clone-mount", "clone(CLONE_NEWNS)", &[]),
    call("clone-net", "clone(CLONE_NEWNET)", &[]),
    call("clone3", "clone3, whose flags no filter sees", &[EINVAL]),
    call("setns", "setns", &[EINVAL]),
];

const IDS: &[Row] = &[
    call("setuid", "setuid(0)", &[]),
    call("setgid", "setgid(1)", &[]),
    call("setresuid", "setresuid(0, 0, 0)", &[]),
    call("setgroups", "setgroups([0])", &[]),
    call("ambient", "an ambient CAP_SYS_ADMIN", &[]),
    call("securebits", "prctl(PR_SET_SECUREBITS)", &[]),
    call("bounding", "prctl(PR_CAPBSET_DROP)", &[]),
    does("set-user-id", "a program made set-user-id of root, and started by somebody else", gain::made_set_uid),
    does("set-user-id-image", "a set-user-id program of the image started by somebody else", gain::found_set_uid),
    does("file-capability", "a program given a capability, and started by somebody else", gain::made_capability),
    does(
        "file-capability-image",
        "a program of the image that has capabilities started by somebody else",
        gain::found_capability,
    ),
];

const MODES: &[Row] = &[call("personality", "personality(ADDR_NO_RANDOMIZE)", &[])];

const KERNEL: &[Row] = &[
    call("init-module", "init_module", &[EFAULT, ENOEXEC, EINVAL]),
    call("finit-module", "finit_module", &[EBADF, ENOEXEC, EINVAL]),
    call("delete-module", "delete_module", &[ENOENT, EFAULT]),
    call("kexec-load", "kexec_load", &[EINVAL]),
    call("reboot", "reboot", &[EINVAL]),
    call("syslog", "syslog(SIZE_BUFFER)", &[]),
    call("syslog-read", "syslog(READ_ALL)", &[]),
    call("clock", "clock_adjtime(CLOCK_REALTIME)", &[EINVAL]),
    call("sethostname", "sethostname", &[]),
    call("setdomainname", "setdomainname", &[]),
    call("swapon", "swapon", &[ENOENT]),
    call("quotactl", "quotactl", &[ENOENT, ENODEV, EINVAL]),
    call("io-port", "ioperm(0x80)", &[]),
];

const SURFACE: &[Row] = &[
    call("bpf", "bpf(BPF_MAP_CREATE)", &[EINVAL]),
    call("perf", "perf_event_open", &[ENOENT, EINVAL]),
    call("io-uring", "io_uring_setup", &[]),
    call("io-uring-register", "io_uring_register", &[EBADF, EINVAL]),
    call("userfaultfd", "userfaultfd", &[]),
    call("userfaultfd-user", "userfaultfd(UFFD_USER_MODE_ONLY)", &[]),
    call("fanotify", "fanotify_init", &[]),
    call("name-to-handle", "name_to_handle_at", &[EOVERFLOW]),
    call("open-by-handle", "open_by_handle_at", &[EINVAL]),
    call("memfd-secret", "memfd_secret", &[]),
    call("vmsplice", "vmsplice", &[EBADF]),
    call("process-mrelease", "process_mrelease", &[EBADF]),
    call("move-pages", "move_pages", &[]),
    call("migrate-pages", "migrate_pages", &[]),
    call("get-mempolicy", "get_mempolicy", &[]),
    call("set-mempolicy", "set_mempolicy", &[]),
];

const EVERY_CALL: &[Row] =
    &[(sweep::NAME, "every number from 0 to 1023, by every entry that there is", Act::Sweep, &[])];

const OTHERS: &[Row] = &[
    call("ptrace-traceme", "ptrace(PTRACE_TRACEME)", &[]),
    call("ptrace-seize", "ptrace(PTRACE_SEIZE) of PID 1", &[]),
    call("process-vm-readv", "process_vm_readv", &[]),
    call("process-vm-writev", "process_vm_writev", &[]),
    call("pidfd-getfd", "pidfd_getfd", &[EBADF]),
    call("kcmp", "kcmp", &[]),
    does("signal", "a signal to a process of somebody else: kill(PID, 0)", acts::signal_others),
    call("process-madvise", "process_madvise", &[EBADF]),
];

const KEYS: &[Row] = &[
    call("add-key", "add_key", &[]),
    call("request-key", "request_key", &[ENOKEY]),
    call("keyctl", "keyctl(KEYCTL_GET_KEYRING_ID)", &[ENOKEY]),
];

const SOCKETS: &[Row] = &[
    call("packet", "AF_PACKET", &[]),
    call("raw-icmp", "a raw socket", &[]),
    call("raw-icmp6", "a raw socket of IPv6", &[]),
    call("alg", "AF_ALG", &[]),
    call("vsock", "AF_VSOCK", &[]),
    call("xdp", "AF_XDP", &[]),
    call("bluetooth", "AF_BLUETOOTH", &[]),
    call("can", "AF_CAN", &[]),
    call("tipc", "AF_TIPC", &[]),
    call("pfkey", "AF_KEY", &[]),
    call("netlink-audit", "NETLINK_AUDIT", &[]),
    call("netlink-netfilter", "NETLINK_NETFILTER", &[]),
    call("netlink-uevent", "NETLINK_KOBJECT_UEVENT", &[]),
    call("netlink-generic", "NETLINK_GENERIC", &[]),
    call("netlink-crypto", "NETLINK_CRYPTO", &[]),
    call("netlink-diag", "NETLINK_SOCK_DIAG", &[]),
];

const NETWORK: &[Row] = &[
    does("route-out", "a route to another network", acts::route_out),
    does("connect", "a connection to a port of the host's loopback", acts::host_port),
    does("listen-undeclared", "listening on a port that nobody declared", acts::listen_undeclared),
    does("abstract-socket", "an abstract socket of the host", acts::abstract_socket),
];

const TERMINALS: &[Row] = &[
    does("terminal-push", "ioctl(TIOCSTI) on a terminal of its own", terminal::push),
    does("terminal-push-wide", "the same with a bit above 32 set, which the kernel ignores", terminal::push_wide),
    does("terminal-paste", "ioctl(TIOCLINUX) on a console, else on a terminal of its own", terminal::paste),
];

const FILES: &[Row] = &[
    make("make-root", "/austere-made"),
    make("make-etc", "/etc/austere-made"),
    make("make-dev", "/dev/austere-made"),
    write("hosts", "/etc/hosts"),
    write("core-pattern", "/proc/sys/kernel/core_pattern"),
    write("modprobe", "/proc/sys/kernel/modprobe"),
    write("randomize", "/proc/sys/kernel/randomize_va_space"),
    write("sysrq-state", "/proc/sys/kernel/sysrq"),
    write("overcommit", "/proc/sys/vm/overcommit_memory"),
    write("drop-caches", "/proc/sys/vm/drop_caches"),
    write("file-max", "/proc/sys/fs/file-max"),
    write("ip-forward", "/proc/sys/net/ipv4/ip_forward"),
    write("sysrq", "/proc/sysrq-trigger"),
    write("irq", "/proc/irq/default_smp_affinity"),
    write("huge-pages", "/sys/kernel/mm/transparent_hugepage/enabled"),
    write("uevent-helper", "/sys/kernel/uevent_helper"),
    write("kernel-profiling", "/sys/kernel/profiling"),
    write("cgroup-procs", "/sys/fs/cgroup/cgroup.procs"),
    does("cgroup-make", "a cgroup of its own made below /sys/fs/cgroup", acts::own_cgroup),
    write("cgroup-release", "/sys/fs/cgroup/release_agent"),
];

const SECRETS: &[Row] = &[
    read("kcore", "/proc/kcore"),
    read("kmsg", "/proc/kmsg"),
    read("keys", "/proc/keys"),
    read("timer-list", "/proc/timer_list"),
    read("firmware", "/sys/firmware"),
    read("slabinfo", "/proc/slabinfo"),
    read("page-count", "/proc/kpagecount"),
    read("shadow", "/etc/shadow"),
];

const NODES: &[Row] = &[
    does("block-device", "mknod of a disk", acts::block_device),
    does("memory-device", "mknod of /dev/mem", acts::memory_device),
];

const WAYS_OUT: &[Row] = &[
    does("above-root", "`..` above the root, and by /proc", acts::above_root),
    does("descriptor", "a descriptor that came in", acts::descriptor),
    does("foreign-process", "a process of somebody else in /proc", acts::foreign_process),
];

const LIMITS: &[Row] = &[
    does("more-files", "a higher RLIMIT_NOFILE", acts::more_files),
    does("core-dumps", "RLIMIT_CORE above 0", acts::core_dumps),
    call("priority", "setpriority(-20)", &[]),
    call("io-priority", "ioprio_set(real time)", &[]),
];

/// Last, because without walls they change what is left for the others.
const MOUNTS: &[Row] = &[
    call("chroot", "chroot", &[]),
    call("fsopen", "fsopen", &[]),
    call("fspick", "fspick", &[]),
    call("fsmount", "fsmount", &[EBADF, EINVAL]),
    call("open-tree", "open_tree(OPEN_TREE_CLONE)", &[]),
    call("move-mount", "move_mount", &[EBADF, EINVAL]),
    call("mount-setattr", "mount_setattr", &[]),
    call("pivot-root", "pivot_root", &[EBUSY, EINVAL]),
    call("mount-remount", "mount(MS_REMOUNT) of /", &[]),
    call("mount-tmpfs", "mount of a tmpfs", &[]),
    call("mount-proc", "mount of proc", &[]),
    call("mount-bind", "mount(MS_BIND)", &[]),
    call("umount", "umount2", &[]),
];

const GROUPS: &[(&str, &str, &[Row])] = &[
    ("second exec", "another program can be started", EXECS),
    ("listener", "a newer listener outranks the guard of the seal, and could say yes", LISTENERS),
    ("code in memory", "code that is no file of the image can be run", MEMORY),
    ("namespaces", "a new namespace gives every capability over itself, and with them most of the kernel", NAMESPACES),
    ("ids and capabilities", "rights that the app does not have can be had", IDS),
    ("execution domain", "the layout of memory can be foretold", MODES),
    ("the host's kernel", "the host's kernel can be changed or read", KERNEL),
    ("kernel surface", "an entry into the kernel that no server needs is open", SURFACE),
    ("every call", "a call that the profile does not allow reaches the kernel", EVERY_CALL),
    ("other processes", "another process can be looked into", OTHERS),
    ("keyring", "keys that other containers share can be reached", KEYS),
    ("sockets", "a protocol that no server needs can be spoken", SOCKETS),
    ("network", "something outside of the jail can be reached", NETWORK),
    ("terminals", "what somebody outside reads as typed can be put into a terminal", TERMINALS),
    ("writing", "what others rely on can be changed", FILES),
    ("reading", "what is the host's can be read", SECRETS),
    ("device nodes", "a device of the host can be opened", NODES),
    ("ways out", "something of the host can be seen", WAYS_OUT),
    ("limits", "the host's resources can be used up", LIMITS),
    ("mounts", "what the app sees of files can be changed", MOUNTS),
];

/// All of them.
pub fn attempts() -> Vec<Attempt> {
    let group = |(group, meaning, rows): &(&'static str, &'static str, &'static [Row])| {
        let (group, meaning) = (*group, *meaning);
        rows.iter().map(move |&(name, tried, act, open)| Attempt { group, name, tried, meaning, act, open })
    };
    GROUPS.iter().flat_map(group).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::sys;

    #[test]
    fn there_are_more_than_a_hundred_and_each_has_a_name_of_its_own() {
        let all = attempts();
        assert!(all.len() >= 100, "{}", all.len());
        let names: BTreeSet<&str> = all.iter().map(|attempt| attempt.name).collect();
        assert_eq!(names.len(), all.len());
        for attempt in &all {
            if let Act::Call(name) = attempt.act {
                assert!(sys::acts::named(name).is_some(), "{name}");
            }
        }
    }
}
