//! A policy to a program: for each audit architecture, the numbers are cut into ranges with the same outcome.

use libc::{BPF_JEQ, sock_filter};

use super::emit::{jump, load, ret, skip, tree};
use super::evaluate::audit_arch;
use super::table::{Numbers, X32_BIT, multiplexed, number};
use crate::profile::seccomp::{Arch, Condition, Op, Policy, Rule};

/// A program that can be installed, and what was left out of it.
#[derive(Clone)]
pub struct Filter {
    /// For [`install`](crate::sys::seccomp::install).
    pub program: Vec<sock_filter>,
    /// `SECCOMP_FILTER_FLAG_*`, for the same.
    pub flags: libc::c_ulong,
    /// Names in the policy that no architecture known to austere has: misspelt, or newer than Linux 7.1. They have no effect.
    pub unknown: Vec<String>,
}

/// A policy that cannot become a filter.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The kernel's limit.
    #[error("the seccomp profile makes a filter of {0} instructions, and the kernel takes {LIMIT} at most")]
    TooLong(usize),
    /// Not from a profile: those are checked when they are read.
    #[error("the rule for `{0}` has conditions on more than the six arguments of a system call")]
    Arguments(String),
}

/// `BPF_MAXINSNS`, `linux/bpf_common.h`.
const LIMIT: usize = 4096;

/// Compiles `policy`.
///
/// # Errors
///
/// [`CompileError::TooLong`] (docker's profile takes about a sixth of what is possible), [`CompileError::Arguments`].
pub fn compile(policy: &Policy) -> Result<Filter, CompileError> {
    let beyond = |rule: &&Rule| rule.conditions.len() > 6 || rule.conditions.iter().any(|c| c.index > 5);
    if let Some(rule) = policy.rules.iter().find(beyond) {
        return Err(CompileError::Arguments(rule.name.clone()));
    }
    let foreign = policy.foreign.code();
    let (mut rules, mut unknown) = (Vec::with_capacity(policy.rules.len()), Vec::new());
    for rule in &policy.rules {
        match Numbers::of(&rule.name) {
            Some(numbers) => rules.push((rule, numbers)),
            None => unknown.push(rule.name.clone()),
        }
    }
    unknown.sort_unstable();
    unknown.dedup();
    let mut program = vec![load(4)];
    for &arch in policy.architectures.iter().filter(|&&arch| arch != Arch::X32) {
        let mut ranges = Ranges::of(arch, policy, &rules);
        if arch == Arch::X86_64 {
            if policy.architectures.contains(&Arch::X32) {
                ranges.append(Ranges::of(Arch::X32, policy, &rules));
            } else {
                ranges.push(X32_BIT, Outcome::always(foreign));
                // A tracer sets -1 to skip a call, and since Linux 4.8 the filter is asked again after it.
                ranges.push(u32::MAX, Outcome::always(policy.default.code()));
            }
        }
        program.push(jump(BPF_JEQ, audit_arch(arch), 1, 0));
        let start = program.len();
        program.push(load(0));
        tree(&ranges.0, &mut program);
        // Over the section to the next architecture.
        program.insert(start, skip(program.len() - start));
    }
    program.push(ret(foreign));
    if program.len() > LIMIT {
        return Err(CompileError::TooLong(program.len()));
    }
    let mut flags = 0;
    if policy.flags.log {
        flags |= libc::SECCOMP_FILTER_FLAG_LOG;
    }
    if policy.flags.spec_allow {
        flags |= libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    }
    Ok(Filter { program, flags, unknown })
}

/// What becomes of one number: the first case that holds, otherwise `otherwise`.
#[derive(Clone, Default)]
pub(super) struct Outcome {
    pub cases: Vec<Case>,
    pub otherwise: u32,
    /// A rule without conditions has spoken; nothing after it counts.
    settled: bool,
    /// Only lower halves count.
    pub narrow: bool,
}

#[derive(Clone, PartialEq)]
pub(super) struct Case {
    pub conditions: Vec<Condition>,
    pub then: u32,
}

