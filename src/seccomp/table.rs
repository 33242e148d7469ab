//! System call names to numbers, as libseccomp sees them.
//!
//! The `syscalls` crate was tried: its aarch64 lacks `newfstatat` and has twenty calls that only 32-bit kernels have, it has
//! no x32, and not ARM's own calls. Hence a table of our own.

use super::numbers::{CALLS, NO};
use crate::profile::seccomp::Arch;

/// What marks an x32 call among those of `x86_64`.
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// The numbers of one call.
#[derive(Clone, Copy)]
pub(super) struct Numbers(&'static [u32; 5]);

impl Numbers {
    /// Those of the call `name`. None: no architecture that austere knows has it.
    pub(super) fn of(name: &str) -> Option<Numbers> {
        let row = CALLS.binary_search_by_key(&name, |(name, _)| name).ok()?;
        Some(Numbers(&CALLS.get(row)?.1))
    }

    /// The one on `arch`, if it has the call.
    pub(super) fn on(self, arch: Arch) -> Option<u32> {
        let number = match arch {
            Arch::X86_64 => self.0[0],
            Arch::X86 => self.0[1],
            Arch::X32 => self.0[2],
            Arch::Aarch64 => self.0[3],
            Arch::Arm => self.0[4],
        };
        match arch {
            _ if number == NO => None,
            Arch::X32 => Some(number | X32_BIT),
            _ => Some(number),
        }
    }
}

/// The number of the call `name` on `arch`, if it has it.
pub fn number(arch: Arch, name: &str) -> Option<u32> {
    Numbers::of(name)?.on(arch)
}

/// The name of a call of `arch`, by its number.
pub fn name(arch: Arch, number: u32) -> Option<&'static str> {
    CALLS.iter().map(|(name, _)| *name).find(|name| self::number(arch, name) == Some(number))
}

/// All calls of `arch`, with their numbers.
pub fn names(arch: Arch) -> impl Iterator<Item = (u32, &'static str)> {
    CALLS.iter().filter_map(move |(name, numbers)| Some((Numbers(numbers).on(arch)?, *name)))
}

/// The old way to the same call: on i386, sockets and System V IPC were first reached through one number each, with the
/// call as first argument (`socketcall`(2), `ipc`(2)). libseccomp applies a rule for `socket` to both ways.
pub(super) fn multiplexed(arch: Arch, name: &str) -> Option<(&'static str, u64)> {
    let position = |names: &[&str]| names.iter().position(|n| *n == name).and_then(|at| u64::try_from(at).ok());
    match arch {
        Arch::X86 => position(&SOCKET)
            .map(|at| ("socketcall", at + 1))
            .or_else(|| position(&IPC).map(|at| ("ipc", (at / 4) * 10 + at % 4 + 1))),
        _ => None,
    }
}

/// In the order of `SYS_SOCKET` = 1 and so on (`linux/net.h`).
const SOCKET: [&str; 20] = [
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
];

/// In the order of `SEMOP` = 1 to 4, `MSGSND` = 11 to 14, `SHMAT` = 21 to 24 (`linux/ipc.h`).
const IPC: [&str; 12] = [
    "semop",
    "semget",
    "semctl",
    "semtimedop",
    "msgsnd",
    "msgrcv",
    "msgget",
    "msgctl",
    "shmat",
    "shmdt",
    "shmget",
    "shmctl",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_stand_once() {
        assert!(CALLS.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn no_architecture_gives_a_number_twice() {
        for arch in [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64, Arch::Arm] {
            let mut numbers: Vec<_> = CALLS.iter().filter_map(|(name, _)| Some((number(arch, name)?, *name))).collect();
            numbers.sort_unstable();
            for pair in numbers.windows(2) {
                assert_ne!(pair[0].0, pair[1].0, "{arch:?} {pair:?}");
            }
        }
    }

    #[test]
    fn the_table_agrees_with_the_c_library() {
        let samples = [
            ("read", libc::SYS_read),
            ("newfstatat", libc::SYS_newfstatat),
            ("clone", libc::SYS_clone),
            ("unshare", libc::SYS_unshare),
            ("execveat", libc::SYS_execveat),
            ("socket", libc::SYS_socket),
            ("clone3", libc::SYS_clone3),
            ("io_uring_setup", libc::SYS_io_uring_setup),
            ("landlock_restrict_self", libc::SYS_landlock_restrict_self),
            ("set_mempolicy_home_node", libc::SYS_set_mempolicy_home_node),
            ("mseal", libc::SYS_mseal),
        ];
        for (name, expected) in samples {
            assert_eq!(number(Arch::NATIVE, name).map(i64::from), Some(expected), "{name}");
        }
    }

    #[test]
    fn other_architectures_have_their_own() {
        assert_eq!(number(Arch::X86, "socketcall"), Some(102));
        assert_eq!(number(Arch::X86_64, "socketcall"), None);
        assert_eq!(number(Arch::X32, "execve"), Some(X32_BIT + 520));
        assert_eq!(number(Arch::Aarch64, "newfstatat"), Some(79));
        assert_eq!(number(Arch::Aarch64, "clock_gettime64"), None);
        assert_eq!(number(Arch::Arm, "cacheflush"), Some(0xf_0002));
        assert_eq!(multiplexed(Arch::X86, "sendmmsg"), Some(("socketcall", 20)));
        assert_eq!(multiplexed(Arch::X86, "shmctl"), Some(("ipc", 24)));
        assert_eq!(multiplexed(Arch::X86, "msgsnd"), Some(("ipc", 11)));
        assert_eq!(multiplexed(Arch::X86_64, "socket"), None);
        assert!(Numbers::of("no_such_call").is_none());
    }
}
