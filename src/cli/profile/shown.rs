//! `--dry-run`: what a profile file and flags add up to, and where each part comes from.

use serde_json::Value;

use super::File;
use crate::cli::container::{ContainerArgs, SecurityOption};
use crate::cli::launch;
use crate::cli::session::ImageArgs;
use crate::cli::usage::UsageArgs;
use crate::fit::PORT_START;
use crate::image::Config;
use crate::profile::mount::Mount;
use crate::profile::settings::{Network, Sysctl};
use crate::profile::{Profile, Seccomp};
use crate::report::profile::{Effective, From, Said, Setting};
use crate::verdict::facts;
use crate::verdict::levels::Name;

/// The parts of a command line that a profile file can say.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Flags {
    pub container: ContainerArgs,
    pub usage: UsageArgs,
    pub files: ImageArgs,
    pub require: Vec<Name>,
}

/// What `now` comes to: the flags as they were given, and the file's below them.
pub(in crate::cli) fn effective(now: &Flags, given: &Flags, file: Option<&File>) -> anyhow::Result<Effective> {
    let preset = now.files.preset();
    let profile = now.container.profile(&preset, &[])?;
    launch::check_filter(&profile)?;
    now.usage.limits()?;
    let mut table = Table { file, rows: Vec::new() };
    table.who(now, given)?;
    table.files(&profile, given);
    table.walls(&profile, given);
    table.surroundings(&profile, given);
    table.usage(now, given);
    let required = now.require.iter().map(|name| (name.to_string(), name.to_string())).collect();
    table.many("require", required, &given.require.iter().map(Name::to_string).collect::<Vec<_>>(), |file| {
        file.require.iter().map(Name::to_string).collect()
    });
    Ok(Effective {
        schema: "austere.profile/1",
        profile: file.map(|file| file.path.display().to_string()),
        preset: facts::Preset::of(&preset),
        settings: table.rows,
        relaxations: [now.files.relaxations(), profile.relaxations].concat(),
    })
}

struct Table<'a> {
    file: Option<&'a File>,
    rows: Vec<Setting>,
}