impl Outcome {
    fn always(code: u32) -> Self {
        Outcome { otherwise: code, ..Outcome::default() }
    }

    fn add(&mut self, conditions: Vec<Condition>, code: u32) {
        if self.settled {
            return;
        }
        if conditions.is_empty() {
            *self = Outcome { otherwise: code, settled: true, ..Outcome::default() };
        } else {
            self.cases.push(Case { conditions, then: code });
        }
    }

    fn same(&self, other: &Self) -> bool {
        let cases = self.cases == other.cases && (self.cases.is_empty() || self.narrow == other.narrow);
        cases && self.otherwise == other.otherwise
    }
}

/// Ascending starts; each range ends where the next begins, the last at the highest number.
struct Ranges(Vec<(u32, Outcome)>);

impl Ranges {
    /// The numbers of one architecture.
    fn of(arch: Arch, policy: &Policy, rules: &[(&Rule, Numbers)]) -> Ranges {
        let default = policy.default.code();
        let narrow = matches!(arch, Arch::X86 | Arch::X32 | Arch::Arm);
        let mut said: Vec<(u32, Vec<Condition>, u32)> = Vec::with_capacity(rules.len());
        let mut highest = None;
        for &(rule, numbers) in rules {
            let mut add = |number, conditions: Vec<Condition>| {
                // What says the same as the default is no rule to runc, and so hides no other.
                if rule.action != policy.default {
                    said.push((number, conditions, rule.action.code()));
                }
            };
            let multiplexed = multiplexed(arch, &rule.name);
            if let Some((name, call)) = multiplexed
                && let Some(number) = number(arch, name)
            {
                add(number, through(rule, call));
            }
            if let Some(number) = numbers.on(arch) {
                add(number, rule.conditions.clone());
                // libseccomp resolves a multiplexed call to no number, so runc does not count it.
                if multiplexed.is_none() {
                    highest = highest.max(Some(number));
                }
            }
        }
        // runc takes a highest number of 0 for "none found".
        let newer = policy.newer.zip(highest.filter(|&number| number > 0)).map(|(action, number)| (number + 1, action));
        if let Some((from, _)) = newer {
            // What is left above are multiplexed calls; runc's check comes first.
            said.retain(|(number, ..)| *number < from);
        }
        // What was said of one number stays in its order.
        said.sort_by_key(|(number, ..)| *number);
        let mut ranges = Ranges(Vec::with_capacity(2 * said.len() + 2));
        ranges.push(if arch == Arch::X32 { X32_BIT } else { 0 }, Outcome::always(default));
        let mut said = said.into_iter().peekable();
        while let Some((number, conditions, code)) = said.next() {
            let mut outcome = Outcome { otherwise: default, narrow, ..Outcome::default() };
            outcome.add(conditions, code);
            while let Some((_, conditions, code)) = said.next_if(|(next, ..)| *next == number) {
                outcome.add(conditions, code);
            }
            ranges.push(number, outcome);
            ranges.push(number + 1, Outcome::always(default));
        }
        if let Some((from, action)) = newer {
            ranges.push(from, Outcome::always(action.code()));
        }
        ranges
    }

    /// From `start` on, `outcome`.
    fn push(&mut self, start: u32, outcome: Outcome) {
        self.0.pop_if(|(last, _)| *last == start);
        if self.0.last().is_none_or(|(_, last)| !last.same(&outcome)) {
            self.0.push((start, outcome));
        }
    }

    fn append(&mut self, later: Ranges) {
        for (start, outcome) in later.0 {
            self.push(start, outcome);
        }
    }
}

/// The rule's conditions for the call reached through `socketcall` or `ipc`: there the first argument is the call.
fn through(rule: &Rule, call: u64) -> Vec<Condition> {
    let rest = rule.conditions.iter().filter(|c| c.index != 0).copied();
    std::iter::once(Condition { index: 0, op: Op::Eq, value: call }).chain(rest).collect()
}
