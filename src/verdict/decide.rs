//! The truth table. `docs/verdict.md` shows it to readers.

use super::{Baseline, Status};
use crate::measure::{Measure, MeasureStatus};
use crate::smoke::Answer;

/// A judgement and its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Pass, fail or inconclusive.
    pub status: Status,
    /// One sentence without a subject.
    pub reason: String,
}

/// Judges.
///
/// - An app that works passes only if every measure was read back and holds. No measures at all is no jail.
/// - An app that fails fails, even if the jail was weaker than asked: a stronger one would not have helped it. Only where the jail
///   did not *give* what it should have, that may be the cause, and nothing can be said; unless the app fails without any jail too.
/// - What could not be tested is neither.
/// - A measure that is not required (a second wall this kernel lacks) counts only when it is broken.
///
/// `summary` says what the app did, `manner` how it was confined (`read-only, without capabilities, as 65532:0`).
pub fn decide(answer: Answer, measures: &[Measure], baseline: Baseline, summary: &str, manner: &str) -> Judgement {
    let broken: Vec<_> = measures.iter().filter(|measure| measure.required && !measure.holds()).collect();
    let missing: Vec<_> = broken.iter().copied().filter(|measure| measure.gives).collect();
    let (status, reason) = match answer {
        Answer::Works if measures.is_empty() => {
            (Status::Inconclusive, format!("{summary}, but nothing shows that it was confined"))
        }
        Answer::Works if !broken.is_empty() => (Status::Inconclusive, format!("{summary}, but {}", complaint(&broken))),
        Answer::Works => (Status::Pass, format!("{summary} {manner}")),
        Answer::Fails if baseline == Baseline::Fails => (Status::Fail, format!("{summary}; broken before hardening")),
        Answer::Fails if !missing.is_empty() => {
            (Status::Inconclusive, format!("{summary}; that may be because {}", complaint(&missing)))
        }
        Answer::Fails => (Status::Fail, summary.to_owned()),
        Answer::Unknown => (Status::Inconclusive, summary.to_owned()),
    };
    Judgement { status, reason }
}

/// The first measure that does not hold, and how many more.
fn complaint(broken: &[&Measure]) -> String {
    let Some(first) = broken.first() else { return String::new() };
    let why = first.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
    let what = match first.status {
        MeasureStatus::Unavailable => "cannot be had on this host",
        MeasureStatus::Unverified => "could not be read back",
        MeasureStatus::Broken | MeasureStatus::Holds => "does not hold",
    };
    let more = match broken.len() - 1 {
        0 => String::new(),
        count => format!(" (and {count} more)"),
    };
    format!("`{}` {what}{why}{more}", first.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measures() -> [(&'static str, Vec<Measure>); 8] {
        let holds = Measure::compared("caps", "0", "0");
        let broken = Measure::compared("caps", "0", "1");
        let unverified = Measure::unverified("landlock", "ABI 7", "no report");
        let unavailable = Measure::unavailable("seccomp", "docker", "the kernel has none");
        let with = |measure: &Measure| vec![holds.clone(), measure.clone()];
        [
            ("none", vec![]),
            ("hold", vec![holds.clone()]),
            ("broken", with(&broken)),
            ("unverified", with(&unverified)),
            ("unavailable", with(&unavailable)),
            ("gift broken", with(&broken.clone().giving())),
            ("gift unverified", with(&unverified.clone().giving())),
            ("gift unavailable", with(&unavailable.clone().giving())),
        ]
    }

    /// Every row of the table: the answer, the measures, then the judgement for each baseline (works, fails, not tried).
    #[test]
    fn the_truth_table() {
        use Status::{Fail, Inconclusive, Pass};
        for (name, measures) in measures() {
            for baseline in [Baseline::Works, Baseline::Fails, Baseline::NotTried] {
                let judge = |answer| decide(answer, &measures, baseline, "did so", "in that way").status;
                let works = if name == "hold" { Pass } else { Inconclusive };
                assert_eq!(judge(Answer::Works), works, "works, {name}, {baseline:?}");
                let gift_missing = name.starts_with("gift") && baseline != Baseline::Fails;
                let fails = if gift_missing { Inconclusive } else { Fail };
                assert_eq!(judge(Answer::Fails), fails, "fails, {name}, {baseline:?}");
                assert_eq!(judge(Answer::Unknown), Inconclusive, "unknown, {name}, {baseline:?}");
            }
        }
    }

    #[test]
    fn the_reason_is_a_sentence() {
        let manner = "read-only, without capabilities, as 65532:0";
        let reason =
            |answer, measures: &[Measure], baseline| decide(answer, measures, baseline, "exit 1", manner).reason;
        let measures = measures();
        assert_eq!(
            decide(Answer::Works, &measures[1].1, Baseline::NotTried, "works", manner).reason,
            "works read-only, without capabilities, as 65532:0"
        );
        assert_eq!(reason(Answer::Fails, &measures[1].1, Baseline::Works), "exit 1");
        assert_eq!(reason(Answer::Fails, &measures[1].1, Baseline::Fails), "exit 1; broken before hardening");
        let several = [measures[7].1.clone(), measures[6].1.clone()].concat();
        assert_eq!(
            reason(Answer::Fails, &several, Baseline::Works),
            "exit 1; that may be because `seccomp` cannot be had on this host: the kernel has none (and 1 more)"
        );
        assert_eq!(
            reason(Answer::Works, &measures[3].1, Baseline::NotTried),
            "exit 1, but `landlock` could not be read back: no report"
        );
    }
}
