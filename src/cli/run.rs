//! `austere run`: the same jail, for a person.

use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::container::ContainerArgs;
use super::flags::PublishArgs;
use super::hints;
use super::launch;
use super::manifest::{self, ManifestArgs};
use super::profile::ProfileArgs;
use super::session::{self, ImageArgs};
use super::usage::UsageArgs;
use crate::host;
use crate::jail::subject::{End, Subject};
use crate::jail::{self, App, StartError, Stdio};
use crate::measure::{Measure, MeasureStatus};
use crate::netns::slot;
use crate::reference::Reference;
use crate::refusal::{Refusal, Side};
use crate::seal::Guarding;
use crate::smoke;

const EXAMPLES: &str = "\
Examples:
  austere run example:hello -p 8080:8080
  austere run ./image.tar -- --help

Exit code: the app's own; 128+N for signal N; 125 austere could not, 126 not executable, 127 not found";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// A path; a name as in nginx:1.27, which docker, podman or its registry may have; or oci:DIR[:TAG], oci-archive:FILE[:TAG],
    /// docker-archive:FILE[:TAG], rootfs:DIR, `docker://NAME`, docker-daemon:NAME, containers-storage:NAME, example:hello
    #[arg(required_unless_present_any = ["pod", "compose"])]
    pub image: Option<Reference>,
    /// Arguments for the entrypoint, instead of the image's own
    #[arg(last = true, value_name = "ARGS")]
    pub arguments: Vec<String>,

    #[command(flatten)]
    pub manifest: ManifestArgs,

    #[command(flatten)]
    pub profile: ProfileArgs,
    #[command(flatten)]
    pub container: ContainerArgs,
    #[command(flatten)]
    pub published: PublishArgs,

    /// Keep the guard of the seal there, to tell who tried an exec
    #[arg(long, help_heading = "Jail")]
    pub watch_exec: bool,

    #[command(flatten)]
    pub usage: UsageArgs,
    #[command(flatten)]
    pub files: ImageArgs,
}

/// What docker gives when it could not start the container, could not execute its program, or did not find it.
const COULD_NOT: u8 = 125;
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Signals that are meant for the app when austere gets them.
const PASSED_ON: [Signal; 6] =
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2];

/// How many SIGINT and SIGTERM an app may go on after; as many as docker's own command needs to go.
const PATIENCE: u32 = 3;

/// Runs the app and gives its own exit code.
pub(super) fn run(args: Args) -> ExitCode {
    run_app(args).unwrap_or_else(|error| {
        let refusal = error.downcast_ref::<Refusal>();
        match refusal.filter(|refusal| refusal.side == Side::Host).map(host::about) {
            Some(check) => eprintln!("austere: {}{}", check.explained(), check.hint()),
            None => eprintln!("austere: {error:#}{}", hints::hint(&error)),
        }
        ExitCode::from(refusal.map_or(COULD_NOT, refusal_code))
    })
}

