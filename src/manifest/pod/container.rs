//! One container of a pod.

use std::net::{IpAddr, Ipv4Addr};

use super::env::{self, expand};
use super::quantity::Quantity;
use super::workload::{Objects, Workload};
use super::{probes, security, volumes};
use crate::manifest::fields::Fields;
use crate::manifest::node::Node;
use crate::manifest::{ManifestError, Settings, is_host_name};

/// Fields of a pod that say where and when it runs, which changes nothing inside.
const PLACEMENT: [&str; 29] = [
    "activeDeadlineSeconds",
    "affinity",
    "automountServiceAccountToken",
    "containers",
    "dnsConfig",
    "dnsPolicy",
    "enableServiceLinks",
    "hostUsers",
    "imagePullSecrets",
    "nodeName",
    "nodeSelector",
    "os",
    "overhead",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "readinessGates",
    "resourceClaims",
    "resources",
    "restartPolicy",
    "runtimeClassName",
    "schedulerName",
    "schedulingGates",
    "serviceAccount",
    "setHostnameAsFQDN",
    "subdomain",
    "terminationGracePeriodSeconds",
    "tolerations",
    "topologySpreadConstraints",
];

/// Reads what a pod says of one of its containers.
pub(super) fn read(
    workload: &Workload<'_>,
    objects: &Objects<'_>,
    address: Ipv4Addr,
    path: &str,
    node: &Node,
    settings: &mut Settings,
) -> Result<(), ManifestError> {
    let mut pod = Fields::of(workload.spec, workload.path)?;
    let mut fields = Fields::of(node, path)?;
    pod.skip(&PLACEMENT);
    fields.skip(&[
        "name",
        "imagePullPolicy",
        "resizePolicy",
        "restartPolicy",
        "terminationMessagePolicy",
        "stdin",
        "stdinOnce",
        "tty",
    ]);
    settings.image = fields.text("image")?;
    settings.ends = workload.ends;
    let fs_group = security::read(&mut pod, &mut fields, node, settings)?;

    let name = pod_name(workload);
    let service_account = pod.text("serviceAccountName")?.unwrap_or_else(|| "default".to_owned());
    let source = env::Source {
        workload: *workload,
        objects,
        address,
        pod_name: &name,
        service_account: &service_account,
        resources: node.at(&["resources"]),
    };
    env::read(&mut fields, &source, settings)?;
    let pairs: Vec<(String, String)> = settings
        .env
        .iter()
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let words = |fields: &mut Fields<'_>, key| -> Result<Vec<String>, ManifestError> {
        Ok(fields.texts(key)?.iter().map(|word| expand(word, &pairs)).collect())
    };
    let command = words(&mut fields, "command")?;
    settings.entrypoint = (!command.is_empty()).then_some(command);
    settings.args = words(&mut fields, "args")?;
    settings.working_dir = absolute(&mut fields, "workingDir", node)?;

    network(&mut pod, workload.spec, &name, settings)?;
    let volumes = volumes::Volumes::read(&mut pod, workload, &source, fs_group, settings)?;
    volumes.mount(&mut fields, &pairs, settings)?;
    resources(&mut fields, settings)?;
    probes::read(&mut fields, settings)?;
    others(&mut pod, &mut fields, node, settings)?;
    pod.finish(&mut settings.findings);
    fields.finish(&mut settings.findings);
    Ok(())
}

/// The name that a pod of the workload would have; what a cluster would make up is `austere`.
fn pod_name(workload: &Workload<'_>) -> String {
    match workload.kind {
        "Pod" => workload.name.to_owned(),
        "StatefulSet" => format!("{}-0", workload.name),
        _ => format!("{}-austere", workload.name.trim_end_matches('-')),
    }
}

fn absolute(fields: &mut Fields<'_>, key: &'static str, node: &Node) -> Result<Option<String>, ManifestError> {
    let place = fields.path(key);
    let dir = fields.text(key)?.filter(|dir| !dir.is_empty());
    match dir {
        Some(dir) if !dir.starts_with('/') => {
            Err(fields.get(key).unwrap_or(node).wrong(&place, format_args!("`{dir}` is not an absolute path")))
        }
        dir => Ok(dir),
    }
}

