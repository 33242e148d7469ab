//! A Deployment: what Pod Security's `restricted` asks for, and what is given back.

use serde_json::{Map, Value, json};

use super::{Order, Probe, yaml};
use crate::fit::{Given, PORT_START, Relaxation};

/// What the relaxations come to in a pod.
struct Pod {
    volumes: Vec<Value>,
    mounts: Vec<Value>,
    env: Vec<Value>,
    groups: Vec<Value>,
    capabilities: Vec<Value>,
    seccomp: Value,
    notes: Vec<String>,
}

impl Pod {
    fn of(order: &Order) -> Self {
        let mut pod = Pod {
            volumes: Vec::new(),
            mounts: Vec::new(),
            env: Vec::new(),
            groups: Vec::new(),
            capabilities: Vec::new(),
            seccomp: json!({ "type": "RuntimeDefault" }),
            notes: Vec::new(),
        };
        pod.notes.extend(order.unproven());
        for (number, Given { what, .. }) in order.fit.relaxations.iter().enumerate() {
            pod.give(what, &format!("scratch-{number}"), order);
        }
        if let Some(what) = order.fit.filter() {
            pod.seccomp = json!({ "type": "Localhost", "localhostProfile": "profiles/austere.json" });
            pod.notes.push(format!("profiles/austere.json on each node, below /var/lib/kubelet/seccomp: {what}"));
        }
        pod.notes.push("resources: they were not measured; these are a start".to_owned());
        pod.notes.extend(order.better());
        pod.notes.dedup();
        pod
    }

    fn mount(&mut self, name: &str, path: &str, source: &Value) {
        self.volumes.push(json!({ "name": name, "emptyDir": source }));
        self.mounts.push(json!({ "name": name, "mountPath": path }));
    }

    fn give(&mut self, what: &Relaxation, name: &str, order: &Order) {
        match what {
            Relaxation::Tmpfs(scratch) => {
                let mut source = json!({ "medium": "Memory" });
                if let Some(size) = scratch.size {
                    source["sizeLimit"] = json!(format!("{}Mi", size >> 20));
                }
                self.mount(name, &scratch.path, &source);
                if !scratch.exec {
                    let note = "programs in an emptyDir can be run; Kubernetes has no noexec";
                    self.notes.push(format!("{}: {note}", scratch.path));
                }
            }
            Relaxation::Volume(path) => {
                self.mount(name, path, &json!({}));
                self.notes.push(format!(
                    "{path}: an emptyDir hides the image's own files there; an init container of the same image has to copy them"
                ));
            }
            Relaxation::Env(pair) => {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                self.env.push(json!({ "name": name, "value": value }));
            }
            Relaxation::PasswdLine => {
                let file =
                    json!({ "name": "passwd", "mountPath": "/etc/passwd", "subPath": "passwd", "readOnly": true });
                self.volumes.push(json!({ "name": "passwd", "configMap": { "name": "passwd" } }));
                self.mounts.push(file);
                self.notes.push(format!(
                    "ConfigMap passwd, key passwd: the image's /etc/passwd with the line `app:x:{}:{}::/:/sbin/nologin`",
                    order.ids.uid, order.ids.gid
                ));
            }
            Relaxation::Ulimit(limit) => {
                let note = "it is the runtime's setting on the node";
                self.notes.push(format!("Kubernetes cannot say --ulimit {limit}: {note}"));
            }
            Relaxation::Group(gid) => self.groups.push(json!(gid)),
            Relaxation::Capability(name) => self.capabilities.push(json!(name)),
            Relaxation::AllowExec(path) => {
                self.notes.push(format!("{path}: Kubernetes lets every program be started"));
            }
            Relaxation::Network(address) => {
                self.notes.push(super::reaches(address, "a NetworkPolicy that lets it out, where there is one"));
            }
            Relaxation::Syscall(_)
            | Relaxation::LowPorts
            | Relaxation::User(_)
            | Relaxation::Root
            | Relaxation::WritableRoot => {}
        }
    }

    /// The container's security context.
    fn context(&mut self, order: &Order) -> Value {
        let uid = order.uid();
        let mut context = json!({
            "runAsUser": uid,
            "runAsNonRoot": uid != 0,
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": !order.has(&Relaxation::WritableRoot),
            "capabilities": { "drop": ["ALL"] },
            "seccompProfile": self.seccomp.take(),
        });
        if uid == order.ids.uid {
            context["runAsGroup"] = json!(order.ids.gid);
        }
        if !self.capabilities.is_empty() {
            context["capabilities"]["add"] = json!(self.capabilities);
        }
        context
    }
}

/// The Deployment, with notes on what it cannot say.
pub(super) fn deployment(order: &Order) -> String {
    let mut pod = Pod::of(order);
    let context = pod.context(order);
    let mut container = Map::new();
    let mut set = |name: &str, value: Value| {
        if value.as_array().is_none_or(|list| !list.is_empty()) {
            container.insert(name.to_owned(), value);
        }
    };
    set("name", json!("app"));
    set("image", json!(order.image));
    set("securityContext", context);
    set("env", Value::Array(pod.env));
    set("volumeMounts", Value::Array(pod.mounts));
    set("ports", order.ports().iter().map(|port| json!({ "containerPort": port })).collect());
    if let Some(probe) = order.plan.probes.iter().find_map(readiness) {
        set("readinessProbe", probe);
    }
    set("resources", json!({ "requests": { "cpu": "50m", "memory": "64Mi" }, "limits": { "memory": "512Mi" } }));
    let mut spec = json!({ "automountServiceAccountToken": false, "containers": [container] });
    let mut security = Map::new();
    if order.wants_low_ports() {
        // A safe parameter since Kubernetes 1.22; containerd 2.0 and newer set it themselves.
        security.insert("sysctls".to_owned(), json!([{ "name": PORT_START, "value": "0" }]));
    }
    if !pod.groups.is_empty() {
        security.insert("supplementalGroups".to_owned(), Value::Array(pod.groups));
    }
    if !security.is_empty() {
        spec["securityContext"] = Value::Object(security);
    }
    if !pod.volumes.is_empty() {
        spec["volumes"] = Value::Array(pod.volumes);
    }
    let labels = json!({ "app": "app" });
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "app", "labels": labels },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": spec },
        },
    });
    yaml(&pod.notes, &deployment)
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
