//! Network interfaces by ioctl: what netdevice(7) calls an `ifreq`.

#![allow(unsafe_code)]

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// Brings the interface up. `socket` is any IP socket of its network namespace.
///
/// # Errors
///
/// netdevice(7): EPERM without `CAP_NET_ADMIN` over the namespace, ENODEV for an unknown name.
pub fn up(socket: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let mut request = request(name)?;
    request.ifr_ifru.ifru_flags = UP_AND_RUNNING;
    // SAFETY: SIOCSIFFLAGS reads one `ifreq`, which lives until the call returns.
    let rc = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw mut request) };
    Errno::result(rc).map(drop)
}

/// Gives the interface (`lo`) or a label on it (`lo:1`) an IPv4 address.
///
/// # Errors
///
/// netdevice(7): EPERM without `CAP_NET_ADMIN` over the namespace, ENODEV for an unknown name.
pub fn set_address(socket: BorrowedFd<'_>, name: &[u8], address: Ipv4Addr) -> Result<(), Errno> {
    let mut request = request(name)?;
    // The octets of a socket address lie after its two bytes of port.
    let mut data: [libc::c_char; 14] = [0; 14];
    for (place, octet) in data[2..6].iter_mut().zip(address.octets()) {
        *place = libc::c_char::from_ne_bytes([octet]);
    }
    request.ifr_ifru.ifru_addr = libc::sockaddr { sa_family: AF_INET, sa_data: data };
    // SAFETY: SIOCSIFADDR reads one `ifreq`, which lives until the call returns.
    let rc = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFADDR as _, &raw mut request) };
    Errno::result(rc).map(drop)
}

#[allow(clippy::cast_possible_truncation, reason = "the flags are 0x41 and the family is 2")]
const UP_AND_RUNNING: libc::c_short = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the family is 2")]
const AF_INET: libc::sa_family_t = libc::AF_INET as libc::sa_family_t;

fn request(name: &[u8]) -> Result<libc::ifreq, Errno> {
    let mut ifr_name: [libc::c_char; libc::IFNAMSIZ] = [0; libc::IFNAMSIZ];
    if name.len() >= ifr_name.len() {
        return Err(Errno::ENAMETOOLONG);
    }
    for (place, byte) in ifr_name.iter_mut().zip(name) {
        *place = libc::c_char::from_ne_bytes([*byte]);
    }
    Ok(libc::ifreq { ifr_name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_metric: 0 } })
}
