//! The tracer's loop: every thread of the app, from the launcher's wait to the app's end.
//!
//! Source: ptrace(2), "Stopped states"; seccomp(2), `SECCOMP_RET_TRACE`.

use std::collections::HashMap;

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::unistd::Pid;

use super::arguments::{self, Call};
use super::calls::{Does, shape};
use super::fault;
use super::follow::{Follower, follow, is_group_stop};
use super::memory::{self, Address};
use super::place;
use super::record::{Recorder, Seen, WRITTEN};
use super::timeline::{Kind, Timeline, Wall};
use super::wall::{self, Refused};
use crate::jail::Gate;
use crate::jail::subject::End;
use crate::profile::seccomp::Arch;
use crate::seccomp::observe::SEEN;
use crate::seccomp::{audit_arch, name};
use crate::sys::ptrace::{Resume, Stop, resume, skip, syscall_info, take_stop};

/// Follows the app until it has ended.
pub(super) fn watch(gate: &Gate) -> Timeline {
    let mut tracer = Tracer {
        gate,
        recorder: Recorder::new(),
        calls: HashMap::new(),
        connecting: HashMap::new(),
        names: HashMap::new(),
        live: false,
    };
    follow(gate, &mut tracer);
    tracer.recorder.finish()
}

struct Tracer<'a> {
    gate: &'a Gate,
    recorder: Recorder,
    /// What each thread is in.
    calls: HashMap<i32, Call>,
    /// Where sockets are being connected to, by process and descriptor.
    connecting: HashMap<(usize, u64), String>,
    /// Names of calls, by architecture and number.
    names: HashMap<(u32, u64), &'static str>,
    /// The app's own program has been started.
    live: bool,
}

impl Follower for Tracer<'_> {
    fn ended(&mut self, tid: Pid, end: End) {
        self.calls.remove(&tid.as_raw());
        let is_app = tid == self.gate.pid;
        if self.live {
            let end = self.recorder.timeline.fault.filter(|_| is_app).map_or(end, End::Signaled);
            self.recorder.ended(tid, end);
        }
    }

    fn stopped(&mut self, tid: Pid, status: i32) -> Result<(), Errno> {
        let (signal, event) = (status & 0xff, status >> 8);
        match event {
            libc::PTRACE_EVENT_SECCOMP => return self.asked(tid),
            libc::PTRACE_EVENT_EXEC => return self.executed(tid),
            libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => {
                return resume(tid, self.onward(tid), 0);
            }
            // A new thread, or one that was stopped by a signal together with its process.
            libc::PTRACE_EVENT_STOP => {
                if self.live {
                    let _ = self.recorder.process(tid);
                }
                return resume(tid, if is_group_stop(signal) { Resume::Listen } else { self.onward(tid) }, 0);
            }
            _ => {}
        }
        if status == libc::SIGTRAP | 0x80 {
            return self.returned(tid);
        }
        // A signal on its way to the app.
        let signal = if self.live { self.delivered(tid, signal) } else { signal };
        resume(tid, self.onward(tid), signal)
    }
}

