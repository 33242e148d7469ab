//! One limit: its measure's name, its amount, and how it is said.

use super::amount::{Bytes, Cpus, Swap};
use super::{Controller, Limits};

/// One limit.
#[derive(Clone, Copy, Debug)]
pub(super) enum Limit {
    /// Bytes of memory.
    Memory(Bytes),
    /// Bytes of memory and swap together; `asked` when the command line says so and docker's default does not.
    Swap { memory: Bytes, total: Swap, asked: bool },
    /// Processes and threads.
    Pids(u32),
    /// Processor time.
    Cpu(Cpus),
}

/// What is asked for, in the order in which the kernel takes it: version 1 refuses a limit of both that is below that of memory.
pub(super) fn all(limits: &Limits) -> Vec<Limit> {
    let swap = limits.memory.map(|memory| Limit::Swap {
        memory,
        total: limits.swap.unwrap_or(Swap::Total(Bytes(memory.0 * 2))),
        asked: limits.swap.is_some(),
    });
    let (memory, pids, cpu) =
        (limits.memory.map(Limit::Memory), limits.pids.map(Limit::Pids), limits.cpus.map(Limit::Cpu));
    [memory, swap, pids, cpu].into_iter().flatten().collect()
}

/// The largest page: the kernel rounds a limit of memory down to whole ones.
const PAGE: u64 = 64 << 10;

impl Limit {
    /// The measure's name.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Limit::Memory(_) => "memory-limit",
            Limit::Swap { .. } => "memory-swap-limit",
            Limit::Pids(_) => "pids-limit",
            Limit::Cpu(_) => "cpu-limit",
        }
    }

    pub(super) fn controller(&self) -> Controller {
        match self {
            Limit::Memory(_) | Limit::Swap { .. } => Controller::Memory,
            Limit::Pids(_) => Controller::Pids,
            Limit::Cpu(_) => Controller::Cpu,
        }
    }

    /// Bytes, processes, or microseconds of each period; `None` for no limit.
    pub(super) fn amount(&self) -> Option<u64> {
        match self {
            Limit::Memory(Bytes(bytes)) | Limit::Swap { total: Swap::Total(Bytes(bytes)), .. } => Some(*bytes),
            Limit::Swap { total: Swap::Unlimited, .. } => None,
            Limit::Pids(pids) => Some(u64::from(*pids)),
            Limit::Cpu(cpus) => Some(cpus.quota()),
        }
    }

    /// Whether an amount that was read back is the one asked for.
    pub(super) fn is(&self, seen: Option<u64>) -> bool {
        match (self, self.amount(), seen) {
            // Two limits were rounded for the sum of memory and swap.
            (Limit::Memory(_) | Limit::Swap { .. }, Some(asked), Some(seen)) => {
                asked.checked_sub(seen).is_some_and(|less| less < 2 * PAGE)
            }
            (_, asked, seen) => asked == seen,
        }
    }

    /// An amount of this limit in words.
    pub(super) fn describe(&self, amount: Option<u64>) -> String {
        match (self, amount) {
            (_, None) => "no limit".to_owned(),
            (Limit::Memory(_), Some(bytes)) => Bytes(bytes).to_string(),
            (Limit::Swap { .. }, Some(bytes)) => format!("{} with swap", Bytes(bytes)),
            (Limit::Pids(_), Some(1)) => "1 process".to_owned(),
            (Limit::Pids(_), Some(pids)) => format!("{pids} processes"),
            (Limit::Cpu(_), Some(quota)) => format!("{} of each {} µs", quota, Cpus::PERIOD),
        }
    }
}
