//! What the app must answer before it is believed to work.

pub mod file;
mod health;
mod probes;
mod words;

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::finding::{Finding, Role, Severity};
use crate::image::{Config, Protocol};

pub use probes::{Kind, Pattern, Probe, StatusRange, hex};
pub use words::{WordError, seconds};

/// How long an app has to become ready when nobody said otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(30);
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
    /// An app that does not end by its stop signal within the grace has failed.
    pub judges_stop: bool,
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

/// Probes that cannot make a plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Nothing to test would always pass.
    #[error("a smoke plan without a probe proves nothing")]
    Empty,
    /// An app cannot be asked to end and to stay.
    #[error(
        "an app that has to end with exit code {0} cannot also have to stay and answer\n  hint: of the others, only a line of its log can be asked for beside it"
    )]
    ExitAndMore(u8),
    /// Only one end is possible.
    #[error("an app cannot end with two exit codes")]
    TwoExits,
    /// A plan file that is not one.
    #[error("line {line}, column {column}: {why}")]
    File {
        /// From 1; 0 where it is not known.
        line: u64,
        /// From 1.
        column: u64,
        /// What is wrong there.
        why: String,
    },
}

impl Plan {
    /// The plan of someone who said what to test.
    ///
    /// # Errors
    ///
    /// [`PlanError`]: no probes, or probes that contradict each other.
    pub fn new(origin: Origin, probes: Vec<Probe>, timeout: Duration) -> Result<Self, PlanError> {
        let codes: Vec<_> = probes
            .iter()
            .filter_map(|probe| if let Probe::Exit { code } = probe { Some(*code) } else { None })
            .collect();
        let stays = |probe: &Probe| probe.port().is_some() || matches!(probe, Probe::Up { .. });
        match codes[..] {
            _ if probes.is_empty() => Err(PlanError::Empty),
            [_, _, ..] => Err(PlanError::TwoExits),
            [code] if probes.iter().any(stays) => Err(PlanError::ExitAndMore(code)),
            _ => Ok(Plan { origin, probes, timeout, grace: Duration::ZERO, judges_stop: false, notes: Vec::new() }),
        }
    }

    /// The same plan, which judges the stop too.
    #[must_use]
    pub fn with_grace(self, grace: Option<Duration>) -> Self {
        match grace {
            Some(grace) => Plan { grace, judges_stop: true, ..self },
            None => self,
        }
    }

    /// The plan that follows from an image alone: every exposed TCP port accepts a connection, or answers what the image's health
    /// check asks it. An image that exposes none must stay up for 3 seconds or exit 0.
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
        health::refine(config, &mut probes, &mut notes);
        if probes.is_empty() {
            probes.push(Probe::Up { duration: UP, or_exit_0: true });
            notes.push(note(
                "no-port-exposed",
                "the image exposes no TCP port, so staying up for 3 s or exiting 0 is the whole test".to_owned(),
                "say what the app must answer: --http PORT[/PATH], --tcp PORT, --exit CODE or --up SECONDS",
            ));
        }
        Plan { origin: Origin::Image, probes, timeout, grace: Duration::ZERO, judges_stop: false, notes }
    }

    /// Whether some probe asks the app to accept connections.
    pub fn has_ports(&self) -> bool {
        self.probes.iter().any(|probe| probe.port().is_some())
    }

    /// Whether all that is asked of ports is to accept a connection.
    pub fn only_connects(&self) -> bool {
        let connects = |probe: &Probe| matches!(probe, Probe::Port { .. } | Probe::Tcp { expect: None, .. });
        self.has_ports() && self.probes.iter().filter(|probe| probe.port().is_some()).all(connects)
    }

    /// Whether an app that has ended can have done all that was asked.
    pub fn allows_end(&self) -> bool {
        let ends = |probe: &Probe| matches!(probe, Probe::Exit { .. } | Probe::Up { or_exit_0: true, .. });
        !self.has_ports() && self.probes.iter().any(ends)
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
        let log = Probe::log("done").unwrap();
        assert!(plan(vec![log.clone(), Probe::Exit { code: 3 }]).unwrap().allows_end());
        assert!(!plan(vec![log]).unwrap().allows_end());
        assert!(matches!(plan(vec![Probe::Exit { code: 3 }, Probe::Exit { code: 4 }]), Err(PlanError::TwoExits)));
    }
}
