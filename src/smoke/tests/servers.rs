//! Servers that answer late, wrongly, without end or with malice.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::smoke::{Answer, ProbeResult, ProbeStatus};

/// Judges a process that does nothing while `serve` answers on a port of its own; `serve` gets the number of the connection.
fn served(
    probe: impl Fn(u16) -> Probe,
    timeout_ms: u64,
    serve: impl Fn(u32, TcpStream) + Send + Sync + 'static,
) -> Outcome {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = AtomicU32::new(0);
    // The thread ends with the test's process.
    thread::spawn(move || {
        thread::scope(|scope| {
            for stream in listener.incoming().flatten() {
                let number = count.fetch_add(1, Ordering::Relaxed);
                let serve = &serve;
                scope.spawn(move || serve(number, stream));
            }
        });
    });
    judge(Process::shell("exec sleep 60"), probe(port), timeout_ms)
}

fn http(port: u16) -> Probe {
    Probe::http(&port.to_string()).unwrap()
}

/// What becomes of one fixed reply, after which the connection is closed.
fn reply(bytes: &'static [u8]) -> ProbeResult {
    let outcome = served(http, 200, move |_, mut stream| {
        request(&mut stream);
        let _ = stream.write_all(bytes);
    });
    outcome.probes[0].clone()
}

fn request(stream: &mut TcpStream) -> String {
    let mut buffer = [0; 1024];
    let count = stream.read(&mut buffer).unwrap_or(0);
    String::from_utf8_lossy(&buffer[..count]).into_owned()
}

#[test]
fn replies_of_every_framing_are_read() {
    for good in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"[..],
        b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
        b"HTTP/1.0 200\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n1;x=y\r\n!\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
        // More than is read, as the first lines say.
        b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ] {
        let result = reply(good);
        assert_eq!(result.status, ProbeStatus::Passed, "{} {}", good.escape_ascii(), result.detail);
    }
}

#[test]
fn broken_replies_are_named() {
    for (bad, said) in [
        (&b""[..], "closed without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "answered `SSH-2.0-OpenSSH_9.2`, which is not HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "answered with TLS"),
        (b"\x00\x9b\xff\x1b[2J", "which is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi", "HTTP 200 OK, then closed 3 bytes before the end"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhi", "closed within a chunk"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "a chunk without a size"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nx", "without a size"),
        (b"HTTP/1.1 xyz\r\n\r\n", "broken HTTP head"),
        (b"HTTP/1.1 200 OK\r\nX: y", "then closed"),
    ] {
        let result = reply(bad);
        assert_eq!(result.status, ProbeStatus::Failed);
        assert!(result.detail.contains(said), "{} {}", bad.escape_ascii(), result.detail);
        assert!(!result.detail.contains(char::is_control));
    }
}

#[test]
fn the_request_is_what_a_server_expects() {
    let outcome = served(http, 500, |_, mut stream| {
        let text = request(&mut stream);
        let host = format!("\r\nHost: {}\r\n", stream.local_addr().unwrap());
        let good = text.starts_with("GET / HTTP/1.1\r\n") && text.contains(&host) && text.ends_with("\r\n\r\n");
        let _ = stream.write_all(if good { b"HTTP/1.1 200 OK\r\n\r\n" } else { b"HTTP/1.1 400 Bad\r\n\r\n" });
    });
    assert_eq!(outcome.answer, Answer::Works, "{:?}", outcome.probes);
}

