//! The objects of a file: those that make pods, the data they name, and the rest.

use std::collections::BTreeMap;

use base64::Engine as _;

use crate::finding::{Finding, Severity};
use crate::manifest::fields::Fields;
use crate::manifest::node::{self, Dialect, Node};
use crate::manifest::{ManifestError, note};

/// Something that makes pods.
#[derive(Clone, Copy, Debug)]
pub(super) struct Workload<'a> {
    /// `Deployment`.
    pub(super) kind: &'a str,
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
    /// Of the pods.
    pub(super) metadata: Option<&'a Node>,
    /// Of the pods, and where it lies.
    pub(super) spec: &'a Node,
    pub(super) path: &'static str,
    /// A job: its pods end.
    pub(super) ends: bool,
    /// The object itself.
    pub(super) object: &'a Node,
}

/// The objects of a file.
#[derive(Debug, Default)]
pub(super) struct Objects<'a> {
    pub(super) workloads: Vec<Workload<'a>>,
    /// Data by kind and name, then by key.
    pub(super) data: BTreeMap<(&'a str, &'a str), BTreeMap<&'a str, Vec<u8>>>,
    pub(super) findings: Vec<Finding>,
}

/// Reads all documents of a file.
pub(super) fn documents(text: &str) -> Result<Vec<Node>, ManifestError> {
    node::documents(text, Dialect::Yaml11)
}

impl<'a> Objects<'a> {
    /// Sorts the objects of some documents.
    pub(super) fn of(documents: &'a [Node]) -> Result<Self, ManifestError> {
        let mut objects = Objects::default();
        let mut skipped: Vec<String> = Vec::new();
        for document in documents {
            objects.add(document, &mut skipped)?;
        }
        if !skipped.is_empty() {
            let message =
                format!("nothing runs for these objects, and they were not looked at: {}", skipped.join(", "));
            objects.findings.push(note("manifest-skipped", Severity::Notice, message, ""));
        }
        Ok(objects)
    }

    fn add(&mut self, object: &'a Node, skipped: &mut Vec<String>) -> Result<(), ManifestError> {
        object.entries("the document")?;
        let text = |keys: &[&str]| object.at(keys).and_then(|node| node.text("").ok());
        let Some(kind) = text(&["kind"]) else {
            return Err(object.wrong("kind", "it has to be there: this is no Kubernetes object"));
        };
        let name = text(&["metadata", "name"]).or_else(|| text(&["metadata", "generateName"])).unwrap_or("unnamed");
        let (keys, path): (&[&str], _) = match kind {
            "List" => {
                let items = object.at(&["items"]).map(|items| items.list("items")).transpose()?;
                return items.unwrap_or_default().iter().try_for_each(|item| self.add(item, skipped));
            }
            "ConfigMap" | "Secret" => {
                let data = data(object, kind)?;
                self.data.insert((kind, name), data);
                return Ok(());
            }
            "Pod" => (&["spec"], "spec"),
            "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "ReplicationController" | "Job" => {
                (&["spec", "template", "spec"], "spec.template.spec")
            }
            "CronJob" => (&["spec", "jobTemplate", "spec", "template", "spec"], "spec.jobTemplate.spec.template.spec"),
            _ => {
                skipped.push(format!("{kind}/{name}"));
                return Ok(());
            }
        };
        let spec = object.at(keys).ok_or_else(|| object.wrong(path, format_args!("it has to be there in a {kind}")))?;
        spec.entries(path)?;
        let above = [&keys[..keys.len() - 1], &["metadata"]].concat();
        self.workloads.push(Workload {
            kind,
            name,
            namespace: text(&["metadata", "namespace"]).unwrap_or("default"),
            metadata: object.at(&above),
            spec,
            path,
            ends: kind == "Job" || kind == "CronJob",
            object,
        });
        Ok(())
    }
}

impl<'a> Workload<'a> {
    /// The containers, each with its name.
    pub(super) fn containers(&self) -> Result<Vec<(String, &'a Node, String)>, ManifestError> {
        let list = Fields::of(self.spec, self.path)?.list("containers")?;
        if list.is_empty() {
            return Err(self.spec.wrong(&format!("{}.containers", self.path), "there has to be one"));
        }
        let named =
            |(path, node): (String, &'a Node)| Ok((Fields::of(node, &*path)?.required("name", node)?, node, path));
        list.into_iter().map(named).collect()
    }
}

/// What a `ConfigMap` or a `Secret` holds.
fn data<'a>(object: &'a Node, kind: &str) -> Result<BTreeMap<&'a str, Vec<u8>>, ManifestError> {
    let mut all = BTreeMap::new();
    for (field, is_base64) in [("data", kind == "Secret"), ("binaryData", true), ("stringData", false)] {
        let Some(entries) = object.at(&[field]) else { continue };
        for (key, node) in entries.entries(field)? {
            let path = format!("{field}.{key}");
            let text = node.text(&path)?;
            let bytes = if is_base64 {
                let dense: String = text.split_whitespace().collect();
                let decoded = base64::engine::general_purpose::STANDARD.decode(dense);
                decoded.map_err(|_| node.wrong(&path, "it is not base64"))?
            } else {
                text.as_bytes().to_vec()
            };
            all.insert(key.as_str(), bytes);
        }
    }
    Ok(all)
}
