//! The flags that say what an app may use, spelled as docker does.

use crate::cgroup::amount::{Bytes, Cpus, Pids, Swap};
use crate::cgroup::{Limits, LimitsError};
use crate::manifest::Settings;

// Limits of the app.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Jail")]
pub(super) struct UsageArgs {
    /// The most memory the app may use; cgroup limits need root, or a delegated cgroup v2
    #[arg(short, long, value_name = "BYTES")]
    pub(super) memory: Option<Bytes>,
    /// Memory and swap together, -1 for no limit; twice the memory by default
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    pub(super) memory_swap: Option<Swap>,
    /// The most processes and threads, -1 for no limit
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(super) pids_limit: Option<Pids>,
    /// The most processor time: 0.5 is half a processor
    #[arg(long, value_name = "N")]
    pub(super) cpus: Option<Cpus>,
}

impl UsageArgs {
    /// The limits that the flags say.
    pub(super) fn limits(&self) -> Result<Limits, LimitsError> {
        Limits::new(self.memory, self.memory_swap, self.pids_limit, self.cpus)
    }

    /// The limits that the flags say, and a manifest where they say nothing.
    pub(super) fn limits_over(&self, settings: &Settings) -> anyhow::Result<Limits> {
        let cpus = settings.cpus.as_ref().map(|cpus| cpus.parse()).transpose()?;
        let memory = self.memory.or(settings.memory.map(Bytes));
        let pids = self.pids_limit.or(settings.pids.map(|pids| Pids(Some(pids))));
        Ok(Limits::new(memory, self.memory_swap, pids, self.cpus.or(cpus))?)
    }
}
