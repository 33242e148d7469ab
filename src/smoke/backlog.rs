//! Whether an app takes the connections that the kernel has accepted for it.
//!
//! The kernel completes a connection to any program that listens. Until the program calls accept(2) it waits in the socket's queue, whose length
//! is the receive queue of a listening socket in `sock_diag(7)`. A kernel without that (`CONFIG_INET_DIAG`) shows it in `/proc/net/tcp` (proc(5)),
//! which costs a walk over all its buckets, some two milliseconds.

use std::io;
use std::os::fd::AsRawFd;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_packet_sock_diag::{AF_INET, AF_INET6, IPPROTO_TCP, SockDiagMessage};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

/// Connections that wait on `port` in the network of the calling thread; `None` where nobody is seen to listen there.
pub(super) fn waiting(port: u16) -> Option<u64> {
    let lengths = listeners(port).unwrap_or_else(|_| table::listeners(port));
    lengths.into_iter().reduce(|sum, length| sum + length)
}

/// The length of the queue of each socket that listens on `port`.
fn listeners(port: u16) -> io::Result<Vec<u64>> {
    let netlink = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkSockDiag)?;
    let mut lengths = Vec::new();
    for id in [SocketId::new_v4(), SocketId::new_v6()] {
        send(netlink.as_raw_fd(), &request(id, port), MsgFlags::empty())?;
        while !add_lengths(&receive(netlink.as_raw_fd())?, port, &mut lengths)? {}
    }
    Ok(lengths)
}

fn request(mut id: SocketId, port: u16) -> Vec<u8> {
    id.source_port = port;
    let family = if id.source_address.is_ipv4() { AF_INET } else { AF_INET6 };
    let (extensions, states) = (ExtensionFlags::empty(), StateFlags::LISTEN);
    let inquiry = InetRequest { family, protocol: IPPROTO_TCP, extensions, states, socket_id: id };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(SockDiagMessage::InetRequest(inquiry)));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// One datagram, which holds several messages. The kernel fills no more than 32 KiB (`net/netlink/af_netlink.c`).
fn receive(netlink: i32) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 32 << 10];
    let length = recv(netlink, &mut bytes, MsgFlags::empty())?;
    bytes.truncate(length);
    Ok(bytes)
}

/// Adds the lengths that a datagram tells; true where it ends the answer.
fn add_lengths(mut bytes: &[u8], port: u16, lengths: &mut Vec<u64>) -> io::Result<bool> {
    while !bytes.is_empty() {
        let message: NetlinkMessage<SockDiagMessage> =
            NetlinkMessage::deserialize(bytes).map_err(|error| io::Error::other(error.to_string()))?;
        match message.payload {
            NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(answer)) => {
                if answer.header.socket_id.source_port == port {
                    lengths.push(answer.header.recv_queue.into());
                }
            }
            NetlinkPayload::Done(_) => return Ok(true),
            NetlinkPayload::Error(error) => return Err(error.to_io()),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
        let length = (message.header.length as usize).next_multiple_of(4).min(bytes.len());
        bytes = &bytes[length..];
    }
    Ok(false)
}

/// The same from `/proc/net/tcp`.
mod table {
    use std::fs;

    /// State of a listening socket, `net/tcp_states.h`.
    const LISTEN: &str = "0A";

    pub(super) fn listeners(port: u16) -> Vec<u64> {
        let files = ["tcp", "tcp6"].map(|name| fs::read_to_string(format!("/proc/thread-self/net/{name}")));
        files.iter().flatten().flat_map(|text| text.lines()).filter_map(|line| row(line, port)).collect()
    }

    /// `sl local_address rem_address st tx_queue:rx_queue …`, all in hexadecimal.
    fn row(line: &str, port: u16) -> Option<u64> {
        let mut fields = line.split_whitespace().skip(1);
        let (local, _, state, queues) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let (_, local_port) = local.rsplit_once(':')?;
        let is_it = state == LISTEN && u16::from_str_radix(local_port, 16).ok()? == port;
        is_it.then(|| u64::from_str_radix(queues.split_once(':')?.1, 16).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_waits_until_it_is_taken() {
        for (address, caller) in [("127.0.0.1:0", "127.0.0.1"), ("[::]:0", "127.0.0.1")] {
            let listener = TcpListener::bind(address).unwrap();
            let port = listener.local_addr().unwrap().port();
            let both = |expected: &[u64]| {
                assert_eq!(listeners(port).unwrap(), expected, "{address}");
                assert_eq!(table::listeners(port), expected, "{address}");
            };
            both(&[0]);
            let _caller = TcpStream::connect((caller, port)).unwrap();
            both(&[1]);
            assert_eq!(waiting(port), Some(1));
            let _taken = listener.accept().unwrap();
            both(&[0]);
            assert_eq!(waiting(port), Some(0));
            drop(listener);
            both(&[]);
            assert_eq!(waiting(port), None);
        }
    }
}
