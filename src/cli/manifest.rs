//! `--pod` and `--compose`: a manifest that says what the container is given, in place of the flags.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::container::{self, ContainerArgs};
use super::launch::Wishes;
use super::session::{ImageArgs, Session};
use super::usage::UsageArgs;
use crate::finding::{Finding, Role, Severity};
use crate::image;
use crate::manifest::{Engine, Filter, Settings, StandIn, compose, pod};
use crate::measure::Measure;
use crate::netns;
use crate::profile::mount::Mount;
use crate::profile::preset::Preset;
use crate::profile::settings::{self, Network};
use crate::profile::{Profile, Seccomp};
use crate::reference::Reference;

/// The largest manifest, in bytes.
const LARGEST: u64 = 8 << 20;

#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Manifest")]
pub(super) struct ManifestArgs {
    /// A Kubernetes manifest says what the container is given; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["compose", "profile"])]
    pub pod: Option<PathBuf>,
    /// Which container, if it has several
    #[arg(long, value_name = "[WORKLOAD/]NAME", requires = "pod")]
    pub container: Option<String>,
    /// A compose file says what the container is given; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "profile")]
    pub compose: Option<PathBuf>,
    /// Which service, if it has several
    #[arg(long, value_name = "NAME", requires = "compose")]
    pub service: Option<String>,
    /// Print what the manifest comes to, and run nothing
    #[arg(long, hide = true)]
    pub show_settings: bool,
}

/// A manifest that was read.
pub(super) struct Manifest {
    pub(super) settings: Settings,
    /// `--pod FILE`, for the list of relaxations.
    said: String,
    /// Where its files are looked for.
    folder: PathBuf,
}

impl ManifestArgs {
    /// Reads the manifest, if there is one.
    pub(super) fn read(&self) -> anyhow::Result<Option<Manifest>> {
        let (path, flag) = match (&self.pod, &self.compose) {
            (Some(path), _) => (path, "--pod"),
            (None, Some(path)) => (path, "--compose"),
            (None, None) => return Ok(None),
        };
        let about = || format!("the manifest {}", path.display());
        let text = text(path).with_context(about)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let settings = if self.pod.is_some() {
            pod::read(&text, self.container.as_deref(), netns::ADDRESS)
        } else {
            let variables = variables(folder).with_context(|| format!("the variables beside {}", path.display()))?;
            compose::read(&text, self.service.as_deref(), &variables)
        };
        let said = format!("{flag} {}", path.display());
        Ok(Some(Manifest { settings: settings.with_context(about)?, said, folder: folder.to_owned() }))
    }
}

/// Where the image is, and whom it is for.
pub(super) fn subject(
    manifest: Option<&Manifest>,
    image: Option<&Reference>,
    args: &ImageArgs,
) -> anyhow::Result<(Reference, ImageArgs)> {
    match (manifest, image) {
        (Some(manifest), image) => Ok((manifest.reference(image)?, manifest.files(args))),
        (None, Some(image)) => Ok((image.clone(), args.clone())),
        (None, None) => anyhow::bail!("no image was named"),
    }
}

/// How the image is to be run: as the manifest says, with what the flags change of it. `files` are those of [`subject`].
pub(super) fn wishes(
    manifest: Option<&Manifest>,
    session: &Session,
    files: &ImageArgs,
    (container, usage, args): (&ContainerArgs, &UsageArgs, &[String]),
) -> anyhow::Result<Wishes> {
    let Some(manifest) = manifest else {
        return Ok(Wishes::new(container.profile(&files.preset(), args)?, usage.limits()?));
    };
    let profile = container.profile_over(manifest.profile(&files.preset(), container)?, args)?;
    let refusal = manifest.refusal(files, &session.opened.image.config, session.account.uid)?;
    Ok(Wishes { refusal, ..Wishes::new(profile, usage.limits_over(&manifest.settings)?) })
}

fn text(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().take(LARGEST + 1).read_to_string(&mut text)?;
    } else {
        std::fs::File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)?;
    }
    anyhow::ensure!(text.len() as u64 <= LARGEST, "it is larger than {LARGEST} bytes");
    Ok(text)
}

/// What compose puts in the place of `${NAME}`: the caller's variables over those of the file `.env` beside.
fn variables(folder: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let file = folder.join(".env");
    let mut all = BTreeMap::new();
    if file.is_file() {
        for pair in container::variables(&container::read(&file)?)? {
            let (name, value) = pair.split_once('=').unwrap_or((&pair, ""));
            let quoted = |mark| value.strip_prefix(mark).and_then(|value| value.strip_suffix(mark));
            all.insert(name.to_owned(), quoted('"').or_else(|| quoted('\'')).unwrap_or(value).to_owned());
        }
    }
    all.extend(
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
    );
    Ok(all)
}

