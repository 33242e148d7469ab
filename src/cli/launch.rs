//! From an unpacked image and a profile to the jail's specification.

mod surroundings;

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Context;

use super::session::Session;
use crate::attack::Allowed;
use crate::caps;
use crate::cgroup;
use crate::exec_memory;
use crate::finding::Finding;
use crate::fit::PORT_START;
use crate::ids::{self, Identity};
use crate::image::{self, Config, Protocol};
use crate::jail::{Spec, Stdio};
use crate::landlock;
use crate::netns::{self, slot::Slot};
use crate::platform::Platform;
use crate::profile::account::Account;
use crate::profile::file::File;
use crate::profile::mount::{Bind, INIT};
use crate::profile::seccomp::{self as seccomp_profile, Action, Arch, Conditions, Policy, Rule};
use crate::profile::settings::Network;
use crate::profile::tmpfs::Tmpfs;
use crate::profile::{Profile, Seccomp};
use crate::rootfs;
use crate::seal::Guarding;
use crate::seccomp::{self, Filter, Witness};
use crate::source::Kind;
pub(super) use surroundings::tmpfs;

/// How an image is to be run.
#[derive(Clone, Debug)]
pub(super) struct Wishes {
    /// What the app may do and what it finds.
    pub(super) profile: Profile,
    /// What the guard of the seal does, where there is one.
    pub(super) guarding: Guarding,
    /// The ports that are spoken to, besides those the image exposes.
    pub(super) ports: Vec<u16>,
    /// Ports of the host that lead to it.
    pub(super) slots: Arc<[Slot]>,
    /// What the app may use.
    pub(super) limits: cgroup::Limits,
    /// Measures to leave out, for tests of the read-back.
    pub(super) without: Vec<String>,
    /// Why an engine would not start it at all.
    pub(super) refusal: Option<Finding>,
}

impl Wishes {
    /// With nothing said but what the app may do and use.
    pub(super) fn new(profile: Profile, limits: cgroup::Limits) -> Self {
        let (ports, slots, without) = (Vec::new(), Arc::new([]), Vec::new());
        Wishes { profile, guarding: Guarding::Stays, ports, slots, limits, without, refusal: None }
    }
}

/// Folders that stay writable, with the owner that they have in the image.
pub(super) fn volumes(config: &Config, profile: &Profile) -> Vec<String> {
    // In a narrow jail nothing is declared by an image.
    let declared = if profile.narrow { &[] } else { &config.volumes[..] };
    [declared, &profile.volumes[..]].concat()
}

/// Builds the specification.
pub(super) fn spec(session: &Session, wishes: &Wishes, stdio: Stdio) -> anyhow::Result<Spec> {
    let (config, account, ids) = (&session.opened.image.config, &session.account, session.ids);
    let profile = &wishes.profile;
    let preset = &profile.preset;
    let bounding = caps::Set::from_names(profile.capabilities.iter().map(String::as_str))?;
    let ambient = if preset.ambient_capabilities && account.uid != 0 { bounding } else { caps::Set::EMPTY };
    let permitted = if account.uid == 0 { bounding } else { ambient };
    let mut argv = command_line(config, profile);
    if argv.is_empty() {
        let hint = match session.opened.kind {
            Kind::Rootfs => {
                "a folder without `index.json` is a root filesystem, and needs a command line: -- PROGRAM ARGS"
            }
            _ => "--entrypoint PROGRAM names one",
        };
        anyhow::bail!("the image names no program: it has neither an entrypoint nor a command\n  hint: {hint}");
    }
    let mut binds = profile.binds.clone();
    if profile.init {
        argv.splice(0..0, [INIT.to_owned(), "--".to_owned()]);
        let source = std::env::current_exe().context("finding austere's own program for --init")?;
        binds.push(Bind { source, target: INIT.into(), read_only: true });
    }
    let working_dir = surroundings::working_dir(config, profile);
    let covered = |paths: &[String]| if profile.covers_system_paths { paths.to_vec() } else { Vec::new() };
    let rules = rules(session, wishes, &argv)?;
    Ok(Spec {
        identity: Identity { uid: account.uid, gid: account.gid, groups: account.groups.clone() },
        ids,
        confinement: session.confinement(),
        rootfs: rootfs::Plan {
            layers: session.layers(),
            ids,
            read_only: profile.read_only,
            volumes: volumes(config, profile),
            tmpfs: surroundings::tmpfs(profile).iter().map(|one| shown(&owned(one, account, profile), ids)).collect(),
            binds,
            working_dir_owner: if preset.owns_working_dir { (account.uid, account.gid) } else { (0, 0) },
            termination_log: preset.termination_log,
            mtab: preset.mtab,
            files: [surroundings::files(profile)?, surroundings::passwd(session, profile, &working_dir)].concat(),
            placed: placed(profile, account, ids),
            working_dir,
            masked_paths: covered(&preset.masked_paths),
            readonly_paths: covered(&preset.readonly_paths),
            shm_size: profile.shm_size.unwrap_or(preset.shm_size),
            cgroup2: rootfs::host_has_cgroup2(),
            // A volume is a part of the upper layer.
            junk: rules.as_ref().is_some_and(|rules| rules.execute.is_some()),
            no_upper: profile.narrow && profile.volumes.is_empty(),
            host_network: profile.network == Network::Host,
            without: wishes.without.clone(),
        },
        argv,
        adversary: None,
        env: surroundings::environment(config, &surroundings::home(session, profile), profile),
        hostname: profile.hostname.clone(),
        bounding,
        permitted,
        no_new_privs: profile.no_new_privs,
        seccomp: filter(profile, bounding, &wishes.without)?,
        observed: None,
        seal: (profile.seal && profile.allow_exec.is_empty()).then_some(wishes.guarding),
        exec_memory: exec_memory::Taken { gain: !profile.exec_gain, memfd: !profile.exec_memfd },
        landlock: rules,
        limits: wishes.limits,
        network: profile.network,
        room: netns::Settings {
            // What the flags set is read back as a parameter of its own.
            port_start: Some(preset.unprivileged_port_start)
                .filter(|_| profile.network == Network::None)
                .filter(|_| !profile.sysctls.iter().any(|sysctl| sysctl.name == PORT_START)),
            ping_group_range: preset.ping_group_range,
            ipv6: preset.ipv6,
        },
        ambient,
        sysctls: profile.sysctls.clone(),
        ulimits: profile.ulimits.clone(),
        stop_signal: stop_signal(profile.stop_signal.as_ref().unwrap_or(&config.stop_signal))?,
        stdio,
        without: wishes.without.clone(),
    })
}

