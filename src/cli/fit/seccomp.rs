//! A seccomp profile of the app's own: its calls written down, and then the app tried under nothing else.

use std::collections::BTreeSet;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::runner::Jails;
use crate::fit::minimal::{self, Minimal};
use crate::fit::{PROOF, Runner as _, Set};
use crate::jail::subject::Subject as _;
use crate::netns::slot::{self, Slot};
use crate::profile::seccomp::{Arch, Policy};
use crate::smoke::Answer;
use crate::smoke::plan::{self, Plan};
use crate::trace::used::{self, Used};
use crate::verdict::Reached;

/// How often the plan is recorded: what an app does now and then is seen sooner or later.
const RECORDINGS: u32 = 2;
/// How often calls are added to a profile that does not suffice.
const ROUNDS: u32 = 8;
/// What an app is given to end, so that this is recorded too.
const GRACE: Duration = Duration::from_secs(5);
/// The profile's name in messages.
const NAME: &str = "of the app's own";

#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Seccomp")]
pub(in crate::cli) struct SeccompArgs {
    /// Write down which system calls the app makes while the plan runs, make a profile of them, and verify the app under it
    #[arg(long)]
    pub(super) seccomp: bool,
    /// Write that profile to FILE, in docker's format
    #[arg(short, long, value_name = "FILE", requires = "seccomp")]
    pub(super) output: Option<PathBuf>,
    /// Record one more run, of this length, in which the app is used through -p; without it that run ends with Ctrl-C
    #[arg(long = "for", value_name = "SECONDS", value_parser = plan::seconds, requires = "seccomp")]
    length: Option<Duration>,
}

impl SeccompArgs {
    /// The profile for an app that works with `set` given back.
    pub(super) fn minimal(
        &self,
        jails: &mut Jails<'_>,
        set: &Set,
        slots: &[Slot],
        tell: &mut dyn FnMut(&str),
    ) -> anyhow::Result<Minimal> {
        let plan = Plan { grace: jails.plan.grace.max(GRACE), judges_stop: false, ..jails.plan.clone() };
        let mut recorder = Recorder { jails, set, tell, used: Used::default(), recordings: 0, heeds_stop: true };
        let mut policy = Policy::open(Arch::NATIVE);
        for _ in 0..RECORDINGS {
            policy = recorder.record(&plan)?;
        }
        let mut exercised = None;
        if self.length.is_some() || !slots.is_empty() {
            exercised = Some(recorder.exercise(slots, self.length)?.as_secs());
        }
        recorder.prove(&policy, exercised)
    }
}

struct Recorder<'a, 'j> {
    jails: &'a mut Jails<'j>,
    set: &'a Set,
    tell: &'a mut dyn FnMut(&str),
    used: Used,
    recordings: u32,
    /// It ended by its stop signal in each run that came to it.
    heeds_stop: bool,
}

impl Recorder<'_, '_> {
    fn line(&mut self, text: &str) {
        (self.tell)(&format!("seccomp     {text}"));
    }

    /// Runs the plan and writes the app's calls down; gives what they were judged by.
    fn record(&mut self, plan: &Plan) -> anyhow::Result<Policy> {
        let (spec, policy) = self.jails.recorded(self.set)?;
        let (outcome, used) = used::run(&spec, plan)?;
        self.heeds_stop &= outcome.stop.is_none_or(|stop| stop.asked && !stop.killed);
        self.took_down(used, &outcome.summary);
        Ok(policy)
    }

    fn took_down(&mut self, used: Used, came: &str) {
        self.recordings += 1;
        self.used.merge(used);
        let (number, count) = (self.recordings, self.used.names().len());
        self.line(&format!("recording {number}: {came}; {count} calls so far"));
    }

