//! What is known of docker's profiles from other sources than this code.

use super::{DOCKER_CAPS, filter, policy};
use crate::profile::seccomp::{Action, Arch};
use crate::seccomp::{SeccompData, evaluate, number};

const ALLOW: Action = Action::Allow;
const EPERM: Action = Action::Errno(1);
const ENOSYS: Action = Action::Errno(38);

struct Docker {
    program: Vec<libc::sock_filter>,
}

impl Docker {
    fn new(profile: &str, caps: &[&str], arch: Arch) -> Self {
        let filter = filter(&policy(profile, caps, arch, (6, 18)));
        // PowerPC's and MIPS's name for it; ARM has the call under its own.
        let unknown: &[&str] = if arch == Arch::Aarch64 { &["sync_file_range2"] } else { &[] };
        assert_eq!(filter.unknown, unknown);
        Docker { program: filter.program }
    }

    fn says(&self, arch: Arch, name: &str, args: &[u64], action: Action) {
        let mut all = [0; 6];
        all[..args.len()].copy_from_slice(args);
        let data = SeccompData::new(arch, number(arch, name).unwrap(), all);
        assert_eq!(evaluate(&self.program, &data), action.code(), "{name} {args:x?} on {arch:?}");
    }
}

#[test]
fn docker_26_without_capabilities() {
    let docker = Docker::new("docker-26.1", &[], Arch::X86_64);
    let says = |name, args: &[u64], action| docker.says(Arch::X86_64, name, args, action);
    let refused = "acct add_key request_key keyctl bpf chroot clock_settime settimeofday init_module finit_module \
        delete_module fanotify_init fsopen fsconfig fsmount fspick move_mount open_tree mount mount_setattr umount2 \
        pivot_root unshare setns io_uring_setup io_uring_enter io_uring_register ioperm iopl kcmp kexec_load \
        kexec_file_load lookup_dcookie mbind get_mempolicy set_mempolicy move_pages migrate_pages open_by_handle_at \
        perf_event_open pidfd_getfd process_madvise quotactl reboot sethostname setdomainname syslog swapon swapoff \
        userfaultfd vhangup";
    refused.split_whitespace().for_each(|name| says(name, &[], EPERM));
    let allowed = "memfd_create memfd_secret execveat ptrace process_vm_readv landlock_create_ruleset seccomp statx \
        openat2 faccessat2 close_range futex_waitv io_setup mlock setuid setgid setgroups capset mknod name_to_handle_at";
    allowed.split_whitespace().for_each(|name| says(name, &[], ALLOW));
    says("clone3", &[], ENOSYS);
    // CLONE_VM, CLONE_THREAD and the like, then each CLONE_NEW*; the mask's upper half does not exist.
    for (flags, action) in [(0, ALLOW), (0x003d_0f00, ALLOW), (1 << 40, ALLOW), (0x0000_0080, ALLOW)] {
        says("clone", &[flags], action);
    }
    for flag in [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000] {
        says("clone", &[0x11 | flag], EPERM);
    }
    for (value, action) in [(0, ALLOW), (8, ALLOW), (0x2_0000, ALLOW), (0x2_0008, ALLOW), (0xffff_ffff, ALLOW)] {
        says("personality", &[value], action);
        says("personality", &[value | 1 << 32], EPERM);
    }
    says("personality", &[1], EPERM);
    for (domain, action) in [(1, ALLOW), (2, ALLOW), (38, ALLOW), (40, EPERM), (41, ALLOW)] {
        says("socket", &[domain], action);
    }
}

#[test]
fn sub_architectures_follow() {
    let docker = Docker::new("docker-26.1", &[], Arch::X86_64);
    for arch in [Arch::X86, Arch::X32] {
        docker.says(arch, "unshare", &[], EPERM);
        docker.says(arch, "clone3", &[], ENOSYS);
        docker.says(arch, "execve", &[], ALLOW);
        docker.says(arch, "socket", &[40], EPERM);
        docker.says(arch, "socket", &[2], ALLOW);
        docker.says(arch, "personality", &[0xffff_ffff], ALLOW);
    }
    // Through socketcall a vsock is to be had even so; that is docker's hole, and faithfully ours.
    docker.says(Arch::X86, "socketcall", &[1], ALLOW);
    docker.says(Arch::X86, "waitpid", &[], ALLOW);
    let docker = Docker::new("docker-26.1", &[], Arch::Aarch64);
    docker.says(Arch::Aarch64, "newfstatat", &[], ALLOW);
    docker.says(Arch::Aarch64, "unshare", &[], EPERM);
    docker.says(Arch::Arm, "cacheflush", &[], ALLOW);
    docker.says(Arch::Arm, "fstat64", &[], ALLOW);
    docker.says(Arch::Arm, "mount", &[], EPERM);
}

#[test]
fn docker_20_10_still_allows_io_uring() {
    let docker = Docker::new("docker-20.10", &[], Arch::X86_64);
    for name in ["io_uring_setup", "io_uring_enter", "io_uring_register"] {
        docker.says(Arch::X86_64, name, &[], ALLOW);
    }
    docker.says(Arch::X86_64, "socket", &[40], ALLOW);
    docker.says(Arch::X86_64, "unshare", &[], EPERM);
    docker.says(Arch::X86_64, "clone3", &[], ENOSYS);
}

#[test]
fn chroot_is_all_that_dockers_capabilities_change() {
    let (none, some) =
        (Docker::new("docker-26.1", &[], Arch::X86_64), Docker::new("docker-26.1", &DOCKER_CAPS, Arch::X86_64));
    let answer = |docker: &Docker, nr| evaluate(&docker.program, &SeccompData::new(Arch::X86_64, nr, [0; 6]));
    let changed: Vec<u32> = (0..1024).filter(|&nr| answer(&none, nr) != answer(&some, nr)).collect();
    assert_eq!(changed, [number(Arch::X86_64, "chroot").unwrap()]);
}

#[test]
fn numbers_newer_than_the_profile_do_not_exist() {
    for (profile, newest) in [("docker-20.10", "futex_waitv"), ("docker-26.1", "futex_requeue")] {
        for arch in [Arch::X86_64, Arch::X86, Arch::X32] {
            let docker = Docker::new(profile, &[], Arch::X86_64);
            // x32's own calls have higher numbers than the newest common one.
            let newest = if arch == Arch::X32 { "pwritev2" } else { newest };
            let after = |by| SeccompData::new(arch, number(arch, newest).unwrap() + by, [0; 6]);
            let answers = [0, 1, 2, 500, 100_000].map(|by| evaluate(&docker.program, &after(by)));
            assert_eq!(answers.map(|a| a == ENOSYS.code()), [false, true, true, true, true], "{profile} {arch:?}");
        }
    }
}