/// With one id there is no other group to give a folder to; what its group may do in it the app may.
fn shown(tmpfs: &Tmpfs, ids: ids::Mode) -> Tmpfs {
    let gid = if ids == ids::Mode::Single { None } else { tmpfs.gid };
    Tmpfs { gid, ..tmpfs.clone() }
}

/// Files of the profile, with the rights that the app has to them.
fn placed(profile: &Profile, account: &Account, ids: ids::Mode) -> Vec<File> {
    let groups = [&[account.gid], &account.groups[..]].concat();
    let one = |file: &File| match ids {
        ids::Mode::Real | ids::Mode::Mapped => file.clone(),
        ids::Mode::Single => File { mode: file.projected(account.uid, &groups), gid: None, ..file.clone() },
    };
    profile.files.iter().map(one).collect()
}

/// What Landlock is to hold back. With a list of programs it lists what starts them too: the interpreters of scripts, and loaders.
fn rules(session: &Session, wishes: &Wishes, argv: &[String]) -> anyhow::Result<Option<landlock::Rules>> {
    let profile = &wishes.profile;
    let mut rules = landlock::Rules { without: wishes.without.clone(), ..landlock::Rules::default() };
    if profile.narrow {
        let exposed = session.opened.image.config.exposed_ports.iter();
        let exposed = exposed.filter(|port| port.protocol == Protocol::Tcp).map(|port| port.port);
        let mut ports: Vec<u16> = exposed.chain(profile.ports.iter().chain(&wishes.ports).copied()).collect();
        ports.sort_unstable();
        ports.dedup();
        rules.narrow = Some(ports);
    }
    if profile.seal && !profile.allow_exec.is_empty() {
        let view = session.view()?;
        let mut files = BTreeSet::new();
        let helpers = profile.allow_exec.iter().map(std::slice::from_ref);
        for command in std::iter::once(argv).chain(helpers) {
            let found = session.entrypoint(&view, command);
            let path = found.path.with_context(|| format!("--allow-exec {}: it is not in the image", command[0]))?;
            files.insert(path);
            files.extend(found.interpreters.into_iter().filter(|path| !found.missing.contains(path)));
        }
        rules.execute = Some(files.into_iter().collect());
    }
    Ok(profile.landlock.then_some(rules))
}

/// A tmpfs under a narrow profile is the app's own, unless it says otherwise.
fn owned(tmpfs: &Tmpfs, account: &Account, profile: &Profile) -> Tmpfs {
    if !profile.narrow {
        return tmpfs.clone();
    }
    let (uid, gid) = (tmpfs.uid.or(Some(account.uid)), tmpfs.gid.or(Some(account.gid)));
    Tmpfs { uid, gid, mode: tmpfs.mode.or(Some(0o700)), ..tmpfs.clone() }
}

/// Docker's rule: an entrypoint that is given takes the image's command away with the image's entrypoint.
pub(super) fn command_line(config: &image::Config, profile: &Profile) -> Vec<String> {
    let (mut argv, command) = match &profile.entrypoint {
        Some(entrypoint) => (entrypoint.clone(), Vec::new()),
        None => (config.entrypoint.clone(), config.cmd.clone()),
    };
    argv.extend(if profile.args.is_empty() { command } else { profile.args.clone() });
    argv
}

