//! Kubernetes: objects that make pods, and one of their containers as the kubelet would start it.

mod container;
mod data;
mod env;
mod probes;
mod quantity;
mod security;
pub mod standards;
mod volumes;
mod workload;

use std::net::Ipv4Addr;

use super::node::Node;
use super::{Engine, ManifestError, Settings};
use workload::{Objects, Workload};

/// What one container of a file is to be.
///
/// `choice` names a container, or its workload and it: `web/app`. `address` is the pod's own.
///
/// # Errors
///
/// [`ManifestError`]: what is wrong and where, or which containers there are to choose from.
pub fn read(text: &str, choice: Option<&str>, address: Ipv4Addr) -> Result<Settings, ManifestError> {
    let documents = workload::documents(text)?;
    let objects = Objects::of(&documents)?;
    let (workload, index) = chosen(&objects, choice)?;
    let containers = workload.containers()?;
    let (name, node, path) = &containers[index];
    let mut settings =
        Settings::new(format!("{}/{}, container {name}", workload.kind, workload.name), Engine::Kubernetes);
    settings.findings.clone_from(&objects.findings);
    let others = containers.iter().filter(|(other, ..)| other != name).map(|(other, ..)| other.as_str());
    let others: Vec<&str> = others.collect();
    if !others.is_empty() {
        let message = format!("the pod's other containers were not run: {}", others.join(", "));
        settings.notice("container-not-run", message, "judge each by itself: --container NAME");
    }
    container::read(workload, &objects, address, path, node, &mut settings)?;
    settings.pod_security = Some(standards::judge(
        format!("{}/{}", workload.kind, workload.name),
        workload.path,
        workload.spec,
        workload.metadata,
        settings.read_only,
    ));
    Ok(settings)
}

/// The annotation that names the container people mean.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// The workload and the index of the container that is meant.
fn chosen<'a, 'b>(objects: &'b Objects<'a>, choice: Option<&str>) -> Result<(&'b Workload<'a>, usize), ManifestError> {
    let mut all = Vec::new();
    for workload in &objects.workloads {
        for (index, (name, ..)) in workload.containers()?.into_iter().enumerate() {
            all.push((workload, index, name));
        }
    }
    if all.is_empty() {
        let why = objects.findings.first().map_or("it has no object at all", |finding| finding.message.as_str());
        return Err(ManifestError::Nothing(why.to_owned()));
    }
    let names =
        all.iter().map(|(workload, _, name)| format!("{}/{name}", workload.name)).collect::<Vec<_>>().join(", ");
    let is_meant = |workload: &Workload<'_>, name: &str| {
        if let Some(choice) = choice {
            choice == name || choice == format!("{}/{name}", workload.name)
        } else {
            let said = workload.metadata.and_then(|metadata| metadata.at(&["annotations", DEFAULT_CONTAINER]));
            said.is_none_or(|said: &Node| said.text("").is_ok_and(|said| said == name))
        }
    };
    let meant: Vec<_> = all.iter().filter(|(workload, _, name)| is_meant(workload, name)).collect();
    match (meant[..].first(), meant.len(), choice) {
        (Some((workload, index, _)), 1, _) => Ok((workload, *index)),
        (None, _, Some(choice)) => {
            Err(ManifestError::Choice(format!("it has no container `{choice}`; there are {names}")))
        }
        _ => Err(ManifestError::Choice(format!(
            "it has several containers: {names}\n  hint: choose one with --container"
        ))),
    }
}
