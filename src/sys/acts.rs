//! The calls of an adversary: a closed list, each with arguments of its own.
//!
//! Each is made in a child process that ends right after it.

#![allow(unsafe_code)]

use std::ffi::CStr;

use nix::errno::Errno;

/// One argument.
#[derive(Clone, Copy, Debug)]
enum Arg {
    /// A number.
    N(i64),
    /// A literal.
    S(&'static CStr),
    /// A page of zeroes.
    B,
    /// A page of zeroes after this word.
    P(u64),
}

use Arg::{B, N, P, S};

/// A call with its arguments.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    number: libc::c_long,
    args: [Arg; 6],
}

const NULL: Arg = N(0);
const HERE: Arg = N(libc::AT_FDCWD as i64);
const NONE: Arg = N(-1);

const fn call(number: libc::c_long, first: &[Arg]) -> Call {
    let mut args = [NULL; 6];
    let mut at = 0;
    while at < first.len() {
        args[at] = first[at];
        at += 1;
    }
    Call { number, args }
}

impl Call {
    /// Makes the call.
    ///
    /// # Errors
    ///
    /// What the kernel, or a filter, answers.
    pub fn make(&self) -> Result<i64, Errno> {
        let mut page = [0_u64; 512];
        page[0] = self.args.iter().find_map(|arg| if let P(word) = arg { Some(*word) } else { None }).unwrap_or(0);
        let place = (&raw mut page).addr();
        let value = |arg: Arg| match arg {
            N(number) => number,
            S(text) => text.as_ptr().addr().cast_signed() as i64,
            B | P(_) => place.cast_signed() as i64,
        };
        let [first, second, third, fourth, fifth, sixth] = self.args.map(value);
        // SAFETY: only this file makes a `Call`, so it is one of the list below. Each takes numbers, null, literals that end with a null byte, or
        // the page, which outlives the call and is larger than what any of them writes; none of the list maps, unmaps or protects memory, and
        // clone(2) is made without CLONE_VM, so that its child has a stack of its own.
        let rc = unsafe { libc::syscall(self.number, first, second, third, fourth, fifth, sixth) };
        Errno::result(rc)
    }
}

