//! The example apps as processes: what they do where they get what they want, and where they do not.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// This program under another name, as an image holds it.
fn named(folder: &Path, name: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    symlink(env!("CARGO_BIN_EXE_austere"), &path).unwrap();
    path
}

/// A started app, with the folder that holds its program.
struct App {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    _folder: TempDir,
}

impl App {
    fn start(folder: TempDir, command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        App { child, lines, _folder: folder }
    }

    fn line(&mut self) -> Option<String> {
        self.lines.next().map(|line| line.unwrap())
    }

    fn ends(mut self, signal: Signal) {
        let asked = Instant::now();
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        assert!(asked.elapsed() < Duration::from_secs(2));
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn hello_answers_and_ends_when_told() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let folder = tempfile::tempdir().unwrap();
        let program = named(folder.path(), "austere-hello");
        let mut app = App::start(folder, Command::new(program).env("PORT", "0"));
        let line = app.line().unwrap();
        let port: u16 = line.strip_prefix("hello: listening on 0.0.0.0:").unwrap().parse().unwrap();
        // A visitor who says nothing keeps nobody waiting.
        let _silent = TcpStream::connect(("127.0.0.1", port)).unwrap();
        for (path, status) in
            [("/", "200 OK"), ("/healthz", "200 OK"), ("/x", "404 Not Found"), ("a b", "400 Bad Request")]
        {
            let mut visitor = TcpStream::connect(("127.0.0.1", port)).unwrap();
            write!(visitor, "GET {path} HTTP/1.1\r\n\r\n").unwrap();
            let mut reply = String::new();
            visitor.read_to_string(&mut reply).unwrap();
            assert!(reply.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{path}: {reply}");
        }
        app.ends(signal);
    }
}

/// Runs the stubborn app in namespaces of its own, after `before`. `None` where that needs more rights.
fn stubborn(before: &str) -> Option<App> {
    let folder = tempfile::tempdir().unwrap();
    let script = format!("{before} && echo ready && exec {}", named(folder.path(), "austere-stubborn").display());
    let mut app = App::start(folder, Command::new("unshare").args(["--mount", "--net", "sh", "-c", &script]));
    let ready = app.line().as_deref() == Some("ready");
    if !ready {
        let required = std::env::var("AUSTERE_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|word| word == "netns"), "unshare or mount is refused");
        eprintln!("SKIP netns: unshare or mount is refused");
    }
    ready.then_some(app)
}

#[test]
fn stubborn_works_where_it_gets_all_that_it_wants() {
    let Some(mut app) = stubborn("mount -t tmpfs run /run") else { return };
    assert_eq!(app.line().unwrap(), "stubborn: there is a shell");
    assert_eq!(app.line().unwrap(), "stubborn: listening on 0.0.0.0:80");
    app.ends(Signal::SIGTERM);
}

#[test]
fn stubborn_gives_up_at_the_first_refusal() {
    let complaints = [
        (
            "mount -t tmpfs -o ro run /run",
            "stubborn: cannot write /run/stubborn.pid: Read-only file system (os error 30)\n",
        ),
        (
            "mount -t tmpfs run /run && mount --bind /dev/null $(readlink -f /bin/sh)",
            "stubborn: cannot run /bin/sh: Permission denied (os error 13)\n",
        ),
    ];
    for (before, complaint) in complaints {
        let Some(mut app) = stubborn(before) else { return };
        assert_eq!((app.child.wait().unwrap().code(), app.line()), (Some(1), None));
        let mut said = String::new();
        app.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(said, complaint);
    }
}
