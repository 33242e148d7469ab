//! An app that cannot be stopped at its first instruction, because nobody may trace it: it runs, and may be gone, before it is looked at.

use std::io;

use nix::errno::Errno;
use nix::unistd::Pid;

use super::Spec;
use crate::host;
use crate::measure::{Measure, MeasureStatus};
use crate::netns::Room;
use crate::process::Process;

/// What an app may change of itself.
const OWN: [&str; 8] = ["user", "group", "groups", "capabilities", "environment", "descriptors", "stdio", "rlimits"];

/// What is taken of such an app while it is still its launcher.
pub(super) struct Unstopped {
    /// Why, and what can be done.
    why: String,
    room: io::Result<Room>,
}

impl Unstopped {
    /// Call it right after `PTRACE_SEIZE` was refused.
    pub(super) fn take(spec: &Spec, pid: Pid, errno: Errno) -> Self {
        let launcher = Process::open(pid.as_raw());
        let tracer = launcher.as_ref().map_or(0, |launcher| launcher.status().tracerpid);
        let check = host::untraced(tracer, errno);
        let why = format!("{}{}", check.explained(), check.remedy.map_or_else(String::new, |how| format!("; {how}")));
        // Once the app is gone there is no way into its network.
        let room = launcher.and_then(|launcher| launcher.open_namespace("net")).map(Room::new);
        Unstopped { why, room: if spec.has_room() { room } else { Ok(Room::host()) } }
    }

    /// What was read back of the running app, or of what was left of it: what does not hold may be its own doing, or mean that it is gone.
    pub(super) fn doubt(self, pid: Pid, read_back: Vec<Measure>) -> (Vec<Measure>, io::Result<Room>, String) {
        let is_gone = Process::open(pid.as_raw()).map_or(true, |app| app.status().state.starts_with(['Z', 'X']));
        let doubted = read_back.into_iter().map(|measure| match measure.status {
            // A wall that is not there was not taken away by the app.
            MeasureStatus::Broken if !is_gone && !OWN.contains(&measure.name.as_str()) => measure,
            MeasureStatus::Broken | MeasureStatus::Unverified => {
                let found =
                    measure.why.or(measure.read_back).map_or_else(String::new, |found| format!(", and then: {found}"));
                let why = Some(format!("the app was running already{found}"));
                Measure { status: MeasureStatus::Unverified, read_back: None, why, ..measure }
            }
            MeasureStatus::Holds | MeasureStatus::Unavailable => measure,
        });
        let stop = Measure::unverified("stop-at-exec", "nothing of the app runs before it was looked at", &self.why);
        (std::iter::once(stop).chain(doubted).collect(), self.room, self.why)
    }
}
