//! From a set that works to the least of it, with bounds, and the proof.

use super::{Ending, PROOF, Runner, Search, Stop};
use crate::fit::set::{Set, Why};
use crate::profile::preset::TmpfsStyle;
use crate::smoke::Answer;

/// What a tmpfs may hold, tried in this order, in bytes.
const SIZES: [u64; 3] = [16 << 20, 64 << 20, 256 << 20];
/// How much more than what was enough is given: an app may run full only after its probes.
const HEADROOM: u64 = 4;
impl<R: Runner> Search<'_, '_, R> {
    /// Without everything that turns out not to be needed: what is riskiest goes first.
    pub(super) fn minimal(&mut self, set: Set) -> Result<Set, Stop<R::Error>> {
        let mut set = set;
        self.best = set.clone();
        // Many of a kind go in halves, which takes fewer runs than one by one.
        for kind in ["capability", "tmpfs"] {
            let all = set.key();
            let group: Vec<_> = all.iter().filter(|what| what.kind() == kind).collect();
            let mut size = if group.len() < all.len() { group.len() } else { group.len().div_ceil(2) };
            while size > 1 {
                for some in group.chunks(size) {
                    let next = set.without(some);
                    if next != set && self.works_without(&next, &format!("{} of {kind}", some.len()))? {
                        set = next;
                        self.best = set.clone();
                    }
                }
                size = size.div_ceil(2).min(size - 1);
            }
        }
        loop {
            let before = set.clone();
            for what in set.key().iter().rev() {
                let next = set.without(&[what]);
                if self.works_without(&next, &self.runner.flags(&Set::default().with(what.clone(), &Why::default())))? {
                    set = next;
                    self.best = set.clone();
                }
            }
            if set == before {
                return Ok(set);
            }
        }
    }

    fn works_without(&mut self, next: &Set, what: &str) -> Result<bool, Stop<R::Error>> {
        if let Some(answer) = self.seen.get(&next.key()) {
            return Ok(*answer == Answer::Works);
        }
        let trial = self.run(next)?;
        let works = trial.answer == Answer::Works;
        let verdict = if works { "is not needed".to_owned() } else { format!("is needed: {}", trial.summary) };
        self.line(&format!("without {what}: it {verdict}"));
        Ok(works)
    }

    /// With a bound for every tmpfs. What is copied up cannot have one in the jail.
    pub(super) fn sized(&mut self, set: Set) -> Result<Set, Stop<R::Error>> {
        if self.style == TmpfsStyle::CopiedUp || set.scratches().next().is_none() {
            return Ok(set);
        }
        for size in SIZES {
            let next = set.sized(size);
            let trial = self.run(&next)?;
            self.say(&next, "bounded: ", &trial, None);
            if trial.answer == Answer::Works {
                return Ok(set.sized(HEADROOM * size));
            }
        }
        Ok(set)
    }

    pub(super) fn prove(&mut self, set: Set, times: u32) -> Result<(Ending, Set), Stop<R::Error>> {
        self.best = set.clone();
        for time in times..PROOF {
            let trial = self.run(&set)?;
            self.say(&set, &format!("proof {} of {PROOF}: ", time + 1), &trial, None);
            if trial.answer != Answer::Works {
                return Ok((Ending::Unsteady(time), set));
            }
        }
        Ok((Ending::Proven, set))
    }
}
