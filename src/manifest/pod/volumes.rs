//! A pod's volumes, and what stands in for those that only a cluster has.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use super::data::{Contents, Item};
use super::env::{self, expand};
use super::quantity::Quantity;
use super::workload::Workload;
use crate::manifest::fields::Fields;
use crate::manifest::node::{Node, Value};
use crate::manifest::{ManifestError, Settings};
use crate::profile::file::File;
use crate::profile::mount::Mount;
use crate::profile::tmpfs::Tmpfs;

/// The volumes of a pod by their names.
pub(super) struct Volumes {
    all: BTreeMap<String, Volume>,
    fs_group: Option<u32>,
}

/// Where a volume's content comes from.
enum Volume {
    /// A fresh folder in memory, of this size.
    Fresh { size: Option<u64> },
    /// Files of the manifest's own, or empty ones.
    Files(Contents),
    /// A writable folder in place of something else.
    Writable(String, bool),
    /// A read-only one.
    Closed(String),
    /// An empty file.
    File(String),
}

impl Volumes {
    /// Reads what the pod declares.
    pub(super) fn read(
        pod: &mut Fields<'_>,
        workload: &Workload<'_>,
        source: &env::Source<'_>,
        fs_group: Option<u32>,
        settings: &mut Settings,
    ) -> Result<Self, ManifestError> {
        let mut all = BTreeMap::new();
        for claim in workload
            .object
            .at(&["spec", "volumeClaimTemplates"])
            .and_then(|node| node.list("").ok())
            .unwrap_or_default()
        {
            if let Some(name) = claim.at(&["metadata", "name"]).and_then(|node| node.text("").ok()) {
                all.insert(name.to_owned(), claimed(&format!("the claim template `{name}`")));
            }
        }
        for (path, node) in pod.list("volumes")? {
            let mut volume = Fields::of(node, &*path)?;
            let name = volume.required("name", node)?;
            let kinds = node.entries(&path)?.iter().filter(|(key, value)| key != "name" && value.value != Value::Null);
            let kinds: Vec<&(String, Node)> = kinds.collect();
            let [(kind, given)] = kinds[..] else {
                return Err(
                    node.wrong(&path, format_args!("a volume is of one kind, and this one is of {}", kinds.len()))
                );
            };
            let place = format!("{path}.{kind}");
            let read = one(kind, given, &place, source, settings)?;
            all.insert(name, read);
        }
        Ok(Volumes { all, fs_group })
    }

    /// Reads what the container mounts.
    pub(super) fn mount(
        &self,
        fields: &mut Fields<'_>,
        pairs: &[(String, String)],
        settings: &mut Settings,
    ) -> Result<(), ManifestError> {
        let mut seen: Vec<(String, String)> = Vec::new();
        for (path, node) in fields.list("volumeMounts")? {
            let mut mount = Fields::of(node, &*path)?;
            let name = mount.required("name", node)?;
            let target = mount.required("mountPath", node)?;
            let target = Path::new(&target);
            let is_below_root = target.components().next() == Some(Component::RootDir)
                && target.components().nth(1).is_some()
                && target.components().skip(1).all(|part| matches!(part, Component::Normal(_)))
                && !target.to_string_lossy().contains(['\0', ':']);
            if !is_below_root {
                let why = format!("`{}` is not an absolute path below the root without `..`", target.display());
                return Err(node.wrong(&mount.path("mountPath"), why));
            }
            let sub = match (mount.text("subPath")?, mount.text("subPathExpr")?) {
                (Some(sub), _) => sub,
                (None, Some(sub)) => expand(&sub, pairs),
                (None, None) => String::new(),
            };
            if Path::new(&sub).components().any(|part| !matches!(part, Component::Normal(_))) {
                return Err(node.wrong(&mount.path("subPath"), format_args!("`{sub}` has to stay inside the volume")));
            }
            let read_only = mount.bool("readOnly")? == Some(true);
            mount.skip(&["mountPropagation", "recursiveReadOnly"]);
            mount.finish(&mut settings.findings);
            let volume = self.all.get(&name);
            let volume = volume.ok_or_else(|| node.wrong(&path, format_args!("the pod has no volume `{name}`")))?;
            let place = (name.clone(), sub.clone());
            if seen.contains(&place) && !matches!(volume, Volume::Files(_)) {
                let message =
                    format!("the volume `{name}` is mounted twice, and at {} it is another one", target.display());
                settings.stand_in(&target.to_string_lossy(), true, message);
            }
            seen.push(place);
            self.attach(volume, target, &sub, read_only, settings);
        }
        // A mount below another one comes after it.
        settings.mounts.sort_by_key(|mount| match mount {
            Mount::Tmpfs(tmpfs) => tmpfs.path.components().count(),
            Mount::Bind(_) | Mount::Volume(_) => 0,
        });
        Ok(())
    }

    fn folder(&self, path: &Path) -> Tmpfs {
        // The kubelet's folder is everybody's; with fsGroup it is the group's, and what is made in it as well.
        let mode = Some(if self.fs_group.is_some() { 0o2777 } else { 0o777 });
        Tmpfs { exec: Some(true), suid: true, mode, gid: self.fs_group, ..Tmpfs::at(path.to_owned()) }
    }

