//! `--against`: the adversary in somebody else's container.

use crate::attack::against::{Against, Bundle, DEFAULT, Said, engine};
use crate::attack::{Facts, Report};
use crate::cgroup::Limits;
use crate::cli::launch::{self, Wishes};
use crate::cli::progress;
use crate::cli::session::ImageArgs;
use crate::profile::Profile;
use crate::reference::Reference;
use crate::unpack::merge;
use crate::verdict::facts::Host;
use crate::{source, store};

/// What the adversary came to there. `outside` is an abstract socket of the host's.
pub(super) fn attack(
    whose: &Against,
    image: Option<&Reference>,
    flags: &[String],
    files: &ImageArgs,
    outside: &str,
) -> anyhow::Result<Report> {
    let named = |program| image.map(|image| name(program, image)).transpose();
    let (said, image) = match whose {
        Against::Docker | Against::Podman => {
            let program = whose.to_string();
            let image = named(&program)?;
            (engine(&program, image.as_deref(), flags, outside)?, image)
        }
        Against::Runtime(path) => {
            anyhow::ensure!(
                flags.is_empty(),
                "an OCI runtime has no flags for a container\n  hint: its bundle is {DEFAULT}"
            );
            let bundle = Bundle::new()?;
            let image = image.map(|image| unpack(&bundle, image, files)).transpose()?;
            (bundle.attack(path, outside)?, image)
        }
    };
    let Said { inside, without, who } = said;
    let facts = Facts {
        image: image.unwrap_or_else(|| "an almost empty image".to_owned()),
        container: whose.to_string(),
        made_by: who,
        preset: None,
        relaxations: match whose {
            Against::Runtime(_) => vec![DEFAULT.to_owned()],
            _ => flags.to_vec(),
        },
        ids: None,
        kernel: Host::here(None).kernel,
        broken: Vec::new(),
    };
    // What an engine's own list is, only it knows: the preset's is what it is measured by.
    let strictest = Profile::hardened(files.preset());
    let allowed = launch::allowed(&Wishes::new(strictest, Limits::default()))?;
    Ok(Report::new(facts, &inside, &without, allowed.as_ref()))
}

/// The name by which `program` knows the image.
fn name(program: &str, image: &Reference) -> anyhow::Result<String> {
    match (program, image) {
        ("docker", Reference::DockerDaemon(name)) | ("podman", Reference::ContainersStorage(name)) => Ok(name.clone()),
        (_, Reference::Named(name)) => Ok(name.written().to_owned()),
        _ => anyhow::bail!(
            "{program} runs images that it has, by their names\n  hint: `{program} load` or `{program} pull` it first; or --against \
             runtime:PATH, for which austere unpacks any image"
        ),
    }
}

/// The image's files, where the bundle has them; gives its name.
fn unpack(bundle: &Bundle, image: &Reference, files: &ImageArgs) -> anyhow::Result<String> {
    let opened = source::open(image, &files.source()?)?;
    if let Some(folder) = opened.rootfs() {
        anyhow::bail!("{} is a folder that a container could write to\n  hint: name an image", folder.display());
    }
    let limits = files.limits.limits();
    progress::shown(&opened, || merge(&opened, &bundle.rootfs(), &limits, store::privileged()))?;
    Ok(opened.reference)
}
