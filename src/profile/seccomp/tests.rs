use super::*;

const ALLOW_READ: &str =
    r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}"#;

fn parse(text: &str) -> Result<Profile, ProfileError> {
    Profile::parse(text)
}

fn resolve(text: &str, caps: &[&str], arch: Arch, kernel: (u32, u32)) -> Policy {
    parse(text).unwrap().resolve(&Conditions { caps, arch, kernel }).unwrap()
}

fn x86(text: &str) -> Policy {
    resolve(text, &[], Arch::X86_64, (6, 18))
}

/// A profile with this one entry, its action included.
fn with(entry: &str) -> String {
    format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{entry}]}}"#)
}

fn names(policy: &Policy) -> Vec<&str> {
    policy.rules.iter().map(|rule| rule.name.as_str()).collect()
}

#[test]
fn the_shipped_profiles_read() {
    for name in ["docker-20.10", "docker-26.1"] {
        let policy = x86(shipped(name).unwrap());
        assert_eq!(policy.architectures, [Arch::X86_64, Arch::X86, Arch::X32]);
        assert_eq!((policy.default, policy.newer), (Action::Errno(1), Some(Action::Errno(38))));
        let policy = resolve(shipped(name).unwrap(), &[], Arch::Aarch64, (6, 18));
        assert_eq!(policy.architectures, [Arch::Aarch64, Arch::Arm]);
    }
    assert_eq!(shipped("docker"), shipped(DOCKER));
    assert_eq!(shipped("../docker"), None);
}

#[test]
fn an_empty_profile_is_no_filter() {
    let conditions = Conditions { caps: &[], arch: Arch::X86_64, kernel: (6, 18) };
    assert_eq!(parse("{}").unwrap().resolve(&conditions), None);
    assert!(parse(ALLOW_READ).unwrap().resolve(&conditions).is_some());
}