    fn attach(&self, volume: &Volume, target: &Path, sub: &str, read_only: bool, settings: &mut Settings) {
        let place = target.to_string_lossy().into_owned();
        match volume {
            Volume::Fresh { size } => {
                settings.mounts.push(Mount::Tmpfs(Tmpfs { size: *size, read_only, ..self.folder(target) }));
            }
            Volume::Writable(what, matters) => {
                settings.stand_in(&place, *matters, format!("{place} is an empty folder in place of {what}"));
                settings.mounts.push(Mount::Tmpfs(Tmpfs { read_only, ..self.folder(target) }));
            }
            Volume::Closed(what) => {
                settings.stand_in(&place, true, format!("{place} is an empty read-only folder in place of {what}"));
                let folder = Tmpfs { read_only: true, mode: Some(0o755), gid: None, ..self.folder(target) };
                settings.mounts.push(Mount::Tmpfs(folder));
            }
            Volume::File(what) => {
                settings.stand_in(&place, true, format!("{place} is an empty file in place of {what}"));
                settings.files.push(File { path: place, content: Vec::new(), mode: 0o644, gid: None });
            }
            Volume::Files(contents) => self.attach_files(contents, target, sub, settings),
        }
    }

    /// A folder of files, or the one file that `subPath` names.
    fn attach_files(&self, contents: &Contents, target: &Path, sub: &str, settings: &mut Settings) {
        let place = target.to_string_lossy().into_owned();
        let stand_in = contents.stand_in();
        if let Some(what) = &stand_in {
            settings.stand_in(&place, true, format!("{place} is empty in place of {what}"));
        }
        let file = |path: String, item: &Item| File {
            path,
            content: item.content.clone(),
            // What a group is given, it may read.
            mode: item.mode | if self.fs_group.is_some() { 0o440 } else { 0 },
            gid: self.fs_group,
        };
        if let Some(item) = contents.files.iter().find(|item| !sub.is_empty() && item.path == sub) {
            settings.files.push(file(place, item));
            return;
        }
        let below = |item: &Item| {
            let rest =
                if sub.is_empty() { Some(item.path.as_str()) } else { item.path.strip_prefix(sub)?.strip_prefix('/') };
            Some(file(target.join(rest?).to_string_lossy().into_owned(), item))
        };
        let inside: Vec<File> = contents.files.iter().filter_map(below).collect();
        if inside.is_empty() && !sub.is_empty() {
            // A key that is not known is a file, as most are that are mounted alone.
            if stand_in.is_none() {
                let message = format!("{place} is an empty file: the volume has no `{sub}` in this manifest");
                settings.stand_in(&place, true, message);
            }
            let empty = Item { path: sub.to_owned(), content: Vec::new(), mode: 0o644 };
            settings.files.push(file(place, &empty));
            return;
        }
        settings.mounts.push(Mount::Tmpfs(Tmpfs { read_only: true, ..self.folder(target) }));
        settings.files.extend(inside);
    }
}

fn claimed(what: &str) -> Volume {
    Volume::Writable(
        format!("{what}; in a cluster its folder belongs to root unless fsGroup gives it to the app"),
        false,
    )
}

/// Reads one volume.
fn one(
    kind: &str,
    node: &Node,
    path: &str,
    source: &env::Source<'_>,
    settings: &mut Settings,
) -> Result<Volume, ManifestError> {
    let mut fields = Fields::of(node, path)?;
    let volume = match kind {
        "emptyDir" => {
            fields.skip(&["medium"]);
            let limit = fields.word("sizeLimit")?;
            let size = match (limit, fields.get("sizeLimit")) {
                (Some(limit), Some(node)) => {
                    let quantity: Quantity =
                        limit.parse().map_err(|error| node.wrong(&fields.path("sizeLimit"), error))?;
                    quantity.units().filter(|size| *size > 0)
                }
                _ => None,
            };
            Volume::Fresh { size }
        }
        "configMap" | "secret" | "downwardAPI" => {
            let mode = default_mode(&mut fields)?;
            let mut contents = Contents::default();
            contents.add(kind, &mut fields, node, mode, source, settings)?;
            Volume::Files(contents)
        }
        "projected" => {
            let mode = default_mode(&mut fields)?;
            let mut contents = Contents::default();
            for (path, node) in fields.list("sources")? {
                for (kind, given) in node.entries(&path)? {
                    contents.add_source(kind, given, &path, mode, source, settings)?;
                }
            }
            Volume::Files(contents)
        }
        "persistentVolumeClaim" => {
            let name = fields.required("claimName", node)?;
            fields.skip(&["readOnly"]);
            claimed(&format!("the claim `{name}`"))
        }
        "ephemeral" => {
            fields.skip(&["volumeClaimTemplate"]);
            claimed("an ephemeral volume")
        }
        "hostPath" => {
            let host = fields.required("path", node)?;
            let file = fields.text("type")?.is_some_and(|kind| kind.starts_with("File") || kind == "Socket");
            let what = format!("the node's {host}, which is not this host's");
            if file { Volume::File(what) } else { Volume::Closed(what) }
        }
        other => return Ok(Volume::Writable(format!("a volume of the kind {other}"), true)),
    };
    fields.finish(&mut settings.findings);
    Ok(volume)
}

fn default_mode(fields: &mut Fields<'_>) -> Result<u32, ManifestError> {
    let (path, mode) = (fields.path("defaultMode"), fields.number::<u32>("defaultMode")?);
    match (mode, fields.get("defaultMode")) {
        (Some(mode), Some(node)) if mode > 0o777 => Err(node.wrong(&path, "a mode is 0 to 0777")),
        (mode, _) => Ok(mode.unwrap_or(0o644)),
    }
}
