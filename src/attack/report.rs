//! What the adversary came to.

use std::fmt::Write as _;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use serde::Serialize;

use super::{Act, Allowed, Attempt, STARTED, Sweep, attempts};

/// What the kernel said to one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was refused.
    Refused(Errno),
    /// Whoever tried was killed.
    Killed(String),
    /// It was not tried.
    Unknown,
}

/// The document `austere.attack/1`.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    schema: &'static str,
    austere: &'static str,
    /// Where it was tried.
    #[serde(flatten)]
    pub facts: Facts,
    /// How many attempts there are.
    pub tried: usize,
    /// How many of them work where there is no wall.
    pub counted: usize,
    /// How many of those worked in the jail.
    pub escaped: usize,
    /// Each of them.
    pub attempts: Vec<Tried>,
}

/// The jail that was attacked.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    /// The image.
    pub image: String,
    /// Whose container it is: `austere`, `docker`, `podman`, `runtime:PATH`.
    pub container: String,
    /// Who made it, with the version.
    pub made_by: String,
    /// The preset, with its version; `null` in somebody else's container.
    pub preset: Option<String>,
    /// What was given back, or the flags that went to the engine.
    pub relaxations: Vec<String>,
    /// real, mapped or single; `null` in somebody else's container.
    pub ids: Option<&'static str>,
    /// `uname -r`.
    pub kernel: String,
    /// Measures that do not hold.
    pub broken: Vec<String>,
}

/// One attempt, and its twin.
#[derive(Clone, Debug, Serialize)]
pub struct Tried {
    /// What it is about.
    pub group: &'static str,
    /// A stable name.
    pub name: &'static str,
    /// The call, or what was done.
    pub tried: &'static str,
    /// In the jail.
    pub kernel_said: String,
    /// It worked in the jail, and its twin shows that this means something.
    pub escaped: bool,
    /// What it would mean if it worked.
    pub meaning: &'static str,
    /// The same without walls.
    pub twin: Twin,
    /// Call by call, of the attempt that makes all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sweep: Option<Sweep>,
}

/// The same attempt where there is no wall.
#[derive(Clone, Debug, Serialize)]
pub struct Twin {
    /// What the kernel said there.
    pub kernel_said: String,
    /// It worked, so the attempt counts.
    pub counts: bool,
}

impl Outcome {
    /// The outcome of `name` among the adversary's lines.
    fn of(lines: &str, name: &str) -> Outcome {
        let line = lines.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        match line.and_then(|word| word.parse::<i32>().ok()) {
            None => Outcome::Unknown,
            Some(0) => Outcome::Done,
            Some(code) if code == i32::from(STARTED) => Outcome::Done,
            Some(code) if code < 0 => {
                Outcome::Killed(Signal::try_from(-code).map_or_else(|_| code.to_string(), |signal| signal.to_string()))
            }
            Some(code) => Outcome::Refused(Errno::from_raw(code)),
        }
    }

    /// Whether it worked, or failed for its arguments only.
    fn works(&self, attempt: &Attempt) -> bool {
        match self {
            Outcome::Done => true,
            Outcome::Refused(errno) => attempt.open.contains(errno),
            Outcome::Killed(_) | Outcome::Unknown => false,
        }
    }

    fn said(&self) -> String {
        match self {
            Outcome::Done => "done".to_owned(),
            Outcome::Refused(errno) => format!("{errno:?}"),
            Outcome::Killed(signal) => signal.clone(),
            Outcome::Unknown => "nothing".to_owned(),
        }
    }
}

impl Tried {
    fn swept(attempt: &Attempt, sweep: Sweep) -> Self {
        let counts = sweep.counts();
        Tried {
            group: attempt.group,
            name: attempt.name,
            tried: attempt.tried,
            kernel_said: sweep.said(),
            escaped: counts && sweep.escaped(),
            meaning: attempt.meaning,
            twin: Twin { kernel_said: sweep.twin_said(), counts },
            sweep: Some(sweep),
        }
    }
}

impl Facts {
    /// Where it was tried, in few words.
    fn place(&self) -> String {
        match (&self.preset, self.ids) {
            (Some(preset), Some(ids)) => format!("preset {preset}, ids {ids}"),
            _ if self.relaxations.is_empty() => self.made_by.clone(),
            _ => format!("{}, {}", self.made_by, self.relaxations.join(" ")),
        }
    }
}

/// Whether the adversary's lines are all there.
pub(super) fn finished(lines: &str) -> bool {
    attempts().last().is_some_and(|last| Outcome::of(lines, last.name) != Outcome::Unknown)
}

impl Report {
    /// From what the adversary wrote in the jail, and without walls. `allowed` is what the calls are compared with, if there is a filter.
    pub fn new(facts: Facts, inside: &str, without: &str, allowed: Option<&Allowed>) -> Self {
        let one = |attempt: Attempt| {
            if matches!(attempt.act, Act::Sweep) {
                return Tried::swept(&attempt, Sweep::new(inside, without, allowed));
            }
            let (here, there) = (Outcome::of(inside, attempt.name), Outcome::of(without, attempt.name));
            let counts = there.works(&attempt);
            Tried {
                group: attempt.group,
                name: attempt.name,
                tried: attempt.tried,
                kernel_said: here.said(),
                escaped: counts && here.works(&attempt),
                meaning: attempt.meaning,
                twin: Twin { kernel_said: there.said(), counts },
                sweep: None,
            }
        };
        let attempts: Vec<Tried> = attempts().into_iter().map(one).collect();
        let count = |which: fn(&Tried) -> bool| attempts.iter().filter(|tried| which(tried)).count();
        Report {
            schema: "austere.attack/1",
            austere: env!("CARGO_PKG_VERSION"),
            facts,
            tried: attempts.len(),
            counted: count(|tried| tried.twin.counts),
            escaped: count(|tried| tried.escaped),
            attempts,
        }
    }

    /// For people: what worked, then a line for each group, then what does not count.
    pub fn text(&self) -> String {
        let Report { facts, tried, counted, escaped, .. } = self;
        let word = if *escaped == 0 { "HELD" } else { "OPEN" };
        let mut text =
            format!("{word}  {}: {escaped} of {counted} attempts worked ({})\n\n", facts.image, facts.place());
        for measure in &facts.broken {
            let _ = writeln!(text, "broken    {measure}");
        }
        for one in self.attempts.iter().filter(|one| one.escaped) {
            let said = one.sweep.as_ref().map_or_else(String::new, |_| format!(" ({})", one.kernel_said));
            let _ = writeln!(text, "worked    {}: {}; {}{said}", one.name, one.tried, one.meaning);
        }
        let mut groups: Vec<&str> = self.attempts.iter().map(|one| one.group).collect();
        groups.dedup();
        for group in groups {
            let of_it = || self.attempts.iter().filter(move |one| one.group == group && one.twin.counts);
            let held = of_it().filter(|one| !one.escaped).count();
            let _ = writeln!(text, "{group:24} {held} of {} refused", of_it().count());
        }
        let idle: Vec<String> = self
            .attempts
            .iter()
            .filter(|one| !one.twin.counts)
            .map(|one| format!("{} ({})", one.name, one.twin.kernel_said))
            .collect();
        if !idle.is_empty() {
            let count = tried - counted;
            let _ = writeln!(text, "\n{count} do not count, because they fail without walls too: {}", idle.join(", "));
        }
        text
    }

    /// For programs.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).map_or_else(|_| String::new(), |text| text + "\n")
    }
}
