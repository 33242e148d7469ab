//! What the kubelet would ask, as probes.

use std::time::Duration;

use crate::image::Protocol;
use crate::manifest::fields::Fields;
use crate::manifest::node::{Node, Value};
use crate::manifest::{ManifestError, Settings};
use crate::smoke::plan::{Probe, TIMEOUT};

/// A port of the container.
struct Port {
    name: Option<String>,
    number: u16,
    protocol: Protocol,
}

/// Reads the ports and the three probes.
pub(super) fn read(fields: &mut Fields<'_>, settings: &mut Settings) -> Result<(), ManifestError> {
    let ports = ports(fields, settings)?;
    let mut time = TIMEOUT;
    let mut has_startup = false;
    // A startup probe says how long the others wait, so it comes first.
    for key in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let (Some(mut probe), path) = (fields.map(key)?, fields.path(key)) else { continue };
        let Some(node) = fields.get(key) else { continue };
        let mut seconds = |key, default: u64| probe.number::<u64>(key).map(|given| given.unwrap_or(default));
        let (delay, period) = (seconds("initialDelaySeconds", 0)?, seconds("periodSeconds", 10)?);
        let failures = seconds("failureThreshold", 3)?;
        probe.skip(&["timeoutSeconds", "successThreshold", "terminationGracePeriodSeconds"]);
        let patience = Duration::from_secs(period.saturating_mul(failures).saturating_add(delay).min(86_400));
        if !has_startup {
            time = time.max(patience);
        }
        has_startup |= key == "startupProbe";
        if let Some(asked) = question(&mut probe, node, &path, &ports, settings)?
            && !settings.probes.contains(&asked)
        {
            settings.probes.push(asked);
        }
        probe.finish(&mut settings.findings);
    }
    settings.timeout = (!settings.probes.is_empty() && time > TIMEOUT).then_some(time);
    let listened = ports.iter().filter(|port| port.protocol == Protocol::Tcp).map(|port| port.number);
    settings.ports = listened.collect();
    settings.ports.sort_unstable();
    settings.ports.dedup();
    Ok(())
}

fn ports(fields: &mut Fields<'_>, settings: &mut Settings) -> Result<Vec<Port>, ManifestError> {
    let mut ports = Vec::new();
    for (path, node) in fields.list("ports")? {
        let mut port = Fields::of(node, &*path)?;
        let number = port.number::<u16>("containerPort")?.filter(|port| *port != 0);
        let number = number.ok_or_else(|| node.wrong(&path, "containerPort has to be there, from 1 to 65535"))?;
        let name = port.text("name")?;
        let protocol = match port.text("protocol")?.as_deref() {
            None | Some("TCP") => Protocol::Tcp,
            Some("UDP") => Protocol::Udp,
            Some("SCTP") => Protocol::Sctp,
            Some(other) => return Err(node.wrong(&path, format_args!("`{other}` is none of TCP, UDP, SCTP"))),
        };
        port.skip(&["hostPort", "hostIP"]);
        port.finish(&mut settings.findings);
        ports.push(Port { name, number, protocol });
    }
    Ok(ports)
}

/// What one probe asks, if austere can ask it.
fn question(
    probe: &mut Fields<'_>,
    node: &Node,
    path: &str,
    ports: &[Port],
    settings: &mut Settings,
) -> Result<Option<Probe>, ManifestError> {
    let actions = ["httpGet", "tcpSocket", "grpc", "exec"];
    let given: Vec<&str> = actions.into_iter().filter(|action| probe.get(action).is_some()).collect();
    let [action] = given[..] else {
        let why = format!("one of httpGet, tcpSocket, grpc and exec has to be there, and {} are", given.len());
        return Err(node.wrong(path, why));
    };
    if action == "exec" {
        let command = node.at(&["exec", "command"]).and_then(|node| node.list("").ok()).unwrap_or_default();
        let program = command.first().and_then(|node| node.text("").ok()).unwrap_or("nothing");
        let message = format!("{path} executes `{program}` in the container, and was not asked");
        let advice = "a probe that executes needs a second exec, which a sealed container does not have: use httpGet, tcpSocket or grpc";
        settings.warn("exec-probe", message, advice);
        return Ok(None);
    }
    if action == "grpc" {
        settings.warn(
            "probe-not-asked",
            format!("{path} speaks gRPC, which austere does not"),
            "--tcp asks whether the port accepts",
        );
        return Ok(None);
    }
    let key = if action == "httpGet" { "httpGet" } else { "tcpSocket" };
    let place = probe.path(key);
    let (Some(mut target), Some(at)) = (probe.map(key)?, probe.get(key)) else { return Ok(None) };
    let port = port(&mut target, at, &place, ports)?;
    if let Some(host) = target.text("host")?.filter(|host| !host.is_empty()) {
        let message = format!("{path} asks the host {host} and not the pod");
        settings.warn("probe-not-asked", message, "leave `host` away, and say it with the header Host");
        return Ok(None);
    }
    let asked = if key == "tcpSocket" {
        Probe::tcp(&port.to_string()).map_err(|error| at.wrong(&place, error))?
    } else {
        http(&mut target, at, &place, port)?
    };
    target.finish(&mut settings.findings);
    Ok(Some(asked))
}

fn http(target: &mut Fields<'_>, at: &Node, place: &str, port: u16) -> Result<Probe, ManifestError> {
    let path = target.text("path")?.filter(|path| !path.is_empty()).unwrap_or_else(|| "/".to_owned());
    let path = if path.starts_with('/') { path } else { format!("/{path}") };
    let https = match target.text("scheme")?.as_deref() {
        None | Some("HTTP" | "") => false,
        Some("HTTPS") => true,
        Some(other) => return Err(at.wrong(place, format_args!("the scheme `{other}` is neither HTTP nor HTTPS"))),
    };
    let mut headers = Vec::new();
    for (path, node) in target.list("httpHeaders")? {
        let mut header = Fields::of(node, &*path)?;
        let (name, value) = (header.required("name", node)?, header.text("value")?.unwrap_or_default());
        headers.push(Probe::header(&name, &value).map_err(|error| node.wrong(&path, error))?);
    }
    // An `=` of the path is not a status.
    let escaped = path.replace('=', "%3D");
    let asked = Probe::http(&format!("{port}{escaped}")).map_err(|error| at.wrong(place, error))?;
    let Probe::Http { status, .. } = asked else { return Ok(asked) };
    Ok(Probe::Http { port, path, status, contains: None, headers, https })
}

/// A number, or the name of one of the container's ports.
fn port(target: &mut Fields<'_>, at: &Node, place: &str, ports: &[Port]) -> Result<u16, ManifestError> {
    let path = format!("{place}.port");
    let Some(node) = target.get("port") else { return Err(at.wrong(&path, "it has to be there")) };
    if let Value::Text(name) = &node.value {
        let named = ports.iter().find(|port| port.name.as_ref() == Some(name)).map(|port| port.number);
        let why = || node.wrong(&path, format_args!("the container has no port named `{name}`"));
        return named.or_else(|| name.parse().ok()).ok_or_else(why);
    }
    let number = node.number::<u16>(&path)?;
    if number == 0 { Err(node.wrong(&path, "0 is not a port")) } else { Ok(number) }
}
