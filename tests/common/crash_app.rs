//! What the app in the image plays: a server that takes its time, with children that left its session.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use nix::unistd::{Gid, Uid, setresgid, setresuid, setsid};

use super::ROLE;

pub fn play(role: &str) {
    match role {
        "serve" => serve(),
        "undying" => {
            set_pdeathsig(None).unwrap();
            serve();
        }
        "another-user" => {
            let (user, group) = (Uid::from_raw(1234), Gid::from_raw(1234));
            setresgid(group, group, group).unwrap();
            setresuid(user, user, user).unwrap();
            // It never answers, so that it is still there when austere is killed.
            linger();
        }
        "child" => {
            setsid().unwrap();
            start("grandchild");
            linger();
        }
        "grandchild" => {
            setsid().unwrap();
            linger();
        }
        other => panic!("{other} is no role"),
    }
}

#[expect(clippy::zombie_processes, reason = "austere has to get rid of it")]
fn start(role: &str) {
    // Linux lets a program name itself, in whatever root it is.
    let mut command = Command::new("/proc/self/exe");
    command.env(ROLE, role).stdin(Stdio::null()).spawn().unwrap();
}

/// Heeds no signal that can be blocked.
fn linger() {
    SigSet::all().thread_block().unwrap();
    loop {
        sleep(Duration::from_mins(1));
    }
}

fn serve() {
    let mut stop = SigSet::empty();
    stop.add(Signal::SIGTERM);
    stop.thread_block().unwrap();
    let stop = SignalFd::new(&stop).unwrap();
    start("child");
    sleep(Duration::from_millis(20));
    let listener = TcpListener::bind("0.0.0.0:8080").unwrap();
    loop {
        let mut ready =
            [PollFd::new(listener.as_fd(), PollFlags::POLLIN), PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
        poll(&mut ready, PollTimeout::NONE).unwrap();
        if ready[1].any() == Some(true) {
            sleep(Duration::from_millis(20));
            return;
        }
        let (mut visitor, _) = listener.accept().unwrap();
        let _ = visitor.read(&mut [0; 1024]);
        sleep(Duration::from_millis(10));
        let _ = visitor.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
}