impl Table<'_> {
    /// A key that has one value.
    fn one(&mut self, key: &'static str, value: impl Into<Value>, is_flag: bool) {
        let line = self.file.and_then(|file| file.lines.get(key)?.first().copied());
        let said = match (is_flag, line) {
            (true, _) => Said { value: value.into(), from: From::Flag, line: None },
            (false, Some(_)) => Said { value: value.into(), from: From::File, line },
            (false, None) => Said { value: value.into(), from: From::Preset, line: None },
        };
        self.rows.push(Setting { key, values: vec![said] });
    }

    /// A key that has several: each by what tells it apart, and as it is shown. `file` gives what tells the file's apart, in its order.
    fn many(
        &mut self,
        key: &'static str,
        values: Vec<(String, String)>,
        flags: &[String],
        file: impl Fn(&File) -> Vec<String>,
    ) {
        let (names, lines) = self
            .file
            .map_or_else(Default::default, |known| (file(known), known.lines.get(key).cloned().unwrap_or_default()));
        let said = |(name, shown): (String, String)| {
            let index = names.iter().position(|known| *known == name);
            let (from, line) = match (flags.contains(&name), index) {
                (true, _) => (From::Flag, None),
                (false, Some(index)) => (From::File, lines.get(index).copied()),
                (false, None) => (From::Preset, None),
            };
            Said { value: shown.into(), from, line }
        };
        self.rows.push(Setting { key, values: values.into_iter().map(said).collect() });
    }

    fn who(&mut self, now: &Flags, given: &Flags) -> anyhow::Result<()> {
        let preset = now.files.preset();
        self.one("extends", format!("{}@{}", preset.name, preset.engine_version), given.files.preset.is_some());
        let user = now.files.user(&Config::default())?;
        self.one("user", user.to_string(), given.files.user.is_some());
        let groups = now.files.group_add.iter().map(same).collect();
        self.many("group_add", groups, &given.files.group_add, |file| file.group_add.clone());
        Ok(())
    }

    fn files(&mut self, profile: &Profile, given: &Flags) {
        let flags = &given.container;
        let targets: Vec<String> = flags.targets().iter().map(|path| path.display().to_string()).collect();
        self.one("read_only", profile.read_only, flags.read_only.is_some());
        let tmpfs =
            launch::tmpfs(profile).iter().map(|one| (one.path.display().to_string(), one.to_string())).collect();
        self.many("tmpfs", tmpfs, &targets, |file| {
            file.container.tmpfs.iter().map(|tmpfs| tmpfs.path.display().to_string()).collect()
        });
        let binds = profile.binds.iter().cloned().map(Mount::Bind);
        let volumes = profile.volumes.iter().map(|path| Mount::Volume(path.into()));
        let shown = |mount: Mount| (place(&mount), mount.to_string().trim_start_matches("-v ").to_owned());
        self.many("volumes", binds.chain(volumes).map(shown).collect(), &targets, |file| {
            file.container.volume.iter().map(place).collect()
        });
        let covered =
            |paths: &[String]| if profile.covers_system_paths { paths.iter().map(same).collect() } else { vec![] };
        let (masked, read_only) = (&profile.preset.masked_paths, &profile.preset.readonly_paths);
        self.many("masked_paths", covered(masked), &[], |file| file.container.further.masked_paths.clone());
        self.many("readonly_paths", covered(read_only), &[], |file| file.container.further.readonly_paths.clone());
        self.one("shm_size", profile.shm_size.unwrap_or(profile.preset.shm_size), flags.shm_size.is_some());
    }

    fn walls(&mut self, profile: &Profile, given: &Flags) {
        let flags = &given.container;
        let said = |is_it: fn(&SecurityOption) -> bool| flags.security_opt.iter().any(is_it);
        let bare = |name: &String| name.trim_start_matches("CAP_").to_owned();
        let names = |args: &ContainerArgs| args.cap_add.iter().flatten().map(bare).collect::<Vec<_>>();
        let held = profile.capabilities.iter().map(|name| same(&bare(name))).collect();
        self.many("cap_add", held, &names(flags), |file| names(&file.container));
        let no_new_privileges = said(|option| matches!(option, SecurityOption::NoNewPrivileges(_)));
        self.one("no_new_privileges", profile.no_new_privs, no_new_privileges);
        let seccomp = match &profile.seccomp {
            Seccomp::Preset => format!("default ({})", profile.preset.seccomp),
            Seccomp::Profile(name, _) => name.clone(),
            Seccomp::Unconfined => "unconfined".to_owned(),
        };
        let filter =
            said(|option| matches!(option, SecurityOption::SeccompFile(_) | SecurityOption::SeccompUnconfined));
        self.one("seccomp", seccomp, filter);
        self.one("seal", profile.seal, flags.seal.seal.is_some());
        let allowed = profile.allow_exec.iter().map(same).collect();
        self.many("allow_exec", allowed, &flags.seal.allow_exec, |file| file.container.seal.allow_exec.clone());
        self.one("landlock", profile.landlock, false);
        self.one("memory_deny_write_execute", !profile.exec_gain, false);
        self.one("memfd_noexec", !profile.exec_memfd, false);
        let system_paths = if profile.covers_system_paths { "default" } else { "unconfined" };
        self.one("systempaths", system_paths, said(|option| *option == SecurityOption::SystemPathsUnconfined));
    }

    fn surroundings(&mut self, profile: &Profile, given: &Flags) {
        let flags = &given.container;
        let network = if profile.network == Network::Host { "host" } else { "none" };
        self.one("network", network, flags.network.is_some());
        let ports = |ports: &[u16]| ports.iter().map(u16::to_string).collect::<Vec<_>>();
        let declared = ports(&profile.ports).iter().map(same).collect();
        self.many("expose", declared, &ports(&flags.seal.expose), |file| ports(&file.container.seal.expose));
        let name = |sysctl: &Sysctl| sysctl.name.clone();
        let mut sysctls: Vec<_> = profile.sysctls.iter().map(|one| (name(one), one.to_string())).collect();
        if profile.network == Network::None && !sysctls.iter().any(|(name, _)| name == PORT_START) {
            let value = format!("{PORT_START}={}", profile.preset.unprivileged_port_start);
            sysctls.insert(0, (PORT_START.to_owned(), value));
        }
        self.many("sysctls", sysctls, &flags.sysctl.iter().map(name).collect::<Vec<_>>(), |file| {
            file.container.sysctl.iter().map(name).collect()
        });
        self.one("hostname", profile.hostname.clone(), flags.hostname.is_some());
        let hosts = profile.hosts.iter().map(|(name, address)| (name.clone(), format!("{name}:{address}"))).collect();
        let names = |args: &ContainerArgs| args.add_host.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        self.many("add_host", hosts, &names(flags), |file| names(&file.container));
        self.variables(profile, flags);
        self.one("workdir", profile.working_dir.clone(), flags.workdir.is_some());
        self.one("entrypoint", profile.entrypoint.as_ref().map(|words| words.concat()), flags.entrypoint.is_some());
        self.one("init", profile.init, flags.init.is_some());
    }

    /// The names of the variables; what is in no list of names stands in a file of them.
    fn variables(&mut self, profile: &Profile, flags: &ContainerArgs) {
        let name = |pair: &String| pair.split('=').next().unwrap_or(pair).to_owned();
        let mut names: Vec<String> = profile.preset.env.iter().chain(&profile.env).map(name).collect();
        names.sort_unstable();
        names.dedup();
        let mut given = flags.names();
        if !flags.env_file.is_empty() {
            let file = |file: &File| file.container.further.env.iter().map(|variable| variable.name.clone()).collect();
            let known: Vec<String> = self.file.map_or_else(Vec::new, file);
            let preset: Vec<String> = profile.preset.env.iter().map(name).collect();
            given.extend(names.iter().filter(|name| !known.contains(name) && !preset.contains(name)).cloned());
        }
        self.many("env", names.iter().map(same).collect(), &given, |file| {
            file.container.further.env.iter().map(|variable| variable.name.clone()).collect()
        });
        let paths =
            |paths: &[std::path::PathBuf]| paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        let beside = self.file.map_or_else(Vec::new, |file| paths(&file.container.further.env_file));
        let all = [beside, paths(&flags.env_file)].concat().iter().map(same).collect();
        self.many("env_file", all, &paths(&flags.env_file), |file| paths(&file.container.further.env_file));
    }

    fn usage(&mut self, now: &Flags, given: &Flags) {
        let (usage, flags) = (&now.usage, &given.usage);
        self.one("memory", usage.memory.map(|bytes| bytes.0), flags.memory.is_some());
        let swap = usage.memory_swap.map(|swap| match swap {
            crate::cgroup::amount::Swap::Unlimited => Value::from(-1),
            crate::cgroup::amount::Swap::Total(bytes) => bytes.0.into(),
        });
        self.one("memory_swap", swap, flags.memory_swap.is_some());
        let pids = usage.pids_limit.map(|pids| pids.0.map_or(-1, i64::from));
        self.one("pids_limit", pids, flags.pids_limit.is_some());
        self.one("cpus", usage.cpus.map(|cpus| cpus.to_string()), flags.cpus.is_some());
        let limits = now.container.ulimit.iter().map(|one| (one.resource.name.to_owned(), one.to_string())).collect();
        let names =
            |args: &ContainerArgs| args.ulimit.iter().map(|one| one.resource.name.to_owned()).collect::<Vec<_>>();
        self.many("ulimits", limits, &names(&given.container), |file| names(&file.container));
    }
}

#[expect(clippy::ptr_arg, reason = "it is handed to iterators of strings")]
fn same(text: &String) -> (String, String) {
    (text.clone(), text.clone())
}

fn place(mount: &Mount) -> String {
    let path = match mount {
        Mount::Bind(bind) => &bind.target,
        Mount::Volume(path) => path,
        Mount::Tmpfs(tmpfs) => &tmpfs.path,
    };
    path.display().to_string()
}
