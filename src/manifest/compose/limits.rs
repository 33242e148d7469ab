//! What a service may use.

use super::finish;
use crate::manifest::fields::Fields;
use crate::manifest::node::{Node, Value};
use crate::manifest::{ManifestError, Settings};
use crate::profile::settings::Ulimit;
use crate::profile::tmpfs;

/// Reads what the service may use.
pub(super) fn read(service: &mut Fields<'_>, settings: &mut Settings) -> Result<(), ManifestError> {
    let path = service.path("ulimits");
    if let Some(node) = service.get("ulimits") {
        for (name, node) in node.entries(&path)? {
            let path = format!("{path}.{name}");
            let text = match &node.value {
                Value::Map(_) => {
                    let mut both = Fields::of(node, &*path)?;
                    let (soft, hard) = (both.word("soft")?, both.word("hard")?);
                    let (Some(soft), Some(hard)) = (soft, hard) else {
                        return Err(node.wrong(&path, "soft and hard have to be there"));
                    };
                    format!("{name}={soft}:{hard}")
                }
                _ => format!("{name}={}", node.word(&path)?),
            };
            if name == "core" {
                settings.notice(
                    "compose-setting-not-used",
                    format!("{path} was not followed: there are no core files"),
                    "",
                );
                continue;
            }
            settings.ulimits.push(text.parse::<Ulimit>().map_err(|error| node.wrong(&path, error))?);
        }
    }
    settings.shm_size = size(service, "shm_size")?;
    settings.memory = size(service, "mem_limit")?;
    settings.cpus = service.word("cpus")?;
    settings.pids = pids(service, "pids_limit")?;
    let Some(mut deploy) = service.map("deploy")? else { return Ok(()) };
    deploy.skip(&[
        "mode",
        "replicas",
        "endpoint_mode",
        "labels",
        "placement",
        "restart_policy",
        "rollback_config",
        "update_config",
    ]);
    if let Some(mut resources) = deploy.map("resources")? {
        resources.skip(&["reservations"]);
        if let Some(mut limits) = resources.map("limits")? {
            settings.memory = size(&mut limits, "memory")?.or(settings.memory);
            settings.cpus = limits.word("cpus")?.or(settings.cpus.take());
            settings.pids = pids(&mut limits, "pids")?.or(settings.pids);
            finish(limits, settings);
        }
        finish(resources, settings);
    }
    finish(deploy, settings);
    Ok(())
}

fn size(fields: &mut Fields<'_>, key: &'static str) -> Result<Option<u64>, ManifestError> {
    let (path, text) = (fields.path(key), fields.word(key)?);
    match (text, fields.get(key)) {
        (Some(text), Some(node)) => bytes(&text, &path, node).map(Some),
        _ => Ok(None),
    }
}

/// `64m`, `1gb` or a number of bytes.
pub(super) fn bytes(text: &str, path: &str, node: &Node) -> Result<u64, ManifestError> {
    let short = text.to_ascii_lowercase();
    let short = short.strip_suffix('b').unwrap_or(&short);
    tmpfs::bytes(short).ok_or_else(|| node.wrong(path, format_args!("`{text}` is not a size such as 64m or 1gb")))
}

fn pids(fields: &mut Fields<'_>, key: &'static str) -> Result<Option<u32>, ManifestError> {
    let (path, text) = (fields.path(key), fields.word(key)?);
    match (text.as_deref(), fields.get(key)) {
        (Some("-1" | "0") | None, _) | (_, None) => Ok(None),
        (Some(text), Some(node)) => {
            text.parse().map(Some).map_err(|_| node.wrong(&path, format_args!("`{text}` is not a number of processes")))
        }
    }
}
