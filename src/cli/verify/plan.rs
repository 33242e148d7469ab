//! The flags that say what the app must do.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use crate::image::{Config, ExposedPort, Healthcheck, Protocol};
use crate::manifest::{Engine, Settings};
use crate::smoke::plan::{self, Origin, Plan, Probe};

/// The largest plan file, in bytes.
const LARGEST: u64 = 1 << 20;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Smoke plan")]
pub(in crate::cli) struct PlanArgs {
    /// Must answer HTTP there (status 200-399 by default) [repeatable]
    #[arg(long, value_name = "PORT[/PATH][=STATUS]", value_parser = Probe::http)]
    pub http: Vec<Probe>,
    /// The same over TLS; the certificate is not checked [repeatable]
    #[arg(long, value_name = "PORT[/PATH][=STATUS]", value_parser = Probe::https)]
    pub https: Vec<Probe>,
    /// Must accept a TCP connection there [repeatable]
    #[arg(long, value_name = "PORT", value_parser = Probe::tcp)]
    pub tcp: Vec<Probe>,
    /// Must not refuse a UDP datagram there [repeatable]
    #[arg(long, value_name = "PORT", value_parser = Probe::udp)]
    pub udp: Vec<Probe>,
    /// Must write a line that matches, to standard output or error [repeatable]
    #[arg(long, value_name = "REGEX", value_parser = Probe::log)]
    pub log: Vec<Probe>,
    /// Must end by itself with this code
    #[arg(long, value_name = "CODE", value_parser = Probe::exit, conflicts_with_all = ["http", "https", "tcp", "udp", "up"])]
    pub exit: Option<Probe>,
    /// Must stay up this long
    #[arg(long, value_name = "SECONDS", value_parser = Probe::up)]
    pub up: Option<Probe>,
    /// All of this from a YAML file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["http", "https", "tcp", "udp", "log", "exit", "up"])]
    pub plan: Option<PathBuf>,
    /// Must be ready, or end, within this time [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = plan::seconds)]
    pub timeout: Option<Duration>,
    /// Must end within this time of its stop signal; without it the stop is not judged
    #[arg(long, value_name = "SECONDS", value_parser = plan::seconds)]
    pub grace: Option<Duration>,
    /// Run it this many times; every run must pass
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeat: u32,
}

impl PlanArgs {
    /// What was asked for, else what a manifest asks for, else what follows from the image, whose ports are the published ones where there are
    /// such.
    pub(super) fn plan_with(
        &self,
        config: &Config,
        settings: Option<&Settings>,
        published: &[u16],
    ) -> anyhow::Result<Plan> {
        let mut config = config.clone();
        if !published.is_empty() {
            config.exposed_ports = tcp(published);
        }
        let config = &config;
        let plan = self.plan(config)?;
        let (Origin::Image, Some(settings)) = (plan.origin, settings) else { return Ok(plan) };
        let timeout = self.timeout.or(settings.timeout).unwrap_or(plan::TIMEOUT);
        let probes = match (&settings.probes[..], settings.ends) {
            (_, true) => vec![Probe::Exit { code: 0 }],
            ([], false) if settings.ports.is_empty() && settings.health.is_none() => return Ok(plan),
            ([], false) => {
                // As if the image said so, which is what a port and a health check of a manifest mean.
                let mut config = config.clone();
                if !settings.ports.is_empty() {
                    config.exposed_ports = tcp(&settings.ports);
                }
                config.healthcheck = match (&settings.health, settings.engine) {
                    (Some(test), _) => Some(Healthcheck { test: test.clone(), ..Healthcheck::default() }),
                    (None, Engine::Compose) => config.healthcheck,
                    (None, Engine::Kubernetes) => None,
                };
                let plan = Plan { origin: Origin::Manifest, ..Plan::from_image(&config, timeout) };
                return Ok(plan.with_grace(self.grace));
            }
            (probes, false) => probes.to_vec(),
        };
        Ok(Plan::new(Origin::Manifest, probes, timeout)?.with_grace(self.grace))
    }

    /// What was asked for, or what follows from the image.
    pub(super) fn plan(&self, config: &Config) -> anyhow::Result<Plan> {
        let timeout = self.timeout.unwrap_or(plan::TIMEOUT);
        let asked = self
            .http
            .iter()
            .chain(&self.https)
            .chain(&self.tcp)
            .chain(&self.udp)
            .chain(&self.log)
            .chain(&self.exit)
            .chain(&self.up);
        let probes: Vec<_> = asked.cloned().collect();
        let plan = match &self.plan {
            Some(path) => {
                let plan = read(path).and_then(|text| Ok(Plan::from_file(&text)?));
                let plan = plan.with_context(|| format!("the plan {}", path.display()))?;
                Plan { timeout: self.timeout.unwrap_or(plan.timeout), ..plan }
            }
            None if probes.is_empty() => Plan::from_image(config, timeout),
            None => Plan::new(Origin::Flags, probes, timeout)?,
        };
        Ok(plan.with_grace(self.grace))
    }
}

/// Ports as if an image exposed them.
fn tcp(ports: &[u16]) -> Vec<ExposedPort> {
    ports.iter().map(|port| ExposedPort { port: *port, protocol: Protocol::Tcp }).collect()
}

fn read(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)?;
    anyhow::ensure!(text.len() as u64 <= LARGEST, "it is larger than {LARGEST} bytes");
    Ok(text)
}
