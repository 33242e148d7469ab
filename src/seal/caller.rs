//! Who tried an exec, and of what, read out of the caller while it waits.

use std::fs;
use std::io::IoSliceMut;
use std::time::Instant;

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;

use crate::profile::seccomp::Arch;
use crate::seccomp::{audit_arch, number};
use crate::sys::seccomp_notify::Waiting;

/// An exec that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedExec {
    /// When.
    pub at: Instant,
    /// The caller, as numbered inside the jail.
    pub pid: Option<u32>,
    /// The caller's name (`/proc/PID/comm`).
    pub name: String,
    /// `execve` or `execveat`.
    pub call: &'static str,
    /// What was to be executed, if it could be read; a descriptor by what lies behind it.
    pub path: Option<String>,
    /// The first word of its command line.
    pub argv0: Option<String>,
}

/// The longest text that is read, in bytes (`PATH_MAX`).
const LONGEST: usize = 4096;

impl RefusedExec {
    /// Looks at the caller. What is read counts only while the call still waits.
    pub(super) fn of(waiting: &Waiting) -> Self {
        let pid = waiting.thread;
        let is_x32 = waiting.number & 0x4000_0000 != 0;
        let arch = Arch::NATIVE.runs().iter().copied().find(|&arch| {
            audit_arch(arch) == waiting.arch && (arch != Arch::X32 || is_x32) && (arch != Arch::X86_64 || !is_x32)
        });
        let by_descriptor = arch.and_then(|arch| number(arch, "execveat")) == Some(waiting.number);
        let wide = matches!(arch, Some(Arch::X86_64 | Arch::Aarch64));
        let (call, at) = if by_descriptor { ("execveat", 1) } else { ("execve", 0) };
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let path = text(pid, waiting.args[at]);
        let path = match (&path, by_descriptor) {
            (Some(path), true) if path.is_empty() => behind(pid, waiting.args[0]).or_else(|| Some(String::new())),
            _ => path,
        };
        RefusedExec {
            at: Instant::now(),
            pid: line("NStgid:").and_then(|pids| pids.split_whitespace().next_back()?.parse().ok()),
            name: line("Name:").unwrap_or_default().to_owned(),
            call,
            path,
            argv0: pointer(pid, waiting.args[at + 1], wide).and_then(|address| text(pid, address)),
        }
    }
}

/// What lies behind a descriptor of the caller's: `fd 5 (/memfd:x (deleted))`.
fn behind(pid: i32, descriptor: u64) -> Option<String> {
    let number = i32::try_from(descriptor).ok()?;
    let file = fs::read_link(format!("/proc/{pid}/fd/{number}")).ok()?;
    Some(format!("fd {number} ({})", file.display()))
}

/// A text that ends with a null byte.
fn text(pid: i32, address: u64) -> Option<String> {
    let mut bytes = Vec::new();
    let mut at = usize::try_from(address).ok().filter(|at| *at != 0)?;
    while bytes.len() < LONGEST {
        // Never over the end of a page: the next one may not be there.
        let mut part = [0; 256];
        let wanted = part.len().min(4096 - at % 4096);
        let read = read(pid, at, &mut part[..wanted])?;
        if let Some(end) = part[..read].iter().position(|byte| *byte == 0) {
            bytes.extend_from_slice(&part[..end]);
            return Some(String::from_utf8_lossy(&bytes).into_owned());
        }
        bytes.extend_from_slice(&part[..read]);
        at = at.checked_add(read).filter(|_| read > 0)?;
    }
    None
}

fn pointer(pid: i32, address: u64, wide: bool) -> Option<u64> {
    let mut bytes = [0; 8];
    let width = if wide { 8 } else { 4 };
    let at = usize::try_from(address).ok().filter(|at| *at != 0)?;
    let read = read(pid, at, &mut bytes[..width])?;
    (read == width).then(|| u64::from_le_bytes(bytes)).filter(|pointer| *pointer != 0)
}

fn read(pid: i32, base: usize, into: &mut [u8]) -> Option<usize> {
    let len = into.len();
    process_vm_readv(Pid::from_raw(pid), &mut [IoSliceMut::new(into)], &[RemoteIoVec { base, len }]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_another_process_is_read_to_its_end() {
        let own = std::process::id().cast_signed();
        let words = [c"/bin/sh", c"", &std::ffi::CString::new("x".repeat(1000)).unwrap()];
        for word in words {
            let read = text(own, word.as_ptr().addr() as u64);
            assert_eq!(read.as_deref(), word.to_str().ok());
        }
        assert_eq!(text(own, 0), None);
        assert_eq!(text(own, 8), None, "nothing is there");
        let long = vec![b'x'; 2 * LONGEST];
        assert_eq!(text(own, long.as_ptr().addr() as u64), None, "it has no end");
    }
}
