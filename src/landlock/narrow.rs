//! What a narrow wall, or one with a list of programs, refuses: tried before and after.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, UnixAddr, bind, connect, listen, socket,
};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::{PORTS_SINCE, Rules, SCOPES_SINCE};
use crate::measure::Measure;
use crate::sys;
use crate::sys::execve::exec_junk;

/// What every program may write to.
pub(super) const DEVICES: [&str; 6] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// A port that nobody listens on in the jail, and that nobody may declare: the one of the tcpmux of old.
const NOBODYS_PORT: u16 = 1;

/// What four acts came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Making a file in /dev/shm.
    pub write: Errno,
    /// Connecting to a port of the jail's own that nobody listens on.
    pub connect: Errno,
    /// Connecting to an abstract socket that was made before the wall.
    pub reach: Errno,
    /// Executing a file that is no program.
    pub execute: Errno,
}

/// What the launcher saw, before and after; what to compare it with lies outside of the wall.
#[derive(Debug)]
pub struct Narrowness {
    outside: Option<OwnedFd>,
    name: Vec<u8>,
}

impl Narrowness {
    /// Makes an abstract socket that the wall will stand before.
    pub fn prepare() -> Self {
        let name = format!("austere-{}", std::process::id()).into_bytes();
        let made = || -> Result<OwnedFd, Errno> {
            let socket = unix()?;
            bind(socket.as_raw_fd(), &UnixAddr::new_abstract(&name)?)?;
            listen(&socket, Backlog::MAXCONN)?;
            Ok(socket)
        };
        Narrowness { outside: made().ok(), name }
    }

    /// Tries all four.
    pub fn attempt(&self, program: Option<&OwnedFd>) -> Tried {
        let errno = |result: Result<(), Errno>| result.err().unwrap_or(Errno::UnknownErrno);
        let reach = || {
            self.outside.as_ref().ok_or(Errno::ENOTSUP)?;
            connect(unix()?.as_raw_fd(), &UnixAddr::new_abstract(&self.name)?)
        };
        Tried {
            write: errno(make_file()),
            connect: errno(connect_nowhere()),
            reach: errno(reach()),
            execute: program.map_or(Errno::ENOTSUP, |program| exec_junk(program.as_fd())),
        }
    }
}

fn unix() -> Result<OwnedFd, Errno> {
    socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)
}

fn make_file() -> Result<(), Errno> {
    let folder = open("/dev/shm", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    drop(nix::fcntl::openat(&folder, ".austere", flags, Mode::S_IRUSR)?);
    unlinkat(&folder, ".austere", UnlinkatFlags::NoRemoveDir)
}

fn connect_nowhere() -> Result<(), Errno> {
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    connect(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, NOBODYS_PORT)))
}

/// A measure for each thing that the rules are about, from what was seen before and after.
pub fn read_back(rules: &Rules, seen: Option<(Tried, Tried)>) -> Vec<Measure> {
    let abi = sys::landlock_abi::landlock_abi().unwrap_or(0);
    let judge = |name: &str, asked: &str, since: i32, act: fn(&Tried) -> Errno, before: Errno, after: Errno| {
        if abi < since {
            let why = format!("this kernel's Landlock has ABI {abi}, and it takes {since}");
            return Measure::unavailable(name, asked, why).optional();
        }
        match seen {
            None => Measure::unverified(name, asked, "the launcher did not report what it saw"),
            Some((first, _)) if act(&first) != before => {
                let why = format!("without the wall it gave {:?}, not {before:?}", act(&first));
                Measure::unverified(name, asked, why)
            }
            Some((_, second)) if act(&second) == after => {
                Measure::judged(name, asked, Ok(format!("tried: {after:?}, and {} without", said(before))))
            }
            Some((_, second)) => {
                let why = format!("tried: {}, not {after:?}", said(act(&second)));
                Measure::judged(name, asked, Err(why))
            }
        }
    };
    let done = Errno::UnknownErrno;
    let mut measures = Vec::new();
    if let Some(ports) = &rules.narrow {
        let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
        let asked = format!("TCP: bind {}, connect nowhere", ports.join(" "));
        measures.push(judge(
            "narrow-writes",
            "no file is made where nothing is declared",
            2,
            |t| t.write,
            done,
            Errno::EACCES,
        ));
        measures.push(judge("narrow-ports", &asked, PORTS_SINCE, |t| t.connect, Errno::ECONNREFUSED, Errno::EACCES));
        let asked = "no abstract socket and no process outside is reached";
        measures.push(judge("narrow-scopes", asked, SCOPES_SINCE, |t| t.reach, done, Errno::EPERM));
    }
    if let Some(files) = &rules.execute {
        let asked = format!("only these are executed: {}", files.join(" "));
        measures.push(judge("execute-list", &asked, 2, |t| t.execute, Errno::ENOEXEC, Errno::EACCES));
    }
    measures
}

fn said(errno: Errno) -> String {
    if errno == Errno::UnknownErrno { "it worked".to_owned() } else { format!("{errno:?}") }
}
