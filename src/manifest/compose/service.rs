//! One service.

use std::collections::BTreeMap;

use super::{finish, limits, storage};
use crate::manifest::fields::Fields;
use crate::manifest::node::{Node, Value};
use crate::manifest::{EnvFile, Filter, ManifestError, Settings, is_host_name};
use crate::profile::settings::{self, Network, Sysctl};

/// Keys that change nothing inside the container.
const ELSEWHERE: [&str; 38] = [
    "annotations",
    "attach",
    "blkio_config",
    "container_name",
    "cpu_count",
    "cpu_percent",
    "cpu_period",
    "cpu_quota",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "cpu_shares",
    "cpuset",
    "credential_spec",
    "develop",
    "dns",
    "dns_opt",
    "dns_search",
    "domainname",
    "external_links",
    "isolation",
    "label_file",
    "labels",
    "links",
    "logging",
    "mac_address",
    "mem_reservation",
    "mem_swappiness",
    "memswap_limit",
    "networks",
    "oom_kill_disable",
    "oom_score_adj",
    "platform",
    "profiles",
    "pull_policy",
    "restart",
    "scale",
    "stdin_open",
    "tty",
];

/// Keys that are understood and not followed, and what is instead.
const NOT_USED: [(&str, &str); 13] = [
    ("devices", "the app had the six devices that every container has"),
    ("device_cgroup_rules", "the app had the six devices that every container has"),
    ("gpus", "the app had the six devices that every container has"),
    ("pid", "the app had a pid namespace of its own"),
    ("ipc", "the app had an ipc namespace of its own"),
    ("uts", "the app had a uts namespace of its own"),
    ("userns_mode", "--ids says how ids become ids of the host"),
    ("cgroup", "the app had a cgroup namespace of its own"),
    ("cgroup_parent", "limits are set in a group of austere's own"),
    ("runtime", "austere is the runtime"),
    ("volumes_from", "there were no other containers"),
    ("storage_opt", "the root's size is not limited"),
    ("stop_grace_period", "--grace judges the stop"),
];

/// Reads what a file says of one of its services.
pub(super) fn read(
    node: &Node,
    path: &str,
    document: &Node,
    variables: &BTreeMap<String, String>,
    settings: &mut Settings,
) -> Result<(), ManifestError> {
    let mut service = Fields::of(node, path)?;
    service.skip(&ELSEWHERE);
    for (key, instead) in NOT_USED {
        if service.get(key).is_some() {
            settings.notice("compose-setting-not-used", format!("{path}.{key} was not followed: {instead}"), "");
        }
    }
    settings.image = service.text("image")?.filter(|image| !image.is_empty());
    if service.get("build").is_some() && settings.image.is_none() {
        settings.notice(
            "compose-setting-not-used",
            format!("{path}.build was not followed: austere builds nothing"),
            "",
        );
    }
    if service.get("extends").is_some() {
        settings.warn("not-followed", format!("{path}.extends: what the other service says was not taken over"), "");
    }
    if let Some(others) = service.get("depends_on") {
        let names: Vec<String> = match &others.value {
            Value::List(list) => list.iter().filter_map(|one| one.text("").ok().map(str::to_owned)).collect(),
            _ => others.entries("depends_on")?.iter().map(|(name, _)| name.clone()).collect(),
        };
        settings.warn(
            "container-not-run",
            format!("the services it depends on were not run: {}", names.join(", ")),
            "",
        );
    }
    if service.bool("privileged")? == Some(true) {
        let why = "austere does not run privileged containers: there would be nothing to verify";
        return Err(service.get("privileged").unwrap_or(node).wrong(&format!("{path}.privileged"), why));
    }
    let entrypoint = words(&mut service, "entrypoint")?;
    settings.entrypoint = entrypoint;
    settings.args = words(&mut service, "command")?.unwrap_or_default();
    environment(&mut service, variables, settings)?;
    account(&mut service, settings)?;
    surroundings(&mut service, node, settings)?;
    limits::read(&mut service, settings)?;
    storage::read(&mut service, document, variables, settings)?;
    ports(&mut service, settings)?;
    health(&mut service, settings)?;
    for key in ["post_start", "pre_stop"] {
        if service.get(key).is_some() {
            settings.warn("hook-not-run", format!("{path}.{key} was not run"), "");
        }
    }
    finish(service, settings);
    Ok(())
}

