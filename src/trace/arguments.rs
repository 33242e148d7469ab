//! What a stopped thread passes to a call.

use nix::unistd::Pid;

use super::calls::{At, Does, Shape};
use super::memory::{self, Address};
use super::place;
use super::record::Seen;
use super::timeline::Wall;

/// A call that has begun.
#[derive(Clone, Copy)]
pub(super) struct Call {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) args: [u64; 6],
}

/// The path or address that a call is about.
pub(super) fn path(tid: Pid, call: &Call) -> Option<String> {
    let args = &call.args;
    let named = |dir: Option<u64>, argument: usize| {
        let path = memory::string(tid, args[argument]).unwrap_or_default();
        Some(place::absolute(tid, dir, &path))
    };
    match (call.shape.at, call.shape.does) {
        (At::Path(argument), _) => named(None, argument),
        (At::Dir(dir, argument), _) => named(Some(args[dir]), argument),
        // A pipe or a socket has no path that would say anything.
        (At::Fd(argument), Does::Write | Does::WriteVector | Does::Fill) => {
            place::descriptor(tid, args[argument]).filter(|path| path.starts_with('/'))
        }
        (At::Fd(argument), _) => place::descriptor(tid, args[argument]),
        (At::None, Does::Bind) => Address::read(tid, args[1], args[2]).map(|address| shown(tid, &address)),
        (At::None, Does::Connect(at)) => Address::read(tid, args[at], args[at + 1]).map(|address| shown(tid, &address)),
        (At::None, Does::Map(Some(fd))) => place::descriptor(tid, args[fd]),
        _ => None,
    }
}

fn shown(tid: Pid, address: &Address) -> String {
    match address {
        Address::Unix(path) if !path.starts_with('@') => place::absolute(tid, None, path),
        other => other.to_string(),
    }
}

/// The flags that a file is opened with; 0 for other calls.
pub(super) fn open_flags(tid: Pid, call: &Call) -> u64 {
    match call.shape.does {
        Does::Open(argument) => call.args[argument],
        Does::OpenHow(argument) => {
            memory::bytes(tid, call.args[argument], 8).first_chunk::<8>().map_or(0, |flags| u64::from_ne_bytes(*flags))
        }
        _ => 0,
    }
}

/// Reading, writing and executing, as permission bits; 0 where the call itself says it.
pub(super) fn wants(call: &Call, flags: u64) -> u32 {
    match call.shape.does {
        Does::Open(_) | Does::OpenHow(_) => match flags & 3 {
            0 => 4,
            1 => 2,
            _ => 6,
        },
        Does::May(argument) => u32::try_from(call.args[argument] & 7).unwrap_or(0),
        Does::Enter => 1,
        _ => 0,
    }
}

/// A program with a set-id bit that the kernel did not heed, because of `no_new_privs` or a nosuid mount.
pub(super) fn set_id_ignored(tid: Pid) -> Option<Seen> {
    use std::os::unix::fs::MetadataExt as _;
    let program = place::program(tid)?;
    let file = std::fs::metadata(format!("/proc/{tid}/exe")).ok()?;
    let status = std::fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    let effective = |name: &str| -> Option<u32> {
        status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().nth(1)?.parse().ok()
    };
    let is_ignored = (file.mode() & 0o4000 != 0 && effective("Uid:")? != file.uid())
        || (file.mode() & 0o2010 == 0o2010 && effective("Gid:")? != file.gid());
    is_ignored.then(|| Seen {
        call: "execve",
        path: Some(program),
        wall: Some(Wall::NoNewPrivs),
        why: Some(format!(
            "its mode {:04o} asks for another user, which no_new_privs does not give",
            file.mode() & 0o7777
        )),
        ..Seen::default()
    })
}
