//! Input that an adversary would put into a terminal, for whoever reads it outside to take as typed (CVE-2023-1523).

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::stat::Mode;
use nix::unistd::setsid;

use crate::sys;

/// A terminal that controls this process: the side that belongs to it.
fn own() -> Result<OwnedFd, Errno> {
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname_r(&master)?;
    setsid()?;
    // The first terminal that the leader of a session opens controls it.
    let side = open(name.as_str(), OFlag::O_RDWR, Mode::empty())?;
    // Closing it would hang up, and end this process before it said what it learnt.
    std::mem::forget(master);
    Ok(side)
}

pub(super) fn push(_: &str) -> Result<(), Errno> {
    sys::terminal::push_input(&own()?, 0)
}

/// With bits that the kernel cuts off and a careless filter compares (CVE-2019-10063).
pub(super) fn push_wide(_: &str) -> Result<(), Errno> {
    sys::terminal::push_input(&own()?, 1 << 32)
}

/// Pasting into a console, where there is one.
pub(super) fn paste(_: &str) -> Result<(), Errno> {
    let console = ["/dev/tty1", "/dev/tty0", "/dev/console", "/dev/tty"];
    let open = |path: &&str| open(*path, OFlag::O_RDWR | OFlag::O_NOCTTY, Mode::empty());
    let mut said = Errno::ENOENT;
    for path in &console {
        match open(path) {
            Ok(console) => return sys::terminal::ask_console(&console),
            Err(errno) => said = errno,
        }
    }
    // A console is none's here; the call itself may still be held back.
    sys::terminal::ask_console(&own().map_err(|_| said)?)
}
