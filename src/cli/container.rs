//! The flags that change what an app may do and what it finds, spelled as docker does.

mod further;
mod refused;
mod seal;
mod words;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::flags::{self, EnvVar};
use crate::profile::Profile;
use crate::profile::mount::Mount;
use crate::profile::preset::{Preset, TmpfsStyle};
use crate::profile::settings::{self, Network, Sysctl, Ulimit};
use crate::profile::tmpfs::Tmpfs;

use further::Further;
pub(super) use refused::explain;
use seal::SealArgs;
use words::security;
pub(super) use words::{SecurityOption, host, hostname, read, size, variables};

#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Jail")]
pub(super) struct ContainerArgs {
    /// Set a variable, or pass the caller's on [repeatable]
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub env: Vec<EnvVar>,
    /// Set the variables that a file has a line each for [repeatable]
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// A writable directory in memory, as docker's [repeatable]
    #[arg(long, value_name = "PATH[:OPTIONS]")]
    pub tmpfs: Vec<Tmpfs>,
    /// A file or folder of the host, writable unless :ro; or PATH alone for a fresh one [repeatable]
    #[arg(short, long, value_name = "[SOURCE:]PATH[:ro]")]
    pub volume: Vec<Mount>,
    /// The same in docker's long form [repeatable]
    #[arg(long, value_name = "type=TYPE,target=PATH,…", value_parser = Mount::long)]
    pub mount: Vec<Mount>,
    /// Make the root writable with --read-only=false
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub read_only: Option<bool>,
    /// Give a capability back, or ALL [repeatable]
    #[arg(long, value_name = "CAP", value_parser = settings::capabilities)]
    pub cap_add: Vec<BTreeSet<String>>,
    /// Capabilities to drop: all of them are, whatever is said here [repeatable]
    #[arg(long, value_name = "CAP", value_parser = settings::capabilities, hide_short_help = true)]
    pub cap_drop: Vec<BTreeSet<String>>,
    /// Leave nothing behind, as always
    #[arg(long, hide_short_help = true)]
    pub rm: bool,
    /// no-new-privileges=false, seccomp=FILE, seccomp=unconfined or systempaths=unconfined [repeatable]
    #[arg(long, value_name = "OPTION", value_parser = SecurityOption::parse)]
    pub security_opt: Vec<SecurityOption>,
    /// Start in this folder
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// Run this program in place of the image's entrypoint and command
    #[arg(long, value_name = "PROGRAM")]
    pub entrypoint: Option<String>,
    /// The host name
    #[arg(long, value_name = "NAME", value_parser = hostname)]
    pub hostname: Option<String>,
    /// A line for /etc/hosts [repeatable]
    #[arg(long, value_name = "NAME:IP", value_parser = host)]
    pub add_host: Vec<(String, IpAddr)>,
    /// Run a small init as PID 1, which passes signals on and reaps
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub init: Option<bool>,
    /// none, or host for the host's own network [default: none]
    #[arg(long, value_name = "NETWORK", alias = "net")]
    pub network: Option<Network>,
    /// A kernel parameter of the app's own namespaces [repeatable]
    #[arg(long, value_name = "NAME=VALUE")]
    pub sysctl: Vec<Sysctl>,
    /// A resource limit [repeatable]
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub ulimit: Vec<Ulimit>,
    /// The size of /dev/shm
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub shm_size: Option<u64>,
    #[command(flatten)]
    pub seal: SealArgs,
    /// What a profile file says and no flag can
    #[arg(skip)]
    pub further: Further,
}

impl ContainerArgs {
    /// The hardened form of `preset`, with what the flags change of it.
    pub(super) fn profile(&self, preset: &Preset, args: &[String]) -> anyhow::Result<Profile> {
        self.profile_over(Profile::hardened(preset.clone()), args)
    }

