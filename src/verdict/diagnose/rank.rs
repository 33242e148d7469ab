//! Which of all that was refused was fatal.
//!
//! Programs are refused much that they shrug off. What tells the fatal call: the app complains of it; the process got nothing done afterwards;
//! its end was the end of the app, or of a child whose failure the parent passed on; a wall of the jail did it, and not the image.

use super::rules::{Ready, Within, rules};
use super::words::{self, Mention};
use crate::jail::subject::End;
use crate::trace::Timeline;
use crate::trace::timeline::{Event, Kind, Wall};

/// From here on a candidate is named as the cause.
pub(super) const SURE: f32 = 42.0;
/// What a process may still get done between two refusals that belong together.
pub(super) const TOGETHER: f32 = 0.35;

/// Something that may have been fatal.
#[derive(Clone, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) event: &'a Event,
    pub(super) rule: &'static Ready,
    pub(super) score: f32,
    pub(super) mention: Option<Mention>,
}

/// What is known beside the timeline.
pub(super) struct Context<'a> {
    pub(super) timeline: &'a Timeline,
    /// Where the jail has volumes and folders of the host.
    pub(super) places: &'a [(Within, String)],
    /// Set-id programs that the store could not hold as such.
    pub(super) set_ids: &'a [String],
    /// It works without hardening.
    pub(super) works_unhardened: bool,
}