/// A command line as text, which is split as a shell would, or as its words.
fn words(service: &mut Fields<'_>, key: &'static str) -> Result<Option<Vec<String>>, ManifestError> {
    let path = service.path(key);
    let Some(node) = service.get(key) else { return Ok(None) };
    if let Value::List(list) = &node.value {
        return list.iter().map(|word| word.word(&path)).collect::<Result<_, _>>().map(Some);
    }
    let text = node.word(&path)?;
    shlex::split(&text).map(Some).ok_or_else(|| node.wrong(&path, "a quote in it is not closed"))
}

/// The pairs of a mapping, or of a list of `NAME=value`; a name alone has no value.
fn pairs(
    service: &mut Fields<'_>,
    key: &'static str,
    signs: &[char],
) -> Result<Vec<(String, Option<String>, Node)>, ManifestError> {
    let path = service.path(key);
    let Some(node) = service.get(key) else { return Ok(Vec::new()) };
    if let Value::List(list) = &node.value {
        let pair = |node: &Node| {
            let text = node.word(&path)?;
            Ok(match text.split_once(signs) {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned()), node.clone()),
                None => (text, None, node.clone()),
            })
        };
        return list.iter().map(pair).collect();
    }
    let pair = |(name, node): &(String, Node)| {
        let value = if node.value == Value::Null { None } else { Some(node.word(&path)?) };
        Ok((name.clone(), value, node.clone()))
    };
    node.entries(&path)?.iter().map(pair).collect()
}

fn environment(
    service: &mut Fields<'_>,
    variables: &BTreeMap<String, String>,
    settings: &mut Settings,
) -> Result<(), ManifestError> {
    let path = service.path("env_file");
    if let Some(node) = service.get("env_file") {
        let list = if let Value::List(list) = &node.value { &list[..] } else { std::slice::from_ref(node) };
        for node in list {
            let file = if let Value::Text(file) = &node.value {
                EnvFile { path: file.clone(), required: true }
            } else {
                let mut fields = Fields::of(node, &*path)?;
                fields.skip(&["format"]);
                EnvFile { path: fields.required("path", node)?, required: fields.bool("required")? != Some(false) }
            };
            settings.env_files.push(file);
        }
    }
    for (name, value, node) in pairs(service, "environment", &['='])? {
        if name.is_empty() || name.contains('\0') {
            return Err(node.wrong(&service.path("environment"), format_args!("`{name}` is no name of a variable")));
        }
        // A name alone passes the caller's own on.
        if let Some(value) = value.or_else(|| variables.get(&name).cloned()) {
            settings.env.push(format!("{name}={value}"));
        }
    }
    Ok(())
}

fn account(service: &mut Fields<'_>, settings: &mut Settings) -> Result<(), ManifestError> {
    settings.account.user = service.word("user")?.filter(|user| !user.is_empty());
    for (path, node) in service.list("group_add")? {
        settings.account.groups.push(node.word(&path)?);
    }
    settings.read_only = service.bool("read_only")? == Some(true);
    for (key, into) in [("cap_add", &mut settings.cap_add), ("cap_drop", &mut settings.cap_drop)] {
        for (path, node) in service.list(key)? {
            let word = node.text(&path)?;
            settings::capabilities(word).map_err(|error| node.wrong(&path, error))?;
            into.push(word.to_ascii_uppercase().trim_start_matches("CAP_").to_owned());
        }
    }
    for (path, node) in service.list("security_opt")? {
        let text = node.text(&path)?;
        let (name, value) = text.split_once(['=', ':']).unwrap_or((text, ""));
        match (name, value) {
            ("no-new-privileges", "" | "true") => settings.no_new_privs = true,
            ("no-new-privileges", "false") => settings.no_new_privs = false,
            ("seccomp", "unconfined") => settings.seccomp = Filter::Unconfined,
            ("seccomp", file) if !file.is_empty() => settings.seccomp = Filter::File(file.to_owned()),
            ("systempaths", "unconfined") => settings.covers_system_paths = false,
            ("apparmor" | "label", _) => {
                let message = format!("{path}: {text} was not applied: austere's second wall is Landlock");
                settings.notice("compose-setting-not-used", message, "");
            }
            _ => return Err(node.wrong(&path, format_args!("`{text}` is no security option that austere knows"))),
        }
    }
    Ok(())
}

