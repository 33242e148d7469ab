//! A profile file: YAML with nothing in it that is not understood. `docs/profile.md` describes it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::File;
use crate::cli::container::{ContainerArgs, SecurityOption, host, hostname, size};
use crate::cli::usage::UsageArgs;
use crate::manifest::ManifestError;
use crate::manifest::fields::Fields;
use crate::manifest::node::{Dialect, Node, Value, documents};
use crate::profile::account::User;
use crate::profile::mount::{Bind, Mount};
use crate::profile::settings;
use crate::profile::tmpfs::Tmpfs;

/// The line of each key; of a list, those of its elements.
pub(super) type Lines = BTreeMap<&'static str, Vec<u64>>;

/// What has to stand in front of a path that is looked for beside the file.
const BESIDE: [&str; 2] = ["./", "../"];

/// Reads a file that lies in `folder`.
pub(super) fn file(text: &str, folder: &Path) -> Result<File, ManifestError> {
    let documents = documents(text, Dialect::Yaml12)?;
    let [document] = &documents[..] else {
        let why = if documents.is_empty() { "there is nothing in it" } else { "it is one document, and here are more" };
        return Err(ManifestError::At {
            line: documents.get(1).map_or(1, |node| node.line),
            column: 1,
            why: why.into(),
        });
    };
    for (key, node) in document.entries("profile")? {
        if node.value == Value::Null {
            return Err(node.wrong(key, "there is nothing here: leave the key out, or say something"));
        }
    }
    let mut keys = Keys { fields: Fields::of(document, "")?, lines: Lines::new() };
    let preset = keys.parsed("extends")?;
    let user = keys.parsed("user")?;
    let group_add =
        keys.each("group_add", |text| User::ROOT.with_groups(&[text.to_owned()]).map(|_| text.to_owned()))?;
    let usage = UsageArgs {
        memory: keys.parsed("memory")?,
        memory_swap: keys.parsed("memory_swap")?,
        pids_limit: keys.parsed("pids_limit")?,
        cpus: keys.parsed("cpus")?,
    };
    let require = keys.each("require", str::parse)?;
    let container = keys.container(folder)?;
    keys.fields.refuse_rest("a profile")?;
    Ok(File { path: PathBuf::new(), container, usage, user, group_add, preset, require, lines: keys.lines })
}

/// The keys of the file, read by their names.
struct Keys<'a> {
    fields: Fields<'a>,
    lines: Lines,
}

