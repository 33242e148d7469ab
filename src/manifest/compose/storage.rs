//! What a service mounts: volumes, tmpfs, configurations and secrets.

use std::collections::BTreeMap;

use super::finish;
use crate::manifest::fields::Fields;
use crate::manifest::node::{Node, Value};
use crate::manifest::{ManifestError, Settings};
use crate::profile::file::File;
use crate::profile::mount::{Bind, Mount};
use crate::profile::tmpfs::Tmpfs;

/// Reads all of it.
pub(super) fn read(
    service: &mut Fields<'_>,
    document: &Node,
    variables: &BTreeMap<String, String>,
    settings: &mut Settings,
) -> Result<(), ManifestError> {
    let place = service.path("tmpfs");
    if let Some(node) = service.get("tmpfs") {
        let list = if let Value::List(list) = &node.value { &list[..] } else { std::slice::from_ref(node) };
        for node in list {
            let tmpfs: Tmpfs = node.text(&place)?.parse().map_err(|error| node.wrong(&place, error))?;
            settings.mounts.push(Mount::Tmpfs(tmpfs));
        }
    }
    for (path, node) in service.list("volumes")? {
        match &node.value {
            Value::Text(text) => short(text, &path, node, settings)?,
            _ => long(&path, node, settings)?,
        }
    }
    for (key, folder) in [("secrets", "/run/secrets/"), ("configs", "/")] {
        for (path, node) in service.list(key)? {
            given(key, folder, &path, node, document, variables, settings)?;
        }
    }
    Ok(())
}

/// `[SOURCE:]TARGET[:OPTIONS]`; a source with a dot or a slash is a path, from the file's own folder.
fn short(text: &str, path: &str, node: &Node, settings: &mut Settings) -> Result<(), ManifestError> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [target] => ("", target, ""),
        [source, target] => (source, target, ""),
        [source, target, options] => (source, target, options),
        _ => return Err(node.wrong(path, format_args!("`{text}` is not [SOURCE:]TARGET[:OPTIONS]"))),
    };
    let mut read_only = false;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => read_only = true,
            "rw" | "z" | "Z" | "private" | "rprivate" | "nocopy" | "cached" | "delegated" | "consistent" => {}
            _ => return Err(node.wrong(path, format_args!("`{option}` is no option of a mount that austere has"))),
        }
    }
    let is_path = source.starts_with(['.', '/', '~']);
    add(is_path, source, target, read_only, path, node, settings)
}

fn add(
    is_bind: bool,
    source: &str,
    target: &str,
    read_only: bool,
    path: &str,
    node: &Node,
    settings: &mut Settings,
) -> Result<(), ManifestError> {
    // The same rules for the target as those of `-v`.
    let Ok(Mount::Volume(place)) = target.parse() else {
        return Err(node.wrong(path, format_args!("`{target}` is not an absolute path below the root without `..`")));
    };
    if is_bind {
        if source.starts_with('~') {
            return Err(node.wrong(path, format_args!("`{source}`: austere does not know whose home is meant")));
        }
        settings.mounts.push(Mount::Bind(Bind { source: source.into(), target: place, read_only }));
    } else if read_only {
        let message = format!("{target} shows what the image has there, and not what the volume `{source}` holds");
        settings.stand_in(target, true, message);
    } else {
        settings.mounts.push(Mount::Volume(place));
    }
    Ok(())
}

fn long(path: &str, node: &Node, settings: &mut Settings) -> Result<(), ManifestError> {
    let mut fields = Fields::of(node, path)?;
    let (kind, target) = (fields.required("type", node)?, fields.required("target", node)?);
    let source = fields.text("source")?.unwrap_or_default();
    let read_only = fields.bool("read_only")? == Some(true);
    fields.skip(&["bind", "volume", "consistency"]);
    let options = fields.map("tmpfs")?;
    finish(fields, settings);
    match kind.as_str() {
        "bind" => add(true, &source, &target, read_only, path, node, settings),
        "volume" => add(false, &source, &target, read_only, path, node, settings),
        "tmpfs" => {
            let Ok(Mount::Volume(place)) = target.parse() else {
                let why = format!("`{target}` is not an absolute path below the root without `..`");
                return Err(node.wrong(path, why));
            };
            let mut tmpfs = Tmpfs { read_only, mode: Some(0o1777), ..Tmpfs::at(place) };
            if let Some(mut options) = options {
                if let Some(size) = options.word("size")? {
                    tmpfs.size = Some(super::limits::bytes(&size, path, node)?);
                }
                tmpfs.mode = options.word("mode")?.and_then(|mode| mode.parse().ok()).or(tmpfs.mode);
                finish(options, settings);
            }
            settings.mounts.push(Mount::Tmpfs(tmpfs));
            Ok(())
        }
        _ => {
            Err(node
                .wrong(path, format_args!("`{kind}` is not a type of mount that austere has: bind, volume or tmpfs")))
        }
    }
}

/// A configuration or a secret, from a file, from the manifest or from a variable.
fn given(
    key: &str,
    folder: &str,
    path: &str,
    node: &Node,
    document: &Node,
    variables: &BTreeMap<String, String>,
    settings: &mut Settings,
) -> Result<(), ManifestError> {
    let (name, target, mode) = if let Value::Text(name) = &node.value {
        (name.clone(), None, None)
    } else {
        let mut fields = Fields::of(node, path)?;
        fields.skip(&["uid", "gid"]);
        let all = (fields.required("source", node)?, fields.text("target")?, fields.word("mode")?);
        finish(fields, settings);
        all
    };
    let target = target.unwrap_or_else(|| name.clone());
    let target = if target.starts_with('/') { target } else { format!("{folder}{target}") };
    let mode = mode.and_then(|mode| u32::from_str_radix(mode.trim_start_matches("0o"), 8).ok()).unwrap_or(0o444);
    let declared = document.at(&[key, &name]);
    let text = |field: &str| declared.and_then(|node| node.at(&[field])).and_then(|node| node.text("").ok());
    if declared.is_none()
        && document
            .at(&[key])
            .and_then(|all| all.entries("").ok())
            .is_none_or(|all| all.iter().all(|(known, _)| *known != name))
    {
        return Err(node.wrong(path, format_args!("the file has no {} `{name}`", key.trim_end_matches('s'))));
    }
    let content = match (text("file"), text("content"), text("environment")) {
        (Some(file), ..) => {
            return add(true, file, &target, true, path, node, settings);
        }
        (None, Some(content), _) => Some(content.to_owned()),
        (None, None, Some(variable)) => variables.get(variable).cloned(),
        (None, None, None) => None,
    };
    if content.is_none() {
        let message = format!("{target} is empty: the {} `{name}` is not in the file", key.trim_end_matches('s'));
        settings.stand_in(&target, true, message);
    }
    settings.files.push(File { path: target, content: content.unwrap_or_default().into_bytes(), mode, gid: None });
    Ok(())
}
