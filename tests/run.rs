//! `austere run`: streams, exit codes, signals, the letter slot, and nothing left afterwards.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]

#[path = "common/callers.rs"]
mod callers;
mod common;
#[path = "common/image.rs"]
mod image;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use callers::{Caller, app, callers, script, stderr, stdout};
use common::said;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Waits for the end of a child, and kills it after a minute.
fn finish(mut child: Child) -> Output {
    let deadline = Instant::now() + Duration::from_mins(1);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("still there: {}", said(&child.wait_with_output().unwrap()));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.wait_with_output().unwrap()
}

fn start(caller: &Caller, args: &[&str]) -> Child {
    let mut command = caller.austere();
    command.arg("run").args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Every process whose parent is `parent`, and theirs.
fn descendants(parent: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    let children: Vec<u32> = children.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    children.iter().flat_map(|pid| [vec![*pid], descendants(*pid)].concat()).collect()
}

/// Whether a process of this host has an argument like that.
fn anyone_says(word: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .any(|line| line.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes()))
}

#[test]
fn streams_are_passed_through_each_by_itself() {
    let Some(image) = script("cat; echo out; echo error >&2") else { return };
    for caller in callers() {
        let mut child = start(&caller, &[&caller.put("image", &image)]);
        let letter: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        let (mut stdin, sent) = (child.stdin.take().unwrap(), letter.clone());
        let writer = std::thread::spawn(move || stdin.write_all(&sent).unwrap());
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(output.stdout == [&letter[..], b"out\n"].concat(), "{} bytes arrived", output.stdout.len());
        assert_eq!(stderr(&output), "error\n");
    }
}

#[test]
fn the_exit_code_is_the_app_s() {
    let Some(image) = app(&["/bin/sh", "-c"]) else { return };
    for caller in callers() {
        let image = caller.put("image", &image);
        for (text, code) in [("exit 0", 0), ("exit 7", 7), ("exit 255", 255)] {
            let output = caller.run(&[&image, "--", text]);
            assert_eq!(output.status.code(), Some(code), "{text}: {}", said(&output));
            assert!(output.stderr.is_empty(), "{}", said(&output));
        }
        // PID 1 gets no signal that it does not handle, not even its own; a signal from outside ends it.
        let mut child = start(&caller, &[&image, "--", "echo ready; sleep 60"]);
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let pid = *descendants(child.id()).first().unwrap();
        kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
        assert_eq!(finish(child).status.code(), Some(128 + 9));
    }
}

#[test]
fn what_could_not_be_started_has_the_engine_s_codes() {
    let Some(layer) = callers::busybox() else { return };
    let layer =
        layer.file("plain", 0o644, "text").file("text", 0o755, "no program").file("script", 0o755, "#!/no/such\n");
    let image = image::Image::of(layer.dir("closed", 0o700).file("closed/true", 0o755, ""));
    for caller in callers() {
        let image = caller.put("image", &image);
        let cases = [
            ("/bin/true", 0, ""),
            ("true", 0, ""),
            ("/none", 127, "/none"),
            ("none", 127, "none in any folder of PATH"),
            ("/script", 127, "/script"),
            ("/plain", 126, "/plain"),
            ("/text", 126, "/text"),
            ("/closed/true", 126, "/closed/true"),
            ("/tmp", 126, "/tmp"),
        ];
        for (program, code, word) in cases {
            let output = caller.run(&[&image, "--", program]);
            assert_eq!(output.status.code(), Some(code), "{program}, {}: {}", caller.mode(), said(&output));
            let stderr = stderr(&output);
            assert!(stderr.contains(word) && stderr.lines().count() == usize::from(code != 0), "{program}: {stderr}");
        }
        for reference in ["./none.tar", "oci:/none", "rootfs:/none"] {
            let output = caller.run(&[reference]);
            assert_eq!(output.status.code(), Some(125), "{reference}: {}", said(&output));
            assert!(stderr(&output).starts_with("austere: "), "{}", said(&output));
        }
    }
}

#[test]
fn signals_are_passed_on() {
    let Some(image) = script(
        "trap 'echo got TERM; exit 3' TERM; trap 'echo got INT; exit 4' INT; echo ready; while :; do sleep 0.01; done",
    ) else {
        return;
    };
    for caller in callers() {
        let image = caller.put("image", &image);
        for (signal, word, code) in [(Signal::SIGTERM, "got TERM", 3), (Signal::SIGINT, "got INT", 4)] {
            let mut child = start(&caller, &[&image]);
            let mut out = BufReader::new(child.stdout.take().unwrap());
            let mut line = String::new();
            out.read_line(&mut line).unwrap();
            assert_eq!(line, "ready\n");
            kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
            let mut rest = String::new();
            out.read_to_string(&mut rest).unwrap();
            let output = finish(child);
            assert_eq!((rest.trim(), output.status.code()), (word, Some(code)), "{}", said(&output));
        }
    }
}

#[test]
fn an_app_that_goes_on_ends_with_the_third_signal() {
    let Some(image) = script("trap 'echo got' TERM; echo got; while :; do sleep 0.01; done") else { return };
    for caller in callers() {
        let mut child = start(&caller, &[&caller.put("image", &image)]);
        let mut out = BufReader::new(child.stdout.take().unwrap());
        for _ in 0..3 {
            let mut line = String::new();
            out.read_line(&mut line).unwrap();
            assert_eq!(line, "got\n");
            assert!(child.try_wait().unwrap().is_none(), "it ended before the third signal");
            kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
        }
        let output = finish(child);
        assert_eq!(output.status.code(), Some(128 + 9), "{}", said(&output));
        assert!(stderr(&output).contains("went on after 3 signals"), "{}", said(&output));
    }
}

