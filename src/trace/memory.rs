//! Reading what a stopped process points at.

use std::fmt::Write as _;
use std::io::IoSliceMut;
use std::net::{Ipv4Addr, Ipv6Addr};

use nix::sys::ptrace;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;

const PAGE: usize = 4096;
const WORD: usize = size_of::<libc::c_long>();

/// As much as there is at `address`, up to `length` bytes; nothing where nothing can be read.
pub(super) fn bytes(pid: Pid, address: u64, length: usize) -> Vec<u8> {
    let Ok(start) = usize::try_from(address) else { return Vec::new() };
    let mut buffer = vec![0; length];
    let mut done = 0;
    while done < length && start != 0 {
        let Some(from) = start.checked_add(done) else { break };
        // A page at a time: one that is not there spoils the whole call otherwise.
        let count = (PAGE - from % PAGE).min(length - done);
        let got = process_vm_readv(
            pid,
            &mut [IoSliceMut::new(&mut buffer[done..done + count])],
            &[RemoteIoVec { base: from, len: count }],
        );
        let got = got.ok().or_else(|| peek(pid, from, &mut buffer[done..done + count]));
        match got {
            Some(got) if got > 0 => done += got,
            _ => break,
        }
    }
    buffer.truncate(done);
    buffer
}

/// Word by word, which a tracer may do where `process_vm_readv(2)` is refused: by a container engine's filter, for one.
fn peek(pid: Pid, from: usize, into: &mut [u8]) -> Option<usize> {
    let (skew, mut done) = (from % WORD, 0);
    let mut at = from - skew;
    let mut skip = skew;
    while done < into.len() {
        let Ok(word) = ptrace::read(pid, std::ptr::with_exposed_provenance_mut(at)) else { break };
        let word = word.to_ne_bytes();
        let count = (WORD - skip).min(into.len() - done);
        into[done..done + count].copy_from_slice(&word[skip..skip + count]);
        (done, at, skip) = (done + count, at + WORD, 0);
    }
    (done > 0).then_some(done)
}

/// The string at `address`; nothing when there is none.
pub(super) fn string(pid: Pid, address: u64) -> Option<String> {
    let mut text = Vec::new();
    // Paths are mostly short; PATH_MAX is a page.
    for _ in 0..PAGE / 256 {
        let piece = bytes(pid, address.checked_add(u64::try_from(text.len()).ok()?)?, 256);
        if let Some(end) = piece.iter().position(|byte| *byte == 0) {
            text.extend_from_slice(&piece[..end]);
            return Some(String::from_utf8_lossy(&text).into_owned());
        }
        text.extend_from_slice(&piece);
        if piece.len() < 256 {
            break;
        }
    }
    (!text.is_empty()).then(|| String::from_utf8_lossy(&text).into_owned())
}

/// What a process writes with writev(2), up to `most` bytes.
pub(super) fn vector(pid: Pid, address: u64, count: u64, most: usize) -> Vec<u8> {
    let count = usize::try_from(count).unwrap_or(0).min(64);
    let table = bytes(pid, address, count * 16);
    let mut all = Vec::new();
    for entry in table.chunks_exact(16) {
        let word = |at: usize| entry[at..].first_chunk::<8>().map_or(0, |bytes| u64::from_ne_bytes(*bytes));
        let length = usize::try_from(word(8)).unwrap_or(0).min(most - all.len());
        all.extend(bytes(pid, word(0), length));
        if all.len() >= most {
            break;
        }
    }
    all
}

/// A socket address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// An IPv4 or IPv6 address and a port.
    Ip(std::net::IpAddr, u16),
    /// A Unix socket's path; one that starts with `@` has none in the file system.
    Unix(String),
    /// Another family.
    Other(u16),
}

impl Address {
    /// The address of `length` bytes at `place`.
    pub(super) fn read(pid: Pid, place: u64, length: u64) -> Option<Self> {
        let raw = bytes(pid, place, usize::try_from(length).ok()?.min(128));
        let family = u16::from_ne_bytes(*raw.first_chunk::<2>()?);
        let port = || Some(u16::from_be_bytes(*raw.get(2..)?.first_chunk::<2>()?));
        Some(match i32::from(family) {
            libc::AF_INET => Address::Ip(Ipv4Addr::from(*raw.get(4..)?.first_chunk::<4>()?).into(), port()?),
            libc::AF_INET6 => Address::Ip(Ipv6Addr::from(*raw.get(8..)?.first_chunk::<16>()?).into(), port()?),
            libc::AF_UNIX => match raw.get(2..)? {
                [] => Address::Unix("@".to_owned()),
                [0, name @ ..] => {
                    let mut text = "@".to_owned();
                    let _ = write!(text, "{}", String::from_utf8_lossy(name));
                    Address::Unix(text)
                }
                name => {
                    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
                    Address::Unix(String::from_utf8_lossy(&name[..end]).into_owned())
                }
            },
            _ => Address::Other(family),
        })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Ip(ip, port) => write!(f, "{}", std::net::SocketAddr::new(*ip, *port)),
            Address::Unix(path) => f.write_str(path),
            Address::Other(family) => write!(f, "an address of family {family}"),
        }
    }
}
