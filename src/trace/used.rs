//! Which system calls an app makes, seen while it runs: for a profile of its own.
//!
//! Every call stops ([`crate::seccomp::record`]), is written down, and goes on; none is followed to its end. What the profile refuses is answered as it
//! answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::Pid;

use super::follow::{Follower, follow, is_group_stop};
use crate::jail::subject::Subject as _;
use crate::jail::{self, Gate, Spec, StartError, Started};
use crate::profile::seccomp::Arch;
use crate::seccomp::observe::SEEN;
use crate::seccomp::{audit_arch, name};
use crate::smoke::plan::Plan;
use crate::smoke::{self, Outcome};
use crate::sys::ptrace::{Resume, Stop, resume, skip, syscall_info};

/// The calls of one run, or of several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// What was allowed.
    pub allowed: BTreeMap<Arch, BTreeSet<&'static str>>,
    /// What was refused, and with which errno.
    pub refused: BTreeMap<&'static str, u16>,
}

impl Used {
    /// With what another run used.
    pub fn merge(&mut self, other: Used) {
        for (arch, calls) in other.allowed {
            self.allowed.entry(arch).or_default().extend(calls);
        }
        self.refused.extend(other.refused);
    }

    /// The names of what was allowed, on any architecture.
    pub fn names(&self) -> BTreeSet<&'static str> {
        self.allowed.values().flatten().copied().collect()
    }
}

/// A jail whose app's calls are written down.
pub struct Recording {
    /// The jail.
    pub jail: Started,
    used: Receiver<Used>,
}

/// Starts the app as [`jail::start`] does, and writes its calls down. [`Spec::observed`] has to be there.
///
/// # Errors
///
/// [`StartError`]; nothing is left behind.
pub fn start(spec: &Spec) -> Result<Recording, StartError> {
    let (give, used) = channel();
    let watcher = Box::new(move |gate| {
        // Who started this may have given up.
        let _ = give.send(record(&gate));
    });
    Ok(Recording { jail: jail::start_watched(spec, Some(watcher))?, used })
}

impl Recording {
    /// Ends the app if it is still there, and gives what it used.
    pub fn finish(mut self) -> Used {
        self.jail.app.kill();
        self.used.recv_timeout(Duration::from_mins(1)).unwrap_or_default()
    }
}

/// Runs the plan against an app whose calls are written down. It does not judge: such an app is slower.
///
/// # Errors
///
/// [`StartError`]; nothing is left behind.
pub fn run(spec: &Spec, plan: &Plan) -> Result<(Outcome, Used), StartError> {
    let mut recording = start(spec)?;
    let outcome = smoke::judge(&mut recording.jail.app, plan);
    Ok((outcome, recording.finish()))
}

/// Writes down what the app uses until it has ended.
fn record(gate: &Gate) -> Used {
    let mut clerk = Clerk { gate, used: Used::default(), names: BTreeMap::new(), live: false };
    follow(gate, &mut clerk);
    clerk.used
}

struct Clerk<'a> {
    gate: &'a Gate,
    used: Used,
    /// Calls by the architecture's and their own number.
    names: BTreeMap<(u32, u64), Option<(Arch, &'static str)>>,
    /// The app's own program has been started.
    live: bool,
}

impl Follower for Clerk<'_> {
    fn stopped(&mut self, tid: Pid, status: i32) -> Result<(), Errno> {
        let (signal, event) = (status & 0xff, status >> 8);
        match event {
            libc::PTRACE_EVENT_SECCOMP => self.asked(tid),
            libc::PTRACE_EVENT_EXEC if !self.live => {
                self.live = self.gate.stopped_at_exec();
                resume(tid, Resume::On, if self.live { 0 } else { libc::SIGKILL })
            }
            libc::PTRACE_EVENT_STOP => resume(tid, if is_group_stop(signal) { Resume::Listen } else { Resume::On }, 0),
            // A signal on its way to the app.
            0 => resume(tid, Resume::On, signal),
            _ => resume(tid, Resume::On, 0),
        }
    }
}

impl Clerk<'_> {
    /// The filter asks.
    fn asked(&mut self, tid: Pid) -> Result<(), Errno> {
        let Stop::Asked { arch, number, message, .. } = syscall_info(tid)? else {
            return resume(tid, Resume::On, 0);
        };
        let call = *self.names.entry((arch, number)).or_insert_with(|| named(arch, number));
        let is_allowed = message == u32::from(SEEN);
        if let (true, Some((arch, name))) = (self.live, call) {
            if is_allowed {
                self.used.allowed.entry(arch).or_default().insert(name);
            } else {
                self.used.refused.insert(name, u16::try_from(message).unwrap_or(u16::MAX));
            }
        }
        if !is_allowed {
            skip(tid, -i64::from(message))?;
        }
        resume(tid, Resume::On, 0)
    }
}

fn named(arch: u32, number: u64) -> Option<(Arch, &'static str)> {
    let number = u32::try_from(number).ok()?;
    let mut all = Arch::NATIVE.runs().iter().filter(|candidate| audit_arch(**candidate) == arch);
    all.find_map(|arch| Some((*arch, name(*arch, number)?)))
}