impl Manifest {
    /// Where the image is: as the command line says, else as the manifest does.
    fn reference(&self, given: Option<&Reference>) -> anyhow::Result<Reference> {
        if let Some(given) = given {
            return Ok(given.clone());
        }
        let Some(image) = &self.settings.image else {
            anyhow::bail!("{} names no image\n  hint: say where it is: IMAGE before the flags", self.settings.name);
        };
        image.parse().with_context(|| format!("the image of {} (name it on the command line)", self.settings.name))
    }

    /// The same arguments for the manifest's user.
    fn files(&self, args: &ImageArgs) -> ImageArgs {
        let mut args = args.clone();
        // The preset of the manifest's own engine, unless another was asked for.
        if self.settings.engine == Engine::Kubernetes && args.preset.is_none() {
            args.preset = "kubernetes".parse::<Preset>().ok();
        }
        args.said = Some(self.settings.account.clone());
        args
    }

    /// What the manifest gives, without what the flags put in its place.
    fn profile(&self, preset: &Preset, flags: &ContainerArgs) -> anyhow::Result<Profile> {
        let settings = &self.settings;
        let mut profile = Profile::hardened(preset.clone());
        let mut said = vec![self.said.clone()];
        profile.read_only = settings.read_only;
        if !settings.read_only {
            said.push("--read-only=false".to_owned());
        }
        profile.capabilities = capabilities(settings, preset)?;
        said.extend(profile.capabilities.iter().map(|name| format!("--cap-add {}", name.trim_start_matches("CAP_"))));
        profile.no_new_privs = settings.no_new_privs;
        profile.covers_system_paths = settings.covers_system_paths;
        profile.seccomp = match &settings.seccomp {
            Filter::Engine => Seccomp::Preset,
            Filter::Unconfined => Seccomp::Unconfined,
            Filter::File(name) => {
                let path = self.folder.join(name);
                let text = container::read(&path).with_context(|| format!("the seccomp profile {}", path.display()))?;
                Seccomp::Profile(path.display().to_string(), text)
            }
        };
        for (is_off, option) in [
            (!settings.no_new_privs, "no-new-privileges=false".to_owned()),
            (settings.seccomp == Filter::Unconfined, "seccomp=unconfined".to_owned()),
            (!settings.covers_system_paths, "systempaths=unconfined".to_owned()),
        ] {
            said.extend(is_off.then(|| format!("--security-opt {option}")));
        }
        self.mounts(&mut profile, &mut said, flags)?;
        for file in &settings.env_files {
            let path = self.folder.join(&file.path);
            if !file.required && !path.exists() {
                continue;
            }
            let about = || format!("the variables in {}", path.display());
            profile.env.extend(container::variables(&container::read(&path).with_context(about)?).with_context(about)?);
        }
        profile.env.extend(settings.env.iter().cloned());
        profile.working_dir.clone_from(&settings.working_dir);
        profile.entrypoint.clone_from(&settings.entrypoint);
        profile.args.clone_from(&settings.args);
        if let Some(name) = &settings.hostname {
            profile.hostname.clone_from(name);
        }
        profile.hosts.clone_from(&settings.hosts);
        said.extend(settings.sysctls.iter().map(|sysctl| format!("--sysctl {sysctl}")));
        profile.sysctls.clone_from(&settings.sysctls);
        said.extend(settings.ulimits.iter().map(|ulimit| format!("--ulimit {ulimit}")));
        profile.ulimits.clone_from(&settings.ulimits);
        profile.shm_size = settings.shm_size;
        profile.network = settings.network;
        if settings.network == Network::Host {
            said.push("--network host".to_owned());
        }
        profile.init = settings.init;
        profile.stop_signal.clone_from(&settings.stop_signal);
        profile.relaxations = said;
        Ok(profile)
    }

    fn mounts(&self, profile: &mut Profile, said: &mut Vec<String>, flags: &ContainerArgs) -> anyhow::Result<()> {
        let replaced = flags.targets();
        let is_replaced = |path: &Path| replaced.iter().any(|target| path.starts_with(target));
        for mount in &self.settings.mounts {
            match mount {
                Mount::Tmpfs(tmpfs) if !is_replaced(&tmpfs.path) => profile.tmpfs.push(tmpfs.clone()),
                Mount::Volume(path) if !is_replaced(path) => profile.volumes.push(path.to_string_lossy().into_owned()),
                Mount::Bind(bind) if !is_replaced(&bind.target) => {
                    let mut bind = bind.clone();
                    let source = self.folder.join(&bind.source);
                    bind.source = source.canonicalize().with_context(|| {
                        format!("{} cannot be mounted: docker would make an empty folder there", source.display())
                    })?;
                    profile.binds.push(bind);
                }
                Mount::Tmpfs(_) | Mount::Volume(_) | Mount::Bind(_) => continue,
            }
            let is_closed = matches!(mount, Mount::Tmpfs(tmpfs) if tmpfs.read_only);
            said.extend((!is_closed).then(|| mount.to_string()));
        }
        let files = self.settings.files.iter().filter(|file| !is_replaced(Path::new(&file.path)));
        profile.files = files.cloned().collect();
        Ok(())
    }

