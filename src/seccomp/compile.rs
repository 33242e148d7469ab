//! A policy to a classic BPF program.
//!
//! For each audit architecture the numbers are cut into ranges with the same outcome, and the ranges make the leaves of a
//! binary search tree: a call that is always allowed is found in eight or so comparisons, whatever its number.

use std::collections::BTreeMap;

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter,
};

use super::evaluate::{audit_arch, high, low};
use super::table::{X32_BIT, known, multiplexed, number};
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
    let mut program = vec![load(4)];
    for &arch in policy.architectures.iter().filter(|&&arch| arch != Arch::X32) {
        let mut ranges = Ranges::of(arch, policy);
        if arch == Arch::X86_64 {
            if policy.architectures.contains(&Arch::X32) {
                ranges.append(Ranges::of(Arch::X32, policy));
            } else {
                ranges.push(X32_BIT, Outcome::always(foreign));
                // A tracer sets -1 to skip a call, and since Linux 4.8 the filter is asked again after it.
                ranges.push(u32::MAX, Outcome::always(policy.default.code()));
            }
        }
        let section = tree(&ranges.0);
        // Over the jump and the section to the next architecture.
        program.push(jump(BPF_JEQ, audit_arch(arch), 1, 0));
        program.push(skip(section.len() + 1));
        program.push(load(0));
        program.extend(section);
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
    let mut unknown: Vec<String> = policy.rules.iter().filter(|r| !known(&r.name)).map(|r| r.name.clone()).collect();
    unknown.sort_unstable();
    unknown.dedup();
    Ok(Filter { program, flags, unknown })
}

/// What becomes of one number: the first case that holds, otherwise `otherwise`.
#[derive(Clone, Default)]
struct Outcome {
    cases: Vec<Case>,
    otherwise: u32,
    /// A rule without conditions has spoken; nothing after it counts.
    settled: bool,
    /// Only lower halves count.
    narrow: bool,
}

