//! Which wall it was, where looking leaves a doubt: one more watched run, with that wall away.
//!
//! EACCES from bind(2) may be Landlock or a port that needs a capability; EPERM may be a capability or something that is not of the jail at all;
//! and what the filter answers for, the kernel might have refused as well.

use std::time::Duration;

use super::watched;
use crate::cli::launch::Wishes;
use crate::cli::session::Session;
use crate::fit::allowing_call;
use crate::ids;
use crate::profile::Profile;
use crate::smoke::Outcome;
use crate::smoke::plan::Plan;
use crate::trace::timeline::{Event, Kind, Timeline, Wall};
use crate::verdict::diagnose;

/// What the further run does without.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Doubt {
    /// It has no Landlock.
    Landlock,
    /// It has this capability.
    Capability(String),
    /// The filter lets the call through.
    Filter,
}

/// How long the further run may take beyond the moment of the call, at least.
const ALLOWANCE: Duration = Duration::from_secs(2);

/// Makes that run where the cause leaves a doubt, and puts what it shows into the timeline.
pub(super) fn settle(
    session: &Session,
    wishes: &Wishes,
    plan: &Plan,
    judged: &Outcome,
    facts: &diagnose::Facts<'_>,
    timeline: &mut Timeline,
) -> anyhow::Result<()> {
    let Some(at) = diagnose::cause(timeline, facts) else { return Ok(()) };
    let Some(doubt) = Doubt::about(&timeline.events[at], &wishes.profile, session.ids) else { return Ok(()) };
    let Some(profile) = doubt.lifted(&wishes.profile, timeline.events[at].call) else { return Ok(()) };
    let mut plan = plan.clone();
    plan.timeout = plan.timeout.min(Duration::from_secs_f64(timeline.events[at].at_ms.max(0.0) / 100.0) + ALLOWANCE);
    let other = watched::run(session, &Wishes { profile, ..wishes.clone() }, &plan, judged)?;
    if let Some(other) = other {
        doubt.settled(&mut timeline.events[at], &other.timeline);
    }
    Ok(())
}

impl Doubt {
    fn about(event: &Event, profile: &Profile, ids: ids::Mode) -> Option<Self> {
        let is_permission = matches!(event.errno.as_deref(), Some("EACCES" | "EPERM"));
        match event.wall {
            Some(Wall::Filter) if is_permission => Some(Doubt::Filter),
            Some(Wall::Landlock) | None if is_permission && profile.landlock => Some(Doubt::Landlock),
            Some(Wall::Capability) if event.call == "bind" && profile.landlock && profile.narrow => {
                Some(Doubt::Landlock)
            }
            // Over ids that are not there no capability says anything.
            Some(Wall::Capability) if is_permission && ids != ids::Mode::Single => {
                diagnose::capability(event.why.as_deref()?).map(|name| Doubt::Capability(format!("CAP_{name}")))
            }
            _ => None,
        }
    }

    fn lifted(&self, profile: &Profile, call: &str) -> Option<Profile> {
        let mut profile = profile.clone();
        match self {
            Doubt::Landlock => profile.landlock = false,
            Doubt::Capability(name) => {
                profile.preset.ambient_capabilities = true;
                profile.capabilities.insert(name.clone());
            }
            Doubt::Filter => profile.seccomp = allowing_call(&profile, call)?,
        }
        Some(profile)
    }

    /// What the further run shows of the call.
    fn settled(&self, event: &mut Event, other: &Timeline) {
        let same = |one: &&Event| one.kind == Kind::Failed && (one.call, &one.path) == (event.call, &event.path);
        let again = other.events.iter().rfind(same);
        let is_made = other.processes.iter().any(|process| process.done.contains_key(event.call));
        let way = match self {
            Doubt::Landlock => "a run without Landlock".to_owned(),
            Doubt::Capability(name) => format!("a run with {name}"),
            Doubt::Filter => format!("a run whose filter lets {} through", event.call),
        };
        let why = event.why.take().unwrap_or_default();
        let join = if why.is_empty() { "" } else { "; " };
        let told = match again {
            // It was not made at all there: nothing is shown.
            None if !is_made => None,
            Some(again) if again.errno == event.errno => {
                let by = again.why.as_ref().filter(|_| self == &Doubt::Filter);
                let by = by.map_or_else(String::new, |by| format!(": {by}"));
                if self == &Doubt::Landlock && event.wall == Some(Wall::Landlock) {
                    event.wall = again.wall.filter(|wall| *wall != Wall::Landlock);
                }
                Some(format!("{why}{join}{way} refused it as well{by}"))
            }
            _ if self == &Doubt::Landlock && event.wall != Some(Wall::Landlock) => {
                event.wall = Some(Wall::Landlock);
                Some(format!("shown by {way}"))
            }
            _ => Some(format!("{why}{join}shown by {way}")),
        };
        event.why = told.or(Some(why)).filter(|why| !why.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::timeline::Process;

    fn event(wall: Option<Wall>, errno: &str) -> Event {
        let why = Some("it needs CAP_NET_BIND_SERVICE".to_owned());
        Event { wall, why, writes: false, ..Event::refused("bind", "0.0.0.0:80", errno) }
    }

    /// A run with the call made, or refused so.
    fn run(refused: Option<Event>) -> Timeline {
        let mut process = Process::default();
        if refused.is_none() {
            process.done.insert("bind", (1, 1.0));
        }
        Timeline { events: refused.into_iter().collect(), processes: vec![process], ..Timeline::default() }
    }

    #[test]
    fn the_wall_is_what_made_the_difference() {
        let refused = event(Some(Wall::Capability), "EACCES");
        let mut one = refused.clone();
        Doubt::Landlock.settled(&mut one, &run(None));
        assert_eq!((one.wall, one.why.as_deref()), (Some(Wall::Landlock), Some("shown by a run without Landlock")));
        let mut one = refused.clone();
        Doubt::Landlock.settled(&mut one, &run(Some(refused.clone())));
        assert_eq!(one.wall, Some(Wall::Capability));
        assert!(one.why.unwrap().ends_with("; a run without Landlock refused it as well"));
        let mut one = event(Some(Wall::Landlock), "EACCES");
        Doubt::Landlock.settled(&mut one, &run(Some(event(None, "EACCES"))));
        assert_eq!(one.wall, None, "another module of the host's");
    }

    #[test]
    fn what_was_not_made_again_shows_nothing() {
        let mut one = event(Some(Wall::Capability), "EACCES");
        let nothing = Timeline { processes: vec![Process::default()], ..Timeline::default() };
        Doubt::Capability("CAP_NET_BIND_SERVICE".to_owned()).settled(&mut one, &nothing);
        assert_eq!(one.why.as_deref(), Some("it needs CAP_NET_BIND_SERVICE"));
    }
}
