//! The filter installed for real, in threads of its own: without `TSYNC` a filter is its thread's alone.

use std::thread;

use super::{filter, policy};
use crate::profile::seccomp::{Action, Arch, Policy, Rule, kernel_version};
use crate::seccomp::{Filter, Witness, running_kernel};
use crate::sys::seccomp::{Harmless, install};

fn docker() -> Policy {
    policy("docker", &[], Arch::NATIVE, running_kernel().unwrap())
}

/// Runs `work` in a thread behind the filter.
fn behind<T: Send>(filter: &Filter, work: impl FnOnce() -> T + Send) -> T {
    let enter = || {
        nix::sys::prctl::set_no_new_privs().unwrap();
        assert!(install(&filter.program, filter.flags).unwrap().is_none());
        work()
    };
    thread::scope(|scope| scope.spawn(enter).join().unwrap())
}

#[test]
fn dockers_filter_refuses_and_its_absence_does_not() {
    let calls = || [Harmless::Unshare.call(), Harmless::Clone3.call(), Harmless::Getppid.call().min(0)];
    let errnos = [libc::EPERM, libc::ENOSYS].map(|errno| -i64::from(errno));
    assert_eq!(behind(&filter(&docker()), calls), [errnos[0], errnos[1], 0]);
    let without = thread::scope(|scope| scope.spawn(calls).join().unwrap());
    assert_eq!(without, [0, -i64::from(libc::EINVAL), 0]);
}

#[test]
fn a_witness_tells_the_filter_from_none() {
    let filter = filter(&docker());
    let witness = Witness::choose(&filter.program).unwrap();
    let seen = behind(&filter, || witness.observe());
    assert_eq!(witness.judge(&seen), Ok(()));
    let complaint = witness.judge(&witness.observe()).unwrap_err();
    assert!(complaint.contains("should answer Unshare with -1, and the call gave 0"), "{complaint}");
    let over_strict = behind(&filter, || witness.observe()).refused;
    let complaint = witness.judge(&super::super::Observation { refused: over_strict, allowed: -1 }).unwrap_err();
    assert!(complaint.contains("should allow Getppid"), "{complaint}");
}

#[test]
fn there_is_no_witness_where_the_answer_would_be_the_same_anyway() {
    let mut policy = docker();
    policy.default = Action::Allow;
    policy.newer = None;
    policy.rules.clear();
    assert!(Witness::choose(&filter(&policy).program).is_none());
    // It already stands behind such a filter, so no call's refusal would prove that a second one is there.
    let docker = filter(&docker());
    assert!(behind(&docker, || Witness::choose(&docker.program)).is_none());
}

#[test]
fn a_listener_is_returned_when_asked_for() {
    let mut policy = docker();
    policy.rules.push(Rule { name: "getppid".to_owned(), action: Action::Allow, conditions: vec![] });
    let program = filter(&policy).program;
    let made = thread::scope(|scope| {
        let enter = || {
            nix::sys::prctl::set_no_new_privs().unwrap();
            install(&program, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER).unwrap()
        };
        scope.spawn(enter).join().unwrap()
    });
    assert!(made.is_some());
}

/// An i386 program that exits with the errno of `unshare(0)`.
#[cfg(target_arch = "x86_64")]
const I386: &[u8; 106] = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\
    \x02\0\x03\0\x01\0\0\0\x54\x80\x04\x08\x34\0\0\0\0\0\0\0\0\0\0\0\x34\0\x20\0\x01\0\0\0\0\0\0\0\
    \x01\0\0\0\0\0\0\0\0\x80\x04\x08\0\x80\x04\x08\x6a\0\0\0\x6a\0\0\0\x05\0\0\0\0\x10\0\0\
    \xb8\x36\x01\0\0\x31\xdb\xcd\x80\xf7\xd8\x89\xc3\xb8\x01\0\0\0\xcd\x80\x0f\x0b";

#[cfg(target_arch = "x86_64")]
#[test]
fn a_32_bit_program_runs_under_dockers_filter() {
    use std::io;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, ExitStatus};

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("i386");
    std::fs::write(&path, I386).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let run = || -> io::Result<ExitStatus> {
        loop {
            match Command::new(&path).status() {
                // A child that another test is starting right now still holds the file open for writing.
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => thread::yield_now(),
                other => return other,
            }
        }
    };
    match run() {
        Err(error) if error.raw_os_error() == Some(libc::ENOEXEC) => {
            return println!("SKIP i386: this kernel runs none");
        }
        status => assert_eq!(status.unwrap().code(), Some(0)),
    }
    assert_eq!(behind(&filter(&docker()), run).unwrap().code(), Some(libc::EPERM));
    let mut native_only = docker();
    native_only.architectures = vec![Arch::NATIVE];
    assert_eq!(behind(&filter(&native_only), run).unwrap().signal(), Some(libc::SIGSYS));
}

#[test]
fn kernel_releases_are_read() {
    assert_eq!(kernel_version("6.18.44-generic\n"), Some((6, 18)));
    assert_eq!(kernel_version("5.10-1-amd64"), Some((5, 10)));
    assert_eq!(kernel_version("six"), None);
    assert!(running_kernel().unwrap() >= (4, 0));
}
