//! What the app must answer before it is believed to work.

mod words;

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::finding::{Finding, Role, Severity};
use crate::image::{Config, Protocol};

pub use words::{WordError, seconds};

/// How long an app has to become ready when nobody said otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(30);
/// How long an app has to end after its stop signal; `docker stop` waits as long.
pub const GRACE: Duration = Duration::from_secs(1);
/// How long an app that promises no port must stay up.
const UP: Duration = Duration::from_secs(3);

/// The test an app has to pass: every probe, and being alive afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Where the plan comes from.
    pub origin: Origin,
    /// At least one.
    pub probes: Vec<Probe>,
    /// Counted from the app's start: how long readiness is waited for. [`Probe::Up`] brings its own time.
    pub timeout: Duration,
    /// From the stop signal to SIGKILL.
    pub grace: Duration,
    /// What the plan leaves out, and why it is as it is.
    pub notes: Vec<Finding>,
}

/// Who asked for a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Nobody: it follows from the image's configuration.
    Image,
    /// The command line.
    Flags,
    /// A plan file.
    File,
    /// A Kubernetes or compose manifest.
    Manifest,
}

/// One thing an app must do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Probe {
    /// Accept a TCP connection. HTTP is tried as well, and whatever it answers does not make the probe fail.
    Port {
        /// On the room's own address.
        port: u16,
    },
    /// Answer `GET path` with one of these statuses.
    Http {
        /// On the room's own address.
        port: u16,
        /// Starts with `/`; visible ASCII only.
        path: String,
        /// The statuses that count as an answer.
        status: StatusRange,
    },
    /// Accept a TCP connection, and hold a conversation of one sentence where one is given.
    Tcp {
        /// On the room's own address.
        port: u16,
        /// What is said first.
        send: Option<Vec<u8>>,
        /// What the reply must contain.
        expect: Option<Vec<u8>>,
    },
    /// End by itself, with this exit code.
    Exit {
        /// 0 to 255.
        code: u8,
    },
    /// Not end.
    Up {
        /// Counted from the app's start.
        duration: Duration,
        /// Ending with exit code 0 before is as good.
        or_exit_0: bool,
    },
}

/// HTTP statuses from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRange {
    low: u16,
    high: u16,
}

impl StatusRange {
    /// An answer that is neither an error of the client nor of the server.
    pub const OK: StatusRange = StatusRange { low: 200, high: 399 };

    /// Whether `status` is one of them.
    pub fn contains(self, status: u16) -> bool {
        (self.low..=self.high).contains(&status)
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.low, self.high) {
            (low, high) if low == high => write!(f, "{low}"),
            (low, high) => write!(f, "{low}-{high}"),
        }
    }
}

/// A kind of probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A port accepts a connection; what it answers to HTTP is shown.
    Port,
    /// An HTTP status.
    Http,
    /// A TCP connection, perhaps with a reply.
    Tcp,
    /// An exit code.
    Exit,
    /// A time without an end.
    Up,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Port => "port",
            Kind::Http => "http",
            Kind::Tcp => "tcp",
            Kind::Exit => "exit",
            Kind::Up => "up",
        })
    }
}

/// Probes that cannot make a plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Nothing to test would always pass.
    #[error("a smoke plan without a probe proves nothing")]
    Empty,
    /// An app cannot be asked to end and to stay.
    #[error("an app that has to end with exit code {0} cannot also have to stay and answer\n  hint: use --exit alone")]
    ExitAndMore(u8),
}

impl Plan {
    /// The plan of someone who said what to test.
    ///
    /// # Errors
    ///
    /// [`PlanError`]: no probes, or probes that contradict each other.
    pub fn new(origin: Origin, probes: Vec<Probe>, timeout: Duration) -> Result<Self, PlanError> {
        let exit = probes.iter().find_map(|probe| if let Probe::Exit { code } = probe { Some(*code) } else { None });
        match exit {
            _ if probes.is_empty() => Err(PlanError::Empty),
            Some(code) if probes.len() > 1 => Err(PlanError::ExitAndMore(code)),
            _ => Ok(Plan { origin, probes, timeout, grace: GRACE, notes: Vec::new() }),
        }
    }

