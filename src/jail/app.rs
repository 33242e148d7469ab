//! A started app: waited for by its pidfd, stopped, and never left behind.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::guard::Guard;
use super::life::Line;
use super::stdio::{Pumps, Stdio, Streams};
use super::subject::{Ear, End, Output, Processes, Stop, Subject};
use crate::cgroup::{Events, Group};
use crate::netns::Room;
use crate::phases::{self, Phase};
use crate::process::Process;
use crate::seal::door::Door;
use crate::sys::waitid::{self, Ended};

/// An app in its jail. Dropping it ends it.
#[derive(Debug)]
pub struct App {
    pid: Pid,
    pidfd: OwnedFd,
    line: Line,
    pumps: Pumps,
    guard: Option<Guard>,
    /// It ends with the app.
    watcher: Option<JoinHandle<()>>,
    door: Option<Door>,
    room: Arc<Room>,
    started: Instant,
    stop_signal: i32,
    end: Option<End>,
    /// What it starts is not ended by the kernel with it.
    has_brood: bool,
    /// Dropped after the app has been ended, because an app in it would keep it.
    group: Option<Group>,
}

impl App {
    pub(super) fn new(
        pid: Pid,
        pidfd: OwnedFd,
        line: Line,
        streams: Streams,
        stdio: Stdio,
        stop_signal: i32,
        group: Option<Group>,
    ) -> Self {
        let (pumps, room) = (streams.pump(stdio), Arc::new(Room::host()));
        App {
            pid,
            pidfd,
            line,
            pumps,
            guard: None,
            watcher: None,
            door: None,
            room,
            started: Instant::now(),
            stop_signal,
            end: None,
            has_brood: false,
            group,
        }
    }

    /// The app's pid as this process sees it.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// The descriptor that becomes readable when the app ends.
    pub fn pidfd(&self) -> &OwnedFd {
        &self.pidfd
    }

    /// Sends a signal to the app alone.
    ///
    /// # Errors
    ///
    /// kill(2): EINVAL for a number that is no signal.
    pub fn signal(&mut self, number: i32) -> io::Result<()> {
        if self.wait_end(Duration::ZERO)?.is_some() {
            return Ok(());
        }
        // Until it is waited for, which only this object does, the pid stays this child's.
        match Signal::try_from(number) {
            Ok(signal) => kill(self.pid, signal)?,
            // A real-time signal, which has no name in `nix`.
            Err(_) => crate::sys::signals::send(self.pid.as_raw(), number)?,
        }
        Ok(())
    }

    pub(super) fn guarded_by(&mut self, guard: Guard) {
        self.guard = Some(guard);
    }

    pub(super) fn watched_by(&mut self, watcher: JoinHandle<()>) {
        self.watcher = Some(watcher);
    }

    pub(super) fn sealed_by(&mut self, door: Door) {
        self.door = Some(door);
    }

    /// The guard of its seal, where it has one.
    pub fn door(&self) -> Option<&Door> {
        self.door.as_ref()
    }

    pub(super) fn has_brood(&mut self, has_brood: bool) {
        self.has_brood = has_brood;
    }

    pub(super) fn check_guard(&self) -> io::Result<()> {
        self.guard.as_ref().map_or(Ok(()), Guard::check)
    }

    /// What its limits did to it so far; nothing where it has none.
    pub fn limits_met(&self) -> Events {
        self.group.as_ref().map(Group::events).unwrap_or_default()
    }

    pub(super) fn group(&self) -> Option<&Group> {
        self.group.as_ref()
    }

    pub(super) fn say_go(&mut self) -> io::Result<()> {
        self.line.say_go()
    }

    pub(super) fn streams(&self) -> &Pumps {
        &self.pumps
    }

    pub(super) fn enter(&mut self, room: Arc<Room>) {
        self.room = room;
    }

    pub(super) fn started_at(&mut self, started: Instant) {
        self.started = started;
    }

