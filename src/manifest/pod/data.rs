//! What is in the files of a volume: of a `ConfigMap`, a `Secret` or the downward API.

use std::path::{Component, Path};

use super::env;
use crate::manifest::fields::Fields;
use crate::manifest::node::{Node, Value};
use crate::manifest::{ManifestError, Settings};

/// One file.
pub(super) struct Item {
    pub(super) path: String,
    pub(super) content: Vec<u8>,
    pub(super) mode: u32,
}

/// The files of a volume.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) files: Vec<Item>,
    /// What of them is not in the manifest.
    missing: Vec<String>,
}

impl Contents {
    /// What the files stand in for, if some do.
    pub(super) fn stand_in(&self) -> Option<String> {
        (!self.missing.is_empty()).then(|| self.missing.join(" and "))
    }

    /// Adds what a source of a projected volume gives.
    pub(super) fn add_source(
        &mut self,
        kind: &str,
        node: &Node,
        path: &str,
        mode: u32,
        source: &env::Source<'_>,
        settings: &mut Settings,
    ) -> Result<(), ManifestError> {
        let mut fields = Fields::of(node, format!("{path}.{kind}"))?;
        if ["configMap", "secret", "downwardAPI"].contains(&kind) {
            self.add(kind, &mut fields, node, mode, source, settings)?;
            fields.finish(&mut settings.findings);
        } else {
            let name = fields.text("path")?.unwrap_or_else(|| "token".to_owned());
            self.files.push(Item { path: inside(&name, node, path)?, content: Vec::new(), mode });
            self.missing.push(format!("the {kind} `{name}`"));
        }
        Ok(())
    }

    /// Adds the files of a `ConfigMap`, a `Secret` or the downward API.
    pub(super) fn add(
        &mut self,
        kind: &str,
        fields: &mut Fields<'_>,
        node: &Node,
        mode: u32,
        source: &env::Source<'_>,
        settings: &mut Settings,
    ) -> Result<(), ManifestError> {
        let is_optional = fields.bool("optional")? == Some(true);
        let (object, name) = match kind {
            "configMap" => ("ConfigMap", fields.text("name")?),
            "secret" => {
                // A volume names it in one way, a projected source in another.
                let (secret, name) = (fields.text("secretName")?, fields.text("name")?);
                ("Secret", secret.or(name))
            }
            _ => ("", Some(String::new())),
        };
        let name = name.ok_or_else(|| node.wrong(&fields.path("name"), "it has to be there"))?;
        let known = source.objects.data.get(&(object, name.as_str()));
        let items = fields.list("items")?;
        if items.is_empty() {
            match known {
                Some(data) => {
                    for (key, content) in data {
                        self.files.push(Item { path: (*key).to_owned(), content: content.clone(), mode });
                    }
                }
                None if kind == "downwardAPI" || is_optional => {}
                None => self.missing.push(format!("the {object} `{name}`, which is not in the file")),
            }
            return Ok(());
        }
        let mut lacks = false;
        for (path, node) in items {
            let mut item = Fields::of(node, &*path)?;
            let target = inside(&item.required("path", node)?, node, &path)?;
            let mode = item.number::<u32>("mode")?.unwrap_or(mode) & 0o777;
            let content = if kind == "downwardAPI" {
                downward(&mut item, node, source, settings)?
            } else {
                let key = item.required("key", node)?;
                let content = known.and_then(|data| data.get(key.as_str()));
                lacks |= content.is_none() && !is_optional;
                if content.is_none() && is_optional {
                    continue;
                }
                content.cloned().unwrap_or_default()
            };
            item.finish(&mut settings.findings);
            self.files.push(Item { path: target, content, mode });
        }
        if lacks {
            self.missing.push(format!("keys of the {object} `{name}`, which are not in the file"));
        }
        Ok(())
    }
}

fn downward(
    item: &mut Fields<'_>,
    node: &Node,
    source: &env::Source<'_>,
    settings: &mut Settings,
) -> Result<Vec<u8>, ManifestError> {
    item.skip(&["resourceFieldRef"]);
    let Some(mut reference) = item.map("fieldRef")? else { return Ok(Vec::new()) };
    let field = reference.required("fieldPath", node)?;
    reference.skip(&["apiVersion"]);
    if let Some(list) = ["labels", "annotations"].into_iter().find(|list| field == format!("metadata.{list}")) {
        let entries = source.workload.metadata.and_then(|metadata| metadata.at(&[list]));
        let Some(Value::Map(entries)) = entries.map(|node| &node.value) else { return Ok(Vec::new()) };
        let lines = entries.iter().map(|(name, value)| format!("{name}={:?}\n", value.word("").unwrap_or_default()));
        return Ok(lines.collect::<String>().into_bytes());
    }
    Ok(env::field_value(&field, &item.path("fieldRef"), node, source, settings)?.into_bytes())
}

/// A path that stays inside a volume.
fn inside(text: &str, node: &Node, path: &str) -> Result<String, ManifestError> {
    let fits = !text.is_empty() && Path::new(text).components().all(|part| matches!(part, Component::Normal(_)));
    if fits {
        Ok(text.to_owned())
    } else {
        Err(node.wrong(path, format_args!("`{text}` has to stay inside the volume")))
    }
}