/// The list: a name for each, as the attempts use it.
pub const CALLS: &[(&str, Call)] = &[
    ("unshare-user", call(libc::SYS_unshare, &[N(0x1000_0000)])),
    ("unshare-mount", call(libc::SYS_unshare, &[N(0x0002_0000)])),
    ("unshare-pid", call(libc::SYS_unshare, &[N(0x2000_0000)])),
    ("unshare-net", call(libc::SYS_unshare, &[N(0x4000_0000)])),
    ("unshare-ipc", call(libc::SYS_unshare, &[N(0x0800_0000)])),
    ("unshare-uts", call(libc::SYS_unshare, &[N(0x0400_0000)])),
    ("unshare-cgroup", call(libc::SYS_unshare, &[N(0x0200_0000)])),
    ("unshare-time", call(libc::SYS_unshare, &[N(0x80)])),
    ("unshare-user-mount", call(libc::SYS_unshare, &[N(0x1002_0000)])),
    ("clone-user", call(libc::SYS_clone, &[N(0x1000_0000 | libc::SIGCHLD as i64)])),
    ("clone-mount", call(libc::SYS_clone, &[N(0x0002_0000 | libc::SIGCHLD as i64)])),
    ("clone-net", call(libc::SYS_clone, &[N(0x4000_0000 | libc::SIGCHLD as i64)])),
    ("clone3", call(libc::SYS_clone3, &[NULL, N(0)])),
    ("unshare-x32", x32(libc::SYS_unshare, &[N(0x1000_0000)])),
    ("setns", call(libc::SYS_setns, &[N(0), N(0)])),
    ("mount-tmpfs", call(libc::SYS_mount, &[S(c"none"), S(c"/dev/shm"), S(c"tmpfs")])),
    ("mount-proc", call(libc::SYS_mount, &[S(c"none"), S(c"/dev/shm"), S(c"proc")])),
    ("mount-bind", call(libc::SYS_mount, &[S(c"/"), S(c"/dev/shm"), NULL, N(4096)])),
    ("mount-remount", call(libc::SYS_mount, &[NULL, S(c"/"), NULL, N(4096 | 32)])),
    ("umount", call(libc::SYS_umount2, &[S(c"/dev/mqueue"), N(2)])),
    ("pivot-root", call(libc::SYS_pivot_root, &[S(c"/"), S(c"/")])),
    ("chroot", call(libc::SYS_chroot, &[S(c"/")])),
    ("fsopen", call(libc::SYS_fsopen, &[S(c"tmpfs"), N(0)])),
    ("fspick", call(libc::SYS_fspick, &[HERE, S(c"/"), N(0)])),
    ("fsmount", call(libc::SYS_fsmount, &[NONE, N(0), N(0)])),
    ("open-tree", call(libc::SYS_open_tree, &[HERE, S(c"/"), N(1)])),
    ("move-mount", call(libc::SYS_move_mount, &[NONE, S(c""), NONE, S(c""), N(0x44)])),
    ("mount-setattr", call(libc::SYS_mount_setattr, &[HERE, S(c"/"), N(0), B, N(32)])),
    ("swapon", call(libc::SYS_swapon, &[S(c"/no/such"), N(0)])),
    ("setuid", call(libc::SYS_setuid, &[N(0)])),
    ("setgid", call(libc::SYS_setgid, &[N(1)])),
    ("setresuid", call(libc::SYS_setresuid, &[N(0), N(0), N(0)])),
    ("setgroups", call(libc::SYS_setgroups, &[N(1), B])),
    ("ambient", call(libc::SYS_prctl, &[N(47), N(2), N(21)])),
    ("securebits", call(libc::SYS_prctl, &[N(28), N(1)])),
    ("bounding", call(libc::SYS_prctl, &[N(24), N(40)])),
    ("personality", call(libc::SYS_personality, &[N(0x0004_0000)])),
    ("init-module", call(libc::SYS_init_module, &[NULL, N(1), S(c"")])),
    ("finit-module", call(libc::SYS_finit_module, &[NONE, S(c""), N(0)])),
    ("delete-module", call(libc::SYS_delete_module, &[S(c"austere_none"), N(0x800)])),
    ("kexec-load", call(libc::SYS_kexec_load, &[N(0), N(99), NULL, N(0)])),
    ("bpf", call(libc::SYS_bpf, &[N(0), B, N(128)])),
    ("perf", call(libc::SYS_perf_event_open, &[B, N(0), NONE, NONE, N(0)])),
    ("io-uring", call(libc::SYS_io_uring_setup, &[N(1), B])),
    ("io-uring-register", call(libc::SYS_io_uring_register, &[NONE, N(0), NULL, N(0)])),
    ("userfaultfd", call(libc::SYS_userfaultfd, &[N(0)])),
    ("userfaultfd-user", call(libc::SYS_userfaultfd, &[N(1)])),
    ("reboot", call(libc::SYS_reboot, &[N(0), N(0), N(0), NULL])),
    ("syslog", call(libc::SYS_syslog, &[N(10), NULL, N(0)])),
    ("syslog-read", call(libc::SYS_syslog, &[N(3), B, N(64)])),
    // Modes: ADJ_TICK, of a length that no tick can have. It is looked at after the right to change a clock was.
    ("clock", call(libc::SYS_clock_adjtime, &[N(0), P(0x4000)])),
    ("sethostname", call(libc::SYS_sethostname, &[S(c"escaped"), N(7)])),
    ("setdomainname", call(libc::SYS_setdomainname, &[S(c"escaped"), N(7)])),
    ("quotactl", call(libc::SYS_quotactl, &[N(0x0080_0002 << 8), S(c"/no/such"), N(0), B])),
    ("fanotify", call(libc::SYS_fanotify_init, &[N(0), N(0)])),
    ("name-to-handle", call(libc::SYS_name_to_handle_at, &[HERE, S(c"/"), B, B, N(0)])),
    ("open-by-handle", call(libc::SYS_open_by_handle_at, &[HERE, B, N(0)])),
    ("memfd-secret", call(libc::SYS_memfd_secret, &[N(0)])),
    ("vmsplice", call(libc::SYS_vmsplice, &[NONE, NULL, N(0), N(0)])),
    ("process-mrelease", call(libc::SYS_process_mrelease, &[NONE, N(0)])),
    ("ptrace-traceme", call(libc::SYS_ptrace, &[N(0)])),
    ("ptrace-seize", call(libc::SYS_ptrace, &[N(0x4206), N(1), N(0), N(0)])),
    ("process-vm-readv", call(libc::SYS_process_vm_readv, &[N(1), NULL, N(0), NULL, N(0), N(0)])),
    ("process-vm-writev", call(libc::SYS_process_vm_writev, &[N(1), NULL, N(0), NULL, N(0), N(0)])),
    ("pidfd-getfd", call(libc::SYS_pidfd_getfd, &[NONE, N(0), N(0)])),
    ("kcmp", call(libc::SYS_kcmp, &[N(1), N(1), N(1), N(0), N(0)])),
    ("process-madvise", call(libc::SYS_process_madvise, &[NONE, NULL, N(0), N(20), N(0)])),
    ("move-pages", call(libc::SYS_move_pages, &[N(0), N(0), NULL, NULL, NULL, N(0)])),
    ("migrate-pages", call(libc::SYS_migrate_pages, &[N(1), N(0), NULL, NULL])),
    ("get-mempolicy", call(libc::SYS_get_mempolicy, &[NULL, NULL, N(0), NULL, N(0)])),
    ("set-mempolicy", call(libc::SYS_set_mempolicy, &[N(0), NULL, N(0)])),
    ("add-key", call(libc::SYS_add_key, &[S(c"user"), S(c"austere"), S(c"x"), N(1), NONE])),
    ("request-key", call(libc::SYS_request_key, &[S(c"user"), S(c"austere-none"), NULL, N(0)])),
    ("keyctl", call(libc::SYS_keyctl, &[N(0), NONE, N(1)])),
    ("packet", call(libc::SYS_socket, &[N(17), N(3), N(0x0300)])),
    ("raw-icmp", call(libc::SYS_socket, &[N(2), N(3), N(1)])),
    ("raw-icmp6", call(libc::SYS_socket, &[N(10), N(3), N(58)])),
    ("alg", call(libc::SYS_socket, &[N(38), N(5), N(0)])),
    ("vsock", call(libc::SYS_socket, &[N(40), N(1), N(0)])),
    ("xdp", call(libc::SYS_socket, &[N(44), N(3), N(0)])),
    ("bluetooth", call(libc::SYS_socket, &[N(31), N(3), N(1)])),
    ("can", call(libc::SYS_socket, &[N(29), N(3), N(1)])),
    ("tipc", call(libc::SYS_socket, &[N(30), N(5), N(0)])),
    ("pfkey", call(libc::SYS_socket, &[N(15), N(3), N(2)])),
    ("netlink-audit", call(libc::SYS_socket, &[N(16), N(3), N(9)])),
    ("netlink-netfilter", call(libc::SYS_socket, &[N(16), N(3), N(12)])),
    ("netlink-uevent", call(libc::SYS_socket, &[N(16), N(3), N(15)])),
    ("netlink-generic", call(libc::SYS_socket, &[N(16), N(3), N(16)])),
    ("netlink-crypto", call(libc::SYS_socket, &[N(16), N(3), N(21)])),
    ("netlink-diag", call(libc::SYS_socket, &[N(16), N(3), N(4)])),
    ("priority", call(libc::SYS_setpriority, &[N(0), N(0), N(-20)])),
    ("io-priority", call(libc::SYS_ioprio_set, &[N(1), N(0), N(1 << 13)])),
    ("io-port", io_port()),
];

