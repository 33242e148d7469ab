//! Which of all that was refused was fatal.
//!
//! Programs are refused much that they shrug off. What tells the fatal call: the app complains of it; the process got nothing done afterwards;
//! its end was the end of the app, or of a child whose failure the parent passed on; a wall of the jail did it, and not the image.

use super::rules::{Ready, Seen, rules};
use super::words::{self, Mention};
use crate::jail::subject::End;
use crate::trace::Timeline;
use crate::trace::timeline::{Event, Kind, Wall};

/// From here on a candidate is named as the cause.
pub(super) const SURE: f32 = 42.0;
/// What programs say that were not given the rights of their file.
const SAYS: [&str; 9] = [
    "no new privileges",
    "no_new_privs",
    "effective uid",
    "setuid",
    "must be root",
    "not permitted",
    "setgid",
    "suid",
    "authentication failure",
];
/// What a process may still get done between two refusals that belong together.
const TOGETHER: f32 = 0.35;

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
    /// Volumes of the image.
    pub(super) volumes: &'a [String],
    /// Set-id programs that the store could not hold as such.
    pub(super) set_ids: &'a [String],
    /// It works without hardening.
    pub(super) works_unhardened: bool,
}

impl Context<'_> {
    fn is_volume(&self, path: &str) -> bool {
        self.volumes.iter().any(|volume| {
            let volume = volume.trim_end_matches('/');
            path.strip_prefix(volume).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
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
        found.extend(self.said());
        found.sort_by(|a, b| b.score.total_cmp(&a.score).then(b.event.seq.cmp(&a.event.seq)));
        if let Some(first) = found.first().map(|best| Self::first_of_its_kind(best, &found)) {
            found.swap(0, first);
        }
        found
    }

    /// What was done between an event and the end of the app, by its process and, after that, by those that waited for it.
    fn done_after(&self, event: &Event) -> f32 {
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
    fn nearness(&self, event: &Event) -> f32 {
        30.0 / (1.0 + self.done_after(event) / 2.0)
    }

    /// How the event's process ended.
    fn fate(&self, event: &Event) -> f32 {
        match self.timeline.processes[event.process].end {
            Some(End::Exited(0)) => -12.0,
            Some(_) => 10.0,
            None => 0.0,
        }
    }

    fn failed<'a>(&'a self, event: &'a Event) -> Option<Candidate<'a>> {
        let rule = rules().iter().find(|rule| rule.fits(event, |path| self.is_volume(path)))?;
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
        let harmless = rule.rule.noise && strength < 40.0;
        // Looking and asking do not change anything, and programs ask about much.
        let looks = if event.writes || !is_look(event.call) { 0.0 } else { -6.0 };
        let elsewhere = if self.went_elsewhere(event) { -24.0 } else { 0.0 };
        let tidying = if self.tidies_up(event) { -40.0 } else { 0.0 };
        // What no wall refused fails without hardening as well, and there the app works.
        let anyway = if self.works_unhardened && event.wall.is_none() { -8.0 } else { 0.0 };
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

    fn ignored<'a>(&'a self, event: &'a Event) -> Option<Candidate<'a>> {
        let rule = rules().iter().find(|rule| rule.rule.when.kind == Seen::Ignored)?;
        let (text, _) = words::after(self.timeline, event.first_seq);
        let said = text.lines().find(|line| SAYS.iter().any(|words| line.to_lowercase().contains(words)));
        // More than for the question whether new privileges can be had, which such a program asks: this is why.
        let mention = said.map(|line| Mention::heard(line, 62.0));
        let strength = mention.as_ref().map_or(0.0, |mention| mention.strength);
        // It matters as long as the program runs, so nearness says nothing; and that of the app itself more than that of a helper.
        let own = if event.process == 0 { 20.0 } else { 8.0 };
        let silent = if strength > 0.0 { 0.0 } else { self.nearness(event) };
        let score = 14.0 + strength + own + silent + self.fate(event);
        Some(Candidate { event, rule, score, mention })
    }

    fn asked<'a>(&'a self, event: &'a Event) -> Option<Candidate<'a>> {
        let (text, _) = words::after(self.timeline, event.first_seq);
        let heard = rules().iter().find_map(|rule| {
            let line = text.lines().find(|line| rule.asks(event.call, Seen::Asked) && rule.hears(line))?;
            Some((rule, line))
        });
        // A name server is the only thing that is asked through a socket.
        if let Some((rule, line)) = heard {
            let strength = if words::is_mild(line) { 10.0 } else { 52.0 };
            let mention = Some(Mention::heard(line, strength));
            let score = 6.0 + strength + self.nearness(event) + self.fate(event);
            return Some(Candidate { event, rule, score, mention });
        }
        let rule = rules().iter().find(|rule| rule.asks(event.call, Seen::Silent))?;
        // Nothing but its end came after it.
        let is_last = !self.timeline.events.iter().any(|other| {
            other.process == event.process
                && other.seq > event.seq
                && matches!(other.kind, Kind::Failed | Kind::Wrote | Kind::Asked | Kind::Started)
        });
        let process = &self.timeline.processes[event.process];
        let gave_up = process.end.is_some_and(|end| end != End::Exited(0)) && is_last && text.trim().is_empty();
        let done = self.done_after(event);
        (gave_up && done < TOGETHER).then_some(Candidate { event, rule, score: 62.0, mention: None })
    }

    /// What the app said that names its cause, whatever it had been refused.
    fn said(&self) -> Option<Candidate<'_>> {
        let (text, _) = words::after(self.timeline, 0);
        let (rule, line) = rules()
            .iter()
            .filter(|rule| rule.rule.when.kind == Seen::Output)
            .find_map(|rule| Some((rule, text.lines().find(|line| rule.hears(line))?)))?;
        let mention = Some(Mention::heard(line, 50.0));
        // The call behind it: the last refusal or question before the line.
        let wrote = self.timeline.events.iter().filter(|event| event.kind == Kind::Wrote);
        let at = wrote
            .filter(|event| event.text.as_deref().is_some_and(|text| rule.hears(text) || line.contains(text.trim())));
        let at = at.map(|event| event.seq).next().unwrap_or(u64::MAX);
        let is_owner = rule.rule.code == "file-owner";
        let is_user = matches!(rule.rule.code.as_str(), "D12" | "D13" | "D14" | "D15");
        let fits = |event: &&Event| {
            let asked = event.kind == Kind::Asked && event.path.as_deref() == Some("/etc/passwd");
            let failed = event.kind == Kind::Failed && (event.writes || event.call == "execve" || event.path.is_some());
            let who = event.kind == Kind::Asked && matches!(event.call, "geteuid" | "getuid");
            match () {
                () if is_owner => who,
                () if is_user => asked,
                () => failed,
            }
        };
        let before = || self.timeline.events.iter().filter(|event| event.first_seq < at).filter(fits);
        // Several folders that were tried in turn: the first.
        let event = if rule.rule.code == "D32" || rule.rule.code == "D35" {
            before().find(|event| event.writes)
        } else {
            before().next_back()
        };
        let event = event.or_else(|| self.timeline.events.iter().rfind(|event| event.kind == Kind::Ended))?;
        Some(Candidate { event, rule, score: 80.0 + self.fate(event), mention })
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
