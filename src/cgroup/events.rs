//! How often limits were met, as the kernel counted it.

use super::folder::Why;
use super::limit::Limit;
use super::{Controller, Place};

/// What the limits did to the app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Processes of the app were killed for want of memory.
    pub killed: Option<Killed>,
    /// The app was refused new processes or threads.
    pub refused: Option<Refused>,
}

/// Processes that the kernel killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Killed {
    /// How many.
    pub processes: u64,
    /// The limit was reached; otherwise the host itself, or a group above, had no memory left.
    pub at_limit: bool,
    /// The limit in bytes.
    pub limit: u64,
}

/// Processes and threads that did not come to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// How often.
    pub times: u64,
    /// The most that were allowed.
    pub limit: u64,
}

/// So many bytes below the limit the next page may already be refused: the largest page.
const NEARLY: u64 = 64 << 10;

pub(super) fn read(limits: &[(Limit, Result<(), Why>)], places: &[Place]) -> Events {
    let place = |controller| places.iter().find(|place: &&Place| place.has(controller));
    let set = limits.iter().filter(|(_, done)| done.is_ok());
    let mut events = Events::default();
    for limit in set.map(|(limit, _)| limit) {
        match limit {
            Limit::Memory(bytes) => events.killed = place(Controller::Memory).and_then(|place| killed(place, bytes.0)),
            Limit::Pids(pids) => events.refused = place(Controller::Pids).and_then(|place| refused(place, *pids)),
            Limit::Swap { .. } | Limit::Cpu(_) => {}
        }
    }
    events
}

/// Version 1 has counted kills since Linux 4.13. It does not count every time the limit of memory with swap is met (6.18 does not), so
/// the highest use is looked at too.
fn killed(place: &Place, limit: u64) -> Option<Killed> {
    let number = |file: &str| place.folder().read(file).ok().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let (processes, at_limit) = match place {
        Place::V1(_, folder) => (
            folder.count("memory.oom_control", "oom_kill"),
            number("memory.failcnt") > 0 || number("memory.max_usage_in_bytes").saturating_add(NEARLY) >= limit,
        ),
        Place::V2(_, folder) => {
            (folder.count("memory.events", "oom_kill"), folder.count("memory.events", "max").is_some_and(|met| met > 0))
        }
    };
    processes.filter(|processes| *processes > 0).map(|processes| Killed { processes, at_limit, limit })
}

fn refused(place: &Place, limit: u32) -> Option<Refused> {
    let times = place.folder().count("pids.events", "max").filter(|times| *times > 0)?;
    Some(Refused { times, limit: u64::from(limit) })
}
