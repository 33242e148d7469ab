//! Causes that are no failed call: a set-id bit that was not heeded, a question whose answer did not please, and what the app says outright.

use super::rank::{Candidate, Context, TOGETHER};
use super::rules::{Seen, rules};
use super::words::{self, Mention};
use crate::jail::subject::End;
use crate::trace::timeline::{Event, Kind};

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
impl Context<'_> {
    pub(super) fn ignored<'a>(&'a self, event: &'a Event) -> Option<Candidate<'a>> {
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

    pub(super) fn asked<'a>(&'a self, event: &'a Event) -> Option<Candidate<'a>> {
        let (text, _) = words::after(self.timeline, event.first_seq);
        let heard = rules().iter().find_map(|rule| {
            let line = text.lines().find(|line| rule.asks(event.call, Seen::Asked) && rule.hears(line))?;
            Some((rule, line))
        });
        // Programs also say `must be root` of a call that was not permitted, which is then the cause.
        let not_permitted = |other: &Event| {
            other.kind == Kind::Failed
                && other.seq > event.seq
                && matches!(other.errno.as_deref(), Some("EPERM" | "EACCES"))
                && other.wall.is_some()
                && self.done_after(other) < 1.0
                && !rules().iter().any(|rule| rule.rule.noise && rule.fits(other, |_| None))
        };
        let is_answer = |line: &str| {
            let line = line.to_lowercase();
            words::BE_ROOT.iter().any(|words| line.contains(words)) && self.timeline.events.iter().any(not_permitted)
        };
        if let Some((rule, line)) = heard.filter(|(_, line)| !is_answer(line)) {
            let strength = if words::is_mild(line) { 10.0 } else { 52.0 };
            let mention = Some(Mention::heard(line, strength));
            let anyway = if self.works_there(rule) { -60.0 } else { 0.0 };
            let score = 6.0 + strength + self.nearness(event) + self.fate(event) + anyway;
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
        // `test "$(id -u)" = 0 || exit 1`
        let is_helper = matches!(process.argv.first().and_then(|word| word.rsplit('/').next()), Some("id" | "whoami"));
        let by_parent = process.parent.map(|parent| &self.timeline.processes[parent]).is_some_and(|parent| {
            parent.end.is_some_and(|end| end != End::Exited(0)) && parent.progress - process.parent_progress < TOGETHER
        });
        if is_helper && by_parent {
            return Some(Candidate { event, rule, score: 62.0, mention: None });
        }
        let gave_up = process.end.is_some_and(|end| end != End::Exited(0)) && is_last && text.trim().is_empty();
        let done = self.done_after(event);
        (gave_up && done < TOGETHER).then_some(Candidate { event, rule, score: 62.0, mention: None })
    }

    /// What the app said that names its cause, whatever it had been refused.
    pub(super) fn said(&self) -> Option<Candidate<'_>> {
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
        let is_named = |event: &&Event| {
            let name = event.path.as_deref().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
            name.len() >= 3 && words::has_word(line, name)
        };
        let event = if rule.rule.code == "D32" || rule.rule.code == "D35" {
            before().find(|event| event.writes)
        } else {
            before().rfind(is_named).or_else(|| before().next_back())
        };
        let event = event.or_else(|| self.timeline.events.iter().rfind(|event| event.kind == Kind::Ended))?;
        Some(Candidate { event, rule, score: 80.0 + self.fate(event), mention })
    }
}