/// The same specification for a run that is watched, with every write to a file or without.
pub(super) fn observed(mut spec: Spec, profile: &Profile, writes: bool) -> anyhow::Result<Spec> {
    let found = policy(profile, spec.bounding, &spec.without)?;
    let (name, policy) = found.unwrap_or_else(|| ("unconfined", seccomp::observe::unconfined()));
    let observed = seccomp::compile(&seccomp::observe::observed(&policy, writes));
    spec.observed = Some(observed.with_context(|| format!("the seccomp profile {name}"))?);
    Ok(spec)
}

/// Whether the filter of a profile can be made.
pub(super) fn check_filter(profile: &Profile) -> anyhow::Result<()> {
    let bounding = caps::Set::from_names(profile.capabilities.iter().map(String::as_str))?;
    filter(profile, bounding, &[]).map(drop)
}

/// The same specification for a run whose calls are written down, and what they are judged by.
pub(super) fn recorded(mut spec: Spec, profile: &Profile) -> anyhow::Result<(Spec, Policy)> {
    let judged = policy(profile, spec.bounding, &spec.without)?;
    let (name, policy) = judged.unwrap_or_else(|| ("unconfined", Policy::open(Arch::NATIVE)));
    let recorded = seccomp::compile(&seccomp::record::recorded(&policy));
    spec.observed = Some(recorded.with_context(|| format!("the seccomp profile {name}"))?);
    Ok((spec, policy))
}

fn filter(
    profile: &Profile,
    bounding: caps::Set,
    without: &[String],
) -> anyhow::Result<Option<(Filter, Option<Witness>)>> {
    let Some((name, policy)) = policy(profile, bounding, without)? else { return Ok(None) };
    let filter = seccomp::compile(&policy).with_context(|| format!("the seccomp profile {name}"))?;
    let witness = Witness::choose(&filter.program);
    Ok(Some((filter, witness)))
}

/// The list of calls that a jail allows; nothing where it is unconfined.
pub(super) fn allowed(wishes: &Wishes) -> anyhow::Result<Option<Allowed>> {
    let profile = &wishes.profile;
    let bounding = caps::Set::from_names(profile.capabilities.iter().map(String::as_str))?;
    let Some((name, policy)) = policy(profile, bounding, &wishes.without)? else { return Ok(None) };
    let filter = seccomp::compile(&policy).with_context(|| format!("the seccomp profile {name}"))?;
    Ok(Some(Allowed { profile: name.to_owned(), program: filter.program }))
}

/// What the app's calls are judged by, with its name for messages; nothing where it is unconfined.
fn policy<'a>(
    profile: &'a Profile,
    bounding: caps::Set,
    without: &[String],
) -> anyhow::Result<Option<(&'a str, Policy)>> {
    let (name, text) = match &profile.seccomp {
        Seccomp::Unconfined => return Ok(None),
        Seccomp::Profile(name, text) => (name, text.as_str()),
        Seccomp::Preset => {
            let name = &profile.preset.seccomp;
            let text = seccomp_profile::shipped(name);
            (name, text.with_context(|| format!("no seccomp profile named {name} is built in"))?)
        }
    };
    let names = bounding.names();
    let caps: Vec<&str> = names.iter().map(String::as_str).collect();
    let kernel = seccomp::running_kernel().context("reading the kernel's version")?;
    let conditions = Conditions { caps: &caps, arch: Arch::NATIVE, kernel };
    let mut policy = seccomp_profile::Profile::parse(text)
        .with_context(|| format!("the seccomp profile {name}"))?
        .resolve(&conditions)
        .with_context(|| format!("the seccomp profile {name} is empty"))?;
    if profile.narrow && (profile.exec_memfd || without.iter().any(|name| name == "no-exec-memfd")) {
        policy.rules.push(Rule { name: "memfd_create".to_owned(), action: Action::Allow, conditions: Vec::new() });
    }
    Ok(Some((name, policy)))
}

/// `SIGQUIT`, `QUIT` or `3`; nothing means SIGTERM.
fn stop_signal(text: &str) -> anyhow::Result<i32> {
    if text.is_empty() {
        return Ok(libc::SIGTERM);
    }
    if let Ok(number) = text.parse::<i32>() {
        anyhow::ensure!((1..=libc::SIGRTMAX()).contains(&number), "the image's stop signal {number} is no signal");
        return Ok(number);
    }
    let name = text.to_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    if let Some(offset) = name.strip_prefix("RTMIN+").and_then(|offset| offset.parse::<i32>().ok()) {
        return Ok(libc::SIGRTMIN() + offset);
    }
    let signal: nix::sys::signal::Signal =
        format!("SIG{name}").parse().map_err(|_| anyhow::anyhow!("the image's stop signal `{text}` is no signal"))?;
    Ok(signal as i32)
}

/// Says so when an image is for another machine than this one.
pub(super) fn check_platform(platform: &Platform) -> anyhow::Result<()> {
    let host = Platform::host();
    anyhow::ensure!(
        platform.satisfies(&host),
        "the image is for {platform} and this host is {host}\n  hint: choose another image of an index with --platform {host}, or use a {platform} host"
    );
    Ok(())
}
