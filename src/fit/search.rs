//! The search: up from the strictest by what the evidence says, down again to what is needed, and then the proof.

mod descend;

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::relaxation::Relaxation;
use super::set::{Set, Why};
use super::suggest::{self, Facts};
use crate::finding::Finding;
use crate::profile::preset::TmpfsStyle;
use crate::smoke::Answer;
use crate::verdict::diagnose::CLOSED_ROOM;
use crate::verdict::{Baseline, Reached};

/// How often in a row a set has to work before it is believed.
pub const PROOF: u32 = 3;
/// How many runs are kept back for when the evidence leads nowhere.
const RESERVE: u32 = 14;

/// Runs the app with a set given back.
pub trait Runner {
    /// What ends the search.
    type Error;

    /// One judged run.
    ///
    /// # Errors
    ///
    /// Where the jail cannot be built at all.
    fn run(&mut self, set: &Set) -> Result<Trial, Self::Error>;

    /// One watched run of a set that has just failed; nothing where no cause was seen.
    ///
    /// # Errors
    ///
    /// As [`Runner::run`].
    fn explain(&mut self, set: &Set) -> Result<Option<Finding>, Self::Error>;

    /// The set as flags.
    fn flags(&self, set: &Set) -> String;
}

/// What one run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// Whether the app worked.
    pub answer: Answer,
    /// The same in words.
    pub summary: String,
}

/// What is known before the search: the strictest jail has been tried.
#[derive(Clone, Debug)]
pub struct Known {
    /// What that run came to.
    pub first: Trial,
    /// Why it failed.
    pub cause: Option<Finding>,
    /// The run without hardening.
    pub baseline: Baseline,
    /// How many runs that were.
    pub runs: u32,
}

/// What may be spent.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Runs, watched ones too.
    pub runs: u32,
    /// No run is started after it.
    pub until: Instant,
}

/// What the search came to.
#[derive(Clone, Debug)]
pub struct Found {
    /// Reached when a set was proven, failed when there is none; else it could not be told.
    pub status: Reached,
    /// The set; where it is not proven, the best so far.
    pub set: Set,
    /// The same in one sentence.
    pub reason: String,
    /// How many different sets were run.
    pub tried: u32,
    /// How many runs it took.
    pub runs: u32,
    /// How often in a row the set worked at last.
    pub proven: u32,
}

/// Why the search stops before its end.
enum Stop<E> {
    Spent,
    ClosedRoom(String),
    Error(E),
}

impl<E> From<E> for Stop<E> {
    fn from(error: E) -> Self {
        Stop::Error(error)
    }
}

/// Finds the least that makes the app work.
///
/// # Errors
///
/// The runner's.
pub fn search<R: Runner>(
    runner: &mut R,
    facts: &Facts<'_>,
    style: TmpfsStyle,
    known: Known,
    budget: Budget,
    tell: &mut dyn FnMut(&str),
) -> Result<Found, R::Error> {
    let mut search = Search {
        runner,
        facts,
        style,
        budget,
        tell,
        seen: BTreeMap::from([(Vec::new(), known.first.answer)]),
        runs: known.runs,
        last: known.first.summary.clone(),
        best: Set::default(),
    };
    let result = search.find(known);
    let Search { seen, runs, last, best, .. } = search;
    let tried = u32::try_from(seen.len()).unwrap_or(u32::MAX);
    let found = |status, set, reason, proven| Found { status, set, reason, tried, runs, proven };
    Ok(match result {
        Ok((Ending::Proven, set)) => found(Reached::Reached, set, "it works".to_owned(), PROOF),
        Ok((Ending::Unsteady(times), set)) => {
            found(Reached::Failed, set, format!("it worked, and then not {PROOF} times in a row: {last}"), times)
        }
        Ok((Ending::None(why), set)) => found(Reached::Failed, set, format!("{why}; at last: {last}"), 0),
        Ok((Ending::Unknown, set)) => found(Reached::NotTried, set, last, 0),
        Err(Stop::Spent) => {
            let reason = format!("the budget is used up ({runs} runs; --max-runs, --budget); at last: {last}");
            found(Reached::NotTried, best, reason, 0)
        }
        Err(Stop::ClosedRoom(cause)) => {
            let reason = format!(
                "the app wants to reach something outside, and the room is closed: {cause}; with --network host the search goes on"
            );
            found(Reached::NotTried, best, reason, 0)
        }
        Err(Stop::Error(error)) => return Err(error),
    })
}

enum Ending {
    Proven,
    Unsteady(u32),
    None(String),
    Unknown,
}

struct Search<'a, 'f, R> {
    runner: &'a mut R,
    facts: &'a Facts<'f>,
    style: TmpfsStyle,
    budget: Budget,
    tell: &'a mut dyn FnMut(&str),
    seen: BTreeMap<Vec<Relaxation>, Answer>,
    runs: u32,
    /// How the last failing run failed.
    last: String,
    /// The smallest set that worked.
    best: Set,
}

/// A set that fails, why, and what is still to be tried against it.
struct Level {
    cause: Finding,
    open: VecDeque<Set>,
}

