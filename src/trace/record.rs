//! The timeline while it grows.

use std::collections::HashMap;
use std::time::Instant;

use nix::errno::Errno;
use nix::unistd::Pid;

use super::place;
use super::timeline::{Event, Kind, Process, Timeline, Wall};
use crate::jail::subject::End;

/// Different events that are kept; an app that is refused one thing again and again makes one.
const MOST: usize = 20_000;
/// Bytes of one write that are kept.
pub(super) const WRITTEN: usize = 2048;

/// Grows a timeline.
#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) timeline: Timeline,
    started: Instant,
    seq: u64,
    /// By process, call, path, error and kind.
    known: HashMap<(usize, &'static str, String, String, u8), usize>,
    /// By pid as we see it.
    processes: HashMap<i32, usize>,
    inside: HashMap<i32, (i32, u32)>,
}

/// One call, or something like it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) call: &'static str,
    pub(super) path: Option<String>,
    pub(super) errno: i32,
    pub(super) wall: Option<Wall>,
    pub(super) why: Option<String>,
    pub(super) text: Option<String>,
    pub(super) writes: bool,
}

impl Recorder {
    pub(super) fn new() -> Self {
        Recorder {
            timeline: Timeline::default(),
            started: Instant::now(),
            seq: 0,
            known: HashMap::new(),
            processes: HashMap::new(),
            inside: HashMap::new(),
        }
    }

    /// The app starts now.
    pub(super) fn begin(&mut self) {
        self.started = Instant::now();
    }

    /// The process of a thread, which is made known if it is not; nothing when it is gone already.
    pub(super) fn process(&mut self, tid: Pid) -> Option<usize> {
        if let Some((leader, _)) = self.inside.get(&tid.as_raw()) {
            return self.processes.get(leader).copied();
        }
        let status = std::fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let last = |name: &str| field(name)?.split_whitespace().next_back()?.parse::<u32>().ok();
        let (leader, parent): (i32, i32) = (field("Tgid:")?.parse().ok()?, field("PPid:")?.parse().ok()?);
        let (own_number, thread_number) = (last("NStgid:")?, last("NSpid:")?);
        self.inside.insert(tid.as_raw(), (leader, thread_number));
        self.timeline.threads += 1;
        if let Some(index) = self.processes.get(&leader) {
            return Some(*index);
        }
        let parent = self.processes.get(&parent).copied();
        let (program, argv) = parent
            .and_then(|parent| self.timeline.processes.get(parent))
            .map_or_else(Default::default, |parent| (parent.program.clone(), parent.argv.clone()));
        let index = self.timeline.processes.len();
        self.timeline.processes.push(Process { pid: own_number, parent, program, argv, ..Process::default() });
        self.processes.insert(leader, index);
        Some(index)
    }

    /// A thread has ended, and with its last one a process.
    pub(super) fn ended(&mut self, tid: Pid, end: End) {
        let Some((leader, _)) = self.inside.get(&tid.as_raw()).copied() else { return };
        if leader == tid.as_raw()
            && let Some(index) = self.processes.get(&leader).copied()
        {
            let text = Some(end.to_string());
            self.add(tid, index, Kind::Ended, Seen { text, ..Seen::default() });
            let parent = self.timeline.processes[index].parent;
            let parent_progress = parent.map_or(0.0, |parent| self.timeline.processes[parent].progress);
            self.timeline.processes[index].parent_progress = parent_progress;
            self.timeline.processes[index].end = Some(end);
            self.timeline.processes[index].ended_seq = self.seq;
            self.processes.remove(&leader);
        }
        self.inside.remove(&tid.as_raw());
    }

    /// A thread that became the first of its process by an exec: the others are gone.
    pub(super) fn forget(&mut self, tid: Pid) {
        self.inside.remove(&tid.as_raw());
    }

    /// A process runs another program now.
    pub(super) fn started(&mut self, tid: Pid, index: usize) {
        let program = place::program(tid).unwrap_or_default();
        let argv = std::fs::read(format!("/proc/{tid}/cmdline")).unwrap_or_default();
        let words = argv.split(|byte| *byte == 0).take(64);
        let mut argv: Vec<String> = words.map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        argv.pop_if(|last| last.is_empty());
        let process = &mut self.timeline.processes[index];
        process.program.clone_from(&program);
        process.argv = argv;
        self.advance(index, "execve", 2.0);
        self.add(tid, index, Kind::Started, Seen { call: "execve", path: Some(program), ..Seen::default() });
    }

    /// A call succeeded.
    pub(super) fn advance(&mut self, index: usize, call: &'static str, by: f32) {
        let process = &mut self.timeline.processes[index];
        process.progress += by;
        let done = process.done.entry(call).or_default();
        *done = (done.0.saturating_add(1), process.progress);
    }

    /// A process that was refused something made or opened this for writing.
    pub(super) fn wrote_to(&mut self, index: usize, path: String) {
        let process = &mut self.timeline.processes[index];
        if process.written.len() < 256 && !process.written.contains(&path) {
            process.written.push(path);
        }
    }

    /// Adds an event, or counts it once more.
    pub(super) fn add(&mut self, tid: Pid, index: usize, kind: Kind, seen: Seen) {
        self.seq += 1;
        let at_ms = (self.started.elapsed().as_secs_f64() * 1e6).round() / 1e3;
        let errno = (seen.errno != 0).then(|| format!("{:?}", Errno::from_raw(seen.errno)));
        let (seq, progress) = (self.seq, self.timeline.processes[index].progress);
        if matches!(kind, Kind::Failed | Kind::Asked) {
            let (path, error) = (seen.path.clone().unwrap_or_default(), errno.clone().unwrap_or_default());
            let key = (index, seen.call, path, error, u8::from(kind == Kind::Asked));
            if let Some(event) = self.known.get(&key).and_then(|at| self.timeline.events.get_mut(*at)) {
                event.times = event.times.saturating_add(1);
                (event.at_ms, event.seq, event.progress) = (at_ms, seq, progress);
                return;
            }
            self.known.insert(key, self.timeline.events.len());
        }
        // What was refused has room left when an app talks without end.
        if self.timeline.events.len() >= if kind == Kind::Wrote { MOST / 2 } else { MOST } {
            self.timeline.dropped += 1;
            return;
        }
        let process = &self.timeline.processes[index];
        self.timeline.events.push(Event {
            at_ms,
            kind,
            pid: process.pid,
            tid: self.inside.get(&tid.as_raw()).map_or(process.pid, |(_, tid)| *tid),
            program: process.program.clone(),
            call: seen.call,
            path: seen.path,
            errno,
            wall: seen.wall,
            why: seen.why,
            text: seen.text,
            times: 1,
            process: index,
            seq,
            first_seq: seq,
            progress,
            writes: seen.writes,
        });
    }

    /// Whether this process was refused anything so far.
    pub(super) fn was_refused(&self, index: usize) -> bool {
        self.timeline.events.iter().rev().take(64).any(|event| event.process == index && event.kind == Kind::Failed)
    }

    /// What has been seen, in the order of the last time.
    pub(super) fn finish(mut self) -> Timeline {
        self.timeline.events.sort_by_key(|event| event.seq);
        for process in &mut self.timeline.processes {
            if process.end.is_none() {
                process.ended_seq = self.seq;
            }
        }
        self.timeline
    }
}