fn run_app(mut args: Args) -> anyhow::Result<ExitCode> {
    args.profile.settle(&mut args.container, &mut args.usage, &mut args.files)?;
    let slots = args.published.bind()?.into();
    let manifest = args.manifest.read()?;
    let (reference, files) = manifest::subject(manifest.as_ref(), args.image.as_ref(), &args.files)?;
    let session = session::prepare_to_run(&reference, &files)?;
    if let Some(check) = &session.barred {
        anyhow::bail!("this host does not let austere build the jail: {}{}", check.explained(), check.hint());
    }
    let flags = (&args.container, &args.usage, &args.arguments[..]);
    let mut wishes = manifest::wishes(manifest.as_ref(), &session, &files, flags)?;
    wishes.guarding = if args.watch_exec { Guarding::Stays } else { Guarding::Leaves };
    wishes.slots = slots;
    wishes.ports = args.published.ports();
    if let Some(refusal) = &wishes.refusal {
        anyhow::bail!("{}", refusal.message);
    }
    for finding in manifest.iter().flat_map(|manifest| manifest.findings(&args.container)) {
        eprintln!("austere: {}", finding.message);
    }
    anyhow::ensure!(!args.watch_exec || wishes.profile.seal, "--watch-exec is about the seal: add --seal");
    let spec = launch::spec(&session, &wishes, Stdio::Passed)?;
    // Taken before there is any thread, so that every thread leaves them to this descriptor.
    let signals = signals()?;
    let mut jail = match jail::start(&spec) {
        Ok(jail) => jail,
        Err(StartError::Refused(refusal)) => return Err(refusal.into()),
        Err(error) => return Err(error.into()),
    };
    if let Some(why) = &jail.unstopped {
        let unread = jail.measures.iter().filter(|measure| measure.required && !measure.holds());
        // The first is the stop itself.
        let unread: Vec<_> = unread.map(|measure| measure.name.as_str()).skip(1).collect();
        let what = if unread.is_empty() { String::new() } else { format!("; not read back: {}", unread.join(", ")) };
        eprintln!("austere: {why}{what}");
    }
    let counts = |measure: &&Measure| jail.unstopped.is_none() || measure.status == MeasureStatus::Broken;
    for broken in jail.measures.iter().filter(|measure| measure.required && !measure.holds()).filter(counts) {
        let why = broken.why.as_deref().unwrap_or("it is not what was asked for");
        if broken.gives {
            // No wall is missing; the app lacks something.
            eprintln!("austere: {}: {why}", broken.name);
            continue;
        }
        jail.app.kill();
        anyhow::bail!("the jail does not hold, so the app was not let go: {}: {why}", broken.name);
    }
    if let Some(door) = jail.app.door().filter(|_| args.watch_exec) {
        door.listen(|refused| eprintln!("austere: {}", smoke::told(refused)));
    }
    let _open = slot::open(&wishes.slots, jail.app.room()).context("opening the published ports")?;
    let end = wait(&mut jail.app, &signals)?;
    for finding in smoke::limits_met(&jail.app.limits_met()) {
        eprintln!("austere: {}", finding.message);
    }
    Ok(match end {
        End::Exited(code) => ExitCode::from(u8::try_from(code).unwrap_or(COULD_NOT)),
        End::Signaled(number) => ExitCode::from(u8::try_from(128 + number).unwrap_or(COULD_NOT)),
    })
}

fn signals() -> anyhow::Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in PASSED_ON {
        set.add(signal);
    }
    set.thread_block().context("blocking signals")?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).context("signalfd")
}

/// Waits for the app's end, and passes signals on until then. The kernel keeps from PID 1 what it has no handler for, so a person who asks for
/// the end a third time gets it.
fn wait(app: &mut App, signals: &SignalFd) -> anyhow::Result<End> {
    let mut asked = 0;
    loop {
        let mut ready =
            [PollFd::new(app.pidfd().as_fd(), PollFlags::POLLIN), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("waiting for the app"),
        }
        while let Some(signal) = signals.read_signal().context("reading a signal")? {
            let number = signal.ssi_signo.cast_signed();
            app.signal(number).context("passing a signal on")?;
            asked += u32::from([Signal::SIGINT as i32, Signal::SIGTERM as i32].contains(&number));
            if asked == PATIENCE {
                eprintln!("austere: the app went on after {PATIENCE} signals, so it is killed");
                app.kill();
            }
        }
        if let Some(end) = app.wait_end(Duration::ZERO).context("waiting for the app")? {
            return Ok(end);
        }
    }
}

fn refusal_code(refusal: &Refusal) -> u8 {
    match (refusal.side, refusal.errno) {
        (Side::Host, _) => COULD_NOT,
        (Side::Image | Side::App, Errno::ENOENT) => NOT_FOUND,
        (Side::Image | Side::App, _) => NOT_EXECUTABLE,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn line(words: &[&str]) -> Result<Args, clap::Error> {
        Line::try_parse_from(std::iter::once(&"run").chain(words)).map(|line| line.args)
    }

    #[test]
    fn what_follows_the_dashes_is_the_app_s() {
        let args = line(&["example:hello", "-p", "8080:80", "-e", "A=b", "--", "-p", "--user"]).unwrap();
        assert_eq!(args.arguments, ["-p", "--user"]);
        assert_eq!(args.published.publish, ["8080:80".parse().unwrap()]);
        assert_eq!(args.container.env, ["A=b".parse().unwrap()]);
    }

    #[test]
    fn an_argument_without_dashes_is_no_argument() {
        for words in [&["example:hello", "sh"][..], &[], &[""], &["example:hello", "-p", "80"]] {
            assert_eq!(line(words).unwrap_err().exit_code(), 2);
        }
    }
}
