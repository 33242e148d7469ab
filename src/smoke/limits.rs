//! Limits that the app met: what the kernel counted, in sentences.

use super::{Answer, Outcome};
use crate::cgroup::amount::Bytes;
use crate::cgroup::{Events, Killed, Refused};
use crate::finding::{Finding, Role, Severity};

/// What the limits did, each with its numbers; of an app that may work all the same.
pub fn limits_met(events: &Events) -> Vec<Finding> {
    let killed = events.killed.map(|killed| finding("oom-killed", oom(&killed), ROOM));
    let refused = events.refused.map(|refused| finding("pids-exhausted", exhausted(&refused), CROWD));
    killed.into_iter().chain(refused).collect()
}

const ROOM: &str =
    "give it more (`--memory`), or tell the app how much it has: runtimes that size a heap do not always look";
const CROWD: &str = "give it more (`--pids-limit`; threads count), or let it start fewer workers";

fn oom(killed: &Killed) -> String {
    let who = plural(killed.processes, "process", "processes");
    let limit = Bytes(killed.limit);
    if killed.at_limit {
        format!("the kernel killed {who} for want of memory at the limit of {limit}")
    } else {
        format!("the kernel killed {who} for want of memory outside; the limit of {limit} was not reached")
    }
}

fn exhausted(refused: &Refused) -> String {
    let limit = plural(refused.limit, "process", "processes");
    format!("a new process was refused {}; the limit is {limit}", times(refused.times))
}

fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn times(count: u64) -> String {
    plural(count, "time", "times")
}

fn finding(code: &str, message: String, advice: &str) -> Finding {
    Finding {
        code: code.to_owned(),
        role: Role::Contributing,
        severity: Severity::Warning,
        refused_by: Some("cgroup".to_owned()),
        message,
        advice: Some(advice.to_owned()),
        ..Finding::default()
    }
}

impl Outcome {
    /// The same outcome with what the limits did: the cause, where the app failed.
    #[must_use]
    pub fn with_limits_met(mut self, events: &Events) -> Self {
        let mut met = limits_met(events);
        if self.answer == Answer::Fails
            && let Some(first) = met.first()
        {
            self.summary = format!("{}: {}", self.summary, first.message);
            for finding in &mut met {
                (finding.role, finding.severity) = (Role::Cause, Severity::Error);
            }
        }
        met.append(&mut self.findings);
        self.findings = met;
        self
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::jail::subject::Output;

    fn outcome(answer: Answer) -> Outcome {
        Outcome {
            answer,
            summary: "killed by SIGKILL after 1 s".to_owned(),
            probes: Vec::new(),
            end: None,
            ended_at: None,
            alive_after_probes: false,
            stop: None,
            output: Output::default(),
            findings: vec![finding("seen", "seen".to_owned(), "")],
            took: Duration::ZERO,
        }
    }

    const BOTH: Events = Events {
        killed: Some(Killed { processes: 1, at_limit: true, limit: 64 << 20 }),
        refused: Some(Refused { times: 3, limit: 20 }),
    };

    #[test]
    fn a_limit_is_the_cause_only_of_a_failure() {
        let codes = |outcome: &Outcome| outcome.findings.iter().map(|finding| finding.code.clone()).collect::<Vec<_>>();
        let failed = outcome(Answer::Fails).with_limits_met(&BOTH);
        assert_eq!(codes(&failed), ["oom-killed", "pids-exhausted", "seen"]);
        assert_eq!(failed.findings[0].role, Role::Cause);
        assert_eq!(
            failed.summary,
            "killed by SIGKILL after 1 s: the kernel killed 1 process for want of memory at the limit of 64 MiB"
        );
        let works = outcome(Answer::Works).with_limits_met(&BOTH);
        assert_eq!((works.findings[0].role, &works.summary), (Role::Contributing, &outcome(Answer::Works).summary));
        assert_eq!(outcome(Answer::Fails).with_limits_met(&Events::default()), outcome(Answer::Fails));
    }

    #[test]
    fn numbers_are_said() {
        let said = |events: &Events| limits_met(events).into_iter().map(|finding| finding.message).collect::<Vec<_>>();
        assert_eq!(said(&BOTH)[1], "a new process was refused 3 times; the limit is 20 processes");
        let host = Events { killed: Some(Killed { processes: 2, at_limit: false, limit: 64 << 20 }), refused: None };
        assert!(said(&host)[0].contains("2 processes for want of memory outside"));
    }
}
