//! Docker's flags mean what they mean to docker. Each is tried beside the same command without it.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]

#[path = "common/callers.rs"]
mod callers;
mod common;
#[path = "common/image.rs"]
mod image;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use callers::{Caller, busybox, callers, stderr, stdout};
use common::said;
use image::Image;
use serde_json::json;

/// Flags, a shell script, and what it prints with the flags and without them.
type Case<'a> = (&'a [&'a str], &'a str, &'a str, &'a str);

/// What holds for every caller.
const CASES: [Case; 16] = [
    (&["--tmpfs", "/run"], "ls -d /run || echo none", "/run\n", "none\n"),
    (&["-v", "/fresh"], "echo x 2>/dev/null >/fresh/f && echo wrote || echo no", "no\n", "no\n"),
    (&["-v", "/open"], "echo x 2>/dev/null >/open/f && cat /open/kept || echo no", "kept\n", "no\n"),
    (&["-v", "named:/open"], "echo x 2>/dev/null >/open/f && echo wrote || echo no", "wrote\n", "no\n"),
    (
        &["--mount", "type=tmpfs,target=/open,tmpfs-size=64k"],
        "cat /open/kept 2>/dev/null || echo hidden",
        "hidden\n",
        "kept\n",
    ),
    (&["--read-only=false"], "echo x 2>/dev/null >/open/f && echo wrote || echo no", "wrote\n", "no\n"),
    (&["-w", "/www"], "pwd", "/www\n", "/\n"),
    (&["--hostname", "web"], "cat /etc/hostname; grep -c web /etc/hosts", "web\n1\n", "austere\n0\n"),
    (&["--add-host", "db:10.1.2.3"], "grep db /etc/hosts || echo none", "10.1.2.3\tdb\n", "none\n"),
    (&["--env-file", "ENVFILE"], "echo $FROM_FILE", "a b\n", "\n"),
    (&["--shm-size", "1m"], "grep -c 'dev/shm.*size=1024k' /proc/self/mountinfo", "1\n", "0\n"),
    (&["--ulimit", "nofile=64:128"], "ulimit -n; ulimit -Hn", "64\n128\n", ""),
    (&["--sysctl", "net.ipv4.ip_default_ttl=33"], "cat /proc/sys/net/ipv4/ip_default_ttl", "33\n", "64\n"),
    (&["--init"], "echo $$ | grep -c '^1$'", "0\n", "1\n"),
    (&["--security-opt", "systempaths=unconfined"], "grep -c ' /proc/sys ' /proc/self/mountinfo", "0\n", "1\n"),
    (&["--security-opt", "seccomp=unconfined"], "grep Seccomp: /proc/self/status", "Seccomp:\t0\n", "Seccomp:\t2\n"),
];

/// Runs `text` in a shell of an image with a folder that everybody may write to.
fn run(caller: &Caller, image: &str, flags: &[&str], text: &str) -> Output {
    caller.run(&[&[image], flags, &["--", text]].concat())
}

fn put(caller: &Caller) -> Option<String> {
    let layer = busybox()?.dir("open", 0o1777).file("open/kept", 0o644, "kept\n");
    Some(caller.put("image", &Image::of(layer).config(json!({ "Entrypoint": ["/bin/sh", "-c"] }))))
}

#[test]
fn every_flag_changes_what_it_says() {
    for caller in callers() {
        let Some(image) = put(&caller) else { return };
        let env_file = caller.dir().join("variables");
        fs::write(&env_file, "# a comment\nFROM_FILE=a b\n").unwrap();
        fs::set_permissions(&env_file, fs::Permissions::from_mode(0o644)).unwrap();
        for (flags, text, with, without) in CASES {
            let flags: Vec<&str> =
                flags.iter().map(|flag| if *flag == "ENVFILE" { env_file.to_str().unwrap() } else { flag }).collect();
            let output = run(&caller, &image, &flags, text);
            assert_eq!(stdout(&output), with, "{}: {flags:?}: {}", caller.mode(), said(&output));
            let output = run(&caller, &image, &[], text);
            // What a caller has of limits is the caller's.
            assert!(
                without.is_empty() || stdout(&output) == without,
                "{}: no {flags:?}: {}",
                caller.mode(),
                said(&output)
            );
        }
    }
}

