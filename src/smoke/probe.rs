//! One probe, from its first attempt to its last.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use super::http::{self, Reply};
use super::plan::Probe;
use super::tcp::{Connection, Miss, Watch, converse, holds};
use super::{ProbeResult, ProbeStatus, udp};
use crate::netns::Room;

/// The shortest wait before another attempt.
const FIRST_WAIT: Duration = Duration::from_micros(200);
/// The longest wait after a refused connection, which the app does not notice.
const REFUSED_WAIT: Duration = Duration::from_millis(5);
/// After a refused connection, this part of the time since the app's start is waited: so late, at most, it is seen that it listens.
const REFUSED_PART: u32 = 16;
/// The longest wait after an answer that was not the one: the app notices these, and may log them. Each is half as long again as the one before.
const ANSWERED_WAIT: Duration = Duration::from_millis(250);
/// How long a first attempt may wait for its answer; each later one may take twice as long as the one before. So an app that
/// never answers connections made too early is asked again, and one that is slow gets its time.
const FIRST_ANSWER: Duration = Duration::from_secs(2);
/// How long HTTP is tried on a port of which only a connection is asked.
const HTTP_TRY: Duration = Duration::from_secs(1);

/// What a successful attempt saw.
struct Seen {
    detail: String,
    status: Option<u16>,
}

/// Tries until the probe passes, the time is up or the app has ended.
pub(super) fn run(probe: &Probe, room: &Room, watch: &Watch<'_>, crowd: u32) -> ProbeResult {
    let mut result = ProbeResult::of(probe, ProbeStatus::Failed, String::new());
    let Some(port) = probe.port() else { return result };
    if let Err(error) = room.join() {
        result.status = ProbeStatus::Impossible;
        result.detail = format!("the app's network could not be entered: {error}");
        return result;
    }
    let to = SocketAddr::new(room.address().into(), port);
    let (mut wait, mut patience, mut connected) = (FIRST_WAIT, FIRST_ANSWER, false);
    loop {
        let begun = Instant::now();
        let attempt = once(probe, to, watch, (begun + patience).min(watch.deadline));
        result.attempts += 1;
        result.took = begun.elapsed();
        result.at = watch.started.elapsed();
        let miss = match attempt {
            Ok(seen) => {
                (result.status, result.detail, result.http_status) = (ProbeStatus::Passed, seen.detail, seen.status);
                return result;
            }
            Err(miss) => miss,
        };
        if watch.is_over() && connected && !miss.connected {
            // The port was closed by the app's end: what it said before tells more.
            return result;
        }
        if miss.connected {
            wait = (wait * 3 / 2).min(ANSWERED_WAIT);
        } else {
            let most = REFUSED_WAIT * crowd.div_ceil(8);
            wait = (watch.started.elapsed() * crowd / REFUSED_PART).clamp(FIRST_WAIT, most);
        }
        if miss.late {
            patience *= 2;
        }
        // An attempt that the deadline cut short says less than a complete one before it.
        if !(miss.late && connected && !result.detail.is_empty()) {
            (result.detail, result.http_status) = (miss.why, miss.status);
        }
        connected |= miss.connected;
        if watch.is_done() {
            break;
        }
        // Woken early when the app ends.
        thread::park_timeout(wait.min(watch.deadline.saturating_duration_since(Instant::now())));
    }
    if !connected && !watch.is_over() {
        result.loopback = on_loopback(probe, to, watch);
    }
    result
}

fn once(probe: &Probe, to: SocketAddr, watch: &Watch<'_>, until: Instant) -> Result<Seen, Miss> {
    if let Probe::Udp { send, expect, .. } = probe {
        return udp::ask(to, send, expect.as_deref(), watch, until).map(|detail| Seen { detail, status: None });
    }
    let mut connection = Connection::open(to, watch, until)?;
    match probe {
        Probe::Http { path, status, contains, headers, https, .. } => {
            if *https {
                connection = connection.secure(to)?;
            }
            let reply = http::get(&mut connection, to, path, headers)?;
            let said = reply.line();
            let lacks = contains.as_ref().filter(|text| !holds(&reply.body, text.as_bytes()));
            match lacks {
                _ if !status.contains(reply.status) => {
                    let why = if !https && reply.wants_tls() {
                        format!("{said}: it speaks TLS, ask with https")
                    } else {
                        said
                    };
                    Err(Miss { status: Some(reply.status), ..Miss::after_connect(why) })
                }
                Some(text) => {
                    let why = format!("{said} without `{text}` in its body");
                    Err(Miss { status: Some(reply.status), ..Miss::after_connect(why) })
                }
                None => Ok(Seen { detail: said, status: Some(reply.status) }),
            }
        }
        Probe::Tcp { send, expect, .. } => {
            let detail = converse(&mut connection, send.as_deref(), expect.as_deref())?;
            Ok(Seen { detail, status: None })
        }
        _ => {
            connection.be_taken()?;
            Ok(try_http(connection, to, watch))
        }
    }
}

/// The port accepts, which is enough. Whether it speaks HTTP is worth knowing; a server error may be its warming up, so that is
/// asked again for a moment.
fn try_http<'a>(mut connection: Connection<'a>, to: SocketAddr, watch: &'a Watch<'a>) -> Seen {
    let until = Instant::now() + HTTP_TRY;
    loop {
        connection.until(until);
        let answer = http::get(&mut connection, to, "/", &[]);
        if let Ok(Reply { status: 500.., .. }) = answer
            && Instant::now() + ANSWERED_WAIT < until
            && !watch.is_over()
        {
            thread::park_timeout(ANSWERED_WAIT);
            if let Ok(again) = Connection::open(to, watch, until) {
                connection = again;
                continue;
            }
        }
        return match answer {
            Ok(reply) => Seen { detail: format!("accepts; {}", reply.line()), status: Some(reply.status) },
            Err(miss) if miss.late => Seen { detail: "accepts; does not answer HTTP".to_owned(), status: None },
            Err(miss) => {
                let why = miss.why.strip_prefix("accepted, then ").unwrap_or(&miss.why);
                Seen { detail: format!("accepts; to HTTP: {why}"), status: miss.status }
            }
        };
    }
}

/// The loopback address that accepts where the room's own does not.
fn on_loopback(probe: &Probe, to: SocketAddr, watch: &Watch<'_>) -> Option<IpAddr> {
    let candidates = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
    candidates.into_iter().filter(|_| !to.ip().is_loopback()).find(|address| {
        let until = Instant::now() + Duration::from_millis(200);
        let there = SocketAddr::new(*address, to.port());
        match probe {
            Probe::Udp { send, .. } => udp::ask(there, send, None, watch, until).is_ok(),
            _ => Connection::open(there, watch, until).is_ok(),
        }
    })
}

impl ProbeResult {
    /// A result before anything was tried.
    pub(super) fn of(probe: &Probe, status: ProbeStatus, detail: impl Into<String>) -> Self {
        ProbeResult {
            probe: probe.clone(),
            status,
            detail: detail.into(),
            at: Duration::ZERO,
            took: Duration::ZERO,
            attempts: 0,
            http_status: None,
            loopback: None,
        }
    }
}
