//! How much there is to run for someone who got in, level by level; and levels as a gate.

use std::fmt;
use std::str::FromStr;

use super::assemble::set;
use super::run::{Level, Levels, Rung};
use super::{Reached, Status, Verdict};

/// A level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// No interpreter or shell on disk.
    L0,
    /// Nothing that the app's user could start but the app.
    L1,
    /// The app works while every second exec is refused.
    L2,
    /// No path is both writable and executable.
    L3,
    /// No exec without a file.
    L4,
    /// No language runtime in the closure.
    L5,
}

/// A word that is no level.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is none of L0, L1, L2, L3, L4, L5")]
pub struct NoLevel(String);

impl Name {
    const ALL: [Name; 6] = [Name::L0, Name::L1, Name::L2, Name::L3, Name::L4, Name::L5];

    /// What it is to reach it.
    pub fn meaning(self) -> &'static str {
        match self {
            Name::L0 => "no shell or interpreter in the image",
            Name::L1 => "nothing to start but the app",
            Name::L2 => "works while every second exec is refused",
            Name::L3 => "no path both writable and executable",
            Name::L4 => "no exec without a file",
            Name::L5 => "no language runtime in what the app loads",
        }
    }
}

impl FromStr for Name {
    type Err = NoLevel;

    fn from_str(text: &str) -> Result<Self, NoLevel> {
        let same = |name: &&Name| name.to_string().eq_ignore_ascii_case(text);
        Name::ALL.iter().find(same).copied().ok_or_else(|| NoLevel(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl Levels {
    /// One of them.
    pub fn get(&self, name: Name) -> &Level {
        match name {
            Name::L0 => &self.l0,
            Name::L1 => &self.l1,
            Name::L2 => &self.l2,
            Name::L3 => &self.l3,
            Name::L4 => &self.l4,
            Name::L5 => &self.l5,
        }
    }

    /// All of them in their order.
    pub fn all(&self) -> impl Iterator<Item = (Name, &Level)> {
        Name::ALL.into_iter().map(|name| (name, self.get(name)))
    }
}

impl Level {
    /// A level that is reached where nothing stands against it.
    pub fn unless(against: Vec<String>, otherwise: &str) -> Self {
        if against.is_empty() {
            Level { status: Reached::Reached, evidence: vec![otherwise.to_owned()] }
        } else {
            Level { status: Reached::Failed, evidence: against }
        }
    }
}

impl Verdict {
    /// The same with its levels, and with the rungs that they answer. A required one that is not reached turns a pass into a fail; one that could not
    /// be tried makes it inconclusive.
    #[must_use]
    pub fn with_levels(mut self, levels: Levels, required: &[Name]) -> Self {
        set(&mut self.ladder, Rung::NO_SHELL, levels.l0.status);
        set(&mut self.ladder, Rung::SEALED, levels.l2.status);
        if self.verdict == Status::Pass
            && let Some(name) = required.iter().find(|name| levels.get(**name).status != Reached::Reached)
        {
            let Level { status, evidence } = levels.get(*name);
            let why = evidence.first().map_or_else(String::new, |first| format!(": {first}"));
            let more = match evidence.len() {
                0 | 1 => String::new(),
                count => format!(" (and {} more)", count - 1),
            };
            let tried = if *status == Reached::Failed { "is not reached" } else { "could not be tried" };
            self.verdict = if *status == Reached::Failed { Status::Fail } else { Status::Inconclusive };
            self.reason = format!("{name} ({}) {tried}{why}{more}", name.meaning());
        }
        self.levels = levels;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_named_in_either_case() {
        for name in Name::ALL {
            assert_eq!(name.to_string().parse(), Ok(name));
            assert_eq!(name.to_string().to_lowercase().parse(), Ok(name));
        }
        for text in ["", "L", "L6", "0", "L00"] {
            assert_eq!(text.parse::<Name>(), Err(NoLevel(text.to_owned())));
        }
    }

    #[test]
    fn what_stands_against_a_level_is_its_evidence() {
        assert_eq!(Level::unless(vec![], "none").status, Reached::Reached);
        let level = Level::unless(vec!["/bin/sh is a shell".to_owned()], "none");
        assert_eq!((level.status, level.evidence.len()), (Reached::Failed, 1));
    }
}
