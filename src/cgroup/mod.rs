//! Limits of memory, processes and processor time: a control group of the app's own.
//!
//! Only asked-for limits make a group; without any, nothing of this module runs. A group is made below the one that austere itself is in, so what
//! limits austere limits the app too; on version 2, where a group that has processes can pass no controllers on (cgroups(7), "no internal
//! processes"), below the nearest group above that can. Version 1, version 2 and both side by side are looked at controller by controller.
//! systemd is not asked: a normal user needs a group that was delegated (`systemd-run --user --scope -p Delegate=yes austere …`), or one above
//! that is the user's own.
//!
//! Sources: the kernel's `admin-guide/cgroup-v2.rst` and `admin-guide/cgroup-v1/`.

pub mod amount;
mod events;
mod folder;
mod hierarchy;
mod limit;
mod v1;
mod v2;

use std::fs;
use std::path::Path;

use nix::unistd::Pid;

use amount::{Bytes, Cpus, Pids, Swap};
pub use events::{Events, Killed, Refused};
use folder::{Folder, Why};
use hierarchy::Hierarchies;
use limit::Limit;

use crate::measure::Measure;

/// What may be limited. Nothing by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    memory: Option<Bytes>,
    swap: Option<Swap>,
    pids: Option<u32>,
    cpus: Option<Cpus>,
}

/// Limits that contradict each other.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// It counts memory and swap together.
    #[error("--memory-swap needs --memory beside it")]
    SwapAlone,
    /// The same.
    #[error("--memory-swap counts memory and swap together, so it cannot be less than --memory")]
    SwapBelowMemory,
}

impl Limits {
    /// As docker takes them: without `swap`, memory and swap together may be twice the memory.
    ///
    /// # Errors
    ///
    /// [`LimitsError`].
    pub fn new(
        memory: Option<Bytes>,
        swap: Option<Swap>,
        pids: Option<Pids>,
        cpus: Option<Cpus>,
    ) -> Result<Self, LimitsError> {
        match (memory, swap) {
            (None, Some(_)) => return Err(LimitsError::SwapAlone),
            (Some(memory), Some(Swap::Total(total))) if total < memory => return Err(LimitsError::SwapBelowMemory),
            _ => {}
        }
        Ok(Limits { memory, swap, pids: pids.and_then(|pids| pids.0), cpus })
    }

    /// Nothing is limited, and nothing will be made.
    pub fn is_empty(&self) -> bool {
        *self == Limits::default()
    }
}

/// What has to be there for a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Controller {
    Memory,
    Pids,
    Cpu,
}

impl Controller {
    const fn name(self) -> &'static str {
        match self {
            Controller::Memory => "memory",
            Controller::Pids => "pids",
            Controller::Cpu => "cpu",
        }
    }
}

/// What gives a normal user a group.
pub const DELEGATE: &str = "systemd-run --user --scope -p Delegate=yes austere …";

/// The group of version 2 below which this process could set every limit. Nothing is made.
///
/// # Errors
///
/// What is missing, in words.
pub fn delegated() -> Result<String, String> {
    let here = Hierarchies::here().map_err(|error| format!("looking for cgroups in /proc/self: {error}"))?;
    let hierarchy = here.v2().ok_or("no cgroup hierarchy is mounted here")?;
    v2::candidate(&hierarchy, &[Controller::Memory, Controller::Pids, Controller::Cpu])
}

/// A group in one hierarchy.
#[derive(Debug)]
enum Place {
    /// For one controller.
    V1(Controller, Folder),
    /// For all controllers that version 1 has not taken.
    V2(Vec<Controller>, Folder),
}

impl Place {
    fn folder(&self) -> &Folder {
        let (Place::V1(_, folder) | Place::V2(_, folder)) = self;
        folder
    }

    fn has(&self, controller: Controller) -> bool {
        match self {
            Place::V1(own, _) => *own == controller,
            Place::V2(all, _) => all.contains(&controller),
        }
    }

    fn set(&self, limit: &Limit) -> Result<(), Why> {
        match self {
            Place::V1(_, folder) => v1::set(folder, limit),
            Place::V2(_, folder) => v2::set(folder, limit),
        }
    }

    fn get(&self, limit: &Limit) -> Result<Option<u64>, Why> {
        match self {
            Place::V1(_, folder) => v1::get(folder, limit),
            Place::V2(_, folder) => v2::get(folder, limit),
        }
    }

    /// Whether `groups`, the text of `/proc/PID/cgroup`, says that the process is in here.
    fn holds(&self, groups: &str) -> bool {
        let group = match self {
            Place::V1(own, _) => hierarchy::group(groups, |all| all.split(',').any(|one| one == own.name())),
            Place::V2(..) => hierarchy::group(groups, str::is_empty),
        };
        group.is_some_and(|group| Path::new(group) == self.folder().group())
    }
}

/// The app's own group, in each hierarchy that is needed. Its folders are removed when this is dropped; no process is in them then.
#[derive(Debug)]
pub struct Group {
    limits: Vec<(Limit, Result<(), Why>)>,
    places: Vec<Place>,
}