#[test]
fn a_folder_of_the_host_is_writable_unless_it_is_said_otherwise() {
    for caller in callers() {
        let Some(image) = put(&caller) else { return };
        let shared = caller.dir().join("shared");
        fs::create_dir(&shared).unwrap();
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o777)).unwrap();
        let volume = format!("{}:/deep/inside", shared.display());
        let output = run(&caller, &image, &["-v", &volume], "echo x >/deep/inside/f && cat /deep/inside/f");
        assert_eq!(stdout(&output), "x\n", "{}: {}", caller.mode(), said(&output));
        assert_eq!(fs::read_to_string(shared.join("f")).unwrap(), "x\n");
        let read_only = format!("{volume}:ro");
        let output = run(&caller, &image, &["-v", &read_only], "cat /deep/inside/f; echo y >/deep/inside/f");
        assert_eq!(stdout(&output), "x\n", "{}: {}", caller.mode(), said(&output));
        assert!(stderr(&output).contains("Read-only file system"), "{}", said(&output));
        let file = format!("type=bind,source={},target=/etc/kept,readonly", shared.join("f").display());
        let output = run(&caller, &image, &["--mount", &file], "cat /etc/kept");
        assert_eq!(stdout(&output), "x\n", "{}: {}", caller.mode(), said(&output));
        let output = run(&caller, &image, &["-v", "/no/such/folder:/x"], "true");
        assert!(output.status.code() == Some(125) && stderr(&output).contains("/no/such/folder"), "{}", said(&output));
    }
}

/// The host's files do not keep their owners in a user namespace, so what an app did with them there is no evidence.
#[test]
fn a_verdict_with_the_host_s_files_needs_real_ids() {
    for caller in callers() {
        let shared = caller.dir().join("shared");
        fs::create_dir(&shared).unwrap();
        let volume = format!("{}:/data", shared.display());
        let (verdict, code) = caller.judge(&["example:hello", "-v", &volume]);
        let expected = if caller.is_root() { ("pass", 0) } else { ("inconclusive", 3) };
        assert_eq!((verdict["verdict"].as_str().unwrap(), code), expected, "{verdict:#}");
        assert!(verdict["relaxations"][0].as_str().unwrap().ends_with(":/data"), "{verdict:#}");
        let (verdict, code) = caller.judge(&["example:hello"]);
        assert_eq!((verdict["verdict"].as_str().unwrap(), code), ("pass", 0));
    }
}

#[test]
fn the_user_s_groups_and_capabilities_are_given_back_one_by_one() {
    if !common::root() {
        return common::skip("capabilities: with one id there is nobody to give them to; the tests do not run as root");
    }
    for caller in callers().iter().filter(|caller| caller.is_root()) {
        let Some(image) = put(caller) else { return };
        let groups = |flags: &[&str]| stdout(&run(caller, &image, flags, "grep Groups /proc/self/status"));
        assert_eq!(groups(&["--group-add", "7", "--group-add", "9"]), "Groups:\t0 7 9 \n");
        assert_eq!(groups(&[]), "Groups:\t0 \n");
        let chown = |flags: &[&str]| {
            run(caller, &image, flags, "touch /open/f && chmod 4755 /open/f && chown 7 /open/f && echo changed")
        };
        let as_root = &["-u", "0", "-v", "/open"][..];
        assert!(stderr(&chown(as_root)).contains("not permitted") || !stderr(&chown(as_root)).is_empty());
        let bounding =
            |flags: &[&str]| stdout(&run(caller, &image, flags, "grep -E 'CapBnd|CapEff|CapAmb' /proc/self/status"));
        let chown_only = "0000000000000001";
        let none = "0000000000000000";
        let lines = |effective: &str, bounding: &str, ambient: &str| {
            format!("CapEff:\t{effective}\nCapBnd:\t{bounding}\nCapAmb:\t{ambient}\n")
        };
        assert_eq!(bounding(&[]), lines(none, none, none));
        assert_eq!(bounding(&["--cap-add", "chown"]), lines(none, chown_only, none));
        assert_eq!(bounding(&["--cap-add", "CAP_CHOWN", "--user", "0"]), lines(chown_only, chown_only, none));
        // podman gives it to a user other than root too.
        let podman = &["--preset", "podman", "--cap-add", "chown"][..];
        assert_eq!(bounding(podman), lines(chown_only, chown_only, chown_only));
    }
}