fn network(pod: &mut Fields<'_>, spec: &Node, pod_name: &str, settings: &mut Settings) -> Result<(), ManifestError> {
    let hostname = pod.text("hostname")?.unwrap_or_else(|| pod_name.to_owned());
    // As the kubelet cuts it.
    let cut: String = hostname.chars().take(63).collect();
    let cut = cut.trim_end_matches(['-', '.']);
    if !is_host_name(cut) {
        let why = format!("`{cut}` is not a host name");
        return Err(pod.get("hostname").unwrap_or(spec).wrong(&pod.path("hostname"), why));
    }
    settings.hostname = Some(cut.to_owned());
    for (path, node) in pod.list("hostAliases")? {
        let mut alias = Fields::of(node, &*path)?;
        let address = alias.required("ip", node)?;
        let ip: IpAddr = address.parse().map_err(|_| node.wrong(&path, format_args!("`{address}` is no address")))?;
        for name in alias.texts("hostnames")? {
            if !is_host_name(&name) {
                return Err(node.wrong(&path, format_args!("`{name}` is not a host name")));
            }
            settings.hosts.push((name, ip));
        }
        alias.finish(&mut settings.findings);
    }
    for (key, instead) in [
        ("hostNetwork", "the network was the app's own, and closed; --network host gives it the host's"),
        ("hostPID", "the app had a pid namespace of its own"),
        ("hostIPC", "the app had an ipc namespace of its own"),
        ("shareProcessNamespace", "there were no other containers beside the app"),
    ] {
        if pod.bool(key)? == Some(true) {
            settings.warn("pod-setting-not-used", format!("{}: true was not followed: {instead}", pod.path(key)), "");
        }
    }
    Ok(())
}

fn resources(fields: &mut Fields<'_>, settings: &mut Settings) -> Result<(), ManifestError> {
    let Some(mut resources) = fields.map("resources")? else { return Ok(()) };
    resources.skip(&["requests", "claims"]);
    let path = resources.path("limits");
    if let Some(limits) = resources.get("limits") {
        for (name, node) in limits.entries(&path)? {
            let path = format!("{path}.{name}");
            let quantity: Quantity = node.word(&path)?.parse().map_err(|error| node.wrong(&path, error))?;
            match name.as_str() {
                "memory" => {
                    let bytes = quantity.units().filter(|bytes| *bytes < 1 << 62);
                    settings.memory = Some(bytes.ok_or_else(|| node.wrong(&path, "it is too large"))?);
                    if settings.memory.is_some_and(|bytes| bytes < 1 << 20) {
                        return Err(node.wrong(&path, "it is less than 1Mi, and no container starts with that"));
                    }
                }
                "cpu" => settings.cpus = Some(quantity.decimal()),
                _ => settings.notice("pod-setting-not-used", format!("{path} was not set as a limit"), ""),
            }
        }
    }
    resources.finish(&mut settings.findings);
    Ok(())
}

/// The volumes that a container mounts, each with its place.
fn mounts(container: &Node) -> Vec<(&str, &str)> {
    let list = container.at(&["volumeMounts"]).and_then(|node| node.list("").ok()).unwrap_or_default();
    list.iter()
        .filter_map(|node| Some((node.at(&["name"])?.text("").ok()?, node.at(&["mountPath"])?.text("").ok()?)))
        .collect()
}

/// What is not done here, and said.
fn others(
    pod: &mut Fields<'_>,
    fields: &mut Fields<'_>,
    container: &Node,
    settings: &mut Settings,
) -> Result<(), ManifestError> {
    for (path, node) in pod.list("initContainers")? {
        let mut init = Fields::of(node, &*path)?;
        let name = init.required("name", node)?;
        let what = if init.text("restartPolicy")?.as_deref() == Some("Always") { "sidecar" } else { "init container" };
        settings.warn("init-container-not-run", format!("the {what} `{name}` was not run"), "");
        for (volume, _) in mounts(node) {
            for (_, target) in mounts(container).into_iter().filter(|(own, _)| *own == volume) {
                let message = format!("{target} lacks what the {what} `{name}` would have written there");
                settings.stand_in(target, true, message);
            }
        }
    }
    if !pod.list("ephemeralContainers")?.is_empty() {
        settings.notice("container-not-run", "the ephemeral containers were not run".to_owned(), "");
    }
    if let Some(mut hooks) = fields.map("lifecycle")? {
        for key in ["postStart", "preStop"] {
            if hooks.get(key).is_some() {
                let message = format!("{} was not run", hooks.path(key));
                let advice =
                    "a hook that executes needs a second exec in the container; an httpGet or a sleep does not";
                settings.warn("hook-not-run", message, advice);
            }
        }
        hooks.skip(&["stopSignal"]);
        settings.stop_signal = hooks.text("stopSignal")?;
        hooks.finish(&mut settings.findings);
    }
    if let Some(path) = fields.text("terminationMessagePath")?.filter(|path| path != "/dev/termination-log") {
        settings.notice(
            "pod-setting-not-used",
            format!("no file was mounted at {path} for the termination message"),
            "",
        );
    }
    if !fields.list("volumeDevices")?.is_empty() {
        settings.warn("pod-setting-not-used", "block devices (volumeDevices) were not given".to_owned(), "");
    }
    Ok(())
}
