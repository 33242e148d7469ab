//! One datagram to an app, and what comes back.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::plan::hex;
use super::tcp::{Miss, Watch, holds, plainly};

/// How long a read may block before it is looked whether all is over.
const SLICE: Duration = Duration::from_millis(20);
/// How long a refusal may take: within one host the ICMP message is there before the send returns.
const REFUSAL: Duration = Duration::from_millis(50);
/// How long one datagram is waited for before it is sent again: it may have come too early.
const AGAIN: Duration = Duration::from_millis(500);
/// The largest datagram.
const LARGEST: usize = 64 << 10;
/// How much of an answer is shown.
const SHOWN: usize = 24;

/// Sends `send` and waits for a datagram that contains `expect`; without it, for the absence of a refusal.
pub(super) fn ask(
    to: SocketAddr,
    send: &[u8],
    expect: Option<&[u8]>,
    watch: &Watch<'_>,
    until: Instant,
) -> Result<String, Miss> {
    let closed = |why: String| Miss { connected: false, why, status: None, late: false };
    let from: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(from).and_then(|socket| {
        // A connected socket is told when the port refuses (udp(7)).
        socket.connect(to)?;
        socket.set_read_timeout(Some(SLICE))?;
        socket.send(send)?;
        Ok(socket)
    });
    let socket = socket.map_err(|error| closed(refused(&error)))?;
    let until = until.min(Instant::now() + if expect.is_some() { AGAIN } else { REFUSAL });
    let mut buffer = vec![0; LARGEST];
    let mut other = None;
    loop {
        match (socket.recv(&mut buffer), expect) {
            (Ok(count), Some(expect)) if !holds(&buffer[..count], expect) => other = Some(shown(&buffer[..count])),
            (Ok(count), _) => return Ok(format!("answers {}", shown(&buffer[..count]))),
            (Err(e), _) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {
            }
            (Err(error), _) => return Err(closed(refused(&error))),
        }
        if watch.is_over() || Instant::now() >= until {
            return match (expect, other) {
                (None, _) => Ok("does not refuse".to_owned()),
                (Some(_), Some(answer)) => Err(Miss::after_connect(format!("answered {answer}"))),
                (Some(_), None) => Err(Miss::after_connect("did not refuse, and did not answer")),
            };
        }
    }
}

fn refused(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "port unreachable".to_owned(),
        _ => plainly(error),
    }
}

fn shown(datagram: &[u8]) -> String {
    let more = if datagram.len() > SHOWN { "…" } else { "" };
    match datagram {
        [] => "an empty datagram".to_owned(),
        _ => format!("{}{more}", hex(&datagram[..datagram.len().min(SHOWN)])),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn an_answer_is_heard_and_a_closed_port_is_known() {
        let app = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = app.local_addr().unwrap();
        let (over, started) = (AtomicBool::new(false), Instant::now());
        let deadline = started + Duration::from_secs(5);
        let watch = Watch { started, deadline, over: &over };
        assert_eq!(ask(to, b"x", None, &watch, deadline).unwrap(), "does not refuse");
        let echo = std::thread::spawn(move || {
            let mut buffer = [0; 64];
            for _ in 0..3 {
                let (count, from) = app.recv_from(&mut buffer).unwrap();
                app.send_to(&buffer[..count], from).unwrap();
            }
        });
        assert_eq!(ask(to, b"abc", Some(b"bc"), &watch, deadline).unwrap(), "answers 616263");
        assert_eq!(ask(to, b"abc", Some(b"cb"), &watch, deadline).unwrap_err().why, "answered 616263");
        echo.join().unwrap();
        let miss = ask(to, b"abc", None, &watch, deadline).unwrap_err();
        assert!(!miss.connected && miss.why == "port unreachable", "{miss:?}");
    }
}
