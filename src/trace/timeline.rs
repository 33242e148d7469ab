//! What a watched run showed, in its order.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::jail::subject::{End, Output};

/// All that was seen of one run.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// In the order in which the calls ended.
    pub events: Vec<Event>,
    /// Every process that there was, in the order in which they were started; the first is PID 1.
    pub processes: Vec<Process>,
    /// The last that the app wrote.
    pub output: Output,
    /// From the app's start to the last probe's answer; a watched app is slower.
    pub took: Duration,
    /// Threads that were followed.
    pub threads: usize,
    /// Different events that there was no room for.
    pub dropped: u64,
    /// The fault for which the tracer ended PID 1, as the kernel would have without it.
    pub fault: Option<i32>,
}

impl Timeline {
    /// Adds the end of PID 1, where it was not seen.
    pub(super) fn complete(&mut self, end: End, at: Duration) {
        let Some(first) = self.processes.first_mut().filter(|first| first.end.is_none()) else { return };
        let end = self.fault.map_or(end, End::Signaled);
        first.end = Some(end);
        first.ended_seq += 1;
        self.events.push(Event {
            at_ms: (at.as_secs_f64() * 1e6).round() / 1e3,
            kind: Kind::Ended,
            pid: first.pid,
            tid: first.pid,
            program: first.program.clone(),
            call: "",
            path: None,
            errno: None,
            wall: None,
            why: None,
            text: Some(end.to_string()),
            times: 1,
            process: 0,
            seq: first.ended_seq,
            first_seq: first.ended_seq,
            progress: first.progress,
            writes: false,
        });
    }
}

/// One process.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// Its number inside the jail.
    pub pid: u32,
    /// Who started it, as an index.
    pub parent: Option<usize>,
    /// The program it ran last, as the app's files name it.
    pub program: String,
    /// Its command line.
    pub argv: Vec<String>,
    /// How it ended; nothing when it was there to the end.
    pub end: Option<End>,
    /// How far the order of events had come when it ended.
    pub ended_seq: u64,
    /// What its parent had done by then, in the same measure.
    pub parent_progress: f32,
    /// What it had done by its end, in the measure of [`Event::progress`].
    pub progress: f32,
    /// The calls that it made with success: how often, and the progress at the last one.
    pub done: BTreeMap<&'static str, (u32, f32)>,
    /// Paths that it opened for writing, or made, after having been refused something.
    pub written: Vec<String>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A call failed.
    Failed,
    /// A program was started.
    Started,
    /// A program was started whose set-id bit the kernel ignored.
    Ignored,
    /// The app asked for something that an answer may depend on: its ids, whether new privileges can be had, the users.
    Asked,
    /// The app wrote to its standard output or error.
    Wrote,
    /// A process ended.
    Ended,
}

/// One thing that happened.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// Milliseconds after the app's start.
    pub at_ms: f64,
    /// What happened.
    pub kind: Kind,
    /// The process, as numbered inside the jail.
    pub pid: u32,
    /// The thread, as numbered inside the jail.
    pub tid: u32,
    /// The program that it runs.
    pub program: String,
    /// The system call.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub call: &'static str,
    /// The path or address that it was about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The error, by its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
    /// The wall that refused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall: Option<Wall>,
    /// How that was found out, or what is special about the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What was written; how a process ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// How often the same happened in the same process; the time is the last one's.
    #[serde(skip_serializing_if = "is_one")]
    pub times: u32,
    /// Its process, as an index.
    #[serde(skip)]
    pub process: usize,
    /// Its place in the order of all that was seen.
    #[serde(skip)]
    pub seq: u64,
    /// The same, of the first time.
    #[serde(skip)]
    pub first_seq: u64,
    /// How much the process had got done: files made and opened, programs and threads started, addresses taken.
    #[serde(skip)]
    pub progress: f32,
    /// Whether it meant to make or change something.
    #[serde(skip)]
    pub writes: bool,
}

#[cfg(test)]
impl Event {
    /// A call that PID 1 made and that failed, for unit tests.
    pub(crate) fn refused(call: &'static str, path: &str, errno: &str) -> Self {
        Event {
            at_ms: 1.0,
            kind: Kind::Failed,
            pid: 1,
            tid: 1,
            program: "/app".to_owned(),
            call,
            path: Some(path.to_owned()),
            errno: Some(errno.to_owned()),
            wall: None,
            why: None,
            text: None,
            times: 1,
            process: 0,
            seq: 1,
            first_seq: 1,
            progress: 0.0,
            writes: true,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_one(times: &u32) -> bool {
    *times == 1
}

/// What refused a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wall {
    /// The system call filter.
    Filter,
    /// A capability that the app lacks.
    Capability,
    /// A mount that is read-only.
    ReadOnlyMount,
    /// A mount from which nothing may be executed.
    NoexecMount,
    /// Owner, group and permission bits.
    FileMode,
    /// Landlock.
    Landlock,
    /// A limit of resources.
    Limit,
    /// The closed network.
    Room,
    /// `no_new_privs`.
    NoNewPrivs,
}

impl Wall {
    /// As reports name it.
    pub fn name(self) -> &'static str {
        match self {
            Wall::Filter => "seccomp filter",
            Wall::Capability => "capabilities",
            Wall::ReadOnlyMount => "read-only mount",
            Wall::NoexecMount => "noexec mount",
            Wall::FileMode => "file mode",
            Wall::Landlock => "Landlock",
            Wall::Limit => "limit",
            Wall::Room => "closed network",
            Wall::NoNewPrivs => "no_new_privs",
        }
    }
}
