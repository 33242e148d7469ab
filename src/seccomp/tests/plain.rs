//! The policy read without any cleverness: rule by rule, condition by condition.

use crate::profile::seccomp::{Action, Arch, Condition, Op, Policy, Rule};
use crate::seccomp::number;
use crate::seccomp::table::multiplexed;

pub(super) struct Plain<'p> {
    policy: &'p Policy,
    arch: Arch,
    rules: Vec<Numbered<'p>>,
}

/// A rule with its number, and with the number of the call it can be reached through and the first argument there.
type Numbered<'p> = (Option<u32>, Option<(u32, u64)>, &'p Rule);

impl<'p> Plain<'p> {
    pub(super) fn new(policy: &'p Policy, arch: Arch) -> Self {
        let rules = policy.rules.iter().map(|rule| {
            let through = multiplexed(arch, &rule.name).map(|(name, call)| (number(arch, name).unwrap(), call));
            (number(arch, &rule.name), through, rule)
        });
        Plain { policy, arch, rules: rules.collect() }
    }

    pub(super) fn action(&self, nr: u32, args: [u64; 6]) -> Action {
        let highest = self.rules.iter().filter(|r| r.1.is_none()).filter_map(|r| r.0).max().unwrap_or(0);
        if let Some(newer) = self.policy.newer
            && highest > 0
            && nr > highest
        {
            return newer;
        }
        let real = || self.rules.iter().filter(|r| r.2.action != self.policy.default);
        if let Some(always) = real().find(|r| r.0 == Some(nr) && r.2.conditions.is_empty()) {
            return always.2.action;
        }
        let all = |conditions: &[Condition], from: u8| {
            conditions.iter().all(|c| c.index < from || self.holds(c, args[usize::from(c.index)]))
        };
        for (number, through, rule) in real() {
            if *number == Some(nr) && all(&rule.conditions, 0) {
                return rule.action;
            }
            if let Some((other, call)) = through
                && *other == nr
                && args[0] & 0xffff_ffff == *call
                && all(&rule.conditions, 1)
            {
                return rule.action;
            }
        }
        self.policy.default
    }

    fn holds(&self, condition: &Condition, arg: u64) -> bool {
        let width = match self.arch {
            Arch::X86_64 | Arch::Aarch64 => u64::MAX,
            Arch::X86 | Arch::X32 | Arch::Arm => 0xffff_ffff,
        };
        let (arg, value) = (arg & width, condition.value & width);
        match condition.op {
            Op::Ne => arg != value,
            Op::Lt => arg < value,
            Op::Le => arg <= value,
            Op::Eq => arg == value,
            Op::Ge => arg >= value,
            Op::Gt => arg > value,
            Op::MaskedEq(mask) => arg & mask == value & mask,
        }
    }

    /// Arguments at and around what the rules for `nr` compare them with.
    pub(super) fn interesting(&self, nr: u32) -> Vec<[u64; 6]> {
        let mut cases = vec![[0; 6], [u64::MAX; 6]];
        for (number, through, rule) in &self.rules {
            let call = through.filter(|t| t.0 == nr).map(|t| Condition { index: 0, op: Op::Eq, value: t.1 });
            if *number != Some(nr) && call.is_none() {
                continue;
            }
            for condition in rule.conditions.iter().chain(&call) {
                let at = usize::from(condition.index);
                let with = |value| {
                    let base = cases.iter().take(24).copied();
                    base.map(move |mut args: [u64; 6]| {
                        args[at] = value;
                        args
                    })
                };
                let more: Vec<_> = around(condition).into_iter().flat_map(with).collect();
                cases.extend(more);
            }
        }
        cases.sort_unstable();
        cases.dedup();
        cases
    }
}

fn around(condition: &Condition) -> Vec<u64> {
    let v = condition.value;
    let mut values =
        vec![v, v.wrapping_add(1), v.wrapping_sub(1), !v, v ^ 1 << 32, v ^ 1 << 63, v | !0 << 32, v & 0xffff_ffff];
    if let Op::MaskedEq(mask) = condition.op {
        values.extend([mask, !mask, v | !mask, v ^ (mask & mask.wrapping_neg())]);
        values.extend((0..64).map(|bit| v ^ 1 << bit));
    }
    values
}