#[derive(Clone, PartialEq)]
struct Case {
    conditions: Vec<Condition>,
    then: u32,
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
    fn of(arch: Arch, policy: &Policy) -> Ranges {
        let default = policy.default.code();
        let narrow = matches!(arch, Arch::X86 | Arch::X32 | Arch::Arm);
        let fresh = || Outcome { otherwise: default, narrow, ..Outcome::default() };
        let mut outcomes: BTreeMap<u32, Outcome> = BTreeMap::new();
        let mut highest = None;
        for rule in &policy.rules {
            let mut add = |number, conditions: Vec<Condition>| {
                // What says the same as the default is no rule to runc, and so hides no other.
                if rule.action != policy.default {
                    outcomes.entry(number).or_insert_with(fresh).add(conditions, rule.action.code());
                }
            };
            let multiplexed = multiplexed(arch, &rule.name);
            if let Some((name, call)) = multiplexed
                && let Some(number) = number(arch, name)
            {
                add(number, through(rule, call));
            }
            if let Some(number) = number(arch, &rule.name) {
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
            outcomes.split_off(&from);
        }
        let mut ranges = Ranges(Vec::with_capacity(2 * outcomes.len() + 2));
        ranges.push(if arch == Arch::X32 { X32_BIT } else { 0 }, Outcome::always(default));
        for (number, outcome) in outcomes {
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

/// Finds the range of the number that is in the accumulator.
fn tree(ranges: &[(u32, Outcome)]) -> Vec<sock_filter> {
    if let [(_, outcome)] = ranges {
        return leaf(outcome);
    }
    let (below, above) = ranges.split_at(ranges.len() / 2);
    let (left, right) = (tree(below), tree(above));
    let start = above.first().map_or(0, |(start, _)| *start);
    let mut code = match u8::try_from(left.len()) {
        Ok(length) => vec![jump(BPF_JGE, start, length, 0)],
        Err(_) => vec![jump(BPF_JGE, start, 0, 1), skip(left.len())],
    };
    code.extend(left);
    code.extend(right);
    code
}

fn leaf(outcome: &Outcome) -> Vec<sock_filter> {
    let mut code = Vec::new();
    for case in &outcome.cases {
        // A case is at most six times seven instructions long, so its jumps fit.
        let mut steps: Vec<Step> = Vec::new();
        for condition in &case.conditions {
            let check = check(condition, outcome.narrow);
            let end = steps.len() + check.len();
            steps.extend(check.into_iter().map(|step| step.settle(end)));
        }
        let out = steps.len() + 1;
        for (at, step) in steps.into_iter().enumerate() {
            code.push(step.emit(at, out));
        }
        code.push(ret(case.then));
    }
    code.push(ret(outcome.otherwise));
    code
}

/// Where a comparison leads.
#[derive(Clone, Copy)]
enum Target {
    Next,
    Holds,
    Fails,
    At(usize),
}

enum Step {
    Plain(sock_filter),
    Compare { code: u32, k: u32, yes: Target, no: Target },
}

impl Step {
    /// A condition that holds goes on at `end`, where the next begins.
    fn settle(self, end: usize) -> Step {
        let settle = |target| if let Target::Holds = target { Target::At(end) } else { target };
        match self {
            Step::Plain(_) => self,
            Step::Compare { code, k, yes, no } => Step::Compare { code, k, yes: settle(yes), no: settle(no) },
        }
    }

    /// The instruction at `at`, in a case that ends before `out`.
    fn emit(self, at: usize, out: usize) -> sock_filter {
        let distance = |target| {
            let to = match target {
                Target::Next | Target::Holds => at + 1,
                Target::Fails => out,
                Target::At(to) => to,
            };
            u8::try_from(to - at - 1).unwrap_or(u8::MAX)
        };
        match self {
            Step::Plain(instruction) => instruction,
            Step::Compare { code, k, yes, no } => jump(code, k, distance(yes), distance(no)),
        }
    }
}

/// Compares one argument: the upper half, where it decides, then the lower.
fn check(condition: &Condition, narrow: bool) -> Vec<Step> {
    let (yes, no) = match condition.op {
        Op::Ne | Op::Lt | Op::Le => (Target::Fails, Target::Holds),
        _ => (Target::Holds, Target::Fails),
    };
    let mask = if let Op::MaskedEq(mask) = condition.op { mask } else { u64::MAX };
    let value = condition.value & mask;
    let code = match condition.op {
        Op::Eq | Op::Ne | Op::MaskedEq(_) => BPF_JEQ,
        Op::Gt | Op::Le => BPF_JGT,
        Op::Ge | Op::Lt => BPF_JGE,
    };
    let offset = 16 + 8 * u32::from(condition.index);
    let mut steps = Vec::with_capacity(7);
    let fetch = |steps: &mut Vec<Step>, offset, mask| {
        steps.push(Step::Plain(load(offset)));
        if mask != u32::MAX {
            steps.push(Step::Plain(instruction(BPF_ALU | BPF_AND | BPF_K, 0, 0, mask)));
        }
    };
    if !narrow && high(mask) != 0 {
        fetch(&mut steps, offset + 4, high(mask));
        if code != BPF_JEQ {
            steps.push(Step::Compare { code: BPF_JGT, k: high(value), yes, no: Target::Next });
        }
        steps.push(Step::Compare { code: BPF_JEQ, k: high(value), yes: Target::Next, no });
    }
    fetch(&mut steps, offset, low(mask));
    steps.push(Step::Compare { code, k: low(value), yes, no });
    steps
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    // Classic BPF's codes are below 256.
    sock_filter { code: u16::try_from(code).unwrap_or(u16::MAX), jt, jf, k }
}

fn load(offset: u32) -> sock_filter {
    instruction(BPF_LD | BPF_W | BPF_ABS, 0, 0, offset)
}

fn ret(code: u32) -> sock_filter {
    instruction(BPF_RET | BPF_K, 0, 0, code)
}

fn jump(comparison: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    instruction(BPF_JMP | comparison | BPF_K, jt, jf, k)
}

fn skip(count: usize) -> sock_filter {
    instruction(BPF_JMP | BPF_JA, 0, 0, u32::try_from(count).unwrap_or(u32::MAX))
}