#[test]
fn the_host_s_network_is_the_host_s() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    for caller in callers() {
        let Some(image) = put(&caller) else { return };
        let text = format!("nc 127.0.0.1 {port} </dev/null 2>/dev/null && echo reached || echo alone");
        let output = run(&caller, &image, &["--network", "host"], &text);
        assert_eq!(stdout(&output), "reached\n", "{}: {}", caller.mode(), said(&output));
        assert_eq!(stdout(&run(&caller, &image, &[], &text)), "alone\n");
    }
}

#[test]
fn the_entrypoint_takes_the_command_with_it() {
    for caller in callers() {
        let Some(layer) = busybox() else { return };
        let config = json!({ "Entrypoint": ["/bin/echo-not"], "Cmd": ["from the image"] });
        let image = caller.put("image", &Image::of(layer.symlink("bin/echo", "busybox")).config(config));
        let output = caller.run(&[&image, "--entrypoint", "/bin/echo"]);
        assert_eq!(stdout(&output), "\n", "{}", said(&output));
        let output = caller.run(&[&image, "--entrypoint", "echo", "--", "mine"]);
        assert_eq!(stdout(&output), "mine\n", "{}", said(&output));
        assert_eq!(caller.run(&[&image]).status.code(), Some(127));
    }
}

#[test]
fn an_init_passes_signals_on_and_ends_as_the_app_does() {
    for caller in callers() {
        let Some(image) = put(&caller) else { return };
        for (text, code) in [("exit 7", 7), ("kill -9 $$", 137), ("exec /no/such", 127)] {
            let output = run(&caller, &image, &["--init"], text);
            assert_eq!(output.status.code(), Some(code), "{}: {text}: {}", caller.mode(), said(&output));
        }
        // PID 1 does not hear a signal that it does not handle; a child does.
        let grace = |flags: &[&str]| {
            let stop = &["--grace", "2", "--up", "0.2", "--format", "json"][..];
            let args = [&["verify", image.as_str()], flags, stop, &["--", "sleep 60; true"]].concat();
            common::json(&caller.austere().args(args).output().unwrap())
        };
        let judged = grace(&["--init"]);
        assert_eq!(judged["verdict"], "pass", "{}: {judged:#}", caller.mode());
        assert_eq!(grace(&[])["verdict"], "fail", "{}", caller.mode());
    }
}

#[test]
fn what_docker_has_and_austere_has_not_is_said() {
    for caller in callers() {
        for (flags, word) in [
            (&["--privileged"][..], "nothing to verify"),
            (&["--device=/dev/fuse"], "six devices"),
            (&["-d"], "waits for its verdict"),
            (&["--security-opt", "apparmor=unconfined"], "Landlock"),
            (&["--network", "bridge"], "none (closed) or host"),
            (&["--network=host", "--sysctl", "net.core.somaxconn=1"], "host's own network"),
            (&["--sysctl", "kernel.core_pattern=x"], "container's own"),
            (&["--ulimit", "core=-1"], "nofile"),
            (&["--preset", "podman", "--tmpfs", "/x:uid=1"], "takes no uid="),
            (&["--security-opt", "seccomp=/no/such"], "/no/such"),
        ] {
            let output = caller.verify(&[&["example:hello"], flags].concat());
            assert_eq!(output.status.code(), Some(2), "{flags:?}: {}", said(&output));
            assert!(stderr(&output).contains(word), "{flags:?}: {}", said(&output));
        }
    }
}

#[test]
fn a_preset_has_its_engine_s_ways() {
    for caller in callers() {
        let Some(image) = put(&caller) else { return };
        let text = "echo x 2>/dev/null >/tmp/f && echo wrote; grep -c 65532 /etc/passwd 2>/dev/null; ls /dev/termination-log 2>/dev/null; true";
        for (preset, expected) in [
            ("docker", ""),
            ("docker@20.10", ""),
            ("podman", "wrote\n1\n"),
            ("kubernetes", "/dev/termination-log\n"),
            ("kubernetes@containerd-1.7", "/dev/termination-log\n"),
        ] {
            let output = run(&caller, &image, &["--preset", preset], text);
            assert_eq!(stdout(&output), expected, "{}: {preset}: {}", caller.mode(), said(&output));
        }
    }
}
