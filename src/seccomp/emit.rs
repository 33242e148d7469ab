//! Ranges of numbers to classic BPF.
//!
//! The ranges make the leaves of a binary search tree: a call that is always allowed is found in eight or so comparisons,
//! whatever its number.

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter,
};

use super::compile::Outcome;
use super::evaluate::{high, low};
use crate::profile::seccomp::{Condition, Op};

/// Appends what finds the range of the number that is in the accumulator.
pub(super) fn tree(ranges: &[(u32, Outcome)], code: &mut Vec<sock_filter>) {
    if let [(_, outcome)] = ranges {
        return leaf(outcome, code);
    }
    let (below, above) = ranges.split_at(ranges.len() / 2);
    let fork = code.len();
    tree(below, code);
    let start = above.first().map_or(0, |(start, _)| *start);
    let length = code.len() - fork;
    // Jumps are relative, so the lower half can be moved to make room for the one over it.
    match u8::try_from(length) {
        Ok(length) => code.insert(fork, jump(BPF_JGE, start, length, 0)),
        Err(_) => drop(code.splice(fork..fork, [jump(BPF_JGE, start, 0, 1), skip(length)])),
    }
    tree(above, code);
}

fn leaf(outcome: &Outcome, code: &mut Vec<sock_filter>) {
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

pub(super) fn load(offset: u32) -> sock_filter {
    instruction(BPF_LD | BPF_W | BPF_ABS, 0, 0, offset)
}

pub(super) fn ret(code: u32) -> sock_filter {
    instruction(BPF_RET | BPF_K, 0, 0, code)
}

pub(super) fn jump(comparison: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    instruction(BPF_JMP | comparison | BPF_K, jt, jf, k)
}

pub(super) fn skip(count: usize) -> sock_filter {
    instruction(BPF_JMP | BPF_JA, 0, 0, u32::try_from(count).unwrap_or(u32::MAX))
}
