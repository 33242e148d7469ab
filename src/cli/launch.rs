//! From an unpacked image and a preset to the jail's specification.

use std::collections::BTreeSet;

use anyhow::Context;

use super::session::Session;
use crate::caps;
use crate::cgroup;
use crate::exec_memory;
use crate::ids::Identity;
use crate::image::{self, Protocol};
use crate::jail::{Spec, Stdio};
use crate::landlock;
use crate::netns;
use crate::platform::Platform;
use crate::profile::account::Account;
use crate::profile::mount::{Bind, INIT};
use crate::profile::seccomp::{self as seccomp_profile, Action, Arch, Conditions, Rule};
use crate::profile::settings::Network;
use crate::profile::tmpfs::Tmpfs;
use crate::profile::{Profile, Seccomp};
use crate::rootfs;
use crate::seal::Guarding;
use crate::seccomp::{self, Filter, Witness};

/// How an image is to be run.
#[derive(Clone, Debug)]
pub(super) struct Wishes {
    /// What the app may do and what it finds.
    pub(super) profile: Profile,
    /// What the guard of the seal does, where there is one.
    pub(super) guarding: Guarding,
    /// The ports that are spoken to, besides those the image exposes.
    pub(super) ports: Vec<u16>,
    /// What the app may use.
    pub(super) limits: cgroup::Limits,
    /// Measures to leave out, for tests of the read-back.
    pub(super) without: Vec<String>,
}

/// Builds the specification.
pub(super) fn spec(session: &Session, wishes: &Wishes, stdio: Stdio) -> anyhow::Result<Spec> {
    let (config, account, ids) = (&session.opened.image.config, &session.account, session.ids);
    let profile = &wishes.profile;
    let preset = &profile.preset;
    let bounding = caps::Set::from_names(profile.capabilities.iter().map(String::as_str))?;
    let permitted = if account.uid == 0 { bounding } else { caps::Set::EMPTY };
    let mut argv = command_line(config, profile);
    anyhow::ensure!(!argv.is_empty(), "the image names no program: it has neither an entrypoint nor a command");
    let mut binds = profile.binds.clone();
    if profile.init {
        argv.splice(0..0, [INIT.to_owned(), "--".to_owned()]);
        let source = std::env::current_exe().context("finding austere's own program for --init")?;
        binds.push(Bind { source, target: INIT.into(), read_only: true });
    }
    let covered = |paths: &[String]| if profile.covers_system_paths { paths.to_vec() } else { Vec::new() };
    let port_start = match profile.network {
        Network::None => Some(preset.unprivileged_port_start),
        Network::Host => None,
    };
    let rules = rules(session, wishes, &argv)?;
    Ok(Spec {
        identity: Identity { uid: account.uid, gid: account.gid, groups: account.groups.clone() },
        ids,
        confinement: session.confinement(),
        rootfs: rootfs::Plan {
            layers: session.layers(),
            ids,
            read_only: profile.read_only,
            // Nothing is declared by an image.
            volumes: if profile.narrow {
                profile.volumes.clone()
            } else {
                [&config.volumes[..], &profile.volumes[..]].concat()
            },
            tmpfs: profile.tmpfs.iter().map(|tmpfs| owned(tmpfs, account, profile)).collect(),
            binds,
            working_dir: profile.working_dir.clone().unwrap_or_else(|| config.working_dir.clone()),
            files: files(profile)?,
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
        env: environment(config, account, profile),
        hostname: profile.hostname.clone(),
        bounding,
        permitted,
        no_new_privs: profile.no_new_privs,
        seccomp: filter(profile, bounding, &wishes.without)?,
        seal: (profile.seal && profile.allow_exec.is_empty()).then_some(wishes.guarding),
        exec_memory: exec_memory::Taken { gain: !profile.exec_gain, memfd: !profile.exec_memfd },
        landlock: rules,
        limits: wishes.limits,
        network: profile.network,
        unprivileged_port_start: port_start,
        sysctls: profile.sysctls.clone(),
        ulimits: profile.ulimits.clone(),
        stop_signal: stop_signal(&config.stop_signal)?,
        stdio,
        without: wishes.without.clone(),
    })
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

fn filter(
    profile: &Profile,
    bounding: caps::Set,
    without: &[String],
) -> anyhow::Result<Option<(Filter, Option<Witness>)>> {
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
    let filter = seccomp::compile(&policy).with_context(|| format!("the seccomp profile {name}"))?;
    let witness = Witness::choose(&filter.program);
    Ok(Some((filter, witness)))
}

/// The files that engines put into every container. In a closed network there is no name server.
fn files(profile: &Profile) -> anyhow::Result<Vec<(String, String)>> {
    let hostname = &profile.hostname;
    let host = |path: &str| std::fs::read_to_string(path).with_context(|| format!("reading {path} for --network host"));
    let (mut hosts, resolv_conf) = match profile.network {
        Network::None => {
            let hosts = format!(
                "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\n\
                 ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
            );
            (hosts, String::new())
        }
        Network::Host => (host("/etc/hosts")?, host("/etc/resolv.conf")?),
    };
    for (name, address) in &profile.hosts {
        hosts.push_str(&format!("{address}\t{name}\n"));
    }
    if profile.network == Network::None {
        hosts.push_str(&format!("{}\t{hostname}\n", netns::ADDRESS));
    }
    let files = [("/etc/hosts", hosts), ("/etc/hostname", format!("{hostname}\n")), ("/etc/resolv.conf", resolv_conf)];
    Ok(files.map(|(path, content)| (path.to_owned(), content)).to_vec())
}

/// The image's variables over the engine's, and the command line's over both; HOME as the engine finds it.
fn environment(config: &image::Config, account: &Account, profile: &Profile) -> Vec<String> {
    let mut env = vec![
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        format!("HOSTNAME={}", profile.hostname),
    ];
    for pair in config.env.iter().chain(&profile.env) {
        let name = pair.split('=').next().unwrap_or(pair);
        let same = |known: &String| known.split('=').next() == Some(name);
        match env.iter_mut().find(|known| same(known)) {
            Some(known) => known.clone_from(pair),
            None => env.push(pair.clone()),
        }
    }
    // A name alone takes the variable away, as docker's -e NAME does where the caller has none.
    env.retain(|pair| pair.contains('='));
    if !env.iter().any(|pair| pair.starts_with("HOME=")) {
        env.push(format!("HOME={}", account.home));
    }
    env
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
