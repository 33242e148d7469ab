//! Version 1: a hierarchy for each controller. Only root may make groups, unless it gave some away.

use super::amount::Cpus;
use super::folder::{self, Folder, Why};
use super::hierarchy::Hierarchy;
use super::limit::Limit;

const MEMORY: &str = "memory.limit_in_bytes";
const SWAP: &str = "memory.memsw.limit_in_bytes";
const QUOTA: &str = "cpu.cfs_quota_us";

/// How many bytes, and more, mean that there is no limit: the kernel's own word for it is the largest number, in whole pages.
const UNLIMITED: u64 = 1 << 62;

/// A group below our own.
pub(super) fn make(hierarchy: &Hierarchy) -> Result<Folder, Why> {
    let parent = hierarchy.folder(&hierarchy.group);
    folder::sweep(&parent);
    Folder::make(&parent, &hierarchy.group)
        .map_err(|why| format!("{why} (with cgroup v1 only root can set limits: run austere as root)"))
}

/// Whether the kernel was started so that it counts swap.
pub(super) fn counts_swap(folder: &Folder) -> bool {
    folder.has(SWAP)
}

pub(super) fn set(folder: &Folder, limit: &Limit) -> Result<(), Why> {
    let amount = limit.amount().map_or_else(|| "-1".to_owned(), |amount| amount.to_string());
    match limit {
        Limit::Memory(_) => folder.write(MEMORY, &amount),
        Limit::Swap { .. } => folder.write(SWAP, &amount),
        Limit::Pids(_) => folder.write("pids.max", &amount),
        Limit::Cpu(_) => {
            folder.write("cpu.cfs_period_us", &Cpus::PERIOD.to_string())?;
            folder.write(QUOTA, &amount)
        }
    }
}

pub(super) fn get(folder: &Folder, limit: &Limit) -> Result<Option<u64>, Why> {
    let read = |file: &str| -> Result<Option<u64>, Why> {
        let text = folder.read(file)?;
        match text.as_str() {
            "max" | "-1" => Ok(None),
            number => number
                .parse()
                .map(|number| Some(number).filter(|number| *number < UNLIMITED))
                .map_err(|_| format!("{file} says {text}")),
        }
    };
    match limit {
        Limit::Memory(_) => read(MEMORY),
        Limit::Swap { .. } => read(SWAP),
        Limit::Pids(_) => read("pids.max"),
        Limit::Cpu(_) => match read("cpu.cfs_period_us")? {
            Some(Cpus::PERIOD) => read(QUOTA),
            period => Err(format!("cpu.cfs_period_us says {period:?}")),
        },
    }
}
