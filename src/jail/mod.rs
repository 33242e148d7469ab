//! A process inside a profile: built in one ordered recipe, read back while it stands at its first instruction, then let go.
//!
//! The launcher is a clone of this process, which has one thread at that moment; so it may go on in ordinary Rust. It builds the jail around
//! itself, waits for the word, installs the filter and execs. The exec stops under ptrace: nothing of the image has run yet, and every measure is
//! read from `/proc/PID` of the very process that the app will be. Then the tracer leaves, and the app runs untraced.

mod app;
mod brood;
mod guard;
mod life;
mod read_back;
mod recipe;
mod report;
mod stdio;
pub mod subject;
mod unstopped;
mod watch;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::ptrace;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

pub use app::App;
pub use stdio::Stdio;
pub use watch::{Gate, Watcher};

use guard::Guard;
use unstopped::Unstopped;

use crate::caps;
use crate::cgroup;
use crate::exec_memory;
use crate::ids;
use crate::landlock;
use crate::measure::Measure;
use crate::netns;
use crate::phases::{self, Phase};
use crate::process;
use crate::profile::settings::{Network, Sysctl, Ulimit};
use crate::refusal::Refusal;
use crate::rootfs;
use crate::seal::Guarding;
use crate::seal::door::Hatch;
use crate::seccomp::{Filter, Witness};
use crate::sys::clone::{Side, clone};
use crate::sys::execve::exit_now;

/// Everything a jail is, decided before it is built.
pub struct Spec {
    /// Who the app is.
    pub identity: ids::Identity,
    /// How its ids relate to the host's.
    pub ids: ids::Mode,
    /// What is around it.
    pub confinement: Confinement,
    /// What it sees of files.
    pub rootfs: rootfs::Plan,
    /// The command line.
    pub argv: Vec<String>,
    /// The program itself, in place of what the command line names.
    pub adversary: Option<OwnedFd>,
    /// The whole environment, `NAME=value`.
    pub env: Vec<String>,
    /// The host name.
    pub hostname: String,
    /// The capabilities that may ever be had.
    pub bounding: caps::Set,
    /// The capabilities the app starts with.
    pub permitted: caps::Set,
    /// Set-id files and file capabilities gain nothing.
    pub no_new_privs: bool,
    /// The system call filter, and what shows that it is there.
    pub seccomp: Option<(Filter, Option<Witness>)>,
    /// The same filter for a run that is watched ([`crate::seccomp::observe`]), and then in the place of the other.
    pub observed: Option<Filter>,
    /// No exec after the app's own, and what its guard does.
    pub seal: Option<Guarding>,
    /// What could be executed without a file, and is taken away.
    pub exec_memory: exec_memory::Taken,
    /// Landlock as a second wall, where the kernel has it.
    pub landlock: Option<landlock::Rules>,
    /// What the app may use of memory, processes and processors.
    pub limits: cgroup::Limits,
    /// Whom the app can reach.
    pub network: Network,
    /// What is set in a network of the app's own.
    pub room: netns::Settings,
    /// Capabilities that the app's user holds although it is not root.
    pub ambient: caps::Set,
    /// Kernel parameters of the app's own namespaces.
    pub sysctls: Vec<Sysctl>,
    /// Resource limits.
    pub ulimits: Vec<Ulimit>,
    /// The signal that asks the app to stop.
    pub stop_signal: i32,
    /// Where its standard streams lead.
    pub stdio: Stdio,
    /// Measures that are left out although they are asked for, so that a test can see the read-back notice.
    pub without: Vec<String>,
}

impl Spec {
    fn is_tree(&self) -> bool {
        self.confinement != Confinement::Namespaces
    }

    /// Whether the app is in a network of its own.
    fn has_room(&self) -> bool {
        self.network == Network::None && self.applies("network") && !self.is_tree()
    }

    fn applies(&self, measure: &str) -> bool {
        !self.without.iter().any(|name| name == measure)
    }
}

/// What a jail is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confinement {
    /// Namespaces and mounts of the app's own.
    Namespaces,
    /// A root of its own, and nothing else that is: what can be had in a container that is refused namespaces, for the reason given here.
    /// Capabilities, user, filter and Landlock are the same.
    Tree(String),
}

/// The app did not come to its first instruction.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A step was refused.
    #[error("{0}")]
    Refused(Refusal),
    /// This process could not do its part.
    #[error("{0}: {1}")]
    Host(&'static str, io::Error),
    /// The launcher ended without a word.
    #[error("the launcher ended before the app's exec: {0}")]
    Died(String),
}

/// A jail whose app is about to run its first instruction.
pub struct Started {
    /// The app.
    pub app: App,
    /// Every measure, as the kernel says it is.
    pub measures: Vec<Measure>,
    /// Where the app may write and execute; unknown where it has no mounts of its own.
    pub writable_executable: Option<Vec<String>>,
    /// Why the app was not stopped at its first instruction, and what can be done; nothing where it was.
    pub unstopped: Option<String>,
}

/// Builds the jail and starts the app in it. The calling thread must be the process's only one, and must live as long as the app:
/// the launcher's death signal is bound to it.
///
/// # Errors
///
/// [`StartError`]; nothing is left behind.
pub fn start(spec: &Spec) -> Result<Started, StartError> {
    start_watched(spec, None)
}