impl<'a> Keys<'a> {
    fn get(&mut self, key: &'static str) -> Option<&'a Node> {
        let node = self.fields.get(key)?;
        self.lines.insert(key, vec![node.line]);
        Some(node)
    }

    fn bool(&mut self, key: &'static str) -> Result<Option<bool>, ManifestError> {
        self.get(key).map(|node| node.bool(key)).transpose()
    }

    /// One word, read as its flag reads it.
    fn with<T, E: Display>(
        &mut self,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, ManifestError> {
        self.get(key).map(|node| read(&node.word(key)?).map_err(|error| node.wrong(key, error))).transpose()
    }

    fn parsed<T: FromStr<Err: Display>>(&mut self, key: &'static str) -> Result<Option<T>, ManifestError> {
        self.with(key, str::parse)
    }

    /// The elements of a list, each read from its node.
    fn nodes<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&'a Node, &str) -> Result<T, ManifestError>,
    ) -> Result<Vec<T>, ManifestError> {
        let list = self.fields.list(key)?;
        self.lines.insert(key, list.iter().map(|(_, node)| node.line).collect());
        list.into_iter().map(|(path, node)| read(node, &path)).collect()
    }

    /// The elements of a list of words.
    fn each<T, E: Display>(
        &mut self,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Vec<T>, ManifestError> {
        self.nodes(key, |node, path| read(&node.word(path)?).map_err(|error| node.wrong(path, error)))
    }

    /// A mapping of names to values, or a list of `NAME=VALUE`. A name may have no value, if `read` takes that.
    fn pairs<T, E: Display>(
        &mut self,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Vec<T>, ManifestError> {
        match self.fields.get(key) {
            Some(Node { value: Value::Map(entries), .. }) => {
                self.lines.insert(key, entries.iter().map(|(_, node)| node.line).collect());
                let pair = |(name, node): &(String, Node)| {
                    let path = format!("{key}.{name}");
                    let text = match &node.value {
                        Value::Null => name.clone(),
                        Value::Map(_) => format!("{name}={}", soft_and_hard(node, &path)?),
                        _ => format!("{name}={}", node.word(&path)?),
                    };
                    read(&text).map_err(|error| node.wrong(&path, error))
                };
                entries.iter().map(pair).collect()
            }
            _ => self.each(key, read),
        }
    }

    fn container(&mut self, folder: &Path) -> Result<ContainerArgs, ManifestError> {
        let beside = |text: &str| Ok::<_, String>(folder.join(text));
        let mut args = ContainerArgs {
            read_only: self.bool("read_only")?,
            tmpfs: self.nodes("tmpfs", tmpfs)?,
            volume: self.nodes("volumes", |node, path| volume(node, path, folder))?,
            shm_size: self.with("shm_size", size)?,
            cap_add: self.each("cap_add", settings::capabilities)?,
            workdir: self.with("workdir", absolute)?,
            entrypoint: self.with("entrypoint", |text| Ok::<_, String>(text.to_owned()))?,
            hostname: self.with("hostname", hostname)?,
            add_host: self.pairs("add_host", host)?,
            init: self.bool("init")?,
            network: self.parsed("network")?,
            sysctl: self.pairs("sysctls", str::parse)?,
            ulimit: self.pairs("ulimits", str::parse)?,
            ..ContainerArgs::default()
        };
        args.seal.seal = self.bool("seal")?;
        args.seal.allow_exec = self.each("allow_exec", absolute)?;
        args.seal.expose = self.each("expose", port)?;
        args.further.env = self.pairs("env", str::parse)?;
        args.further.env_file = self.each("env_file", beside)?;
        args.further.landlock = self.bool("landlock")?;
        args.further.memory_deny_write_execute = self.bool("memory_deny_write_execute")?;
        args.further.memfd_noexec = self.bool("memfd_noexec")?;
        args.further.masked_paths = self.each("masked_paths", absolute)?;
        args.further.readonly_paths = self.each("readonly_paths", absolute)?;
        let options = [
            self.bool("no_new_privileges")?.map(SecurityOption::NoNewPrivileges),
            self.with("seccomp", |text| {
                Ok::<_, String>(match text {
                    "default" => None,
                    "unconfined" => Some(SecurityOption::SeccompUnconfined),
                    file => Some(SecurityOption::SeccompFile(folder.join(file))),
                })
            })?
            .flatten(),
            self.with("systempaths", |text| match text {
                "default" => Ok(None),
                "unconfined" => Ok(Some(SecurityOption::SystemPathsUnconfined)),
                _ => Err(format!("`{text}` is neither default nor unconfined")),
            })?
            .flatten(),
        ];
        args.security_opt = options.into_iter().flatten().collect();
        Ok(args)
    }
}

/// `{soft: 64, hard: 128}`.
fn soft_and_hard(node: &Node, path: &str) -> Result<String, ManifestError> {
    let mut fields = Fields::of(node, path)?;
    let lacks = |name| node.wrong(path, format_args!("it has to have `{name}`"));
    let soft = fields.word("soft")?.ok_or_else(|| lacks("soft"))?;
    let hard = fields.word("hard")?.ok_or_else(|| lacks("hard"))?;
    fields.refuse_rest("a limit")?;
    Ok(format!("{soft}:{hard}"))
}

/// `/run:size=64m`, or `{path: /run, size: 64m}`.
fn tmpfs(node: &Node, path: &str) -> Result<Tmpfs, ManifestError> {
    if !matches!(node.value, Value::Map(_)) {
        return node.text(path)?.parse().map_err(|error| node.wrong(path, error));
    }
    let mut fields = Fields::of(node, path)?;
    let place = fields.required("path", node)?;
    let mut options = Vec::new();
    for (key, on, off) in
        [("read_only", "ro", "rw"), ("exec", "exec", "noexec"), ("suid", "suid", "nosuid"), ("dev", "dev", "nodev")]
    {
        options.extend(fields.bool(key)?.map(|is_on| if is_on { on } else { off }.to_owned()));
    }
    // Octal: what YAML made of a number is not what stands there.
    options.extend(fields.text("mode")?.map(|mode| format!("mode={mode}")));
    for key in ["size", "uid", "gid"] {
        options.extend(fields.word(key)?.map(|value| format!("{key}={value}")));
    }
    fields.refuse_rest("a tmpfs")?;
    if place.contains(':') || options.iter().any(|option| option.contains(',')) {
        return Err(node.wrong(path, "neither a path with a colon nor a value with a comma can be said"));
    }
    format!("{place}:{}", options.join(",")).parse().map_err(|error| node.wrong(path, error))
}

/// `SOURCE:PATH:ro`, or `{source: ./data, target: /data, read_only: true}`; without a source a fresh folder.
fn volume(node: &Node, path: &str, folder: &Path) -> Result<Mount, ManifestError> {
    if matches!(node.value, Value::Map(_)) {
        let mut fields = Fields::of(node, path)?;
        let target = fields.required("target", node)?;
        let (source, read_only) = (fields.text("source")?, fields.bool("read_only")?.unwrap_or_default());
        fields.refuse_rest("a volume")?;
        let target: Mount = target.parse().map_err(|error| node.wrong(path, error))?;
        return match (source, target) {
            (None, Mount::Volume(_)) if read_only => {
                Err(node.wrong(path, "an empty folder that is read-only is no use"))
            }
            (None, target @ Mount::Volume(_)) => Ok(target),
            (Some(source), Mount::Volume(target)) => {
                Ok(Mount::Bind(Bind { source: folder.join(source), target, read_only }))
            }
            _ => Err(node.wrong(path, "target is a path inside, without a colon")),
        };
    }
    let text = node.text(path)?;
    let is_beside = BESIDE.iter().any(|mark| text.starts_with(mark));
    let text = if is_beside { folder.join(text).to_string_lossy().into_owned() } else { text.to_owned() };
    text.parse().map_err(|error| node.wrong(path, error))
}

fn absolute(text: &str) -> Result<String, String> {
    let fits = text.starts_with('/') && !text.contains('\0') && !text.split('/').any(|part| part == "..");
    if fits { Ok(text.to_owned()) } else { Err(format!("`{text}` is not an absolute path without `..`")) }
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().ok().filter(|port| *port != 0).ok_or_else(|| format!("`{text}` is not a port from 1 to 65535"))
}