/// The same call by the entry for x32 programs, which other machines do not have.
const fn x32(number: libc::c_long, first: &[Arg]) -> Call {
    if cfg!(target_arch = "x86_64") { call(number | 0x4000_0000, first) } else { call(-1, &[]) }
}

/// The ports of a PC; other machines have none.
const fn io_port() -> Call {
    #[cfg(target_arch = "x86_64")]
    return call(libc::SYS_ioperm, &[N(0x80), N(1), N(1)]);
    #[cfg(not(target_arch = "x86_64"))]
    return call(-1, &[]);
}

/// The call of that name.
pub fn named(name: &str) -> Option<&'static Call> {
    CALLS.iter().find(|(known, _)| *known == name).map(|(_, call)| call)
}

/// `unshare(CLONE_NEWUSER)` by the entry for 32-bit programs.
///
/// # Errors
///
/// What the kernel, or a filter, answers, if it does not kill; ENOSYS where there is no such entry.
#[cfg(target_arch = "x86_64")]
pub fn unshare_user_32() -> Result<i64, Errno> {
    let mut answer: i64 = 310;
    // SAFETY: number 310 of i386 is unshare(2), which touches no memory; rbx, which LLVM keeps for itself, is given back.
    unsafe {
        std::arch::asm!("xchg rbx, {flags}", "int 0x80", "xchg rbx, {flags}",
            flags = inout(reg) 0x1000_0000_i64 => _, inout("rax") answer,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    // A 32-bit answer, in the lower half.
    let answer = answer.to_le_bytes().first_chunk::<4>().map_or(-1, |low| i32::from_le_bytes(*low));
    if answer < 0 { Err(Errno::from_raw(-answer)) } else { Ok(answer.into()) }
}

/// There is no such entry here.
///
/// # Errors
///
/// ENOSYS.
#[cfg(not(target_arch = "x86_64"))]
pub fn unshare_user_32() -> Result<i64, Errno> {
    Err(Errno::ENOSYS)
}