    /// Ends a launcher that did not become an app.
    pub(super) fn discard(mut self) -> Option<End> {
        // It is about to exit by itself; its own code tells more than our signal.
        self.wait_end(Duration::from_millis(200)).ok().flatten()
    }

    fn reap(&mut self) -> io::Result<Option<End>> {
        let end = match waitid::try_wait(self.pidfd.as_fd())? {
            Some(Ended::Exited(code)) => End::Exited(code),
            Some(Ended::Signaled(number)) => End::Signaled(number),
            None => return Ok(None),
        };
        self.end = Some(end);
        if self.has_brood {
            super::brood::end_orphans(self.guard.as_ref().map(Guard::pid));
        }
        self.dismiss_guard();
        if let Some(door) = &mut self.door {
            door.finish();
        }
        // PID 1 is gone, and the kernel has ended everything else in its namespace, or we have: the pipes run dry.
        self.pumps.finish();
        if let Some(watcher) = self.watcher.take() {
            // Joined, so that this process can have one thread again when it builds the next jail.
            let _ = watcher.join();
        }
        Ok(self.end)
    }

    /// Lets the guard end, which would do nothing but kill the app: at once after that was done here, so that nobody has to wait for it later.
    fn dismiss_guard(&mut self) {
        // A brood outlives the app until it is ended as well, and so does its guard.
        if let Some(guard) = self.guard.as_mut().filter(|_| self.end.is_some() || !self.has_brood) {
            guard.release();
        }
    }

    fn is_deaf(&self) -> bool {
        let Ok(process) = Process::open(self.pid.as_raw()) else { return false };
        let heard = process.status().sigcgt | process.status().sigblk;
        let Some(bit) = u32::try_from(self.stop_signal - 1).ok().and_then(|bit| 1_u64.checked_shl(bit)) else {
            return false;
        };
        self.stop_signal != libc::SIGKILL && heard & bit == 0
    }
}

impl Subject for App {
    fn started(&self) -> Instant {
        self.started
    }

    fn room(&self) -> Arc<Room> {
        Arc::clone(&self.room)
    }

    fn wait_end(&mut self, timeout: Duration) -> io::Result<Option<End>> {
        if self.end.is_some() {
            return Ok(self.end);
        }
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // Rounded up: a wait that is too short by less than a millisecond would spin.
            let left = PollTimeout::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, left) {
                Ok(0) => return Ok(None),
                Ok(_) => return self.reap(),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn stop(&mut self, grace: Duration) -> io::Result<Stop> {
        phases::begin(Phase::Stop);
        let unheard = self.is_deaf();
        let begun = Instant::now();
        let asked = !grace.is_zero();
        let mut end = None;
        if asked {
            self.signal(self.stop_signal)?;
            // A signal that PID 1 does not listen to is never delivered (pid_namespaces(7)): waiting would change nothing.
            end = self.wait_end(if unheard { Duration::ZERO } else { grace })?;
        }
        let killed = end.is_none();
        if killed {
            self.signal(libc::SIGKILL)?;
            self.dismiss_guard();
        }
        let end = loop {
            match end {
                Some(end) => break end,
                None => end = self.wait_end(Duration::from_mins(1))?,
            }
        };
        Ok(Stop { end, asked, took: begun.elapsed(), killed, unheard })
    }

    fn kill(&mut self) {
        if self.end.is_none() {
            // ESRCH would mean that it is gone, which is what was wanted.
            let _ = kill(self.pid, Signal::SIGKILL);
            self.dismiss_guard();
            let _ = self.wait_end(Duration::from_mins(1));
        }
    }

    fn output(&self) -> Output {
        self.pumps.output()
    }

    fn listen(&mut self, ears: [Ear; 2]) {
        self.pumps.listen(ears);
    }

    fn processes(&self) -> Processes {
        Process::open(self.pid.as_raw())
            .map(|process| Processes { argv: process.argv(), children: process.children() })
            .unwrap_or_default()
    }

    fn is_at_rest(&self) -> bool {
        Process::is_family_at_rest(self.pid.as_raw())
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.kill();
    }
}