impl<R: Runner> Search<'_, '_, R> {
    fn find(&mut self, known: Known) -> Result<(Ending, Set), Stop<R::Error>> {
        let nothing = Set::default();
        self.say(&nothing, "", &known.first, known.cause.as_ref());
        if let Some(cause) = known.cause.as_ref().filter(|cause| cause.code == CLOSED_ROOM) {
            return Err(self.outside(&nothing, cause));
        }
        match (known.first.answer, known.baseline) {
            (Answer::Works, _) => return self.prove(nothing, 1),
            (Answer::Unknown, _) => return Ok((Ending::Unknown, nothing)),
            (_, Baseline::Fails) => {
                let why = "it fails without any hardening, too, so nothing that could be given back helps";
                return Ok((Ending::None(why.to_owned()), nothing));
            }
            _ => {}
        }
        let Some(set) = self.ascend(known.cause)? else {
            let why = "nothing that can be given back makes it work while no-new-privileges stays on";
            return Ok((Ending::None(why.to_owned()), nothing));
        };
        let set = self.minimal(set)?;
        let set = self.sized(set)?;
        self.prove(set, 0)
    }

    fn ascend(&mut self, cause: Option<Finding>) -> Result<Option<Set>, Stop<R::Error>> {
        let mut furthest = Set::default();
        let mut levels: Vec<Level> = Vec::new();
        levels.extend(cause.map(|cause| self.level(cause, &Set::default())));
        while let Some(level) = levels.last_mut() {
            let Some(next) = level.open.pop_front() else {
                levels.pop();
                continue;
            };
            if self.seen.contains_key(&next.key()) {
                continue;
            }
            // Some runs are for when all this leads nowhere.
            if self.runs + RESERVE > self.budget.runs.max(2 * RESERVE) {
                break;
            }
            let before = level.cause.clone();
            let trial = self.run(&next)?;
            if trial.answer == Answer::Works {
                self.say(&next, "", &trial, None);
                return Ok(Some(next));
            }
            let cause = self.explain(&next)?;
            self.say(&next, "", &trial, cause.as_ref());
            match cause {
                Some(cause) if cause.code == CLOSED_ROOM => return Err(self.outside(&next, &cause)),
                // It did not help against what it was meant for.
                Some(cause) if is_same(&cause, &before) => {}
                Some(cause) => {
                    furthest = next.clone();
                    let level = self.level(cause, &next);
                    levels.push(level);
                }
                None => furthest = next,
            }
        }
        for start in [furthest, Set::default()] {
            for next in suggest::blind(&start, self.facts) {
                if self.seen.contains_key(&next.key()) {
                    continue;
                }
                let trial = self.run(&next)?;
                self.say(&next, "", &trial, None);
                if trial.answer == Answer::Works {
                    return Ok(Some(next));
                }
            }
        }
        Ok(None)
    }

    /// What else it takes cannot be tried: the room stays closed.
    fn outside(&mut self, set: &Set, cause: &Finding) -> Stop<R::Error> {
        let evidence = suggest::evidence(cause);
        let why = Why { evidence: format!("{evidence} (not proven)"), better: cause.advice.clone() };
        self.best = set.with(Relaxation::Network(cause.path.clone().unwrap_or_default()), &why);
        Stop::ClosedRoom(evidence)
    }

    fn level(&self, cause: Finding, set: &Set) -> Level {
        let open = suggest::proposals(&cause, set, self.facts).into();
        Level { cause, open }
    }

    fn run(&mut self, set: &Set) -> Result<Trial, Stop<R::Error>> {
        self.spend()?;
        let trial = self.runner.run(set)?;
        self.seen.insert(set.key(), trial.answer);
        if trial.answer != Answer::Works {
            self.last.clone_from(&trial.summary);
        }
        Ok(trial)
    }

    fn explain(&mut self, set: &Set) -> Result<Option<Finding>, Stop<R::Error>> {
        self.spend()?;
        Ok(self.runner.explain(set)?)
    }

    fn spend(&mut self) -> Result<(), Stop<R::Error>> {
        if self.runs >= self.budget.runs || Instant::now() >= self.budget.until {
            return Err(Stop::Spent);
        }
        self.runs += 1;
        Ok(())
    }

    fn say(&mut self, set: &Set, before: &str, trial: &Trial, cause: Option<&Finding>) {
        let flags = if set.is_empty() { "nothing given back".to_owned() } else { self.runner.flags(set) };
        let came = if trial.answer == Answer::Works { "works" } else { &trial.summary };
        self.line(&format!("{before}{flags}: {came}"));
        if let Some(cause) = cause {
            (self.tell)(&format!("            {}", suggest::evidence(cause)));
        }
    }

    fn line(&mut self, text: &str) {
        let number = self.runs;
        (self.tell)(&format!("fit {number:>3}     {text}"));
    }
}

fn is_same(one: &Finding, two: &Finding) -> bool {
    let key = |finding: &Finding| (finding.call.clone(), finding.path.clone(), finding.errno.clone());
    key(one) == key(two) && one.code == two.code
}
