//! The Pod Security Standards, check by check.
//!
//! Source: the Kubernetes documentation, "Pod Security Standards", v1.34. Checks of Windows pods are left out.

use schemars::JsonSchema;
use serde::Serialize;

use crate::manifest::node::{Node, Value};

/// What the two standards say of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PodSecurity {
    /// Which pod: `Deployment/web`.
    pub pod: String,
    /// What nearly every pod should keep to.
    pub baseline: Level,
    /// What a hardened pod keeps to; its checks are those beside the baseline's, which it includes.
    pub restricted: Level,
    /// Neither standard asks for a read-only root file system: whether the container that was judged has one.
    pub read_only_root: bool,
}

/// One standard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Level {
    /// The pod keeps to it.
    pub passed: bool,
    /// One by one.
    pub checks: Vec<Check>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Check {
    /// As the documentation's control: `host-namespaces`.
    pub name: String,
    /// Nothing is against it.
    pub passed: bool,
    /// What is against it: `spec.hostNetwork: true`.
    pub failed_at: Vec<String>,
}

/// Capabilities that the baseline lets be added.
const BASELINE_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Kernel parameters that are a pod's own.
const SAFE_SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

const SELINUX_TYPES: [&str; 5] = ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];

/// Kinds of volume that the restricted standard allows.
const VOLUMES: [&str; 8] =
    ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];

/// A pod as the checks see it.
struct Pod<'a> {
    path: &'a str,
    spec: &'a Node,
    metadata: Option<&'a Node>,
    containers: Vec<(String, &'a Node)>,
}

type Place<'a> = (String, &'a Node);

/// Looks at a pod. `path` is where its specification lies, `metadata` what its template says of it.
pub(super) fn judge(
    pod: String,
    path: &str,
    spec: &Node,
    metadata: Option<&Node>,
    read_only_root: bool,
) -> PodSecurity {
    let mut containers = Vec::new();
    for kind in ["containers", "initContainers", "ephemeralContainers"] {
        let list = spec.at(&[kind]).and_then(|node| node.list("").ok()).unwrap_or_default();
        containers.extend(list.iter().enumerate().map(|(index, node)| (format!("{path}.{kind}[{index}]"), node)));
    }
    let pod_seen = Pod { path, spec, metadata, containers };
    let level = |checks: Vec<Check>| Level { passed: checks.iter().all(|check| check.passed), checks };
    let baseline = level(pod_seen.baseline());
    let mut restricted = level(pod_seen.restricted());
    restricted.passed &= baseline.passed;
    PodSecurity { pod, baseline, restricted, read_only_root }
}

fn check(name: &str, failed_at: Vec<String>) -> Check {
    Check { name: name.to_owned(), passed: failed_at.is_empty(), failed_at }
}

fn said((path, node): &Place<'_>) -> String {
    match &node.value {
        Value::List(_) | Value::Map(_) => path.clone(),
        _ => format!("{path}: {}", node.word(path).unwrap_or_default()),
    }
}

fn is(node: &Node, wanted: bool) -> bool {
    node.value == Value::Bool(wanted)
}

fn text(node: &Node) -> &str {
    if let Value::Text(text) = &node.value { text } else { "" }
}

/// The elements of a list below a place.
fn elements<'a>((path, node): &Place<'a>, keys: &[&str]) -> Vec<Place<'a>> {
    let list = node.at(keys).and_then(|node| node.list("").ok()).unwrap_or_default();
    let keys = keys.join(".");
    list.iter().enumerate().map(|(index, node)| (format!("{path}.{keys}[{index}]"), node)).collect()
}

/// What lies below a place.
fn field<'a>((path, node): &Place<'a>, keys: &[&str]) -> Option<Place<'a>> {
    node.at(keys).map(|node| (format!("{path}.{}", keys.join(".")), node))
}

