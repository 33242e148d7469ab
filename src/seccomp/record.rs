//! The same policy for a run whose calls are written down: every call stops for a tracer, whatever the policy says of it.
//!
//! `SECCOMP_RET_LOG` would not stop anybody, but the kernel's log is not everybody's to read, and it drops lines under load.

use super::observe::SEEN;
use crate::profile::seccomp::{Action, Policy, Rule};

/// What `policy` is for a tracer that writes down each call: the message is [`SEEN`] with what it allows, otherwise the errno that it answers with.
pub fn recorded(policy: &Policy) -> Policy {
    let told = |action| match action {
        Action::Errno(errno) => Action::Trace(errno),
        Action::Allow | Action::Log => Action::Trace(SEEN),
        action => action,
    };
    Policy {
        rules: policy.rules.iter().map(|rule| Rule { action: told(rule.action), ..rule.clone() }).collect(),
        default: told(policy.default),
        newer: policy.newer.map(told),
        foreign: told(policy.foreign),
        ..policy.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::seccomp::{Arch, Conditions, DOCKER, Profile, shipped};
    use crate::seccomp::{SeccompData, compile, evaluate};

    #[test]
    fn every_call_stops_and_is_answered_as_before() {
        let conditions = Conditions { caps: &[], arch: Arch::NATIVE, kernel: (6, 1) };
        let policy = Profile::parse(shipped(DOCKER).unwrap()).unwrap().resolve(&conditions).unwrap();
        for policy in [policy, Policy::open(Arch::NATIVE)] {
            let (plain, recorded) = (compile(&policy).unwrap(), compile(&recorded(&policy)).unwrap());
            for arch in Arch::NATIVE.runs() {
                for (number, args) in
                    (0..600).flat_map(|number| [[0; 6], [40; 6], [0x7e02_0000; 6]].map(|a| (number, a)))
                {
                    let data = SeccompData::new(*arch, number, args);
                    let (before, after) = (evaluate(&plain.program, &data), evaluate(&recorded.program, &data));
                    assert_eq!(after & libc::SECCOMP_RET_ACTION_FULL, libc::SECCOMP_RET_TRACE, "{arch:?} {number}");
                    let message = u16::try_from(after & libc::SECCOMP_RET_DATA).unwrap();
                    let stands_for = if message == SEEN { Action::Allow } else { Action::Errno(message) };
                    assert_eq!(before, stands_for.code(), "{arch:?} {number} {args:?}");
                }
            }
        }
    }
}