    /// What the flags change of a profile.
    pub(super) fn profile_over(&self, mut profile: Profile, args: &[String]) -> anyhow::Result<Profile> {
        if let Some(read_only) = self.read_only {
            set(&mut profile.relaxations, "--read-only=false", !read_only);
            profile.read_only = read_only;
        }
        for names in &self.cap_add {
            let all = names.len() > 1;
            let word = names.first().map_or("", |name| name.trim_start_matches("CAP_"));
            profile.relaxations.push(format!("--cap-add {}", if all { "ALL" } else { word }));
            profile.capabilities.extend(names.iter().cloned());
        }
        self.files(&mut profile)?;
        for option in &self.security_opt {
            security(&mut profile, option)?;
        }
        self.surroundings(&mut profile)?;
        self.seal.apply(&mut profile)?;
        self.further.apply(&mut profile)?;
        if !args.is_empty() {
            args.clone_into(&mut profile.args);
        }
        Ok(profile)
    }

    /// The names of the variables that the flags set.
    pub(super) fn names(&self) -> Vec<String> {
        flags::variables(&self.env)
            .unwrap_or_default()
            .iter()
            .map(|pair| pair.split('=').next().unwrap_or(pair).to_owned())
            .collect()
    }

    /// The paths that the flags put something at.
    pub(super) fn targets(&self) -> Vec<&Path> {
        let mounts = self.volume.iter().chain(&self.mount).map(|mount| match mount {
            Mount::Bind(bind) => bind.target.as_path(),
            Mount::Volume(path) => path.as_path(),
            Mount::Tmpfs(tmpfs) => tmpfs.path.as_path(),
        });
        mounts.chain(self.tmpfs.iter().map(|tmpfs| tmpfs.path.as_path())).collect()
    }

    fn files(&self, profile: &mut Profile) -> anyhow::Result<()> {
        let tmpfs = self.tmpfs.iter().cloned().map(Mount::Tmpfs);
        for mount in tmpfs.chain(self.volume.iter().cloned()).chain(self.mount.iter().cloned()) {
            profile.relaxations.push(mount.to_string());
            match mount {
                Mount::Tmpfs(tmpfs) => {
                    let has_owner = tmpfs.uid.is_some() || tmpfs.gid.is_some();
                    anyhow::ensure!(
                        !has_owner || profile.preset.tmpfs != TmpfsStyle::CopiedUp,
                        "--tmpfs {}: {} takes no uid= or gid= for a tmpfs; its mode is 1777",
                        tmpfs.path.display(),
                        profile.preset.name
                    );
                    profile.tmpfs.push(tmpfs);
                }
                Mount::Volume(path) => profile.volumes.push(path.to_string_lossy().into_owned()),
                Mount::Bind(mut bind) => {
                    bind.source = bind.source.canonicalize().with_context(|| {
                        format!("{} cannot be mounted: docker would make an empty folder there", bind.source.display())
                    })?;
                    profile.binds.push(bind);
                }
            }
        }
        Ok(())
    }

