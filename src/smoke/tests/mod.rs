//! Judging real processes through real sockets.

mod apps;
mod rooms;
mod servers;

use std::io::{self, Read};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::plan::{Origin, Plan, Probe};
use super::{Outcome, span};
use crate::jail::subject::{Ear, End, Output, Processes, Stop, Subject};
use crate::netns::Room;

/// An ordinary process, without a jail.
struct Process {
    child: Child,
    started: Instant,
    room: Arc<Room>,
}

impl Process {
    fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        Process { child, started: Instant::now(), room: Arc::new(Room::host()) }
    }

    fn shell(script: &str) -> Self {
        Process::start(Command::new("busybox").args(["sh", "-c", script]))
    }
}

impl Subject for Process {
    fn started(&self) -> Instant {
        self.started
    }

    fn room(&self) -> Arc<Room> {
        Arc::clone(&self.room)
    }

    fn wait_end(&mut self, timeout: Duration) -> io::Result<Option<End>> {
        use std::os::unix::process::ExitStatusExt;
        let until = Instant::now() + timeout;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.code().map(End::Exited).or(status.signal().map(End::Signaled)));
            }
            if Instant::now() >= until {
                return Ok(None);
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn stop(&mut self, grace: Duration) -> io::Result<Stop> {
        let (begun, asked) = (Instant::now(), !grace.is_zero());
        let mut end = None;
        if asked {
            kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM)?;
            end = self.wait_end(grace)?;
        }
        if end.is_none() {
            self.kill();
        }
        let killed = end.is_none();
        let end = end.unwrap_or(End::Signaled(libc::SIGKILL));
        Ok(Stop { end, asked, took: begun.elapsed(), killed, unheard: false })
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn output(&self) -> Output {
        Output::default()
    }

    fn listen(&mut self, [_, mut ear]: [Ear; 2]) {
        let mut stderr = self.child.stderr.take().unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stderr.read(&mut buffer) {
                ear.hear(&buffer[..count]);
            }
        });
    }

    fn processes(&self) -> Processes {
        Processes::default()
    }

    fn is_at_rest(&self) -> bool {
        crate::process::Process::is_family_at_rest(self.child.id().cast_signed())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn judge(mut app: Process, probe: Probe, timeout_ms: u64) -> Outcome {
    let plan = Plan::new(Origin::Flags, vec![probe], Duration::from_millis(timeout_ms)).unwrap();
    super::judge(&mut app, &plan)
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

fn codes(outcome: &Outcome) -> Vec<&str> {
    outcome.findings.iter().map(|finding| finding.code.as_str()).collect()
}

#[test]
fn times_have_two_or_three_digits() {
    let said = |us: u64| span(Duration::from_micros(us));
    assert_eq!([said(0), said(40), said(3149), said(9960)], ["0 µs", "40 µs", "3.1 ms", "10 ms"]);
    assert_eq!([said(120_400), said(999_700), said(2_540_000), said(30_000_000)], ["120 ms", "1.0 s", "2.5 s", "30 s"]);
}
