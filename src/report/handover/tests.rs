use super::*;
use crate::fit::Scratch;

fn order(relaxations: Vec<Relaxation>, probe: (&str, &str)) -> Order {
    let given = |what| Given { what, evidence: String::new(), better: None };
    Order {
        image: "registry.example/web:1".to_owned(),
        ids: Ids { uid: 65532, gid: 0 },
        plan: Plan { probes: vec![Probe { kind: probe.0.to_owned(), target: probe.1.to_owned() }] },
        fit: Fit {
            status: "reached".to_owned(),
            relaxations: relaxations.into_iter().map(given).collect(),
            seccomp: None,
        },
    }
}

fn run() -> Relaxation {
    Relaxation::Tmpfs(Scratch { owned: true, size: Some(64 << 20), ..Scratch::at("/run") })
}

fn parsed(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}

#[test]
fn engines_are_told_the_same_in_their_own_words() {
    let order = order(vec![run(), Relaxation::Env("A=it's b".to_owned())], ("port", "80"));
    assert_eq!(
        order.handed_to(Target::Docker),
        "docker run --read-only --cap-drop ALL --security-opt no-new-privileges --user 65532 --tmpfs /run:uid=65532,size=64m \
         -e 'A=it'\\''s b' -p 80:80 registry.example/web:1\n"
    );
    assert_eq!(
        order.handed_to(Target::Podman),
        "podman run --read-only --cap-drop ALL --security-opt no-new-privileges --user 65532 \
         --sysctl net.ipv4.ip_unprivileged_port_start=0 --tmpfs /run:rw,noexec,size=64m -e 'A=it'\\''s b' -p 80:80 \
         registry.example/web:1\n"
    );
}

#[test]
fn root_with_a_capability_needs_no_parameter() {
    let given = vec![Relaxation::Capability("NET_BIND_SERVICE".to_owned()), Relaxation::Root, Relaxation::WritableRoot];
    let text = order(given, ("http", "80/")).handed_to(Target::Podman);
    assert!(text.contains("--user 0 --cap-add NET_BIND_SERVICE") && !text.contains("sysctl"), "{text}");
    assert!(!text.contains("--read-only"), "{text}");
}

#[test]
fn yaml_reads_back() {
    let all = vec![
        run(),
        Relaxation::Volume("/data".to_owned()),
        Relaxation::Env("HOME=yes".to_owned()),
        Relaxation::PasswdLine,
        Relaxation::Ulimit("memlock=-1".to_owned()),
        Relaxation::Group(42),
        Relaxation::Syscall("keyctl".to_owned()),
        Relaxation::Capability("CHOWN".to_owned()),
    ];
    let order = order(all, ("http", "80/healthz"));
    let text = order.handed_to(Target::Compose);
    let app = &parsed(&text)["services"]["app"];
    assert_eq!(app["user"], "65532");
    assert_eq!(app["tmpfs"], json!(["/run:uid=65532,size=64m"]));
    assert_eq!(app["environment"], json!(["HOME=yes"]));
    assert_eq!(app["ulimits"], json!({ "memlock": -1 }));
    assert_eq!(app["security_opt"], json!(["no-new-privileges:true", "seccomp:./seccomp.json"]));
    assert!(text.starts_with("# /data: a fresh volume"));

    let text = order.handed_to(Target::Kubernetes);
    let spec = &parsed(&text)["spec"]["template"]["spec"];
    let container = &spec["containers"][0];
    assert_eq!(container["readinessProbe"]["httpGet"], json!({ "path": "/healthz", "port": 80, "scheme": "HTTP" }));
    assert_eq!(container["securityContext"]["runAsNonRoot"], true);
    assert_eq!(container["securityContext"]["capabilities"], json!({ "drop": ["ALL"], "add": ["CHOWN"] }));
    assert_eq!(spec["securityContext"]["sysctls"][0]["value"], "0");
    assert_eq!(spec["securityContext"]["supplementalGroups"], json!([42]));
    assert_eq!(spec["volumes"][0]["emptyDir"], json!({ "medium": "Memory", "sizeLimit": "64Mi" }));
    assert!(text.contains("# Kubernetes cannot say --ulimit memlock=-1"));
}