#[test]
fn a_published_port_leads_to_the_app() {
    for caller in callers() {
        let port = free_port();
        let mut child = start(&caller, &["example:hello", "-p", &format!("127.0.0.1:{port}:8080")]);
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        assert_eq!(line, "hello: listening on 0.0.0.0:8080\n");
        for _ in 0..3 {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("\r\nok\n"), "{answer}");
        }
        // Where nobody listens the caller sees a connection that is closed, and the app lives on.
        let taken = caller.run(&["example:hello", "-p", &format!("127.0.0.1:{port}:8080")]);
        assert_eq!(taken.status.code(), Some(125), "{}", said(&taken));
        assert!(
            stderr(&taken).contains(&format!("127.0.0.1:{port}")) && stderr(&taken).contains("Address already in use")
        );
        assert_eq!(stderr(&taken).lines().count(), 1, "{}", said(&taken));
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
        assert_eq!(finish(child).status.code(), Some(0));
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    }
}

#[test]
fn variables_folders_and_arguments_are_the_caller_s_to_give() {
    let Some(image) = app(&[]) else { return };
    let image = image.config(serde_json::json!({ "Entrypoint": ["/bin/sh", "-c"], "Env": ["A=image", "B=image"] }));
    for caller in callers() {
        let image = caller.put("image", &image);
        let run = |flags: &[&str], text: &str| {
            let mut command = caller.austere();
            command.env("MINE", "the caller's").env("SECRET", "x");
            command.arg("run").arg(&image).args(flags).args(["--", text]).output().unwrap()
        };
        let output = run(&["-e", "A=flag", "-e", "MINE"], "echo $A $B $MINE $SECRET");
        assert_eq!(stdout(&output), "flag image the caller's\n", "{}", said(&output));
        let output = run(&["-e", "NOT_SET"], "true");
        assert_eq!(output.status.code(), Some(125), "{}", said(&output));
        assert!(stderr(&output).contains("NOT_SET is not set here"), "{}", said(&output));
        assert_eq!(stdout(&run(&[], "echo \"$0\"; echo $#")), "/bin/sh\n0\n");

        let text = "echo '#!/bin/sh' >/tmp/p; chmod 755 /tmp/p; /tmp/p && echo ran";
        let output = run(&[], text);
        assert!(stderr(&output).contains("Read-only file system"), "{}", said(&output));
        let output = run(&["--tmpfs", "/tmp"], text);
        assert!(
            stdout(&output).is_empty() && stderr(&output).contains("/tmp/p: Permission denied"),
            "{}",
            said(&output)
        );
        assert_eq!(stdout(&run(&["--tmpfs", "/tmp:exec"], text)), "ran\n");
        // The mode of the image's folder, unless another is given.
        let output = run(&["--tmpfs", "/www"], "echo x >/www/f && echo wrote");
        assert!(stderr(&output).contains("Permission denied"), "{}", said(&output));
        assert_eq!(stdout(&run(&["--tmpfs", "/www:mode=1777"], "echo x >/www/f && echo wrote")), "wrote\n");
    }
}

/// A folder is used as it is. With one id austere has to own it, to add the files that engines add.
#[test]
fn a_folder_runs_for_its_owner() {
    let Ok(program) = fs::read("/bin/busybox") else { return common::skip("busybox: no /bin/busybox") };
    for caller in callers() {
        let folder = caller.dir().join("folder");
        fs::create_dir_all(folder.join("bin")).unwrap();
        fs::write(folder.join("bin/busybox"), &program).unwrap();
        fs::set_permissions(folder.join("bin/busybox"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let reference = format!("rootfs:{}", folder.display());
        let run = || caller.run(&[&reference, "--", "/bin/busybox", "id", "-u"]);
        if !caller.is_root() && common::root() {
            let output = run();
            assert_eq!(output.status.code(), Some(125), "{}", said(&output));
            assert!(
                stderr(&output).contains("belongs to another user") && stderr(&output).contains("hint: "),
                "{}",
                said(&output)
            );
            common::Ordinary::own(&folder);
            common::Ordinary::own(&folder.join("bin"));
        }
        let output = run();
        assert_eq!((stdout(&output).as_str(), output.status.code()), ("65532\n", Some(0)), "{}", said(&output));
        assert!(!folder.join("etc").exists() && !folder.join("proc").exists(), "austere wrote to the folder");
    }
}

#[test]
fn nothing_is_left_and_nothing_hangs() {
    let mark = format!("{}", 1_000_000 + std::process::id());
    let Some(image) = script(&format!("sleep {mark} & sh -c '(sleep {mark} &)' & ls /proc | grep -c '^[0-9]'")) else {
        return;
    };
    let Some(quick) = app(&["/bin/true"]) else { return };
    for caller in callers() {
        let image = caller.put("image", &image);
        let child = start(&caller, &[&image]);
        let output = finish(child);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert!(stdout(&output).trim().parse::<u32>().unwrap() > 2, "{}", said(&output));
        assert!(!anyone_says(&mark), "a process of the jail is left");
        let quick = caller.put("quick", &quick);
        let load: Vec<_> =
            (0..2).map(|_| Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap()).collect();
        let begun = Instant::now();
        for number in 0..50 {
            let output = finish(start(&caller, &[&quick]));
            assert_eq!(output.status.code(), Some(0), "run {number}: {}", said(&output));
        }
        for mut child in load {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(begun.elapsed() < Duration::from_secs(50));
        let staging = fs::read_dir(caller.store().join("staging")).unwrap().count();
        assert_eq!(staging, 0, "left in staging");
    }
}
