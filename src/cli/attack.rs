//! `austere attack`: an adversary in the jail, in place of the app.

mod against;

use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::raise;

use super::container::ContainerArgs;
use super::launch::{self, Wishes};
use super::profile::ProfileArgs;
use super::session::{self, ImageArgs, Session};
use super::usage::UsageArgs;
use super::{CannotEnforce, Format, exit, print};
use crate::attack::against::{Against, AgainstError};
use crate::attack::{self, Facts, Report};
use crate::host;
use crate::jail::subject::Subject;
use crate::jail::{self, StartError, Stdio};
use crate::measure::Measure;
use crate::profile::account::User;
use crate::profile::settings::Network;
use crate::profile::{Profile, Seccomp};
use crate::reference::Reference;
use crate::seal::Guarding;
use crate::verdict::facts::Host;

const EXAMPLES: &str = "\
Examples:
  austere attack --preset sealed
  austere attack ./image.tar --cap-add NET_ADMIN --format json
  austere attack --against docker -- --read-only --cap-drop ALL --user 65532
  austere attack --against podman nginx:1.27
  austere attack --against runtime:/usr/bin/crun

Each attempt is made twice: in the jail, and in one without walls. What fails there too does
not count. With --against both are containers of that engine's; what follows -- goes to its run.

Exit codes: 0 nothing worked, 1 something did, 2 wrong usage or input, 3 the jail does not hold";

/// Flags of austere's own jail. (A conflict with their groups is no conflict to clap, because some of them have defaults.)
const OWN_JAIL: [&str; 30] = [
    "profile",
    "env",
    "env_file",
    "tmpfs",
    "volume",
    "mount",
    "read_only",
    "cap_add",
    "cap_drop",
    "security_opt",
    "workdir",
    "entrypoint",
    "hostname",
    "add_host",
    "init",
    "network",
    "sysctl",
    "ulimit",
    "shm_size",
    "seal",
    "allow_exec",
    "memory",
    "memory_swap",
    "pids_limit",
    "cpus",
    "user",
    "group_add",
    "ids",
    "without_measure",
    "expose",
];

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The image whose jail is attacked; nothing of it is run [default: example:hello, or an almost empty one of the engine's]
    image: Option<Reference>,
    /// Put the adversary into somebody else's container: docker, podman, or an OCI runtime as runtime:PATH
    #[arg(long, value_name = "WHOSE", conflicts_with_all = OWN_JAIL)]
    against: Option<Against>,
    /// Flags for `docker run` or `podman run`
    #[arg(last = true, value_name = "FLAGS", requires = "against", allow_hyphen_values = true)]
    flags: Vec<String>,

    #[command(flatten)]
    profile: ProfileArgs,
    #[command(flatten)]
    container: ContainerArgs,
    /// Leave a measure out, so that the adversary must notice
    #[arg(long, value_name = "NAME", hide = true)]
    without_measure: Vec<String>,
    #[command(flatten)]
    usage: UsageArgs,
    #[command(flatten)]
    files: ImageArgs,

    /// How the report is written to standard output
    #[arg(long, value_enum, default_value_t, help_heading = "Report")]
    format: Format,
}

/// Far longer than all attempts take.
const LONGEST: Duration = Duration::from_mins(2);

/// What the jail without walls leaves out, besides what a profile can say.
const NO_WALLS: [&str; 6] =
    ["read-only-root", "writable-mounts", "masked-paths", "read-only-paths", "descriptors", "rlimits"];