impl Tracer<'_> {
    /// The signal that a thread is to get, where this one is on its way to it.
    fn delivered(&mut self, tid: Pid, signal: i32) -> i32 {
        let Some(address) = fault::address(tid, signal) else { return signal };
        let Some(index) = self.recorder.process(tid) else { return signal };
        if signal == libc::SIGBUS
            && let Some(seen) = fault::no_page(tid, address)
        {
            self.recorder.add(tid, index, Kind::Failed, seen);
        }
        // A fault ends PID 1 too, but not one that is traced: it would stumble for ever.
        if self.recorder.timeline.processes[index].pid == 1 && fault::is_fatal(tid, signal) {
            self.recorder.timeline.fault = Some(signal);
            return libc::SIGKILL;
        }
        signal
    }

    /// A thread in a call is awaited at that call's end.
    fn onward(&self, tid: Pid) -> Resume {
        if self.calls.contains_key(&tid.as_raw()) { Resume::ToExit } else { Resume::On }
    }

    /// The filter asks.
    fn asked(&mut self, tid: Pid) -> Result<(), Errno> {
        let Stop::Asked { arch, number, args, message } = syscall_info(tid)? else {
            return resume(tid, Resume::On, 0);
        };
        let name = self.name(arch, number);
        let call = Call { name, shape: shape(name), args };
        if message == u32::from(SEEN) {
            self.calls.insert(tid.as_raw(), call);
            return resume(tid, Resume::ToExit, 0);
        }
        skip(tid, -i64::from(message))?;
        if self.live
            && let Some(index) = self.recorder.process(tid)
        {
            let errno = i32::try_from(message).unwrap_or(libc::EPERM);
            let path = arguments::path(tid, &call);
            let seen = Seen {
                call: name,
                path,
                errno,
                wall: Some(Wall::Filter),
                why: Some("the system call filter answers for it".to_owned()),
                ..Seen::default()
            };
            self.recorder.add(tid, index, Kind::Failed, seen);
        }
        resume(tid, Resume::On, 0)
    }

    fn name(&mut self, arch: u32, number: u64) -> &'static str {
        self.names.entry((arch, number)).or_insert_with(|| {
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            let of = |candidate: &&Arch| audit_arch(**candidate) == arch;
            let mut all = Arch::NATIVE.runs().iter().filter(of);
            all.find_map(|arch| name(*arch, number)).unwrap_or("an unknown call")
        })
    }

    /// A program was started.
    fn executed(&mut self, tid: Pid) -> Result<(), Errno> {
        take_stop(tid);
        if let Ok(former) = ptrace::getevent(tid)
            && former != libc::c_long::from(tid.as_raw())
            && let Ok(former) = i32::try_from(former)
        {
            self.calls.remove(&former);
            self.recorder.forget(Pid::from_raw(former));
        }
        self.calls.remove(&tid.as_raw());
        let is_first = !self.live;
        if is_first {
            if !self.gate.stopped_at_exec() {
                return resume(tid, Resume::On, libc::SIGKILL);
            }
            self.live = true;
            self.recorder.begin();
        }
        if let Some(index) = self.recorder.process(tid) {
            self.recorder.started(tid, index);
            if let Some(seen) = arguments::set_id_ignored(tid) {
                self.recorder.add(tid, index, Kind::Ignored, seen);
            }
        }
        resume(tid, Resume::On, 0)
    }

    /// A call is over.
    fn returned(&mut self, tid: Pid) -> Result<(), Errno> {
        let Some(call) = self.calls.remove(&tid.as_raw()) else { return resume(tid, Resume::On, 0) };
        if let (Stop::Done(value), true) = (syscall_info(tid)?, self.live)
            && let Some(index) = self.recorder.process(tid)
        {
            match i32::try_from(value).ok().filter(|value| (-4095..0).contains(value)) {
                Some(value) => self.failed(tid, index, &call, -value),
                None => self.succeeded(tid, index, &call, value),
            }
        }
        resume(tid, Resume::On, 0)
    }

    fn failed(&mut self, tid: Pid, index: usize, call: &Call, errno: i32) {
        // Restarted calls (512 and up), and what says only that something takes time or is there already.
        let is_news = errno < 512 && ![libc::EINTR, libc::EAGAIN, libc::EINPROGRESS, libc::EALREADY].contains(&errno);
        // readlink(2) of what is no link, which realpath(3) does for every part of a path.
        if errno == libc::EINVAL && call.name.starts_with("readlink") {
            return;
        }
        if errno == libc::EINPROGRESS
            && let (Does::Connect(_), Some(path)) = (call.shape.does, arguments::path(tid, call))
        {
            self.looked_up(tid, index, call);
            self.connecting.insert((index, call.args[0]), path);
            return;
        }
        let means_limit = errno == libc::EAGAIN && matches!(call.shape.does, Does::Fork | Does::Lock);
        if !(is_news || means_limit) {
            return;
        }
        let path = arguments::path(tid, call);
        let flags = arguments::open_flags(tid, call);
        let writes = call.shape.writes(flags);
        let refused = Refused {
            pid: tid,
            call: call.name,
            does: call.shape.does,
            path: path.as_deref(),
            errno,
            writes,
            wants: arguments::wants(call, flags),
        };
        let (wall, why) = wall::judge(&refused);
        self.recorder.add(
            tid,
            index,
            Kind::Failed,
            Seen { call: call.name, path, errno, wall, why, writes, text: None },
        );
    }

    fn succeeded(&mut self, tid: Pid, index: usize, call: &Call, value: i64) {
        let writes = call.shape.writes(arguments::open_flags(tid, call));
        match call.shape.does {
            // What a script throws away, nobody is told.
            // To a file: only what fails is told.
            Does::Write | Does::WriteVector if !(1..=2).contains(&(call.args[0] & 0xffff_ffff)) => {}
            Does::Write | Does::WriteVector if place::descriptor(tid, call.args[0]).as_deref() == Some("/dev/null") => {
                return;
            }
            Does::Write | Does::WriteVector => {
                let length = usize::try_from(value).unwrap_or(0).min(WRITTEN);
                let bytes = if call.shape.does == Does::Write {
                    memory::bytes(tid, call.args[1], length)
                } else {
                    memory::vector(tid, call.args[1], call.args[2], length)
                };
                let text = Some(String::from_utf8_lossy(&bytes).into_owned());
                let seen = Seen { call: call.name, text, ..Seen::default() };
                return self.recorder.add(tid, index, Kind::Wrote, seen);
            }
            Does::Outcome => {
                let path = self.connecting.remove(&(index, call.args[0]));
                let error =
                    memory::bytes(tid, call.args[3], 4).first_chunk::<4>().map_or(0, |e| i32::from_ne_bytes(*e));
                if path.is_some() && error > 0 {
                    let refused = Refused {
                        pid: tid,
                        call: "connect",
                        does: Does::Connect(1),
                        path: path.as_deref(),
                        errno: error,
                        writes: false,
                        wants: 0,
                    };
                    let (wall, why) = wall::judge(&refused);
                    let seen = Seen { call: "connect", path, errno: error, wall, why, ..Seen::default() };
                    return self.recorder.add(tid, index, Kind::Failed, seen);
                }
            }
            Does::Ask => self.recorder.add(tid, index, Kind::Asked, Seen { call: call.name, ..Seen::default() }),
            // PR_GET_NO_NEW_PRIVS
            Does::Prctl if call.args[0] == 39 => {
                let path = Some("PR_GET_NO_NEW_PRIVS".to_owned());
                self.recorder.add(tid, index, Kind::Asked, Seen { call: call.name, path, ..Seen::default() });
            }
            Does::Open(_) | Does::OpenHow(_) | Does::Make => {
                let path = arguments::path(tid, call);
                if path.as_deref() == Some("/etc/passwd") && !writes {
                    let seen = Seen { call: call.name, path: path.clone(), ..Seen::default() };
                    self.recorder.add(tid, index, Kind::Asked, seen);
                }
                if let Some(path) = path.filter(|_| writes && self.recorder.was_refused(index)) {
                    self.recorder.wrote_to(index, path);
                }
            }
            Does::Connect(_) | Does::Other => self.looked_up(tid, index, call),
            _ => {}
        }
        self.recorder.advance(index, call.name, call.shape.progress(writes));
    }

    /// A question to a name server, which the closed network never answers.
    fn looked_up(&mut self, tid: Pid, index: usize, call: &Call) {
        let Does::Connect(at) = call.shape.does else { return };
        if let Some(address @ Address::Ip(_, 53)) = Address::read(tid, call.args[at], call.args[at + 1]) {
            let path = Some(address.to_string());
            self.recorder.add(tid, index, Kind::Asked, Seen { call: call.name, path, ..Seen::default() });
        }
    }
}
