//! The jail from inside: what an app sees of itself, of others, and of the host. The answers are the same for root and for a normal user,
//! and where they are not, the test says so.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]

#[path = "common/callers.rs"]
mod callers;
mod common;
#[path = "common/image.rs"]
mod image;

use callers::{Caller, callers, script, stderr, stdout};
use common::said;

/// What a script says inside, as each caller.
fn inside(text: &str, check: impl Fn(&Caller, &str, &str)) {
    let Some(image) = script(text) else { return };
    for caller in callers() {
        let output = caller.run(&[&caller.put("image", &image)]);
        assert_eq!(output.status.code(), Some(0), "{}: {}", caller.mode(), said(&output));
        check(&caller, &stdout(&output), &stderr(&output));
    }
}

#[test]
fn the_app_is_a_nobody_and_alone() {
    let text = "id -u; id -g; id -G; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status | tr '\\t' ' '; echo pid $$; cat /proc/1/comm; \
                set -- /proc/[0-9]*; echo $# processes; umask; ulimit -c; ulimit -Hc; echo $(ls /proc/self/fd); echo $PWD; env | sort";
    let expected = "65532\n0\n0\nCapInh: 0000000000000000\nCapPrm: 0000000000000000\nCapEff: 0000000000000000\nCapBnd: 0000000000000000\n\
                    CapAmb: 0000000000000000\nNoNewPrivs: 1\nSeccomp: 2\npid 1\nsh\n1 processes\n0022\n0\n0\n0 1 2 3\n/\nHOME=/\nHOSTNAME=austere\n\
                    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nPWD=/\nSHLVL=1\n";
    inside(text, |caller, stdout, _| assert_eq!(stdout, expected, "{}", caller.mode()));
}

#[test]
fn only_the_mounts_of_an_engine_are_there_and_no_path_of_the_host() {
    let always = ["/", "/proc", "/sys", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"];
    let perhaps = ["/proc/", "/sys/firmware", "/sys/devices/virtual/powercap", "/sys/fs/cgroup"];
    // No user namespace may make a device node, so with one id each of the host's six is a mount.
    let one_id = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];
    inside("cat /proc/self/mountinfo", |caller, mountinfo, _| {
        let points: Vec<_> = mountinfo.lines().map(|line| line.split(' ').nth(4).unwrap()).collect();
        for point in always {
            assert!(points.contains(&point), "{point} is missing\n{mountinfo}");
        }
        for point in &points {
            let is_device = one_id.contains(point) && !caller.is_root();
            let expected = always.contains(point) || is_device || perhaps.iter().any(|start| point.starts_with(start));
            assert!(expected, "{}: {point}\n{mountinfo}", caller.mode());
        }
        let dir = caller.dir().to_str().unwrap();
        assert!(
            !mountinfo.contains(dir) && !mountinfo.contains("layers") && !mountinfo.contains("/tmp"),
            "{mountinfo}"
        );
    });
}

#[test]
fn the_root_is_read_only_in_docker_s_order_of_answers() {
    let text = "echo x >/new; echo x >>/www/index.html; echo x >>/tmp/new; rm /www/index.html; mkdir /www/d; chmod 777 /www; mount -t tmpfs t /tmp";
    inside(&format!("{text}; true"), |caller, _, stderr| {
        let answers: Vec<_> = stderr.lines().map(|line| line.rsplit(": ").next().unwrap()).collect();
        let (read_only, denied) = ("Read-only file system", "Permission denied");
        // A file of root's: who may not write it anyway hears of that first. Modes are looked at before the mount is, but for names.
        let expected =
            [read_only, denied, read_only, read_only, read_only, read_only, "permission denied (are you root?)"];
        assert_eq!(answers, expected, "{}: {stderr}", caller.mode());
    });
}

#[test]
fn devices_and_standard_streams_work() {
    let text = "echo shm >/dev/shm/f && cat /dev/shm/f; echo gone >/dev/null; head -c 5 /dev/zero | wc -c; head -c 6 /dev/urandom | wc -c; \
                head -c 7 /dev/random | wc -c; echo again >/dev/stdout; echo error >/dev/stderr; cat /dev/stdin; : <>/dev/ptmx && echo ptmx; \
                echo no >/dev/full; cat /dev/tty; echo true >/dev/shm/program; chmod 755 /dev/shm/program; /dev/shm/program; \
                echo no >/dev/new; echo no >/dev/pts/new; : >/dev/mqueue/new && ls /dev/mqueue";
    inside(text, |caller, stdout, stderr| {
        assert_eq!(stdout, "shm\n5\n6\n7\nagain\nptmx\nnew\n", "{}", caller.mode());
        let expected = [
            "error",
            "No space left on device",
            "No such device or address",
            "/dev/shm/program: Permission denied",
            // With one id the app owns /dev, so that it has to be read-only.
            if caller.is_root() { "/dev/new: Permission denied" } else { "/dev/new: Read-only file system" },
            "/dev/pts/new: Permission denied",
        ];
        for (line, end) in stderr.lines().zip(expected) {
            assert!(line.ends_with(end), "{}: {line}, not {end}", caller.mode());
        }
        assert_eq!(stderr.lines().count(), expected.len(), "{stderr}");
    });
}

#[test]
fn the_network_is_a_room_with_a_name_and_no_way_out() {
    let text = "httpd -p 80 -h /www; for host in austere 172.17.0.2 127.0.0.1 localhost; do wget -qO- http://$host/; done; \
                cat /etc/hostname; ls /proc/sys/net/ipv4/conf | grep -cvE '^(all|default|lo)$'; cat /etc/resolv.conf; nc -w 2 192.0.2.1 80";
    let Some(image) = script(text) else { return };
    for caller in callers() {
        let output = caller.run(&[&caller.put("image", &image)]);
        let (stdout, stderr) = (stdout(&output), stderr(&output));
        assert!(stdout.starts_with("hello\nhello\nhello\nhello\naustere\n"), "{}: {}", caller.mode(), said(&output));
        assert!(stderr.contains("Network is unreachable"), "{}: {}", caller.mode(), said(&output));
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn what_the_kernel_shows_of_the_host_is_covered() {
    let text = "cat /proc/keys /proc/timer_list /proc/kcore 2>/dev/null | wc -c; ls /sys/firmware | wc -l; echo x >/proc/sys/kernel/hostname; \
                echo x >/proc/sysrq-trigger; echo x >/sys/kernel/mm/ksm/run; ls /proc/1/root/bin/busybox; true";
    inside(text, |caller, stdout, stderr| {
        assert_eq!(stdout, "0\n0\n/proc/1/root/bin/busybox\n", "{}", caller.mode());
        assert_eq!(stderr.lines().count(), 3, "{}: {stderr}", caller.mode());
    });
}
