//! Whether an app takes the connections that the kernel has accepted for it.
//!
//! The kernel completes a connection to any program that listens. Until the program calls accept(2) it waits in the socket's queue, whose length
//! `/proc/net/tcp` shows in the receive column of a listening socket (proc(5), `net/tcp_ipv4.c`).

use std::fs;

/// State of a listening socket, `net/tcp_states.h`.
const LISTEN: &str = "0A";

/// Connections that wait on `port` in the network of the calling thread; `None` where nobody is seen to listen there.
pub(super) fn waiting(port: u16) -> Option<u64> {
    let files = ["tcp", "tcp6"].map(|name| fs::read_to_string(format!("/proc/thread-self/net/{name}")));
    let rows = files.iter().flatten().flat_map(|text| text.lines()).filter_map(|line| row(line, port));
    rows.fold(None, |sum, count| Some(sum.unwrap_or(0) + count))
}

/// `sl local_address rem_address st tx_queue:rx_queue …`, all in hexadecimal.
fn row(line: &str, port: u16) -> Option<u64> {
    let mut fields = line.split_whitespace().skip(1);
    let (local, _, state, queues) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let (_, local_port) = local.rsplit_once(':')?;
    let is_it = state == LISTEN && u16::from_str_radix(local_port, 16).ok()? == port;
    is_it.then(|| u64::from_str_radix(queues.split_once(':')?.1, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_waits_until_it_is_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(waiting(port), Some(0));
        let _caller = TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert_eq!(waiting(port), Some(1));
        let _taken = listener.accept().unwrap();
        assert_eq!(waiting(port), Some(0));
        drop(listener);
        assert_eq!(waiting(port), None);
    }
}