impl Group {
    /// Makes the group and sets the limits, as far as this host lets us; [`Group::read_back`] tells how far that was. `applies` says which
    /// of the measures are not to be left out. Sweeps what a killed austere has left beside it.
    pub fn make(limits: &Limits, applies: impl Fn(&str) -> bool) -> Self {
        let mut wanted = limit::all(limits);
        let mut controllers: Vec<Controller> = wanted.iter().map(Limit::controller).collect();
        controllers.dedup();
        let (places, failed) = places(controllers);
        let place = |controller| places.iter().find(|place| place.has(controller));
        // Docker's own default for swap is left out where the kernel does not count swap, as docker does.
        wanted.retain(|limit| match (limit, place(limit.controller())) {
            (Limit::Swap { asked: false, .. }, Some(Place::V1(_, folder))) => v1::counts_swap(folder),
            (Limit::Swap { asked: false, .. }, Some(Place::V2(_, folder))) => v2::counts_swap(folder),
            _ => true,
        });
        let set = |limit: Limit| {
            let controller = limit.controller();
            let done = match place(controller) {
                Some(place) if applies(limit.name()) => place.set(&limit),
                Some(_) => Ok(()),
                None => {
                    Err(failed.iter().find(|(one, _)| *one == controller).map_or_else(Why::new, |(_, why)| why.clone()))
                }
            };
            (limit, done)
        };
        let limits = wanted.into_iter().map(set).collect();
        Group { limits, places }
    }

    /// Puts a process into the group, with all that it will start.
    pub fn take_in(&mut self, pid: Pid) {
        for place in &self.places {
            let Err(why) = place.folder().write("cgroup.procs", &pid.to_string()) else { continue };
            for (limit, done) in &mut self.limits {
                if place.has(limit.controller()) && done.is_ok() {
                    *done = Err(why.clone());
                }
            }
        }
    }

    /// Whether the process is in the group, and what the kernel says its limits are.
    pub fn read_back(&self, pid: i32) -> Vec<Measure> {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup"));
        let judge = |(limit, done): &(Limit, Result<(), Why>)| {
            let (name, asked) = (limit.name(), limit.describe(limit.amount()));
            if let Err(why) = done {
                return Measure::unavailable(name, asked, why.clone());
            }
            let Some(place) = self.places.iter().find(|place| place.has(limit.controller())) else {
                return Measure::unavailable(name, asked, "it has no group");
            };
            match (&groups, place.get(limit)) {
                (Err(error), _) => Measure::unverified(name, asked, format!("/proc/PID/cgroup: {error}")),
                (_, Err(why)) => Measure::unverified(name, asked, why),
                (Ok(groups), _) if !place.holds(groups) => {
                    Measure::judged(name, asked, Err("the app is not in its group".to_owned()))
                }
                (_, Ok(amount)) => {
                    let seen = limit.describe(amount);
                    let result = if limit.is(amount) { Ok(seen) } else { Err(format!("the kernel says {seen}")) };
                    Measure::judged(name, asked, result)
                }
            }
        };
        self.limits.iter().map(judge).collect()
    }

    /// How often the limits were met. The app has ended.
    pub fn events(&self) -> Events {
        events::read(&self.limits, &self.places)
    }
}

/// The groups for these controllers, and why some have none.
fn places(controllers: Vec<Controller>) -> (Vec<Place>, Vec<(Controller, Why)>) {
    let here = match Hierarchies::here() {
        Ok(here) => here,
        Err(error) => {
            let why = |controller| (controller, format!("looking for cgroups in /proc/self: {error}"));
            return (Vec::new(), controllers.into_iter().map(why).collect());
        }
    };
    let (mut places, mut failed, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    for controller in controllers {
        match here.v1(controller).map(|hierarchy| v1::make(&hierarchy)) {
            Some(Ok(folder)) => places.push(Place::V1(controller, folder)),
            Some(Err(why)) => failed.push((controller, why)),
            None => rest.push(controller),
        }
    }
    if rest.is_empty() {
        return (places, failed);
    }
    let Some(hierarchy) = here.v2() else {
        failed.extend(
            rest.into_iter().map(|one| (one, format!("no cgroup hierarchy with `{}` is mounted here", one.name()))),
        );
        return (places, failed);
    };
    let (known, unknown): (Vec<_>, Vec<_>) = rest.into_iter().partition(|one| v2::knows(&hierarchy, *one));
    failed.extend(unknown.into_iter().map(|one| (one, format!("cgroup v2 has no controller `{}` here", one.name()))));
    match if known.is_empty() { return (places, failed) } else { v2::make(&hierarchy, &known) } {
        Ok(folder) => places.push(Place::V2(known, folder)),
        Err(why) => failed.extend(known.into_iter().map(|one| (one, why.clone()))),
    }
    (places, failed)
}

#[cfg(test)]
mod tests;