fn surroundings(service: &mut Fields<'_>, node: &Node, settings: &mut Settings) -> Result<(), ManifestError> {
    let place = service.path("working_dir");
    settings.working_dir = service.text("working_dir")?;
    if let Some(dir) = settings.working_dir.as_ref().filter(|dir| !dir.starts_with('/')) {
        return Err(service
            .get("working_dir")
            .unwrap_or(node)
            .wrong(&place, format_args!("`{dir}` is not an absolute path")));
    }
    let place = service.path("hostname");
    settings.hostname = service.text("hostname")?;
    if let Some(name) = settings.hostname.as_ref().filter(|name| !is_host_name(name) || name.len() > 63) {
        return Err(service.get("hostname").unwrap_or(node).wrong(&place, format_args!("`{name}` is not a host name")));
    }
    settings.init = service.bool("init")? == Some(true);
    settings.stop_signal = service.word("stop_signal")?;
    match service.text("network_mode")?.as_deref() {
        Some("host") => settings.network = Network::Host,
        Some(other) if other.contains(':') => {
            let message = format!("network_mode: {other} was not followed: the network was the app's own, and closed");
            settings.warn("compose-setting-not-used", message, "");
        }
        _ => {}
    }
    for (name, value, node) in pairs(service, "extra_hosts", &['=', ':'])? {
        let value = value.unwrap_or_default();
        let value = value.trim_start_matches('[').trim_end_matches(']');
        if value == "host-gateway" {
            settings.notice("compose-setting-not-used", format!("extra_hosts: {name} has no gateway to lead to"), "");
            continue;
        }
        let address = value.parse();
        let path = service.path("extra_hosts");
        if !is_host_name(&name) {
            return Err(node.wrong(&path, format_args!("`{name}` is not a host name")));
        }
        settings.hosts.push((name, address.map_err(|_| node.wrong(&path, format_args!("`{value}` is no address")))?));
    }
    for (name, value, node) in pairs(service, "sysctls", &['='])? {
        let pair = format!("{name}={}", value.unwrap_or_default());
        let path = service.path("sysctls");
        settings.sysctls.push(pair.parse::<Sysctl>().map_err(|error| node.wrong(&path, error))?);
    }
    Ok(())
}

/// The TCP ports of the container in `ports` and `expose`.
fn ports(service: &mut Fields<'_>, settings: &mut Settings) -> Result<(), ManifestError> {
    for key in ["ports", "expose"] {
        for (path, node) in service.list(key)? {
            let text = if let Value::Map(_) = node.value {
                let mut fields = Fields::of(node, &*path)?;
                fields.skip(&["published", "host_ip", "mode", "name", "app_protocol"]);
                let target = fields.word("target")?.ok_or_else(|| node.wrong(&path, "target has to be there"))?;
                let protocol = fields.text("protocol")?.unwrap_or_else(|| "tcp".to_owned());
                finish(fields, settings);
                format!("{target}/{protocol}")
            } else {
                node.word(&path)?
            };
            let (place, protocol) = text.split_once('/').unwrap_or((&text, "tcp"));
            let range = place.rsplit(':').next().unwrap_or(place);
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port != 0);
            let (Some(first), Some(last)) = (port(first), port(last)) else {
                return Err(node.wrong(&path, format_args!("`{text}` has no port of the container from 1 to 65535")));
            };
            if protocol == "tcp" {
                settings.ports.extend(first..=last);
            } else {
                settings.notice("port-not-checked", format!("port {range}/{protocol} was not checked"), "");
            }
        }
    }
    settings.ports.sort_unstable();
    settings.ports.dedup();
    Ok(())
}

/// `test` as an image has it; `disable` takes the image's own away.
fn health(service: &mut Fields<'_>, settings: &mut Settings) -> Result<(), ManifestError> {
    let Some(mut check) = service.map("healthcheck")? else { return Ok(()) };
    check.skip(&["interval", "timeout", "retries", "start_period", "start_interval"]);
    let path = check.path("test");
    let is_off = check.bool("disable")? == Some(true);
    let test = match check.get("test") {
        _ if is_off => Some(vec!["NONE".to_owned()]),
        None => None,
        Some(node) => match &node.value {
            Value::Text(line) => Some(vec!["CMD-SHELL".to_owned(), line.clone()]),
            _ => Some(node.list(&path)?.iter().map(|word| word.word(&path)).collect::<Result<Vec<_>, _>>()?),
        },
    };
    settings.health = test;
    finish(check, settings);
    Ok(())
}