    /// What is not as it would be in the cluster, and no flag gives.
    fn stand_ins<'a>(&'a self, flags: &ContainerArgs) -> Vec<&'a StandIn> {
        let targets = flags.targets();
        let is_given = |stand_in: &StandIn| {
            let place = Path::new(&stand_in.place);
            targets.iter().any(|target| place.starts_with(target)) || flags.names().contains(&stand_in.place)
        };
        self.settings.stand_ins.iter().filter(|stand_in| !is_given(stand_in)).collect()
    }

    /// All that was noticed.
    pub(super) fn findings(&self, flags: &ContainerArgs) -> Vec<Finding> {
        let stand_in = |stand_in: &StandIn| Finding {
            code: "stand-in".to_owned(),
            role: Role::Static,
            severity: if stand_in.matters { Severity::Warning } else { Severity::Notice },
            message: stand_in.message.clone(),
            advice: Some(advice(&stand_in.place)),
            ..Finding::default()
        };
        self.stand_ins(flags).into_iter().map(stand_in).chain(self.settings.findings.iter().cloned()).collect()
    }

    /// What an app that fails may have failed for.
    pub(super) fn lacks(&self, flags: &ContainerArgs) -> Vec<Measure> {
        let matters = self.stand_ins(flags).into_iter().filter(|stand_in| stand_in.matters);
        matters.map(|one| Measure::unavailable("manifest-data", &one.place, &one.message).giving()).collect()
    }

    /// Why the kubelet would not start it: it starts no root, and no name that could be root's, where `runAsNonRoot` is asked for.
    fn refusal(&self, args: &ImageArgs, config: &image::Config, uid: u32) -> anyhow::Result<Option<Finding>> {
        let is_number = args.user(config)?.is_number();
        let why = match (self.settings.account.non_root, uid, is_number) {
            (true, 0, _) => "runAsNonRoot is asked for, and the container would run as root",
            (true, _, false) => "runAsNonRoot is asked for, and the image's user is a name, which could be root's",
            _ => return Ok(None),
        };
        Ok(Some(Finding {
            code: "run-as-non-root".to_owned(),
            role: Role::Cause,
            severity: Severity::Error,
            message: format!("the kubelet would not start it: {why}"),
            advice: Some("say a number above 0: runAsUser in the manifest, or USER in the image".to_owned()),
            ..Finding::default()
        }))
    }
}

/// The flag that gives what a stand-in stands for.
fn advice(place: &str) -> String {
    match place {
        "seccomp" => "give it with --security-opt seccomp=FILE".to_owned(),
        path if path.starts_with('/') => format!("give it with -v SOURCE:{path}:ro"),
        name if name.contains(['.', '[']) => "give them with -e NAME=VALUE or --env-file FILE".to_owned(),
        name => format!("give it with -e {name}=VALUE"),
    }
}

/// What is left of the engine's own capabilities.
fn capabilities(wanted: &Settings, preset: &Preset) -> anyhow::Result<BTreeSet<String>> {
    let all = |names: &[String]| names.iter().any(|name| name == "ALL");
    let each = |names: &[String]| -> anyhow::Result<BTreeSet<String>> {
        let one = |name: &String| Ok(settings::capabilities(name)?);
        Ok(names
            .iter()
            .filter(|name| *name != "ALL")
            .map(one)
            .collect::<anyhow::Result<Vec<_>>>()?
            .into_iter()
            .flatten()
            .collect())
    };
    let everything = settings::capabilities("ALL")?;
    let (add, drop) = (each(&wanted.cap_add)?, each(&wanted.cap_drop)?);
    Ok(match (wanted.engine, all(&wanted.cap_add), all(&wanted.cap_drop)) {
        // containerd: ALL first, then one by one, and what is dropped is dropped.
        (Engine::Kubernetes, _, true) => add.difference(&drop).cloned().collect(),
        (Engine::Kubernetes, false, false) => {
            preset.capabilities.union(&add).filter(|name| !drop.contains(*name)).cloned().collect()
        }
        // Docker: what is added stays.
        (Engine::Compose, true, true) => everything,
        (Engine::Compose, false, true) => add,
        (_, true, false) => everything.difference(&drop).cloned().collect(),
        (Engine::Compose, false, false) => preset.capabilities.difference(&drop).chain(&add).cloned().collect(),
    })
}
