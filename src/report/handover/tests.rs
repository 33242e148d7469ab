use k8s_openapi::api::apps::v1::Deployment;

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

/// Whether the published API has every field of it, and of that type: what it does not know, its types leave out.
fn is_known_to_kubernetes(deployment: &Value) -> Result<(), String> {
    let typed: Deployment = serde_json::from_value(deployment.clone()).map_err(|error| error.to_string())?;
    let again = serde_json::to_value(typed).map_err(|error| error.to_string())?;
    if again == *deployment { Ok(()) } else { Err(format!("{deployment:#} is read as {again:#}")) }
}

/// What the compose specification's own schema has against it.
fn against_compose(file: &Value) -> Vec<String> {
    let schema = serde_json::from_str(include_str!("../../../tests/schemas/compose-spec.json")).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    schema.iter_errors(file).map(|error| error.to_string()).collect()
}

/// One of every kind.
fn everything() -> Vec<Relaxation> {
    vec![
        run(),
        Relaxation::Volume("/data".to_owned()),
        Relaxation::Env("HOME=yes".to_owned()),
        Relaxation::PasswdLine,
        Relaxation::LowPorts,
        Relaxation::Ulimit("memlock=-1".to_owned()),
        Relaxation::Group(42),
        Relaxation::Syscall("keyctl".to_owned()),
        Relaxation::AllowExec("/bin/sh".to_owned()),
        Relaxation::Network("192.0.2.1:443".to_owned()),
        Relaxation::Capability("CHOWN".to_owned()),
    ]
}

#[test]
fn the_published_schemas_know_every_word() {
    let others = vec![Relaxation::Root, Relaxation::WritableRoot];
    let users = vec![Relaxation::User("101".to_owned())];
    for given in [everything(), others, users, Vec::new()] {
        for probe in [("http", "80/healthz"), ("https", "443/"), ("tcp", "6379"), ("udp", "53"), ("up", "3 s")] {
            let order = order(given.clone(), probe);
            let deployment = parsed(&order.handed_to(Target::Kubernetes));
            assert_eq!(is_known_to_kubernetes(&deployment), Ok(()));
            let compose = parsed(&order.handed_to(Target::Compose));
            assert_eq!(against_compose(&compose), Vec::<String>::new(), "{compose:#}");
        }
    }
    // The twin: a word that is misspelt, one in the wrong place, and one of the wrong type.
    let order = order(everything(), ("http", "80/healthz"));
    let deployment = parsed(&order.handed_to(Target::Kubernetes));
    let container = "/spec/template/spec/containers/0";
    for (place, word, value) in [
        (format!("{container}/securityContext"), "readOnlyRootFileSystem", json!(true)),
        (format!("{container}/securityContext"), "fsGroup", json!(7)),
        (container.to_owned(), "image", json!(7)),
    ] {
        let mut wrong = deployment.clone();
        wrong.pointer_mut(&place).unwrap()[word] = value;
        assert!(is_known_to_kubernetes(&wrong).is_err(), "{word}");
    }
    let mut wrong = parsed(&order.handed_to(Target::Compose));
    wrong["services"]["app"]["readonly"] = json!(true);
    assert_eq!(against_compose(&wrong).len(), 1);
}

#[test]
fn a_profile_of_the_app_s_own_takes_the_place_of_the_engine_s() {
    let mut order = order(vec![Relaxation::Syscall("keyctl".to_owned())], ("port", "8080"));
    let flag = "--security-opt seccomp=seccomp.json";
    let text = order.handed_to(Target::Docker);
    assert!(text.contains(flag) && text.contains("it lets keyctl through"), "{text}");
    let profile = json!({ "defaultAction": "SCMP_ACT_ERRNO" });
    order.fit.seccomp = Some(Own { status: "failed".to_owned(), profile: profile.clone() });
    assert_eq!(order.fit.own_profile(), None);
    order.fit.seccomp = Some(Own { status: "reached".to_owned(), profile });
    let text = order.handed_to(Target::Podman);
    assert!(text.contains(flag) && text.contains("ENOSYS for the rest") && !text.contains("keyctl"), "{text}");
    assert!(
        parsed(&order.handed_to(Target::Compose))["services"]["app"]["security_opt"].as_array().unwrap().len() == 2
    );
    let pod = parsed(&order.handed_to(Target::Kubernetes));
    let context = &pod["spec"]["template"]["spec"]["containers"][0]["securityContext"];
    assert_eq!(context["seccompProfile"]["type"], "Localhost");
}

#[test]
fn what_is_not_proven_is_called_so() {
    let mut order = order(vec![Relaxation::Network("192.0.2.1:443".to_owned())], ("up", "3 s"));
    order.fit.status = "not_tried".to_owned();
    for target in [Target::Docker, Target::Podman, Target::Compose, Target::Kubernetes] {
        let text = order.handed_to(target);
        assert!(text.starts_with("# not proven: ") && text.contains("# it wants to reach 192.0.2.1:443: "), "{text}");
    }
    order.fit.relaxations.clear();
    assert!(order.handed_to(Target::Docker).starts_with("# austere has found no set that works"));
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
    let order = order(everything(), ("http", "80/healthz"));
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