pub(super) fn run(mut args: Args) -> anyhow::Result<ExitCode> {
    args.profile.settle(&mut args.container, &mut args.usage, &mut args.files)?;
    // What an adversary must not reach: a port of this host, and an abstract socket whose name tells the port.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listening outside of the jail")?;
    let name = format!("austere-attack-{}-{}", std::process::id(), port.local_addr()?.port());
    let address = SocketAddr::from_abstract_name(&name)?;
    let _outside = UnixListener::bind_addr(&address).context("making a socket outside of the jail")?;
    if let Some(whose) = &args.against {
        let report = against::attack(whose, args.image.as_ref(), &args.flags, &args.files, &name);
        let report = report.map_err(|error| {
            if let Some(AgainstError::Stopped(signal)) = error.downcast_ref() {
                eprintln!("austere: {error}");
                // All is tidied up, so that who stopped it may have its way.
                let _ = raise(*signal);
            }
            error
        })?;
        return finish(&report, args.format, true);
    }
    let hello = || Reference::Example("hello".to_owned());
    let image = args.image.clone().unwrap_or_else(hello);
    let session = session::prepare_to_run(&image, &args.files)?;
    if let Some(check) = &session.barred {
        let why = format!("this host does not let austere build the jail: {}{}", check.explained(), check.hint());
        return Err(CannotEnforce(why).into());
    }
    let preset = &args.files.preset();
    let mut wishes = Wishes::new(args.container.profile(preset, &[])?, args.usage.limits()?);
    wishes.guarding = Guarding::Leaves;
    wishes.without.clone_from(&args.without_measure);

    let root = session.as_user(&User::ROOT)?;
    let (without, _) = send(&root, &unwalled(&wishes), &name)?;
    let (inside, measures) = send(&session, &wishes, &name)?;
    let allowed = launch::allowed(&wishes)?;
    let broken: Vec<String> = measures
        .iter()
        .filter(|measure| measure.required && !measure.holds())
        .map(|measure| format!("{}: {}", measure.name, measure.why.as_deref().unwrap_or("not what was asked for")))
        .collect();
    let holds = broken.is_empty();
    let facts = Facts {
        image: session.opened.reference.clone(),
        container: "austere".to_owned(),
        made_by: concat!("austere ", env!("CARGO_PKG_VERSION")).to_owned(),
        preset: Some(format!("{} {}", preset.name, preset.engine_version)),
        relaxations: [args.files.relaxations(), wishes.profile.relaxations.clone()].concat(),
        ids: Some(session.ids.name()),
        kernel: Host::here(None).kernel,
        broken,
    };
    let report = Report::new(facts, &inside, &without, allowed.as_ref());
    finish(&report, args.format, holds)
}

/// Prints the report, and gives the exit code.
fn finish(report: &Report, format: Format, holds: bool) -> anyhow::Result<ExitCode> {
    print(&match format {
        Format::Text => report.text(),
        Format::Json => report.json(),
    })?;
    Ok(match (report.escaped, holds) {
        (0, true) => exit::PASS,
        (0, false) => exit::inconclusive(),
        _ => exit::fail(),
    })
}

/// The same jail with every wall left out, for its root.
fn unwalled(wishes: &Wishes) -> Wishes {
    // What austere itself lacks it cannot give.
    let own = ::caps::read(None, ::caps::CapSet::Permitted).unwrap_or_default();
    let profile = Profile {
        capabilities: own.into_iter().map(|capability| capability.to_string()).collect(),
        seccomp: Seccomp::Unconfined,
        covers_system_paths: false,
        network: Network::Host,
        sysctls: Vec::new(),
        ..wishes.profile.unhardened()
    };
    Wishes { profile, without: NO_WALLS.map(str::to_owned).to_vec(), ..wishes.clone() }
}

/// What the adversary wrote, and what holds of its jail.
fn send(session: &Session, wishes: &Wishes, outside: &str) -> anyhow::Result<(String, Vec<Measure>)> {
    let mut spec = launch::spec(session, wishes, Stdio::Captured)?;
    spec.argv = vec![attack::NAME.to_owned(), outside.to_owned()];
    spec.adversary = Some(attack::program().context("copying austere's own program to memory")?);
    let mut jail = jail::start(&spec).map_err(|error| match error {
        StartError::Refused(refusal) => {
            let check = host::about(&refusal);
            CannotEnforce(format!("the adversary cannot be started: {}{}", check.explained(), check.hint()))
        }
        error => CannotEnforce(error.to_string()),
    })?;
    let end = jail.app.wait_end(LONGEST).context("waiting for the adversary")?;
    jail.app.kill();
    anyhow::ensure!(end.is_some(), "the adversary did not come to its end within {LONGEST:?}");
    let output = jail.app.output();
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), jail.measures))
}
