//! What an app was refused, seen while it runs: for explaining a failure, never for judging.
//!
//! The app runs behind the same walls, with a filter that stops for the calls that matter ([`crate::seccomp::observe`]). Each is followed to its
//! end; where it was refused, the wall that did it is found by looking at what the kernel looked at: ids, modes, mount flags, limits.

mod arguments;
mod calls;
mod fault;
mod follow;
mod memory;
mod place;
mod record;
mod text;
pub mod timeline;
mod tracer;
pub mod used;
mod wall;

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::jail::subject::Subject as _;
use crate::jail::{self, Spec, StartError, Started};
use crate::measure::Measure;
use crate::smoke::plan::Plan;
use crate::smoke::{self, Outcome};

pub use text::{lines, text};
pub use timeline::Timeline;

/// A jail whose app is watched.
pub struct Watched {
    /// The jail.
    pub jail: Started,
    timeline: Receiver<Timeline>,
}

/// One watched run.
pub struct Run {
    /// What the app did. It does not judge: a watched app is slower.
    pub outcome: Outcome,
    /// What the jail reports of this run.
    pub measures: Vec<Measure>,
    /// What the app was refused.
    pub timeline: Timeline,
}

/// Starts the app as [`jail::start`] does, and watches it. [`Spec::observed`] has to be there.
///
/// # Errors
///
/// [`StartError`]; nothing is left behind.
pub fn start(spec: &Spec) -> Result<Watched, StartError> {
    let (give, timeline) = channel();
    let watcher = Box::new(move |gate| {
        // Who started this may have given up.
        let _ = give.send(tracer::watch(&gate));
    });
    Ok(Watched { jail: jail::start_watched(spec, Some(watcher))?, timeline })
}

impl Watched {
    /// Ends the app if it is still there, and gives what was seen.
    pub fn finish(mut self) -> Timeline {
        self.jail.app.kill();
        let mut timeline = self.timeline.recv_timeout(Duration::from_mins(1)).unwrap_or_default();
        timeline.output = self.jail.app.output();
        timeline
    }
}

/// Runs the plan against a watched app.
///
/// # Errors
///
/// [`StartError`]; nothing is left behind.
pub fn run(spec: &Spec, plan: &Plan) -> Result<Run, StartError> {
    let mut watched = start(spec)?;
    let outcome = smoke::judge(&mut watched.jail.app, plan);
    let outcome = outcome.with_limits_met(&watched.jail.app.limits_met());
    let measures = std::mem::take(&mut watched.jail.measures);
    let mut timeline = watched.finish();
    timeline.took = outcome.took;
    // The app's own end is its judge's to take, who may be quicker than the tracer.
    if let (Some(end), Some(at)) = (outcome.end, outcome.ended_at) {
        timeline.complete(end, at);
    }
    Ok(Run { outcome, measures, timeline })
}
