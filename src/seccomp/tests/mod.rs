//! The compiled filter against a plain reading of the policy, number by number.

mod facts;
mod kernel;
mod plain;

use proptest::prelude::*;

use super::{Filter, SeccompData, audit_arch, compile, evaluate};
use crate::profile::seccomp::{Action, Arch, Condition, Conditions, Flags, Op, Policy, Profile, Rule, shipped};

/// The capabilities docker leaves a container by default.
const DOCKER_CAPS: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

fn policy(profile: &str, caps: &[&str], arch: Arch, kernel: (u32, u32)) -> Policy {
    let profile = Profile::parse(shipped(profile).unwrap()).unwrap();
    profile.resolve(&Conditions { caps, arch, kernel }).unwrap()
}

fn filter(policy: &Policy) -> Filter {
    compile(policy).unwrap()
}

/// Every number that any table has, for every argument the profile speaks of, at and around its bounds.
fn compare(policy: &Policy, numbers: &(impl Iterator<Item = u32> + Clone)) {
    let filter = filter(policy);
    for &arch in &policy.architectures {
        let plain = plain::Plain::new(policy, arch);
        let base = if arch == Arch::X32 { 0x4000_0000 } else { 0 };
        for nr in numbers.clone().map(|n| n | base) {
            for args in plain.interesting(nr) {
                let data = SeccompData::new(arch, nr, args);
                let expected = plain.action(nr, args).code();
                assert_eq!(evaluate(&filter.program, &data), expected, "{data:x?} {policy:?}");
            }
        }
    }
}

#[test]
fn dockers_profiles_are_compiled_faithfully() {
    for profile in ["docker-20.10", "docker-26.1"] {
        for caps in [&[] as &[_], &DOCKER_CAPS, &["CAP_SYS_ADMIN"]] {
            for kernel in [(4, 7), (4, 8), (5, 10), (6, 18)] {
                for arch in [Arch::X86_64, Arch::Aarch64] {
                    let policy = policy(profile, caps, arch, kernel);
                    compare(&policy, &(0..=1023).chain(0xe_fff0..=0xf_0010));
                    assert!(filter(&policy).program.len() < 1000);
                }
            }
        }
    }
}

#[test]
fn other_architectures_get_the_policys_answer_for_them() {
    let mut policy = policy("docker-26.1", &[], Arch::X86_64, (6, 18));
    policy.foreign = Action::Trap;
    let ask = |policy: &Policy, arch, nr| evaluate(&filter(policy).program, &SeccompData { nr, arch, args: [0; 6] });
    assert_eq!(ask(&policy, audit_arch(Arch::Aarch64), 0), libc::SECCOMP_RET_TRAP);
    assert_eq!(ask(&policy, audit_arch(Arch::X86), 3), libc::SECCOMP_RET_ALLOW);
    assert_eq!(ask(&policy, audit_arch(Arch::X32), 0x4000_0000), libc::SECCOMP_RET_ALLOW);
    policy.architectures = vec![Arch::X86_64];
    assert_eq!(ask(&policy, audit_arch(Arch::X86), 3), libc::SECCOMP_RET_TRAP);
    assert_eq!(ask(&policy, audit_arch(Arch::X32), 0x4000_0000), libc::SECCOMP_RET_TRAP);
    // -1 is a tracer's way to skip a call.
    assert_eq!(ask(&policy, audit_arch(Arch::X86_64), u32::MAX), policy.default.code());
}

#[test]
fn what_cannot_be_a_filter_is_an_error() {
    let mut policy = policy("docker-26.1", &[], Arch::X86_64, (6, 18));
    let rule = |value| {
        let conditions = (0..6).map(|index| Condition { index, op: Op::Gt, value }).collect();
        Rule { name: "read".to_owned(), action: Action::Errno(5), conditions }
    };
    let rules = std::mem::take(&mut policy.rules);
    policy.rules = (0..200).map(rule).collect();
    assert!(matches!(compile(&policy), Err(super::CompileError::TooLong(_))));
    policy.rules = rules;
    policy.rules.push(rule(1));
    policy.rules.last_mut().unwrap().conditions.push(Condition { index: 0, op: Op::Eq, value: 0 });
    assert!(matches!(compile(&policy), Err(super::CompileError::Arguments(_))));
}

fn actions() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::Allow),
        Just(Action::KillProcess),
        Just(Action::Log),
        (0..4u16).prop_map(Action::Errno),
        (0..2u16).prop_map(Action::Trace),
    ]
}

fn conditions() -> impl Strategy<Value = Vec<Condition>> {
    let edge = prop_oneof![Just(0), Just(1), Just(u64::MAX), Just(1 << 32), Just(0xffff_ffff), any::<u64>(), 0..20u64];
    let mask = edge.clone();
    let op = prop_oneof![
        Just(Op::Ne),
        Just(Op::Lt),
        Just(Op::Le),
        Just(Op::Eq),
        Just(Op::Ge),
        Just(Op::Gt),
        mask.prop_map(Op::MaskedEq),
    ];
    let condition = (0..6u8, op, edge).prop_map(|(index, op, value)| Condition { index, op, value });
    proptest::collection::vec(condition, 0..3)
}

const NAMES: [&str; 10] =
    ["read", "write", "open", "socket", "semop", "socketcall", "ioctl", "clone3", "cacheflush", "nonsense"];

fn policies() -> impl Strategy<Value = Policy> {
    let name = proptest::sample::select(&NAMES[..]);
    let rule = (name, actions(), conditions());
    let rule = rule.prop_map(|(name, action, conditions)| Rule { name: name.to_owned(), action, conditions });
    let architectures = proptest::sample::select(vec![
        vec![Arch::X86_64],
        vec![Arch::X86_64, Arch::X86],
        vec![Arch::X86_64, Arch::X86, Arch::X32],
        vec![Arch::Aarch64, Arch::Arm],
    ]);
    let newer = proptest::option::of(actions());
    let parts = (architectures, actions(), newer, proptest::collection::vec(rule, 0..12));
    parts.prop_map(|(architectures, default, newer, rules)| Policy {
        architectures,
        default,
        newer,
        foreign: Action::KillThread,
        rules,
        flags: Flags::default(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_policy_is_compiled_faithfully(policy in policies()) {
        compare(&policy, &(0..=520).chain([0xf_0002, 0xf_0003]));
    }
}
