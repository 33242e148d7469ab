//! `--profile`: a file that says what the flags say, for those who keep it beside the app.

mod read;
mod shown;

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::container::{self, ContainerArgs, SecurityOption};
use super::session::ImageArgs;
use super::usage::UsageArgs;
use crate::profile::mount::Mount;
use crate::verdict::levels::Name;
pub(super) use shown::{Flags, effective};

#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct ProfileArgs {
    /// A file that says what the flags of the jail say (docs/profile.md); a flag wins over it
    #[arg(long, value_name = "FILE", help_heading = "Jail")]
    pub(super) profile: Option<PathBuf>,
}

/// A profile file that was read: what it says, as the flags would say it.
#[derive(Debug)]
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) container: ContainerArgs,
    pub(super) usage: UsageArgs,
    pub(super) user: Option<crate::profile::account::User>,
    pub(super) group_add: Vec<String>,
    pub(super) preset: Option<crate::profile::preset::Preset>,
    /// Levels that must be reached.
    pub(super) require: Vec<Name>,
    /// The line of each key, and of each of its elements where it is a list.
    lines: read::Lines,
}

impl ProfileArgs {
    /// Puts what the file says where no flag says it.
    pub(super) fn settle(
        &self,
        container: &mut ContainerArgs,
        usage: &mut UsageArgs,
        files: &mut ImageArgs,
    ) -> anyhow::Result<Option<File>> {
        let Some(path) = &self.profile else { return Ok(None) };
        let file = File::read(path).with_context(|| format!("the profile {}", path.display()))?;
        below(file.container.clone(), container);
        let (flags, said) = (std::mem::take(usage), &file.usage);
        *usage = UsageArgs {
            memory: flags.memory.or(said.memory),
            // A limit of both that stands in the file is about the memory that stands there.
            memory_swap: flags.memory_swap.or(said.memory_swap.filter(|_| flags.memory.is_none())),
            pids_limit: flags.pids_limit.or(said.pids_limit),
            cpus: flags.cpus.or(said.cpus),
        };
        files.preset = files.preset.take().or_else(|| file.preset.clone());
        files.user = files.user.take().or_else(|| file.user.clone());
        files.group_add.splice(0..0, file.group_add.iter().cloned());
        Ok(Some(file))
    }
}

impl File {
    fn read(path: &Path) -> anyhow::Result<File> {
        let text = container::read(path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = std::path::absolute(folder)?;
        Ok(File { path: path.to_owned(), ..read::file(&text, &folder)? })
    }
}

/// Puts `file` below the flags: what stands once is the flags' where they say it; lists are both, without what a flag puts in their place.
fn below(file: ContainerArgs, flags: &mut ContainerArgs) {
    let targets: Vec<PathBuf> = flags.targets().into_iter().map(Path::to_path_buf).collect();
    let stays = |path: &Path| !targets.iter().any(|target| path.starts_with(target));
    let place = |mount: &Mount| match mount {
        Mount::Bind(bind) => bind.target.clone(),
        Mount::Volume(path) => path.clone(),
        Mount::Tmpfs(tmpfs) => tmpfs.path.clone(),
    };
    flags.tmpfs.splice(0..0, file.tmpfs.into_iter().filter(|tmpfs| stays(&tmpfs.path)));
    flags.volume.splice(0..0, file.volume.into_iter().filter(|mount| stays(&place(mount))));
    flags.cap_add.splice(0..0, file.cap_add);
    let kind = std::mem::discriminant::<SecurityOption>;
    let seccomp =
        |option: &SecurityOption| matches!(option, SecurityOption::SeccompFile(_) | SecurityOption::SeccompUnconfined);
    let said = flags.security_opt.clone();
    let is_said = |option: &SecurityOption| {
        said.iter().any(|flag| kind(flag) == kind(option) || (seccomp(flag) && seccomp(option)))
    };
    flags.security_opt.splice(0..0, file.security_opt.into_iter().filter(|option| !is_said(option)));
    let names: Vec<String> = flags.sysctl.iter().map(|sysctl| sysctl.name.clone()).collect();
    flags.sysctl.splice(0..0, file.sysctl.into_iter().filter(|sysctl| !names.contains(&sysctl.name)));
    let resources: Vec<&str> = flags.ulimit.iter().map(|ulimit| ulimit.resource.name).collect();
    flags.ulimit.splice(0..0, file.ulimit.into_iter().filter(|ulimit| !resources.contains(&ulimit.resource.name)));
    let hosts: Vec<String> = flags.add_host.iter().map(|(name, _)| name.clone()).collect();
    flags.add_host.splice(0..0, file.add_host.into_iter().filter(|(name, _)| !hosts.contains(name)));
    flags.seal.allow_exec.splice(0..0, file.seal.allow_exec);
    flags.seal.expose.splice(0..0, file.seal.expose);
    flags.read_only = flags.read_only.or(file.read_only);
    flags.seal.seal = flags.seal.seal.or(file.seal.seal);
    flags.init = flags.init.or(file.init);
    flags.network = flags.network.or(file.network);
    flags.shm_size = flags.shm_size.or(file.shm_size);
    flags.hostname = flags.hostname.take().or(file.hostname);
    flags.workdir = flags.workdir.take().or(file.workdir);
    flags.entrypoint = flags.entrypoint.take().or(file.entrypoint);
    flags.further = file.further;
}
