//! The room: a network of its own, closed, with a way in for probes.
//!
//! The app's network namespace has `lo` and nothing else. `lo` carries a second address, which stands for the host name, so
//! that an app which listens on 127.0.0.1 only is found out as it would be behind a published port.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};

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