/// The same with a watcher, who traces the app to its end. It answers for the filter of [`Spec::observed`], and so has to be there exactly if
/// that is.
///
/// # Errors
///
/// [`StartError`]; nothing is left behind.
pub fn start_watched(spec: &Spec, watcher: Option<Watcher>) -> Result<Started, StartError> {
    let failed = |what| move |error: io::Error| StartError::Host(what, error);
    phases::begin(Phase::Clone);
    let streams = stdio::Streams::new(spec.stdio, spec).map_err(failed("making pipes for the app"))?;
    let (watch, mut line) = life::line().map_err(failed("making a pipe"))?;
    let (reports, reporter) = report::channel().map_err(failed("making a pipe"))?;
    let mut recipe = recipe::Recipe::prepare(spec).map_err(StartError::Refused)?;
    let hatch = spec.seal.map(|_| Hatch::new()).transpose().map_err(failed("making a socket pair"))?;
    let mut group = (!spec.limits.is_empty()).then(|| cgroup::Group::make(&spec.limits, |name| spec.applies(name)));

    if spec.is_tree() {
        // What loses its parent in there becomes ours, to be ended with the app.
        set_child_subreaper(true)
            .map_err(|errno| StartError::Refused(Refusal::host("prctl", "PR_SET_CHILD_SUBREAPER", errno)))?;
    }
    process::await_single_thread().map_err(failed("waiting for this process's other threads"))?;
    let (pid, pidfd) = match clone(recipe.namespaces()).map_err(|errno| {
        StartError::Refused(Refusal::host("clone", "new mnt, pid, net, ipc, uts and cgroup namespaces", errno))
    })? {
        Side::Child => {
            drop((line, reports));
            let refusal = recipe.follow(&watch, &reporter, &streams, hatch.as_ref());
            reporter.refuse(&refusal);
            exit_now(127)
        }
        Side::Parent(pid, pidfd) => (pid, pidfd),
    };
    let options = ptrace::Options::PTRACE_O_TRACEEXEC | ptrace::Options::PTRACE_O_EXITKILL;
    let seized = watcher.is_none().then(|| ptrace::seize(pid, options));
    let traced = seized == Some(Ok(()));
    let unstopped = seized.and_then(Result::err).map(|errno| Unstopped::take(spec, pid, errno));
    if let Some(group) = &mut group {
        group.take_in(pid);
    }
    // The launcher waits for its tracer, who may not trace it any more once it is another user, and for its group. What it is woken for it does on
    // a processor of its own, where there is one. A launcher that was refused is gone by now, and its report says why.
    let mut held = if watcher.is_none() { line.say_go() } else { Ok(()) };
    // While the launcher works, and while everything it inherited is still open here.
    let before = read_back::Before::take(spec.landlock.as_ref().unwrap_or(&landlock::Rules::default()));
    drop((watch, reporter, recipe));
    // Before the pumps: a process of several threads cannot be copied.
    let brood = spec.is_tree().then(|| brood::Brood::new(pid, &spec.rootfs.layers));
    let guard = Guard::start(&pidfd, brood.as_ref());
    let watch = watcher.map(|watcher| watch::Watch::start(pid, watcher)).transpose();
    if let Ok(Some(_)) = watch {
        held = line.say_go();
    }
    let mut app = App::new(pid, pidfd, line, streams, spec.stdio, spec.stop_signal, group);
    app.has_brood(spec.is_tree());
    app.guarded_by(guard.map_err(failed("starting the app's guard"))?);
    let watch = watch.map_err(failed("tracing the app"))?.map(|(watch, thread)| {
        app.watched_by(thread);
        watch
    });
    let before = before.map_err(failed("reading /proc/self"))?;
    if let Some((hatch, guarding)) = hatch.zip(spec.seal) {
        app.sealed_by(hatch.guard(guarding).map_err(failed("starting the guard of the seal"))?);
    }
    let told = held.and_then(|()| app.say_go());
    let stopped = match &watch {
        Some(watch) => watch.await_exec(),
        None if traced => await_exec(pid).map_err(failed("waiting for the app's exec"))?,
        None => false,
    };
    // Whether the exec closed the launcher's end or its death did, the pipe ends here.
    let report = reports.read().map_err(failed("reading the launcher's report"))?;
    if let Some(refusal) = report.refusal {
        app.discard();
        return Err(StartError::Refused(refusal));
    }
    told.map_err(failed("writing to the launcher"))?;
    if !stopped && !report.witnessed {
        let how = app.discard().map_or_else(|| "unknown".to_owned(), |end| end.to_string());
        return Err(StartError::Died(how));
    }
    phases::begin(Phase::ReadBack);
    app.check_guard().map_err(failed("looking for the app's guard"))?;
    let seen = before.compare(spec, pid.as_raw(), &report, app.streams());
    let read_back::Seen { mut measures, mut writable_executable, mut room } = seen;
    measures.extend(app.group().map(|group| group.read_back(pid.as_raw())).unwrap_or_default());
    let unstopped = unstopped.map(|unstopped| {
        let why;
        writable_executable = None;
        (measures, room, why) = unstopped.doubt(pid, std::mem::take(&mut measures));
        why
    });
    app.enter(Arc::new(room.map_err(failed("opening the app's network namespace"))?));
    if let Some(watch) = watch {
        watch.say_go();
    } else if stopped {
        ptrace::detach(pid, None).map_err(|errno| StartError::Host("letting the app go", errno.into()))?;
    }
    app.started_at(Instant::now());
    Ok(Started { app, measures, writable_executable, unstopped })
}

/// Waits for the stop at the exec; false when the launcher ended instead (it stays there to be waited for).
fn await_exec(pid: Pid) -> io::Result<bool> {
    let stops = WaitPidFlag::WSTOPPED;
    loop {
        match waitid(Id::Pid(pid), stops | WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_EXEC)) => {
                waitid(Id::Pid(pid), stops)?;
                return Ok(true);
            }
            Ok(WaitStatus::Stopped(_, signal) | WaitStatus::PtraceEvent(_, signal, _)) => {
                waitid(Id::Pid(pid), stops)?;
                ptrace::cont(pid, signal)?;
            }
            Ok(_) => return Ok(false),
        }
    }
}
