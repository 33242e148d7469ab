//! The security contexts of a pod and of its container, merged as the kubelet does: the container's field wins over the pod's.

use crate::manifest::fields::Fields;
use crate::manifest::node::Node;
use crate::manifest::{Filter, ManifestError, Settings};
use crate::profile::settings::{Sysctl, capabilities};

/// The largest id that Kubernetes takes.
const LAST_ID: u32 = i32::MAX.unsigned_abs();

/// Reads both contexts; gives `fsGroup`.
pub(super) fn read(
    pod: &mut Fields<'_>,
    container: &mut Fields<'_>,
    node: &Node,
    settings: &mut Settings,
) -> Result<Option<u32>, ManifestError> {
    let place = container.path("securityContext");
    let context = container.get("securityContext").unwrap_or(node);
    let (mut of_pod, mut own) = (pod.map("securityContext")?, container.map("securityContext")?);
    let mut fs_group = None;
    // Without a profile there is no filter, unless the node's kubelet has `SeccompDefault`.
    settings.seccomp = Filter::Unconfined;
    for (context, is_pod) in [(&mut of_pod, true), (&mut own, false)] {
        let Some(context) = context else { continue };
        let id = |context: &mut Fields<'_>, key: &'static str| -> Result<Option<u32>, ManifestError> {
            let (path, given) = (context.path(key), context.number::<u32>(key)?);
            match (given, context.get(key)) {
                (Some(id), Some(node)) if id > LAST_ID => {
                    Err(node.wrong(&path, format_args!("{id} is above {LAST_ID}")))
                }
                (given, _) => Ok(given),
            }
        };
        if let Some(user) = id(context, "runAsUser")? {
            settings.account.user = Some(user.to_string());
        }
        if let Some(group) = id(context, "runAsGroup")? {
            settings.account.group = Some(group);
        }
        if let Some(non_root) = context.bool("runAsNonRoot")? {
            settings.account.non_root = non_root;
        }
        seccomp(context, settings)?;
        for key in ["seLinuxOptions", "appArmorProfile"] {
            if context.get(key).is_some() {
                let message = format!("{} was not applied: austere's second wall is Landlock", context.path(key));
                settings.notice("pod-setting-not-used", message, "");
            }
        }
        context.skip(&["windowsOptions", "fsGroupChangePolicy", "seLinuxChangePolicy"]);
        if is_pod {
            fs_group = id(context, "fsGroup")?;
            groups(context, fs_group, settings)?;
        }
    }
    if let Some(own) = &mut own {
        hardening(own, context, &place, settings)?;
    }
    for context in [of_pod, own].into_iter().flatten() {
        context.finish(&mut settings.findings);
    }
    Ok(fs_group)
}

fn seccomp(context: &mut Fields<'_>, settings: &mut Settings) -> Result<(), ManifestError> {
    let (path, node) = (context.path("seccompProfile"), context.get("seccompProfile"));
    let (Some(mut profile), Some(node)) = (context.map("seccompProfile")?, node) else { return Ok(()) };
    let kind = profile.required("type", node)?;
    let file = profile.text("localhostProfile")?;
    profile.finish(&mut settings.findings);
    settings.stand_ins.retain(|stand_in| stand_in.place != "seccomp");
    settings.seccomp = match (kind.as_str(), file) {
        ("RuntimeDefault", None) => Filter::Engine,
        ("Unconfined", None) => Filter::Unconfined,
        ("Localhost", Some(file)) => {
            let message = format!("the node's seccomp profile {file} is not here; the runtime's default was used");
            settings.stand_in("seccomp", true, message);
            Filter::Engine
        }
        ("Localhost", None) => return Err(node.wrong(&path, "a profile of type Localhost needs localhostProfile")),
        ("RuntimeDefault" | "Unconfined", Some(_)) => {
            return Err(node.wrong(&path, "localhostProfile goes with the type Localhost only"));
        }
        (other, _) => {
            return Err(node.wrong(&path, format_args!("`{other}` is none of RuntimeDefault, Unconfined, Localhost")));
        }
    };
    Ok(())
}

fn groups(context: &mut Fields<'_>, fs_group: Option<u32>, settings: &mut Settings) -> Result<(), ManifestError> {
    for (path, node) in context.list("supplementalGroups")? {
        settings.account.groups.push(node.number::<u32>(&path)?.to_string());
    }
    if let Some(group) = fs_group.map(|group| group.to_string())
        && !settings.account.groups.contains(&group)
    {
        settings.account.groups.push(group);
    }
    settings.account.keeps_memberships = context.text("supplementalGroupsPolicy")?.as_deref() != Some("Strict");
    for (path, node) in context.list("sysctls")? {
        let mut sysctl = Fields::of(node, &*path)?;
        let (name, value) = (sysctl.required("name", node)?, sysctl.required("value", node)?);
        // `net/core/somaxconn` is another way to write it.
        let pair = format!("{}={value}", name.replace('/', "."));
        settings.sysctls.push(pair.parse::<Sysctl>().map_err(|error| node.wrong(&path, error))?);
        sysctl.finish(&mut settings.findings);
    }
    Ok(())
}

fn hardening(own: &mut Fields<'_>, node: &Node, place: &str, settings: &mut Settings) -> Result<(), ManifestError> {
    if own.bool("privileged")? == Some(true) {
        let why = "austere does not run privileged containers: there would be nothing to verify";
        return Err(own.get("privileged").unwrap_or(node).wrong(&own.path("privileged"), why));
    }
    settings.read_only = own.bool("readOnlyRootFilesystem")? == Some(true);
    settings.no_new_privs = own.bool("allowPrivilegeEscalation")? == Some(false);
    settings.covers_system_paths = match own.text("procMount")?.as_deref() {
        None | Some("Default") => true,
        Some("Unmasked") => false,
        Some(other) => {
            return Err(node.wrong(&own.path("procMount"), format_args!("`{other}` is neither Default nor Unmasked")));
        }
    };
    let Some(mut both) = own.map("capabilities")? else { return Ok(()) };
    for (key, into) in [("add", &mut settings.cap_add), ("drop", &mut settings.cap_drop)] {
        for (path, node) in both.list(key)? {
            let word = node.text(&path)?;
            capabilities(word).map_err(|error| node.wrong(&path, error))?;
            into.push(word.to_ascii_uppercase().trim_start_matches("CAP_").to_owned());
        }
    }
    both.finish(&mut settings.findings);
    if settings.no_new_privs && settings.cap_add.iter().any(|name| name == "SYS_ADMIN") {
        let why = "Kubernetes refuses allowPrivilegeEscalation: false together with the capability SYS_ADMIN";
        return Err(node.wrong(place, why));
    }
    Ok(())
}