#[test]
fn without_an_arch_map_the_native_architecture_stands_alone() {
    assert_eq!(x86(ALLOW_READ).architectures, [Arch::X86_64]);
    let listed = |list: &str| ALLOW_READ.replacen('{', &format!(r#"{{"architectures":{list},"#), 1);
    assert_eq!(x86(&listed(r#"["SCMP_ARCH_X86","SCMP_ARCH_PPC64LE"]"#)).architectures, [Arch::X86_64, Arch::X86]);
    assert_eq!(x86(&listed("null")).architectures, [Arch::X86_64]);
}

#[test]
fn conditions_are_mobys() {
    let entry = |condition: &str| with(&format!(r#"{{"names":["read"],"action":"SCMP_ACT_ALLOW",{condition}}}"#));
    let counts =
        |condition: &str, caps: &[&str], arch, kernel| !resolve(&entry(condition), caps, arch, kernel).rules.is_empty();
    let caps = |condition: &str, caps: &[&str]| counts(condition, caps, Arch::X86_64, (6, 18));
    // All of what is included, none of what is excluded.
    let (all, none) = (r#""includes":{"caps":["CAP_A","CAP_B"]}"#, r#""excludes":{"caps":["CAP_A","CAP_B"]}"#);
    assert_eq!([caps(all, &[]), caps(all, &["CAP_A"]), caps(all, &["CAP_B", "CAP_A"])], [false, false, true]);
    assert_eq!([caps(none, &[]), caps(none, &["CAP_A"]), caps(none, &["CAP_B", "CAP_A"])], [true, false, false]);
    let arch = |condition: &str, arch| counts(condition, &[], arch, (6, 18));
    let (inside, outside) = (r#""includes":{"arches":["amd64","x32"]}"#, r#""excludes":{"arches":["amd64"]}"#);
    assert_eq!([arch(inside, Arch::X86_64), arch(inside, Arch::Aarch64)], [true, false]);
    assert_eq!([arch(outside, Arch::X86_64), arch(outside, Arch::Aarch64)], [false, true]);
    let kernel = |condition: &str, kernel| counts(condition, &[], Arch::X86_64, kernel);
    let (since, until) = (r#""includes":{"minKernel":"4.8"}"#, r#""excludes":{"minKernel":"4.8"}"#);
    for (version, newer) in [((4, 7), false), ((4, 8), true), ((4, 10), true), ((5, 0), true), ((3, 19), false)] {
        assert_eq!((kernel(since, version), kernel(until, version)), (newer, !newer), "{version:?}");
    }
    assert!(caps(r#""includes":null,"excludes":{},"args":null,"comment":null"#, &[]));
}

#[test]
fn an_argument_named_twice_makes_its_conditions_alternatives() {
    let arg = |index: u8, value: u8| format!(r#"{{"index":{index},"value":{value},"op":"SCMP_CMP_EQ"}}"#);
    let entry = |args: &[String]| {
        with(&format!(r#"{{"names":["read","write"],"action":"SCMP_ACT_ALLOW","args":[{}]}}"#, args.join(",")))
    };
    let condition = |index, value| Condition { index, op: Op::Eq, value };
    let together = x86(&entry(&[arg(0, 1), arg(1, 2)]));
    assert_eq!(together.rules[0].conditions, [condition(0, 1), condition(1, 2)]);
    assert_eq!(names(&together), ["read", "write"]);
    let apart = x86(&entry(&[arg(0, 1), arg(1, 2), arg(0, 3)]));
    let conditions: Vec<_> = apart.rules[..3].iter().flat_map(|r| r.conditions.clone()).collect();
    assert_eq!(conditions, [condition(0, 1), condition(1, 2), condition(0, 3)]);
    assert_eq!(names(&apart), ["read", "read", "read", "write", "write", "write"]);
}

#[test]
fn actions_and_errnos_are_read() {
    let action = |text: &str| x86(&with(&format!(r#"{{"name":"read","action":{text}}}"#))).rules[0].action;
    assert_eq!(action(r#""SCMP_ACT_ERRNO""#), Action::Errno(1));
    assert_eq!(action(r#""SCMP_ACT_ERRNO","errnoRet":38"#), Action::Errno(38));
    assert_eq!(action(r#""SCMP_ACT_ERRNO","errno":"ENOSYS","errnoRet":1"#), Action::Errno(38));
    assert_eq!(action(r#""SCMP_ACT_ERRNO","errno":"EHWPOISON""#), Action::Errno(133));
    assert_eq!(action(r#""SCMP_ACT_ERRNO","errno":"22""#), Action::Errno(22));
    assert_eq!(action(r#""SCMP_ACT_TRACE","errnoRet":60000"#), Action::Trace(60000));
    assert_eq!(action(r#""SCMP_ACT_KILL""#), Action::KillThread);
    assert_eq!(action(r#""SCMP_ACT_KILL_PROCESS""#), Action::KillProcess);
    // The numbers are the kernel's: linux/seccomp.h.
    let codes = [Action::KillProcess, Action::KillThread, Action::Trap, Action::Errno(1), Action::Log, Action::Allow];
    assert_eq!(codes.map(Action::code), [0x8000_0000, 0, 0x3_0000, 0x5_0001, 0x7ffc_0000, 0x7fff_0000]);
    let default = |text: &str| x86(&ALLOW_READ.replace(r#""SCMP_ACT_ERRNO""#, text));
    assert_eq!(default(r#""SCMP_ACT_ERRNO","defaultErrno":"ENOSYS""#).default, Action::Errno(38));
    assert_eq!(default(r#""SCMP_ACT_LOG""#).newer, None);
    assert_eq!(default(r#""SCMP_ACT_KILL""#).newer, Some(Action::Errno(38)));
}

#[test]
fn masks_are_values_and_values_are_second() {
    let text = r#"{"name":"clone","action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":6,"valueTwo":2,"op":"SCMP_CMP_MASKED_EQ"}]}"#;
    assert_eq!(x86(&with(text)).rules[0].conditions, [Condition { index: 0, op: Op::MaskedEq(6), value: 2 }]);
}

#[test]
fn no_flags_are_runcs_flags() {
    let flags = |text: &str| x86(&ALLOW_READ.replacen('{', &format!("{{{text}"), 1)).flags;
    assert_eq!(flags(""), Flags { log: false, spec_allow: true });
    assert_eq!(flags(r#""flags":[],"#), Flags::default());
    assert!(flags(r#""flags":["SECCOMP_FILTER_FLAG_LOG","SECCOMP_FILTER_FLAG_TSYNC"],"#).log);
}

#[test]
fn errors_name_the_place() {
    let entry = |rest: &str| with(&format!(r#"{{"names":["read"],"action":"SCMP_ACT_ALLOW"}},{{{rest}}}"#));
    let two = r#""names":["open","close"],"action""#;
    let cases = [
        (entry(&format!(r#"{two}:"SCMP_ACT_ALOW""#)), "entry 2 (open, …): `SCMP_ACT_ALOW` is no action"),
        (entry(&format!(r#"{two}:"SCMP_ACT_NOTIFY""#)), "entry 2 (open, …): SCMP_ACT_NOTIFY needs an agent"),
        (entry(&format!(r#"{two}:"SCMP_ACT_ALLOW","errnoRet":1"#)), "SCMP_ACT_ALLOW cannot carry an errno"),
        (entry(&format!(r#"{two}:"SCMP_ACT_ERRNO","errnoRet":4096"#)), "4096 is more than the 4095"),
        (entry(&format!(r#"{two}:"SCMP_ACT_ERRNO","errno":"EWHAT""#)), "`EWHAT` is no errno"),
        (entry(&format!(r#"{two}:"SCMP_ACT_ALLOW","name":"read""#)), "both `name` and `names`"),
        (
            entry(r#""name":"open","action":"SCMP_ACT_ALLOW","args":[{"index":6,"op":"SCMP_CMP_EQ"}]"#),
            "entry 2 (open): argument 6",
        ),
        (
            entry(r#""name":"open","action":"SCMP_ACT_ALLOW","args":[{"index":1,"op":"EQ"}]"#),
            "argument 1: `EQ` is no comparison",
        ),
        (entry(r#""name":"open","action":"SCMP_ACT_ALLOW","includes":{"minKernel":"4"}"#), "minKernel `4`"),
        (entry(r#""name":"open","action":"SCMP_ACT_ALLOW","includes":{"minKernel":"4.8.1"}"#), "minKernel `4.8.1`"),
        (entry(r#""names":[""],"action":"SCMP_ACT_ALLOW""#), "an empty string is no system call"),
        (entry(r#""names":["open"],"action":"SCMP_ACT_ALLOW","include":{}"#), "unknown field `include`"),
        (ALLOW_READ.replace("SCMP_ACT_ERRNO", "EPERM"), "defaultAction: `EPERM` is no action"),
        (
            ALLOW_READ.replace(r#""SCMP_ACT_ERRNO""#, r#""SCMP_ACT_ERRNO","flags":["TSYNC"]"#),
            "flags: `TSYNC` is no flag",
        ),
        (ALLOW_READ.replacen('{', r#"{"architectures":["SCMP_ARCH_Z80"],"#, 1), "`SCMP_ARCH_Z80` is no architecture"),
        ("[]".to_owned(), "cannot be read"),
        (String::new(), "line 1 column 0"),
    ];
    for (text, expected) in cases {
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}\n{text}");
    }
    let both = r#"{"architectures":["SCMP_ARCH_X86"],"archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":null}],"#;
    let error = parse(&ALLOW_READ.replacen('{', both, 1)).unwrap_err().to_string();
    assert!(error.contains("`archMap` is given too"), "{error}");
}