#[test]
fn an_app_may_warm_up() {
    let outcome = served(http, 10_000, |number, mut stream| {
        request(&mut stream);
        match number {
            // Resets the connection: what was sent is not read.
            0 => {}
            1 | 2 => drop(stream.write_all(b"HTTP/1.1 503 Not Yet\r\n\r\n")),
            _ => drop(stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")),
        }
    });
    assert_eq!((outcome.answer, outcome.probes[0].attempts), (Answer::Works, 4), "{:?}", outcome.probes);
}

#[test]
fn what_never_ends_is_not_waited_for() {
    let forever = |start: &'static [u8], again: &'static [u8], timeout_ms| {
        let begun = Instant::now();
        let outcome = served(http, timeout_ms, move |_, mut stream| {
            let _ = stream.write_all(start);
            while stream.write_all(again).is_ok() {}
        });
        assert!(begun.elapsed() < Duration::from_secs(6));
        outcome.probes[0].clone()
    };
    let result = forever(b"HTTP/1.1 200 OK\r\n", b"X-More: 1234567890\r\n", 300);
    assert_eq!(result.status, ProbeStatus::Failed, "{}", result.detail);
    let result = forever(b"HTTP/1.1 200 OK\r\n", &[b'x'; 1000], 300);
    assert!(result.detail.contains("does not end"), "{}", result.detail);
    let result = forever(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 300);
    assert!(result.detail.contains("does not end"), "{}", result.detail);
    // The status was the answer; the body is read for a while only.
    assert_eq!(forever(b"HTTP/1.1 200 OK\r\n\r\n", b"body", 10_000).status, ProbeStatus::Passed);
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(forever(chunked, b"1\r\nx\r\n", 10_000).status, ProbeStatus::Passed);
}

#[test]
fn silence_costs_the_timeout_and_no_more() {
    let begun = Instant::now();
    let outcome = served(http, 300, |_, stream| {
        thread::sleep(Duration::from_secs(2));
        drop(stream);
    });
    assert!(begun.elapsed() < Duration::from_millis(1500));
    assert_eq!(codes(&outcome), ["not-ready"]);
    assert!(outcome.summary.contains("no complete answer in time"), "{}", outcome.summary);
}

#[test]
fn a_body_that_stops_in_the_middle_still_was_an_answer() {
    let outcome = served(http, 10_000, |_, mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
        thread::sleep(Duration::from_secs(4));
    });
    assert_eq!((outcome.answer, outcome.probes[0].attempts), (Answer::Works, 1));
}

#[test]
fn a_conversation_of_one_sentence() {
    let ping = |expect: &'static [u8]| {
        served(
            |port| Probe::Tcp { port, send: Some(b"PING\r\n".to_vec()), expect: Some(expect.to_vec()) },
            300,
            |_, mut stream| {
                // In two pieces, so that what is expected is cut.
                let said = if request(&mut stream) == "PING\r\n" { [b"+PO", b"NG\n"] } else { [b"-ER", b"R\r\n"] };
                for piece in said {
                    let _ = stream.write_all(piece);
                    thread::sleep(Duration::from_millis(5));
                }
            },
        )
    };
    assert_eq!(ping(b"+PONG").probes[0].detail, "answers `+PONG`");
    let outcome = ping(b"+PANG");
    assert_eq!(codes(&outcome), ["not-ready"]);
    assert_eq!(outcome.probes[0].detail, "answered `+PONG`");
}

#[test]
fn a_port_of_the_image_accepts_and_what_it_says_is_shown() {
    let port = |timeout, serve: fn(u32, TcpStream)| served(|port| Probe::Port { port }, timeout, serve);
    let outcome = port(5000, |_, mut stream| {
        request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 500 Oh No\r\n\r\n");
    });
    assert_eq!((outcome.answer, codes(&outcome)), (Answer::Works, vec!["http-5xx"]));
    assert_eq!(outcome.probes[0].detail, "accepts; HTTP 500 Oh No");
    let outcome = port(5000, |number, mut stream| {
        request(&mut stream);
        let _ = stream.write_all(if number == 0 { b"HTTP/1.1 503 -\r\n\r\n" } else { b"HTTP/1.1 200 -\r\n\r\n" });
    });
    assert_eq!((outcome.answer, outcome.findings.len()), (Answer::Works, 0));
    let outcome = port(5000, |_, mut stream| {
        request(&mut stream);
        let _ = stream.write_all(b"-ERR unknown command\r\n");
    });
    assert_eq!(outcome.probes[0].detail, "accepts; to HTTP: answered `-ERR unknown command`, which is not HTTP");
    let outcome = port(5000, |_, stream| {
        thread::sleep(Duration::from_secs(3));
        drop(stream);
    });
    assert_eq!(outcome.probes[0].detail, "accepts; does not answer HTTP");
}
