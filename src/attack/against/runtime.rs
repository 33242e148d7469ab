//! OCI runtimes: a bundle of the runtime specification's default, as `runc spec` writes it.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{getegid, geteuid};
use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Capabilities, Capability, LinuxCapabilitiesBuilder, LinuxNamespaceType, MountBuilder, ProcessBuilder, RootBuilder,
    Spec, User,
};

use super::child::{Errands, SHORT, tidy};
use super::{AgainstError, LONGEST, PROGRAM, Said, host, own_capabilities, whole};
use crate::attack::NAME;

/// What the bundle is, for the report.
pub const DEFAULT: &str = "the specification's default: user 0, capabilities AUDIT_WRITE KILL NET_BIND_SERVICE, no_new_privileges, read-only root, \
                       masked paths, namespaces of its own, no seccomp filter";

/// A folder with a root filesystem and the runtime's state, gone with this.
#[derive(Debug)]
pub struct Bundle {
    folder: PathBuf,
    errands: Errands,
}

impl Bundle {
    /// Makes the folder.
    ///
    /// # Errors
    ///
    /// Those of mkdir(2) where temporary files are.
    pub fn new() -> Result<Self, AgainstError> {
        let errands = Errands::new()?;
        let folder = std::env::temp_dir().join(format!("austere-attack-{}", std::process::id()));
        // A user of the container has to pass through it.
        DirBuilder::new().mode(0o755).create(&folder).map_err(host(&format!("making {}", folder.display())))?;
        Ok(Bundle { folder, errands })
    }

    /// Where the image's files belong. It is not there yet.
    pub fn rootfs(&self) -> PathBuf {
        self.folder.join("rootfs")
    }

    /// Runs the adversary in a container that `runtime` makes of this, and in one without walls.
    ///
    /// # Errors
    ///
    /// See [`AgainstError`].
    pub fn attack(&self, runtime: &Path, outside: &str) -> Result<Said, AgainstError> {
        let shown = runtime.display().to_string();
        let version = self.errands.ask(Command::new(runtime).arg("--version"), b"", SHORT)?;
        let who = version.lines().next().unwrap_or(&shown).to_owned();
        for folder in ["proc", "sys", "dev", "etc"] {
            let path = self.rootfs().join(folder);
            if path.symlink_metadata().is_err() {
                fs::create_dir_all(&path).map_err(host(&format!("making {}", path.display())))?;
            }
        }
        let exe = std::env::current_exe().map_err(host("finding austere's own program"))?;
        let spec = spec(&exe, outside).map_err(odd)?;
        let inside = self.run(runtime, &spec, "in")?;
        let without = self.run(runtime, &without_walls(spec).map_err(odd)?, "out")?;
        Ok(Said { inside, without, who })
    }

    fn run(&self, runtime: &Path, spec: &Spec, which: &str) -> Result<String, AgainstError> {
        let config = self.folder.join("config.json");
        spec.save(&config).map_err(odd)?;
        let (state, id) = (self.folder.join("state"), format!("{NAME}-{which}-{}", std::process::id()));
        let command = || {
            let mut command = Command::new(runtime);
            command.arg("--root").arg(&state);
            command
        };
        let done = self.errands.run(command().arg("run").arg("--bundle").arg(&self.folder).arg(&id), b"", LONGEST);
        // Where it ended by itself there is nothing left to delete.
        tidy(command().args(["delete", "--force", &id]));
        whole(&runtime.display().to_string(), done?)
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn odd(error: OciSpecError) -> AgainstError {
    AgainstError::Host { what: "writing the bundle's config.json".to_owned(), why: io::Error::other(error) }
}

/// The default, with the adversary as its program. A user's own gets a user namespace, as `runc spec --rootless` says.
fn spec(exe: &Path, outside: &str) -> Result<Spec, OciSpecError> {
    let (uid, gid) = (geteuid(), getegid());
    let mut spec = if uid.is_root() { Spec::default() } else { Spec::rootless(uid.as_raw(), gid.as_raw()) };
    let mut process = spec.process().clone().unwrap_or_default();
    process.set_args(Some(vec![PROGRAM.to_owned(), outside.to_owned()]));
    spec.set_process(Some(process));
    spec.set_hostname(Some("austere".to_owned()));
    spec.set_root(Some(RootBuilder::default().path("rootfs").readonly(true).build()?));
    let program = MountBuilder::default()
        .destination(PROGRAM)
        .typ("bind")
        .source(exe)
        .options(["bind", "ro"].map(str::to_owned))
        .build()?;
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    mounts.push(program);
    spec.set_mounts(Some(mounts));
    Ok(spec)
}

/// The same without what holds it back: every capability, a writable root, nothing covered, the host's network.
fn without_walls(mut spec: Spec) -> Result<Spec, OciSpecError> {
    let own: Capabilities = own_capabilities().iter().filter_map(|one| one.parse::<Capability>().ok()).collect();
    let capabilities = LinuxCapabilitiesBuilder::default()
        .bounding(own.clone())
        .effective(own.clone())
        .permitted(own.clone())
        .inheritable(own.clone())
        .ambient(own)
        .build()?;
    let args = spec.process().as_ref().and_then(|process| process.args().clone()).unwrap_or_default();
    let process = ProcessBuilder::default()
        .terminal(false)
        .user(User::default())
        .args(args)
        .env(Vec::new())
        .cwd("/")
        .no_new_privileges(false)
        .capabilities(capabilities)
        .rlimits(Vec::new())
        .build()?;
    spec.set_process(Some(process));
    spec.set_root(Some(RootBuilder::default().path("rootfs").readonly(false).build()?));
    if let Some(mut linux) = spec.linux().clone() {
        linux.set_masked_paths(None).set_readonly_paths(None);
        let mut namespaces = linux.namespaces().clone().unwrap_or_default();
        namespaces.retain(|one| one.typ() != LinuxNamespaceType::Network);
        linux.set_namespaces(Some(namespaces));
        spec.set_linux(Some(linux));
    }
    Ok(spec)
}