    /// The plan that follows from an image alone: every exposed TCP port accepts a connection. An image that exposes none must
    /// stay up for 3 seconds or exit 0.
    pub fn from_image(config: &Config, timeout: Duration) -> Self {
        let mut exposed = config.exposed_ports.clone();
        exposed.sort_unstable();
        exposed.dedup();
        let (tcp, other): (Vec<_>, Vec<_>) =
            exposed.into_iter().partition(|exposed| exposed.protocol == Protocol::Tcp && exposed.port != 0);
        let mut probes: Vec<_> = tcp.iter().map(|exposed| Probe::Port { port: exposed.port }).collect();
        let mut notes: Vec<_> = other
            .iter()
            .map(|exposed| {
                let protocol = match exposed.protocol {
                    Protocol::Tcp => "tcp",
                    Protocol::Udp => "udp",
                    Protocol::Sctp => "sctp",
                };
                note("port-not-checked", format!("port {}/{protocol} is exposed and was not checked", exposed.port), "")
            })
            .collect();
        if probes.is_empty() {
            probes.push(Probe::Up { duration: UP, or_exit_0: true });
            notes.push(note(
                "no-port-exposed",
                "the image exposes no TCP port, so staying up for 3 s or exiting 0 is the whole test".to_owned(),
                "say what the app must answer: --http PORT[/PATH], --tcp PORT, --exit CODE or --up SECONDS",
            ));
        }
        Plan { origin: Origin::Image, probes, timeout, grace: GRACE, notes }
    }

    /// Whether some probe asks the app to accept connections.
    pub fn has_ports(&self) -> bool {
        self.probes.iter().any(|probe| probe.port().is_some())
    }
}

fn note(code: &str, message: String, advice: &str) -> Finding {
    let advice = (!advice.is_empty()).then(|| advice.to_owned());
    Finding {
        code: code.to_owned(),
        role: Role::Static,
        severity: Severity::Notice,
        message,
        advice,
        ..Finding::default()
    }
}

impl Probe {
    /// The kind of probe.
    pub fn kind(&self) -> Kind {
        match self {
            Probe::Port { .. } => Kind::Port,
            Probe::Http { .. } => Kind::Http,
            Probe::Tcp { .. } => Kind::Tcp,
            Probe::Exit { .. } => Kind::Exit,
            Probe::Up { .. } => Kind::Up,
        }
    }

    /// What it is about: `80`, `80/healthz`, `code 0`, `3 s`.
    pub fn target(&self) -> String {
        match self {
            Probe::Port { port } | Probe::Tcp { port, .. } => port.to_string(),
            Probe::Http { port, path, .. } => format!("{port}{path}"),
            Probe::Exit { code } => format!("code {code}"),
            Probe::Up { duration, .. } => format!("{} s", duration.as_secs_f64()),
        }
    }

    /// What makes it pass, as the end of a sentence that starts with "it must".
    pub fn want(&self) -> String {
        match self {
            Probe::Port { .. } | Probe::Tcp { expect: None, .. } => "accept a connection".to_owned(),
            Probe::Http { status, .. } => format!("answer with status {status}"),
            Probe::Tcp { expect: Some(expect), .. } => format!("answer `{}`", expect.escape_ascii()),
            Probe::Exit { code } => format!("exit {code}"),
            Probe::Up { or_exit_0: false, .. } => "stay up".to_owned(),
            Probe::Up { or_exit_0: true, .. } => "stay up or exit 0".to_owned(),
        }
    }

    /// The port it connects to.
    pub fn port(&self) -> Option<u16> {
        match self {
            Probe::Port { port } | Probe::Http { port, .. } | Probe::Tcp { port, .. } => Some(*port),
            Probe::Exit { .. } | Probe::Up { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ExposedPort;

    fn config(ports: &[(u16, Protocol)]) -> Config {
        let exposed_ports = ports.iter().map(|&(port, protocol)| ExposedPort { port, protocol }).collect();
        Config { exposed_ports, ..Config::default() }
    }

    #[test]
    fn every_exposed_tcp_port_is_probed_once() {
        let plan = Plan::from_image(
            &config(&[(443, Protocol::Tcp), (80, Protocol::Tcp), (80, Protocol::Tcp), (53, Protocol::Udp)]),
            TIMEOUT,
        );
        assert_eq!(plan.probes, [Probe::Port { port: 80 }, Probe::Port { port: 443 }]);
        assert_eq!(plan.notes.len(), 1);
        assert_eq!(plan.notes[0].message, "port 53/udp is exposed and was not checked");
    }

    #[test]
    fn an_image_that_exposes_no_tcp_port_must_stay_or_end_well() {
        for ports in [&[][..], &[(53, Protocol::Udp)], &[(0, Protocol::Tcp)]] {
            let plan = Plan::from_image(&config(ports), TIMEOUT);
            assert_eq!(plan.probes, [Probe::Up { duration: UP, or_exit_0: true }]);
            assert_eq!(plan.notes.last().unwrap().code, "no-port-exposed");
        }
    }

    #[test]
    fn a_plan_tests_something_and_does_not_contradict_itself() {
        let plan = |probes| Plan::new(Origin::Flags, probes, TIMEOUT);
        let tcp = Probe::Tcp { port: 80, send: None, expect: None };
        assert!(matches!(plan(vec![]), Err(PlanError::Empty)));
        assert!(matches!(plan(vec![tcp.clone(), Probe::Exit { code: 3 }]), Err(PlanError::ExitAndMore(3))));
        assert!(plan(vec![Probe::Exit { code: 3 }]).is_ok());
        assert!(plan(vec![tcp]).is_ok());
    }
}