impl<'a> Pod<'a> {
    fn whole(&self) -> Place<'a> {
        (self.path.to_owned(), self.spec)
    }

    fn pod_field(&self, keys: &[&str]) -> Option<Place<'a>> {
        field(&self.whole(), keys)
    }

    /// The same field of the pod's security context and of every container's.
    fn contexts(&self, keys: &[&str]) -> Vec<Place<'a>> {
        let keys = [&["securityContext"], keys].concat();
        self.pod_field(&keys).into_iter().chain(self.containers.iter().filter_map(|one| field(one, &keys))).collect()
    }

    fn baseline(&self) -> Vec<Check> {
        let saying = |places: Vec<Place<'_>>, is_wrong: &dyn Fn(&Node) -> bool| -> Vec<String> {
            places.iter().filter(|(_, node)| is_wrong(node)).map(said).collect()
        };
        let every =
            |keys: &[&str]| -> Vec<Place<'a>> { self.containers.iter().flat_map(|one| elements(one, keys)).collect() };
        let host_namespaces =
            ["hostNetwork", "hostPID", "hostIPC"].into_iter().filter_map(|key| self.pod_field(&[key])).collect();
        let volumes = elements(&self.whole(), &["volumes"]);
        let host_paths = volumes.iter().filter_map(|volume| field(volume, &["hostPath"])).map(|(path, _)| path);
        let host_ports = every(&["ports"]).iter().filter_map(|port| field(port, &["hostPort"])).collect();
        let added = every(&["securityContext", "capabilities", "add"]);
        let selinux = |key: &str| self.contexts(&["seLinuxOptions", key]);
        let selinux_types = saying(selinux("type"), &|node| !SELINUX_TYPES.contains(&text(node)));
        let selinux_names = [selinux("user"), selinux("role")].concat();
        vec![
            check("host-process", saying(self.contexts(&["windowsOptions", "hostProcess"]), &|node| is(node, true))),
            check("host-namespaces", saying(host_namespaces, &|node| is(node, true))),
            check("privileged-containers", saying(self.contexts(&["privileged"]), &|node| is(node, true))),
            check("capabilities", saying(added, &|node| !BASELINE_CAPABILITIES.contains(&text(node)))),
            check("host-path-volumes", host_paths.collect()),
            check("host-ports", saying(host_ports, &|node| node.value != Value::Number("0".to_owned()))),
            check("host-probes", self.probe_hosts()),
            check(
                "apparmor",
                [
                    saying(self.contexts(&["appArmorProfile", "type"]), &|node| {
                        !["RuntimeDefault", "Localhost"].contains(&text(node))
                    }),
                    self.apparmor_annotations(),
                ]
                .concat(),
            ),
            check("selinux", [selinux_types, saying(selinux_names, &|node| !text(node).is_empty())].concat()),
            check("proc-mount", saying(self.contexts(&["procMount"]), &|node| text(node) != "Default")),
            check("seccomp", saying(self.contexts(&["seccompProfile", "type"]), &|node| text(node) == "Unconfined")),
            check("sysctls", self.sysctls()),
        ]
    }

    /// Addresses that the kubelet is told to ask in place of the pod's own.
    fn probe_hosts(&self) -> Vec<String> {
        const ASKED: [&[&str]; 5] = [
            &["livenessProbe"],
            &["readinessProbe"],
            &["startupProbe"],
            &["lifecycle", "postStart"],
            &["lifecycle", "preStop"],
        ];
        let mut failed = Vec::new();
        for one in &self.containers {
            for keys in ASKED {
                for action in ["httpGet", "tcpSocket"] {
                    let host = field(one, &[keys, &[action, "host"]].concat());
                    failed.extend(host.filter(|(_, node)| !text(node).is_empty()).as_ref().map(said));
                }
            }
        }
        failed
    }

    fn apparmor_annotations(&self) -> Vec<String> {
        const PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";
        let annotations = self.metadata.and_then(|node| node.at(&["annotations"]));
        let Some(Value::Map(entries)) = annotations.map(|node| &node.value) else { return Vec::new() };
        let is_wrong = |node: &Node| text(node) != "runtime/default" && !text(node).starts_with("localhost/");
        let wrong = entries.iter().filter(|(name, node)| name.starts_with(PREFIX) && is_wrong(node));
        wrong.map(|(name, node)| format!("metadata.annotations[{name}]: {}", text(node))).collect()
    }

    fn sysctls(&self) -> Vec<String> {
        let all = elements(&self.whole(), &["securityContext", "sysctls"]);
        let names = all.iter().filter_map(|one| field(one, &["name"]));
        names.filter(|(_, node)| !SAFE_SYSCTLS.contains(&text(node))).map(|place| said(&place)).collect()
    }

    fn restricted(&self) -> Vec<Check> {
        let volumes = elements(&self.whole(), &["volumes"]).into_iter().filter_map(|(path, node)| {
            let Value::Map(entries) = &node.value else { return None };
            let kind = entries.iter().find(|(key, _)| key != "name")?;
            (!VOLUMES.contains(&kind.0.as_str())).then(|| format!("{path}.{}", kind.0))
        });
        let root_users = self.contexts(&["runAsUser"]);
        let root_users = root_users.iter().filter(|(_, node)| node.value == Value::Number("0".to_owned())).map(said);
        vec![
            check("volume-types", volumes.collect()),
            check("privilege-escalation", self.each(&["allowPrivilegeEscalation"], &|node| is(node, false))),
            check("running-as-non-root", self.each(&["runAsNonRoot"], &|node| is(node, true))),
            check("running-as-non-root-user", root_users.collect()),
            check(
                "seccomp",
                self.each(&["seccompProfile", "type"], &|node| ["RuntimeDefault", "Localhost"].contains(&text(node))),
            ),
            check("capabilities", self.capabilities()),
        ]
    }

    /// The pod's field and the containers' that do not fit, and the containers that have none where the pod has none either.
    fn each(&self, keys: &[&str], fits: &dyn Fn(&Node) -> bool) -> Vec<String> {
        let keys = [&["securityContext"], keys].concat();
        let pod = self.pod_field(&keys);
        let wrong = |one: &Place<'a>| match field(one, &keys) {
            Some(place) => (!fits(place.1)).then(|| said(&place)),
            None => pod.is_none().then(|| format!("{}.{}: not set", one.0, keys.join("."))),
        };
        let of_pod = pod.iter().filter(|(_, node)| !fits(node)).map(said);
        of_pod.chain(self.containers.iter().filter_map(wrong)).collect()
    }

    fn capabilities(&self) -> Vec<String> {
        let mut failed = Vec::new();
        for one in &self.containers {
            let keys = ["securityContext", "capabilities"];
            let dropped = elements(one, &[&keys[..], &["drop"]].concat());
            if !dropped.iter().any(|(_, node)| text(node) == "ALL") {
                failed.push(format!("{}.securityContext.capabilities.drop: not ALL", one.0));
            }
            let added = elements(one, &[&keys[..], &["add"]].concat());
            failed.extend(added.iter().filter(|(_, node)| text(node) != "NET_BIND_SERVICE").map(said));
        }
        failed
    }
}