impl Context<'_> {
    fn within(&self, path: &str) -> Option<Within> {
        place_of(self.places, path).map(|(within, _)| *within)
    }

    /// All candidates, the most probable first.
    pub(super) fn candidates(&self) -> Vec<Candidate<'_>> {
        let mut found: Vec<Candidate<'_>> = Vec::new();
        for event in &self.timeline.events {
            found.extend(match event.kind {
                Kind::Failed => self.failed(event),
                Kind::Ignored => self.ignored(event),
                Kind::Started if self.set_ids.iter().any(|path| Some(path) == event.path.as_ref()) => {
                    self.ignored(event)
                }
                Kind::Asked => self.asked(event),
                _ => None,
            });
        }
        let said = self.said();
        found.extend(said.clone());
        found.sort_by(|a, b| b.score.total_cmp(&a.score).then(b.event.seq.cmp(&a.event.seq)));
        if let Some(first) = found.first().map(|best| Self::first_of_its_kind(best, &found)) {
            found.swap(0, first);
        }
        // Of one call the app's own words say more than its path does.
        if let (Some(said), Some(best)) = (said, found.first_mut().filter(|best| best.event.kind == Kind::Failed))
            && best.event.seq == said.event.seq
        {
            *best = said;
        }
        found
    }

    /// What was done between an event and the end of the app, by its process and, after that, by those that waited for it.
    pub(super) fn done_after(&self, event: &Event) -> f32 {
        let mut index = event.process;
        let mut progress = event.progress;
        let mut done = 0.0;
        // Parents cannot go in circles, but a bound costs nothing.
        for _ in 0..64 {
            let process = &self.timeline.processes[index];
            done += (process.progress - progress).max(0.0);
            match (process.end, process.parent) {
                (Some(end), Some(parent)) => {
                    if end == End::Exited(0) {
                        done += 8.0;
                    }
                    progress = process.parent_progress;
                    index = parent;
                }
                (None, Some(_)) => return done + 2.0,
                (_, None) => return done,
            }
        }
        done
    }

    /// How near an event is to the end: 30 right before it.
    pub(super) fn nearness(&self, event: &Event) -> f32 {
        30.0 / (1.0 + self.done_after(event) / 2.0)
    }

    /// How the event's process ended.
    pub(super) fn fate(&self, event: &Event) -> f32 {
        match self.timeline.processes[event.process].end {
            Some(End::Exited(0)) => -12.0,
            Some(_) => 10.0,
            None => 0.0,
        }
    }

    fn failed<'a>(&'a self, event: &'a Event) -> Option<Candidate<'a>> {
        let rule = rules().iter().find(|rule| rule.fits(event, |path| self.within(path)))?;
        let (text, seen) = words::after(self.timeline, event.first_seq);
        let mention = words::mention(event, &text);
        let strength = mention.as_ref().map_or(0.0, |mention| mention.strength) * if seen { 1.0 } else { 0.7 };
        let errno = event.errno.as_deref().unwrap_or_default();
        // What is missing is mostly looked for only; it counts when the app complains of it.
        let wall: f32 = match (event.wall, errno) {
            (Some(Wall::Filter), "ENOSYS") => 4.0,
            (Some(Wall::Filter), _) => 14.0,
            (Some(_), _) => 20.0,
            (None, "EACCES" | "EPERM" | "EROFS") => 16.0,
            (None, "ENOENT" | "ENOTDIR") if event.call.starts_with("exec") => -6.0,
            (None, "ENOENT" | "ENOTDIR" | "EEXIST") if mention.as_ref().is_some_and(|mention| mention.names) => -16.0,
            (None, "ENOENT" | "ENOTDIR" | "EEXIST") => -46.0,
            (None, _) => 0.0,
        };
        let says_path = match (&event.path, &mention) {
            (Some(path), Some(mention)) => mention.line.contains(path.as_str()),
            _ => true,
        };
        let harmless = rule.rule.noise && (strength < 40.0 || !says_path);
        // Looking and asking do not change anything, and programs ask about much.
        let looks = if event.writes || !is_look(event.call) { 0.0 } else { -6.0 };
        let elsewhere = if self.went_elsewhere(event) { -24.0 } else { 0.0 };
        let tidying = if self.tidies_up(event) { -40.0 } else { 0.0 };
        // What no wall refused fails without hardening as well, and there the app works.
        let anyway = match event.wall {
            _ if self.works_there(rule) => -60.0,
            None if self.works_unhardened => -8.0,
            _ => 0.0,
        };
        let last = if mention.as_ref().is_some_and(|mention| mention.lines_after < 3 && mention.strength > 0.0) {
            5.0
        } else {
            0.0
        };
        let score =
            wall + strength + last + self.nearness(event) + self.fate(event) + elsewhere + tidying + looks + anyway
                - if harmless { 200.0 } else { 0.0 };
        Some(Candidate { event, rule, score, mention })
    }

    /// Whether it works without hardening, where the network is as closed and other services are as missing.
    pub(super) fn works_there(&self, rule: &Ready) -> bool {
        self.works_unhardened && ["closed-room", "service-missing", "address-in-use"].contains(&rule.rule.code.as_str())
    }

    /// Whether it takes away what could not be made: programs tidy up before they end.
    fn tidies_up(&self, event: &Event) -> bool {
        let made = |other: &Event| {
            other.kind == Kind::Failed
                && other.process == event.process
                && other.path == event.path
                && other.first_seq < event.first_seq
                && other.writes
                && !removes(other.call)
        };
        removes(event.call) && self.timeline.events.iter().any(made)
    }

    /// Whether the program did the same with success afterwards: made the same file in another folder, took another address.
    fn went_elsewhere(&self, event: &Event) -> bool {
        let process = &self.timeline.processes[event.process];
        if let Some(path) = &event.path
            && (event.writes || event.call == "bind")
            && path.starts_with('/')
        {
            let name = path.rsplit('/').next().unwrap_or_default();
            let is_same = |other: &String| other.rsplit('/').next() == Some(name) || stem(other) == stem(path);
            return process.written.iter().any(is_same);
        }
        let repeatable = !is_look(event.call) && !event.call.starts_with("exec") && !event.call.starts_with("open");
        repeatable && process.done.get(event.call).is_some_and(|(_, at)| *at > event.progress)
    }

    /// Of refusals that belong together the first is the cause: the same call, the same error, nothing done in between, and the app says the
    /// same of them. And what is missing because making it was refused is no cause of its own.
    fn first_of_its_kind(best: &Candidate<'_>, all: &[Candidate<'_>]) -> usize {
        let event = best.event;
        let is_missing = event.kind == Kind::Failed && matches!(event.errno.as_deref(), Some("ENOENT" | "ENOTDIR"));
        let path = event.path.as_deref().unwrap_or_default();
        let mut first = 0;
        for (index, other) in all.iter().enumerate().skip(1) {
            let earlier = other.event.first_seq < all[first].event.first_seq;
            if !earlier || other.event.kind != Kind::Failed || other.rule.rule.noise {
                continue;
            }
            let holds = other.event.path.as_deref().unwrap_or_default();
            let above = path.strip_prefix(holds).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            let made_it_missing = is_missing && other.event.writes && other.event.wall.is_some() && above;
            let same = event.kind == Kind::Failed
                && other.event.process == event.process
                && other.event.call == event.call
                && other.event.errno == event.errno
                && (event.progress - other.event.progress).abs() < 2.0 * TOGETHER
                && match (&best.mention, &other.mention) {
                    (Some(one), Some(two)) if one.names && two.names && two.strength > 0.0 => {
                        one.line == two.line || words::template(&one.line) == words::template(&two.line)
                    }
                    // A series of files of one folder, of which the app says nothing: each key of a server.
                    (one, two) if [one, two].iter().all(|m| m.as_ref().is_none_or(|m| m.strength.abs() < 20.0)) => {
                        let folder = |path: &Option<String>| {
                            path.as_ref().and_then(|path| Some(path.rsplit_once('/')?.0.to_owned()))
                        };
                        let (one, two) = (folder(&event.path), folder(&other.event.path));
                        one.is_some() && one == two
                    }
                    _ => false,
                };
            if made_it_missing || same {
                first = index;
            }
        }
        first
    }
}

/// The innermost of these places that a path lies in.
pub(super) fn place_of<'a>(places: &'a [(Within, String)], path: &str) -> Option<&'a (Within, String)> {
    let holds = |place: &str| {
        let rest = path.strip_prefix(place.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    places.iter().filter(|(_, place)| holds(place)).max_by_key(|(_, place)| place.len())
}

/// A name without what makes it unique: `/tmp/foo.x3k9` and `/dev/shm/foo.p0q1` are tries of one thing.
fn stem(path: &str) -> Option<&str> {
    let name = path.rsplit('/').next()?;
    let stem = name.trim_end_matches(|c: char| c.is_ascii_alphanumeric()).trim_end_matches(['.', '-', '_']);
    (stem.len() >= 3).then_some(stem)
}

fn removes(call: &str) -> bool {
    matches!(call, "unlink" | "unlinkat" | "rmdir")
}

fn is_look(call: &str) -> bool {
    matches!(
        call,
        "stat" | "lstat" | "newfstatat" | "statx" | "access" | "faccessat" | "faccessat2" | "inotify_add_watch"
    )
}
