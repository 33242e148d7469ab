//! Our filters against those that runc makes of the same profiles with libseccomp, number by number.
//!
//! `tests/oracle/libseccomp.py` resolves and compiles with libseccomp; what it exports is run by the same evaluator. Skipped
//! where Debian's python3-seccomp is not installed, red there under `AUSTERE_REQUIRE=libseccomp`.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use austere::profile::seccomp::{Arch, Conditions, Profile};
use austere::seccomp::{SeccompData, compile, evaluate};

struct Oracle {
    program: Vec<libc::sock_filter>,
    unknown: Vec<String>,
    last: Vec<(Arch, u32)>,
}

impl Oracle {
    /// None: no libseccomp for Python here.
    fn ask(profile: &Path, arch: Arch, kernel: &str, caps: &[&str]) -> Option<Oracle> {
        let folder = env!("CARGO_MANIFEST_DIR");
        let mut command = Command::new("/usr/bin/python3");
        command.arg(format!("{folder}/tests/oracle/libseccomp.py"));
        command.arg(profile).args([arch.go_name(), kernel]).args(caps);
        let output = command.output().ok()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        if errors.contains("No module named 'seccomp'") {
            return None;
        }
        assert!(output.status.success(), "{errors}");
        let mut oracle = Oracle { program: vec![], unknown: vec![], last: vec![] };
        for line in std::str::from_utf8(&output.stdout).unwrap().lines() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["unknown", name] => oracle.unknown.push(name.to_owned()),
                ["last", arch, number] => {
                    let all = [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64, Arch::Arm];
                    let named = |a: &&Arch| a.scmp_name().strip_prefix("SCMP_ARCH_") == Some(arch);
                    oracle.last.push((*all.iter().find(named).unwrap(), number.parse().unwrap()));
                }
                [code, jt, jf, k] => oracle.program.push(libc::sock_filter {
                    code: code.parse().unwrap(),
                    jt: jt.parse().unwrap(),
                    jf: jf.parse().unwrap(),
                    k: k.parse().unwrap(),
                }),
                _ => panic!("{line}"),
            }
        }
        Some(oracle)
    }

    /// With what runc puts before libseccomp's part (`patchbpf`).
    fn answer(&self, arch: Arch, data: &SeccompData) -> u32 {
        let last = self.last.iter().find(|(a, _)| *a == arch).map_or(0, |(_, last)| *last);
        if last > 0 && data.nr > last { 0x5_0000 + 38 } else { evaluate(&self.program, data) }
    }
}

#[test]
fn libseccomp_would_have_answered_the_same() {
    let values = [
        0,
        8,
        38,
        40,
        0x2_0000,
        0x2_0008,
        0xffff_ffff,
        0x7e02_0000,
        0x0200_0000,
        0x4000_0000,
        0x0100_0000,
        0x1_0000_0027,
        1,
        11,
        21,
    ];
    let around = |v: u64| [v, v + 1, v.wrapping_sub(1), v | 1 << 32, v | 1 << 63, !v];
    let firsts: Vec<u64> = values.into_iter().flat_map(around).collect();
    let mut compared = 0;
    for name in [
        "profiles/seccomp/docker-20.10.json",
        "profiles/seccomp/docker-26.1.json",
        "profiles/seccomp/podman-4.3.json",
        "profiles/seccomp/containerd-2.1.json",
        "tests/oracle/operators.json",
    ] {
        let profile = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let parsed = Profile::parse(&std::fs::read_to_string(&profile).unwrap()).unwrap();
        for (arch, kernel, text) in
            [(Arch::X86_64, (6, 18), "6.18"), (Arch::X86_64, (4, 7), "4.7"), (Arch::Aarch64, (6, 18), "6.18")]
        {
            for caps in [&[] as &[_], &["CAP_SYS_CHROOT", "CAP_SYS_PTRACE"], &["CAP_SYS_ADMIN"]] {
                let Some(oracle) = Oracle::ask(&profile, arch, text, caps) else {
                    let required =
                        std::env::var("AUSTERE_REQUIRE").is_ok_and(|all| all.split(',').any(|r| r == "libseccomp"));
                    assert!(!required, "python3-seccomp is not installed");
                    return println!("SKIP libseccomp: python3-seccomp is not installed");
                };
                let mut policy = parsed.resolve(&Conditions { caps, arch, kernel }).unwrap();
                // An older libseccomp knows fewer names, and runc leaves out what it does not know.
                policy.rules.retain(|rule| !oracle.unknown.contains(&rule.name));
                let ours = compile(&policy).unwrap();
                for &arch in &policy.architectures {
                    let base = if arch == Arch::X32 { 0x4000_0000 } else { 0 };
                    // Until Linux 6.8, and to a libseccomp of that time, x32 had no map_shadow_stack.
                    let moved = |nr: &u32| *nr != 0x4000_0000 + 453;
                    for nr in (0..=1023).chain([0xf_0001, 0xf_0002, 0xf_0005, 0xf_0006]).map(|n| n | base).filter(moved)
                    {
                        for &first in &firsts {
                            let data = SeccompData::new(arch, nr, [first, 0, 0, 0, 0, 0]);
                            let (ours, theirs) = (evaluate(&ours.program, &data), oracle.answer(arch, &data));
                            assert_eq!(ours, theirs, "{name} {caps:?} {kernel:?} {data:x?}");
                            compared += 1;
                        }
                    }
                }
                for foreign in [0xC000_0016, 0x4000_0028, 0xC000_00B7, 0x4000_0003, 0xC000_003E] {
                    let data = SeccompData { nr: 1, arch: foreign, args: [0; 6] };
                    assert_eq!(evaluate(&ours.program, &data), evaluate(&oracle.program, &data), "{data:x?}");
                }
            }
        }
    }
    println!("{compared} answers compared");
}
