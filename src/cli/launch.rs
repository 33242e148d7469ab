//! From an unpacked image and a preset to the jail's specification.

use anyhow::Context;

use super::session::Session;
use crate::caps;
use crate::cgroup;
use crate::ids::Identity;
use crate::image;
use crate::jail::{Spec, Stdio};
use crate::netns;
use crate::platform::Platform;
use crate::profile::account::Account;
use crate::profile::preset::Preset;
use crate::profile::seccomp::{self as seccomp_profile, Arch, Conditions};
use crate::profile::tmpfs::Tmpfs;
use crate::rootfs;
use crate::seccomp::{self, Filter, Witness};

/// What the user of the command line asked for beside the image.
#[derive(Clone, Debug, Default)]
pub(super) struct Wishes {
    /// `NAME=value`, after the image's own.
    pub(super) env: Vec<String>,
    /// Fresh writable folders.
    pub(super) tmpfs: Vec<Tmpfs>,
    /// Arguments in place of the image's `CMD`.
    pub(super) args: Vec<String>,
    /// What the app may use.
    pub(super) limits: cgroup::Limits,
    /// Measures to leave out, for tests of the read-back.
    pub(super) without: Vec<String>,
}

/// How hard the jail is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hardness {
    /// Read-only root, no capability, no new privileges.
    Hardened,
    /// As the engine starts a container with no further flags.
    Unhardened,
}

/// Builds the specification.
pub(super) fn spec(
    session: &Session,
    preset: &Preset,
    wishes: &Wishes,
    hardness: Hardness,
    stdio: Stdio,
) -> anyhow::Result<Spec> {
    let (config, account, ids) = (&session.opened.image.config, &session.account, session.ids);
    let hardened = hardness == Hardness::Hardened;
    let bounding = if hardened {
        caps::Set::EMPTY
    } else {
        caps::Set::from_names(preset.capabilities.iter().map(String::as_str))?
    };
    let permitted = if account.uid == 0 { bounding } else { caps::Set::EMPTY };
    let hostname = "austere".to_owned();
    let mut argv = config.entrypoint.clone();
    argv.extend(if wishes.args.is_empty() { config.cmd.clone() } else { wishes.args.clone() });
    anyhow::ensure!(!argv.is_empty(), "the image names no program: it has neither an entrypoint nor a command");
    Ok(Spec {
        identity: Identity { uid: account.uid, gid: account.gid, groups: account.groups.clone() },
        ids,
        confinement: session.confinement(),
        rootfs: rootfs::Plan {
            layers: session.layers(),
            ids,
            read_only: hardened,
            volumes: config.volumes.clone(),
            tmpfs: wishes.tmpfs.clone(),
            working_dir: config.working_dir.clone(),
            files: files(&hostname),
            masked_paths: preset.masked_paths.clone(),
            readonly_paths: preset.readonly_paths.clone(),
            shm_size: preset.shm_size,
            cgroup2: rootfs::host_has_cgroup2(),
            without: wishes.without.clone(),
        },
        argv,
        env: environment(config, account, &hostname, &wishes.env),
        hostname,
        bounding,
        permitted,
        no_new_privs: hardened,
        seccomp: Some(filter(preset, bounding)?),
        observed: None,
        landlock: hardened,
        limits: wishes.limits,
        unprivileged_port_start: preset.unprivileged_port_start,
        stop_signal: stop_signal(&config.stop_signal)?,
        stdio,
        without: wishes.without.clone(),
    })
}

/// The same specification for a run that is watched.
pub(super) fn observed(mut spec: Spec, preset: &Preset) -> anyhow::Result<Spec> {
    let policy = seccomp::observe::observed(&policy(preset, spec.bounding)?);
    spec.observed = Some(seccomp::compile(&policy)?);
    Ok(spec)
}

fn filter(preset: &Preset, bounding: caps::Set) -> anyhow::Result<(Filter, Option<Witness>)> {
    let filter = seccomp::compile(&policy(preset, bounding)?)?;
    let witness = Witness::choose(&filter.program);
    Ok((filter, witness))
}

fn policy(preset: &Preset, bounding: caps::Set) -> anyhow::Result<seccomp_profile::Policy> {
    let text = seccomp_profile::shipped(&preset.seccomp)
        .with_context(|| format!("no seccomp profile named {} is built in", preset.seccomp))?;
    let names = bounding.names();
    let caps: Vec<&str> = names.iter().map(String::as_str).collect();
    let kernel = seccomp::running_kernel().context("reading the kernel's version")?;
    let conditions = Conditions { caps: &caps, arch: Arch::NATIVE, kernel };
    seccomp_profile::Profile::parse(text)?
        .resolve(&conditions)
        .with_context(|| format!("the seccomp profile {} is empty", preset.seccomp))
}

/// The files that engines put into every container. The network is a closed room: there is no name server.
fn files(hostname: &str) -> Vec<(String, String)> {
    let hosts = format!(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n{}\t{hostname}\n",
        netns::ADDRESS
    );
    [("/etc/hosts", hosts), ("/etc/hostname", format!("{hostname}\n")), ("/etc/resolv.conf", String::new())]
        .map(|(path, content)| (path.to_owned(), content))
        .to_vec()
}

/// The image's variables over the engine's, and the command line's over both; HOME as the engine finds it.
fn environment(config: &image::Config, account: &Account, hostname: &str, wishes: &[String]) -> Vec<String> {
    let mut env = vec![
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        format!("HOSTNAME={hostname}"),
    ];
    for pair in config.env.iter().chain(wishes) {
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