    /// One more run, which somebody uses from outside.
    fn exercise(&mut self, slots: &[Slot], length: Option<Duration>) -> anyhow::Result<Duration> {
        let (spec, _) = self.jails.recorded(self.set)?;
        // Before there is any thread, so that every thread leaves it to this descriptor.
        let mut interrupt = SigSet::empty();
        interrupt.add(Signal::SIGINT);
        interrupt.thread_block().context("blocking SIGINT")?;
        let signals = SignalFd::with_flags(&interrupt, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK);
        let signals = signals.context("signalfd")?;
        let mut recording = used::start(&spec)?;
        let ends = match length {
            Some(length) => format!("it ends after {} s, or with Ctrl-C", length.as_secs()),
            None => "Ctrl-C ends it".to_owned(),
        };
        self.line(&format!("recording what is done from outside: {ends}"));
        let (begun, app) = (Instant::now(), &mut recording.jail.app);
        let open = slot::open(slots, app.room()).context("opening the published ports")?;
        let until = length.map(|length| begun + length);
        let waited = loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let mut ready =
                [PollFd::new(app.pidfd().as_fd(), PollFlags::POLLIN), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
            let timeout = left.map_or(PollTimeout::NONE, |left| left.try_into().unwrap_or(PollTimeout::MAX));
            match poll(&mut ready, timeout) {
                Ok(0) if left.is_none_or(|left| !left.is_zero()) => {}
                Ok(_) => break Ok(()),
                Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => break Err(errno),
            }
        };
        // What it does at its end is a part of what it does.
        let _ = app.stop(GRACE);
        drop(open);
        waited.context("waiting for the app")?;
        let took = begun.elapsed();
        while signals.read_signal().context("reading a signal")?.is_some() {}
        interrupt.thread_unblock().context("unblocking SIGINT")?;
        let used = recording.finish();
        self.took_down(used, "used from outside");
        Ok(took)
    }

    /// Tries the app under the profile until it works as often as has to be; adds what it is seen to lack.
    fn prove(&mut self, policy: &Policy, exercised: Option<u64>) -> anyhow::Result<Minimal> {
        let mut plan = self.jails.plan.clone();
        if self.heeds_stop {
            (plan.grace, plan.judges_stop) = (plan.grace.max(GRACE), true);
        }
        let mut jails = self.jails.with_plan(&plan);
        let (mut added, mut proven, mut rounds) = (BTreeSet::new(), 0, 0);
        let mut profile = minimal::profile(policy, &self.used);
        let (status, reason) = loop {
            jails.filter = Some((NAME.to_owned(), profile.to_string()));
            let trial = jails.run(self.set)?;
            if trial.answer == Answer::Works {
                proven += 1;
                self.line(&format!("proof {proven} of {PROOF} under {} calls: works", self.used.names().len()));
                if proven == PROOF {
                    break (Reached::Reached, format!("it works under a profile of {} calls", self.used.names().len()));
                }
                continue;
            }
            self.line(&format!("under {} calls: {}", self.used.names().len(), trial.summary));
            proven = 0;
            rounds += 1;
            if trial.answer == Answer::Unknown {
                break (Reached::NotTried, trial.summary);
            }
            // Under the profile itself: what it refuses now, and the app was never refused before.
            let (spec, _) = jails.recorded(self.set)?;
            let (_, seen) = used::run(&spec, &plan)?;
            let missing: BTreeSet<&'static str> = seen
                .refused
                .into_keys()
                .filter(|name| minimal::may(policy, name) && !self.used.names().contains(name))
                .collect();
            if missing.is_empty() || rounds > ROUNDS {
                break (
                    Reached::Failed,
                    format!("it fails under a profile of the calls that were seen: {}", trial.summary),
                );
            }
            let names: Vec<&str> = missing.iter().copied().collect();
            self.line(&format!("it was refused what no recording had shown: {}", names.join(", ")));
            self.used.allowed.entry(Arch::NATIVE).or_default().extend(&missing);
            added.extend(missing);
            profile = minimal::profile(policy, &self.used);
        };
        let texts = |names: BTreeSet<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
        Ok(Minimal {
            status,
            reason,
            calls: texts(self.used.names()),
            beside: texts(minimal::beside(policy, &self.used).collect()),
            refused: texts(minimal::still_refused(policy, &self.used).map(|(name, _)| name).collect()),
            added: texts(added),
            architectures: minimal::architectures(&self.used).iter().map(|arch| arch.scmp_name().to_owned()).collect(),
            recordings: self.recordings,
            exercised_s: exercised,
            proven,
            profile,
        })
    }
}
