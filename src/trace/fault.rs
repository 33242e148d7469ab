//! Faults: signals that the kernel sends for what a thread did.

use nix::unistd::Pid;

use super::calls::Does;
use super::place::{self, Files};
use super::record::Seen;
use super::wall::{self, Refused};
use crate::sys::ptrace::fault_address;

/// Where a thread stumbled that stands before this signal; nothing where the signal was sent by somebody.
pub(super) fn address(tid: Pid, signal: i32) -> Option<u64> {
    let faults = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGSYS];
    if faults.contains(&signal) { fault_address(tid).ok().flatten() } else { None }
}

/// Whether the thread has nothing that takes the signal: the kernel ends a process that ignores or blocks a fault.
pub(super) fn is_fatal(tid: Pid, signal: i32) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{tid}/status")) else { return false };
    let has = |name: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        mask.and_then(|mask| u64::from_str_radix(mask, 16).ok()).is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
    };
    !has("SigCgt:") || has("SigBlk:")
}

/// A page of a file that is mapped could not be had: on a tmpfs that is full.
pub(super) fn no_page(tid: Pid, address: u64) -> Option<Seen> {
    let path = place::mapped(tid, address)?;
    // Behind the end of a file it is the program's own mistake.
    Files::of(tid)?.find(&path, true)?.room().filter(|room| room.is_full)?;
    let refused = Refused {
        pid: tid,
        call: "mmap",
        does: Does::Map(None),
        path: Some(&path),
        errno: libc::ENOSPC,
        writes: true,
        wants: 0,
    };
    let (wall, why) = wall::judge(&refused);
    let why = format!("SIGBUS, for a page of it could not be had; {}", why?);
    Some(Seen {
        call: "mmap",
        path: Some(path),
        errno: libc::ENOSPC,
        wall: Some(wall?),
        why: Some(why),
        writes: true,
        ..Seen::default()
    })
}
