//! A Deployment: what Pod Security's `restricted` asks for, and what is given back.

use serde_json::{Map, Value, json};

use super::{Order, Probe, yaml};
use crate::fit::{Given, PORT_START, Relaxation};

/// The Deployment, with notes on what it cannot say.
pub(super) fn deployment(order: &Order) -> String {
    let (mut volumes, mut mounts, mut env, mut groups, mut capabilities) = (vec![], vec![], vec![], vec![], vec![]);
    let mut notes = Vec::new();
    let mut seccomp = json!({ "type": "RuntimeDefault" });
    if order.fit.status != "reached" {
        notes.push("austere has found no set that works: this is the strictest form".to_owned());
    }
    for (number, Given { what, .. }) in order.fit.relaxations.iter().enumerate() {
        let name = format!("scratch-{number}");
        match what {
            Relaxation::Tmpfs(scratch) => {
                let mut source = json!({ "medium": "Memory" });
                if let Some(size) = scratch.size {
                    source["sizeLimit"] = json!(format!("{}Mi", size >> 20));
                }
                volumes.push(json!({ "name": name, "emptyDir": source }));
                mounts.push(json!({ "name": name, "mountPath": scratch.path }));
                if !scratch.exec {
                    notes.push(format!("{}: programs in an emptyDir can be run; Kubernetes has no noexec", scratch.path));
                }
            }
            Relaxation::Volume(path) => {
                volumes.push(json!({ "name": name, "emptyDir": {} }));
                mounts.push(json!({ "name": name, "mountPath": path }));
                notes.push(format!(
                    "{path}: an emptyDir hides the image's own files there; an init container of the same image has to copy them"
                ));
            }
            Relaxation::Env(pair) => {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                env.push(json!({ "name": name, "value": value }));
            }
            Relaxation::PasswdLine => {
                volumes.push(json!({ "name": "passwd", "configMap": { "name": "passwd" } }));
                mounts.push(json!({ "name": "passwd", "mountPath": "/etc/passwd", "subPath": "passwd", "readOnly": true }));
                notes.push(format!(
                    "ConfigMap passwd, key passwd: the image's /etc/passwd with the line `app:x:{}:{}::/:/sbin/nologin`",
                    order.ids.uid, order.ids.gid
                ));
            }
            Relaxation::Ulimit(limit) => {
                notes.push(format!("Kubernetes cannot say --ulimit {limit}: it is the runtime's setting on the node"));
            }
            Relaxation::Group(gid) => groups.push(json!(gid)),
            Relaxation::Syscall(call) => {
                seccomp = json!({ "type": "Localhost", "localhostProfile": "profiles/austere.json" });
                notes.push(format!(
                    "profiles/austere.json on each node, below /var/lib/kubelet/seccomp: `austere fit --to seccomp` writes it; it lets {call} through"
                ));
            }
            Relaxation::Capability(name) => capabilities.push(json!(name)),
            Relaxation::LowPorts | Relaxation::User(_) | Relaxation::Root | Relaxation::WritableRoot => {}
        }
    }
    let uid = order.uid();
    let mut context = json!({
        "runAsUser": uid,
        "runAsNonRoot": uid != 0,
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": !order.has(&Relaxation::WritableRoot),
        "capabilities": { "drop": ["ALL"] },
        "seccompProfile": seccomp,
    });
    if uid == order.ids.uid {
        context["runAsGroup"] = json!(order.ids.gid);
    }
    if !capabilities.is_empty() {
        context["capabilities"]["add"] = Value::Array(capabilities);
    }
    let mut container = Map::new();
    let mut set = |name: &str, value: Value| {
        if value.as_array().is_none_or(|list| !list.is_empty()) {
            container.insert(name.to_owned(), value);
        }
    };
    set("name", json!("app"));
    set("image", json!(order.image));
    set("securityContext", context);
    set("env", Value::Array(env));
    set("volumeMounts", Value::Array(mounts));
    set("ports", order.ports().iter().map(|port| json!({ "containerPort": port })).collect());
    if let Some(probe) = order.plan.probes.iter().find_map(readiness) {
        set("readinessProbe", probe);
    }
    notes.push("resources: they were not measured; these are a start".to_owned());
    set("resources", json!({ "requests": { "cpu": "50m", "memory": "64Mi" }, "limits": { "memory": "512Mi" } }));
    let mut pod = json!({ "automountServiceAccountToken": false, "containers": [container] });
    let mut security = Map::new();
    if order.wants_low_ports() {
        // A safe parameter since Kubernetes 1.22; containerd 2.0 and newer set it themselves.
        security.insert("sysctls".to_owned(), json!([{ "name": PORT_START, "value": "0" }]));
    }
    if !groups.is_empty() {
        security.insert("supplementalGroups".to_owned(), Value::Array(groups));
    }
    if !security.is_empty() {
        pod["securityContext"] = Value::Object(security);
    }
    if !volumes.is_empty() {
        pod["volumes"] = Value::Array(volumes);
    }
    let labels = json!({ "app": "app" });
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "app", "labels": labels },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": pod },
        },
    });
    notes.extend(order.better());
    notes.dedup();
    yaml(&notes, &deployment)
}

fn readiness(probe: &Probe) -> Option<Value> {
    let port = probe.port()?;
    let path = probe.target.find('/').map_or("/", |at| &probe.target[at..]);
    let scheme = probe.kind.to_uppercase();
    Some(match probe.kind.as_str() {
        "http" | "https" => json!({ "httpGet": { "path": path, "port": port, "scheme": scheme } }),
        _ => json!({ "tcpSocket": { "port": port } }),
    })
}