    fn surroundings(&self, profile: &mut Profile) -> anyhow::Result<()> {
        let known = profile.env.len();
        for (files, pairs) in [(&self.further.env_file, &self.further.env), (&self.env_file, &self.env)] {
            for path in files {
                let text = read(path).with_context(|| format!("the variables in {}", path.display()))?;
                profile.env.extend(variables(&text).with_context(|| format!("the variables in {}", path.display()))?);
            }
            profile.env.extend(flags::variables(pairs)?);
        }
        let mut names: Vec<&str> = profile.env[known..].iter().filter_map(|pair| pair.split('=').next()).collect();
        names.dedup();
        // Values may be secret, and a verdict is kept and shown.
        let settings = names.iter().map(|name| format!("-e {name}")).collect::<Vec<_>>();
        profile.relaxations.extend(settings);
        if let Some(dir) = &self.workdir {
            anyhow::ensure!(dir.starts_with('/'), "--workdir {dir}: it is not an absolute path");
            profile.relaxations.push(format!("-w {dir}"));
            profile.working_dir = Some(dir.clone());
        }
        if let Some(program) = &self.entrypoint {
            profile.relaxations.push(format!("--entrypoint {program}"));
            profile.entrypoint = Some(if program.is_empty() { Vec::new() } else { vec![program.clone()] });
        }
        if let Some(name) = &self.hostname {
            profile.relaxations.push(format!("--hostname {name}"));
            profile.hostname.clone_from(name);
        }
        for (name, address) in &self.add_host {
            profile.relaxations.push(format!("--add-host {name}:{address}"));
            profile.hosts.push((name.clone(), *address));
        }
        if let Some(init) = self.init {
            set(&mut profile.relaxations, "--init", init);
            profile.init = init;
        }
        if let Some(network) = self.network {
            set(&mut profile.relaxations, "--network host", network == Network::Host);
            profile.network = network;
        }
        for sysctl in &self.sysctl {
            anyhow::ensure!(
                profile.network == Network::None || !sysctl.name.starts_with("net."),
                "--sysctl {sysctl} would change the host's own network: --network host has no parameters of its own"
            );
            profile.relaxations.push(format!("--sysctl {sysctl}"));
            profile.sysctls.push(sysctl.clone());
        }
        for ulimit in &self.ulimit {
            profile.relaxations.push(format!("--ulimit {ulimit}"));
            profile.ulimits.push(*ulimit);
        }
        if let Some(size) = self.shm_size {
            profile.relaxations.push(format!("--shm-size {size}"));
            profile.shm_size = Some(size);
        }
        Ok(())
    }
}

/// Says a word once, or takes back what a manifest said.
fn set(said: &mut Vec<String>, word: &str, is_said: bool) {
    said.retain(|known| known != word);
    said.extend(is_said.then(|| word.to_owned()));
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        container: ContainerArgs,
    }

    fn profile(words: &[&str]) -> Profile {
        let line = Line::try_parse_from([&["x"], words].concat()).unwrap();
        line.container.profile(&"docker".parse().unwrap(), &[]).unwrap()
    }

    #[test]
    fn every_change_stands_in_the_list() {
        assert_eq!(
            profile(&["--cap-drop=ALL", "--read-only", "--security-opt", "no-new-privileges"]).relaxations,
            [""; 0]
        );
        let words = [
            "--read-only=false",
            "--cap-add=chown",
            "--cap-add=ALL",
            "--tmpfs=/run",
            "-v/tmp:/x:ro",
            "--mount=target=/y",
            "--security-opt=seccomp=unconfined",
            "--security-opt=no-new-privileges:false",
            "-eSECRET=1",
            "--workdir=/",
            "--entrypoint=/app",
            "--hostname=web",
            "--add-host=db:10.0.0.1",
            "--sysctl=net.core.somaxconn=9",
            "--ulimit=nofile=9",
            "--shm-size=1m",
            "--init",
        ];
        let profile = profile(&words);
        assert_eq!(profile.relaxations.len(), words.len(), "{:?}", profile.relaxations);
        assert!(!profile.relaxations.concat().contains("SECRET=1"));
        assert!(!profile.read_only && !profile.no_new_privs && profile.capabilities.len() > 38);
        assert_eq!(profile.relaxations[2], "--cap-add ALL");
    }

    #[test]
    fn a_file_of_variables_is_read_as_docker_does() {
        assert_eq!(variables("# c\n A=1\nB= x y \n\nNOT_SET_HERE\n").unwrap(), ["A=1", "B= x y "]);
        for text in ["=1", "A B=1", "A\0=1"] {
            assert!(variables(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_cannot_be_given_is_refused() {
        for word in [
            "--security-opt=apparmor=unconfined",
            "--security-opt=x",
            "--network=bridge",
            "--add-host=a",
            "--add-host=a:host-gateway",
            "--hostname=-x",
            "--shm-size=0",
            "--read-only=maybe",
            "--cap-add=x",
        ] {
            assert!(Line::try_parse_from(["x", word]).is_err(), "{word}");
        }
    }
}
