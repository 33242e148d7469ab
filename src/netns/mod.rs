//! The room: a network of its own, closed, with a way in for probes.
//!
//! The app's network namespace has `lo` and nothing else. `lo` carries a second address, which stands for the host name, so
//! that an app which listens on 127.0.0.1 only is found out as it would be behind a published port.

pub mod slot;

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::ids;
use crate::measure::Measure;
use crate::process::Process;
use crate::refusal::Refusal;
use crate::sys;

/// The room's own address. Docker gives its first container this one.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 2);

/// A network namespace that a thread can join.
#[derive(Debug)]
pub struct Room {
    namespace: Option<OwnedFd>,
    address: Ipv4Addr,
}

impl Room {
    /// The room behind an open `/proc/PID/ns/net`.
    pub fn new(namespace: OwnedFd) -> Self {
        Room { namespace: Some(namespace), address: ADDRESS }
    }

    /// The network this process is already in, reached at the loopback address (`--network host`, and tests of the probes).
    pub fn host() -> Self {
        Room { namespace: None, address: Ipv4Addr::LOCALHOST }
    }

    /// Where the app answers.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Puts the calling thread, and no other, into the room. There is no way back: use a thread made for it.
    ///
    /// # Errors
    ///
    /// setns(2): EPERM without `CAP_SYS_ADMIN` over the namespace's owner and over one's own.
    pub fn join(&self) -> io::Result<()> {
        match &self.namespace {
            Some(namespace) => Ok(nix::sched::setns(namespace.as_fd(), nix::sched::CloneFlags::CLONE_NEWNET)?),
            None => Ok(()),
        }
    }
}

/// What engines set in a network of a container's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `net.ipv4.ip_unprivileged_port_start`; the kernel's own when absent.
    pub port_start: Option<u16>,
    /// `net.ipv4.ping_group_range`; the kernel's own, which lets nobody, when absent.
    pub ping_group_range: Option<(u32, u32)>,
    /// IPv6 is on.
    pub ipv6: bool,
}

/// In the child: brings `lo` up with both addresses, and sets the sysctls that engines set in a network of a container's own.
///
/// They are written through the host's /proc, before the root changes: these files follow the writer's network namespace.
///
/// # Errors
///
/// EPERM without `CAP_NET_ADMIN` over the namespace; EROFS where an outer container made /proc/sys read-only.
pub fn apply(mode: ids::Mode, settings: &Settings) -> Result<(), Refusal> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .map_err(|errno| Refusal::host("socket", "AF_INET", errno))?;
    sys::ifreq::up(socket.as_fd(), b"lo").map_err(|errno| Refusal::host("ioctl", "SIOCSIFFLAGS, lo up", errno))?;
    sys::ifreq::set_address(socket.as_fd(), b"lo:1", ADDRESS)
        .map_err(|errno| Refusal::host("ioctl", format!("SIOCSIFADDR, lo:1 {ADDRESS}"), errno))?;
    let pingers = settings.ping_group_range.map(|(first, last)| match mode {
        ids::Mode::Real => format!("{first} {last}"),
        // Both ends must be mapped.
        ids::Mode::Mapped => format!("{first} {}", last.min(ids::highest_group())),
        ids::Mode::Single => format!("{0} {0}", nix::unistd::getegid()),
    });
    let write = |path: &str, value: &str| {
        fs::write(path, value).map_err(|error| {
            let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
            Refusal::host("write", format!("{path}: {value}"), errno)
        })
    };
    if let Some(port) = settings.port_start {
        write("/proc/sys/net/ipv4/ip_unprivileged_port_start", &port.to_string())?;
    }
    if let Some(pingers) = pingers {
        write("/proc/sys/net/ipv4/ping_group_range", &pingers)?;
    }
    // A kernel without IPv6 has nothing to switch off.
    if !settings.ipv6 && fs::exists(IPV6).unwrap_or(false) {
        write(IPV6, "1")?;
    }
    Ok(())
}

const IPV6: &str = "/proc/sys/net/ipv6/conf/all/disable_ipv6";

/// `net.ipv4.ip_unprivileged_port_start` of the calling process's network.
pub fn port_start() -> Option<u16> {
    fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").ok()?.trim().parse().ok()
}

/// Whether the app's network is a closed one of its own; `ours` is the inode of this process's.
pub fn read_back(app: &Process, ours: Option<u64>) -> Measure {
    let asked = "a network of its own with lo only";
    let seen =
        app.namespace("net").and_then(|theirs| Ok((theirs, ours.ok_or(io::ErrorKind::NotFound)?, app.interfaces()?)));
    match seen {
        Err(error) => Measure::unverified("network", asked, error.to_string()),
        Ok((theirs, ours, _)) if theirs == ours => {
            Measure::judged("network", asked, Err("it is the host's network".to_owned()))
        }
        Ok((_, _, interfaces)) => {
            // A kernel may give every new network an unused tunnel device; without an address and not up, it leads nowhere.
            let idle = ["gre0", "gretap0", "erspan0", "ip6_vti0", "ip6gre0", "ip6tnl0", "ip_vti0", "sit0", "tunl0"];
            let others: Vec<&str> =
                interfaces.iter().map(String::as_str).filter(|name| *name != "lo" && !idle.contains(name)).collect();
            let result = if others.is_empty() {
                Ok(asked.to_owned())
            } else {
                Err(format!("it also has {}", others.join(", ")))
            };
            Measure::judged("network", asked, result)
        }
    }
}
