//! Containers that run as a manifest describes them.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]

#[path = "common/callers.rs"]
mod callers;
mod common;
#[path = "common/image.rs"]
mod image;

use std::fs;

use callers::{Caller, callers, stderr, stdout};
use common::said;
use image::{Image, Layer};
use serde_json::{Value, json};

const POD: &str = "kind: Pod\nmetadata: {name: x}\nspec:\n  containers:\n    - name: app\n";

/// Writes a manifest where the caller may read it.
fn write(caller: &Caller, name: &str, text: &str) -> String {
    let file = caller.dir().join(name);
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

fn codes(verdict: &Value) -> Vec<&str> {
    verdict["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap()).collect()
}

const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: hello}
spec:
  template:
    spec:
      securityContext: {runAsUser: 65532, runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: hello
          image: example:hello
          ports: [{name: http, containerPort: 8080}]
          readinessProbe: {httpGet: {path: PATH, port: http}}
          securityContext:
            readOnlyRootFilesystem: true
            allowPrivilegeEscalation: false
            capabilities: {drop: [ALL]}
";

#[test]
fn a_deployment_is_run_as_it_says_and_asked_what_it_says() {
    for caller in callers() {
        let pod = write(&caller, "pod.yaml", &DEPLOYMENT.replace("PATH", "/"));
        let (verdict, code) = caller.judge(&["--pod", &pod]);
        assert_eq!((verdict["verdict"].as_str(), code), (Some("pass"), 0), "{verdict:#}");
        assert_eq!(
            (&verdict["plan"]["origin"], &verdict["preset"]["name"]),
            (&json!("manifest"), &json!("kubernetes"))
        );
        assert_eq!(verdict["probes"][0]["kind"], "http");
        assert_eq!(verdict["relaxations"], json!([format!("--pod {pod}")]));
        let standards = &verdict["pod_security"];
        assert_eq!(
            (&standards["baseline"]["passed"], &standards["restricted"]["passed"]),
            (&json!(true), &json!(true))
        );
        assert_eq!(standards["read_only_root"], true);
        assert_eq!(verdict["ladder"][1]["status"], "reached");
        let page = stdout(&caller.verify(&["--pod", &pod]));
        assert!(page.contains("passed       Pod Security Standards, restricted\n"), "{page}");

        // Its twins: flags win over the manifest, and a container that is less hardened says so.
        let (verdict, code) = caller.judge(&["--pod", &pod, "--http", "8081", "--timeout", "1", "--user", "1234"]);
        assert_eq!((verdict["verdict"].as_str(), code), (Some("fail"), 1), "{verdict:#}");
        assert_eq!((&verdict["plan"]["origin"], &verdict["ids"]["uid"]), (&json!("flags"), &json!(1234)));
        let soft = DEPLOYMENT.replace("PATH", "/").replace("readOnlyRootFilesystem: true", "procMount: Default");
        let soft = write(&caller, "soft.yaml", &soft.replace("{drop: [ALL]}", "{drop: [CHOWN]}"));
        let (verdict, _) = caller.judge(&["--pod", &soft]);
        assert_eq!(verdict["verdict"], "pass", "{verdict:#}");
        let reason = verdict["reason"].as_str().unwrap();
        assert!(reason.contains("with a writable root, with the capabilities AUDIT_WRITE DAC_OVERRIDE"), "{reason}");
        assert!(
            !reason.contains("--cap-add") && verdict["relaxations"].to_string().contains("--cap-add KILL"),
            "{reason}"
        );
        assert_eq!(verdict["ladder"][1]["status"], "not_tried");
        assert_eq!(verdict["pod_security"]["restricted"]["passed"], false);
        let failed = &verdict["pod_security"]["restricted"]["checks"][5];
        let place = "spec.template.spec.containers[0].securityContext.capabilities.drop: not ALL";
        assert_eq!((&failed["name"], &failed["failed_at"]), (&json!("capabilities"), &json!([place])));
        let page = stdout(&caller.verify(&["--pod", &soft]));
        assert!(page.contains("failed       Pod Security Standards, restricted: capabilities\n"), "{page}");
    }
}

/// A pod that runs a script, as a job; more lines of the pod, of the container.
fn job(script: &str, pod: &str, container: &str) -> String {
    format!(
        "kind: ConfigMap\nmetadata: {{name: web}}\ndata: {{app.conf: hello, run.sh: \"#!/bin/sh\\necho ran\\n\"}}\n---\n\
         kind: Secret\nmetadata: {{name: key}}\nstringData: {{key: secret}}\n---\n\
         kind: Job\nmetadata: {{name: job}}\nspec:\n  template:\n    spec:\n{pod}      containers:\n        - name: app\n\
         {container}          command: [sh, -exc]\n          args:\n            - |\n              {}\n",
        script.replace('\n', "\n              ")
    )
}

const VOLUMES: &str = "      volumes:
        - {name: tmp, emptyDir: {}}
        - {name: web, configMap: {name: web, defaultMode: 0555}}
        - {name: key, secret: {secretName: key, defaultMode: 0400}}
      hostAliases: [{ip: 10.9.8.7, hostnames: [db]}]
      hostname: named
";
const MOUNTS: &str = "          workingDir: /www
          env:
            - {name: WHO, value: world}
            - {name: GREETING, value: hello $(WHO)}
          securityContext: {readOnlyRootFilesystem: true}
          volumeMounts:
            - {name: tmp, mountPath: /tmp}
            - {name: tmp, mountPath: /var/cache/app, subPath: cache}
            - {name: web, mountPath: /etc/web}
            - {name: web, mountPath: /etc/one.conf, subPath: app.conf}
            - {name: key, mountPath: /etc/key}
";

#[test]
fn volumes_variables_and_groups_are_the_pod_s() {
    let Some(image) = callers::script("exit 9") else { return };
    let script = "\
[ \"$(cat /etc/web/app.conf)\" = hello ]
[ \"$(/etc/web/run.sh)\" = ran ]
touch /etc/web/x && exit 5
touch /x && exit 5
[ \"$(cat /etc/one.conf)\" = hello ]
touch /tmp/x /var/cache/app/y
[ ! -e /var/cache/app/x ]
[ \"$GREETING $PWD $(cat /etc/hostname)\" = \"hello world /www named\" ]
grep -q '10.9.8.7.*db' /etc/hosts
grep -q 'NoNewPrivs:.*0' /proc/self/status
";
    let groups = "\
[ \"$(cat /etc/key/key)\" = secret ]
id -G | grep -qw 3000
[ \"$(stat -c '%a %g' /tmp)\" = '2777 3000' ]
[ \"$(stat -c %g /tmp/x)\" = 3000 ]
[ \"$(stat -c '%a %u %g' /etc/key/key)\" = '440 0 3000' ]
";
    for caller in callers() {
        let image = caller.put("image", &image);
        let user = |more: &str| format!("{VOLUMES}      securityContext: {{runAsUser: 1000{more}}}\n");
        let real = if caller.is_root() { groups } else { "[ \"$(cat /etc/key/key)\" = secret ]\n" };
        let cases = [
            (format!("{script}{real}"), user(", fsGroup: 3000"), "pass"),
            // Without the group the key is root's alone.
            (format!("{script}cat /etc/key/key && exit 5\nexit 0\n"), user(""), "pass"),
            (format!("{script}cat /etc/key/key\n"), user(""), "fail"),
            (format!("{script}cat /etc/key/key\n"), user(", runAsGroup: 7").replace("1000", "0"), "pass"),
        ];
        for (script, pod, expected) in cases {
            let file = write(&caller, "job.yaml", &job(&script, &pod, MOUNTS));
            let (verdict, _) = caller.judge(&[&image, "--pod", &file]);
            assert_eq!(verdict["verdict"], expected, "{script}{}: {verdict:#}", caller.mode());
            assert_eq!(verdict["probes"][0]["target"], "code 0");
        }
    }
}

#[test]
fn what_fails_for_want_of_a_secret_is_no_verdict() {
    let Some(image) = callers::script("exit 9") else { return };
    let volumes = "      volumes: [{name: conf, configMap: {name: elsewhere}}]\n";
    let container = "          env: [{name: KEY, valueFrom: {secretKeyRef: {name: elsewhere, key: key}}}]
          volumeMounts: [{name: conf, mountPath: /etc/conf}]
";
    for caller in callers() {
        let image = caller.put("image", &image);
        let fails = write(&caller, "fails.yaml", &job("[ $KEY = right ] && exit 0\nexit 1", volumes, container));
        let (verdict, code) = caller.judge(&[&image, "--pod", &fails]);
        assert_eq!((verdict["verdict"].as_str(), code), (Some("inconclusive"), 3), "{verdict:#}");
        assert!(verdict["reason"].as_str().unwrap().contains("KEY is `stand-in`"), "{}", verdict["reason"]);
        assert_eq!(codes(&verdict).iter().filter(|code| **code == "stand-in").count(), 2);
        // What a flag gives stands for nothing else, and without any stand-in a failure is one.
        let given = [&image, "--pod", &fails, "--tmpfs", "/etc/conf"];
        let (verdict, _) = caller.judge(&[&given[..], &["-e", "KEY=right"]].concat());
        assert_eq!((verdict["verdict"].as_str(), codes(&verdict)), (Some("pass"), vec![]), "{verdict:#}");
        let (verdict, code) = caller.judge(&[&given[..], &["-e", "KEY=wrong"]].concat());
        assert_eq!((verdict["verdict"].as_str(), code), (Some("fail"), 1), "{verdict:#}");
    }
}

#[test]
fn root_is_not_started_where_the_pod_forbids_it() {
    let Some(root) = callers::script("exit 0") else { return };
    let Some(named) = callers::busybox() else { return };
    let named = Image::of(named.file("etc/passwd", 0o644, "web:x:1000:1000::/:/bin/sh\n"))
        .config(json!({ "Entrypoint": ["/bin/sh", "-c", "exit 0"], "User": "web" }));
    let number = |user: &str| {
        let layer = callers::busybox().unwrap_or_else(Layer::new);
        Image::of(layer).config(json!({ "Entrypoint": ["/bin/sh", "-c", "exit 0"], "User": user }))
    };
    for caller in callers() {
        let pod = |context: &str| format!("{POD}      securityContext: {{{context}}}\n");
        let strict = write(&caller, "strict.yaml", &pod("runAsNonRoot: true"));
        let user = write(&caller, "user.yaml", &pod("runAsNonRoot: true, runAsUser: 1000"));
        let loose = write(&caller, "loose.yaml", &pod("runAsNonRoot: false"));
        let images = [("root", &root), ("named", &named), ("number", &number("1000:1000"))];
        let images = images.map(|(name, image)| caller.put(name, image));
        for (index, file, passes, uid) in [
            (0, &strict, false, 0),
            (0, &user, true, 1000),
            (0, &loose, true, 0),
            (1, &strict, false, 1000),
            (1, &loose, true, 1000),
            (2, &strict, true, 1000),
        ] {
            let (verdict, code) = caller.judge(&[&images[index], "--pod", file]);
            let expected = if passes { ("pass", 0) } else { ("fail", 1) };
            assert_eq!((verdict["verdict"].as_str().unwrap(), code), expected, "{index} {file}: {verdict:#}");
            assert_eq!(verdict["ids"]["uid"], uid);
            assert_eq!(codes(&verdict).contains(&"run-as-non-root"), !passes);
        }
    }
}

const COMPOSE: &str = "\
services:
  web:
    image: example:hello
    read_only: true
    user: \"65532\"
    cap_drop: [ALL]
    security_opt: [no-new-privileges]
    command: httpd -f -p 8080 -h ${ROOT:-/www}
    entrypoint: []
    ports: [\"80:8080\"]
    tmpfs: [/tmp]
    configs: [{source: page, target: /www/page.html}]
    healthcheck: {test: [CMD, wget, -q, \"http://localhost:8080/PAGE\"]}
configs: {page: {content: from the file}}
";

#[test]
fn a_service_is_run_as_compose_would() {
    let Some(image) = callers::script("exit 9") else { return };
    for caller in callers() {
        let image = caller.put("image", &image);
        for (page, expected) in [("page.html", "pass"), ("none.html", "fail")] {
            let file = write(&caller, "compose.yaml", &COMPOSE.replace("PAGE", page));
            let (verdict, _) = caller.judge(&[&image, "--compose", &file, "--timeout", "2"]);
            assert_eq!(verdict["verdict"], expected, "{verdict:#}");
            assert_eq!(
                (&verdict["plan"]["origin"], &verdict["probes"][0]["kind"]),
                (&json!("manifest"), &json!("http"))
            );
            let said = [&format!("--compose {file}"), "--tmpfs /tmp:rw,noexec,nosuid,nodev"];
            assert_eq!((&verdict["relaxations"], &verdict["pod_security"]), (&json!(said), &Value::Null));
        }
    }
}

/// Images whose behaviour under an engine is known, in manifests that people would write for them.
#[test]
fn real_images_live_in_their_manifests() {
    let (Some(nginx), Some(redis)) = (common::archive("nginx-unprivileged"), common::archive("redis")) else { return };
    let hard =
        "securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}";
    let pod = |more: &str| {
        let context = "{runAsUser: 65532, runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}";
        format!("{POD}      {hard}\n{more}  securityContext: {context}\n")
    };
    let tmp = "      volumeMounts: [{name: tmp, mountPath: /tmp}]\n  volumes: [{name: tmp, emptyDir: {}}]\n";
    let redis_probe = "      readinessProbe: {tcpSocket: {port: 6379}}\n";
    for caller in callers() {
        for (archive, more, expected) in [
            (&nginx, tmp.to_owned(), "pass"),
            (&nginx, String::new(), "fail"),
            (&redis, redis_probe.to_owned(), "pass"),
        ] {
            let image = match &caller {
                Caller::User(user) => user.readable(archive),
                Caller::Root(_) => archive.clone(),
            };
            let file = write(&caller, "pod.yaml", &pod(&more));
            let (verdict, _) = caller.judge(&[image.to_str().unwrap(), "--pod", &file]);
            assert_eq!(verdict["verdict"], expected, "{}: {verdict:#}", archive.display());
        }
    }
}

#[test]
fn a_person_can_run_a_manifest_too() {
    let Some(image) = callers::script("exit 9") else { return };
    let pod = format!("{POD}      command: [sh, -c]\n      args: ['echo $GREETING; exit $CODE']\n");
    let pod = format!("{pod}      env: [{{name: GREETING, value: hello}}, {{name: CODE, value: '7'}}]\n");
    for caller in callers() {
        let image = caller.put("image", &image);
        let file = write(&caller, "pod.yaml", &pod);
        let output = caller.run(&[&image, "--pod", &file]);
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(7), "hello\n"), "{}", said(&output));
        // Flags win, and what the kubelet would not start is not started.
        let output = caller.run(&[&image, "--pod", &file, "-e", "CODE=5", "--", "exit $CODE"]);
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(5), ""), "{}", said(&output));
        let strict = write(&caller, "strict.yaml", &format!("{pod}      securityContext: {{runAsNonRoot: true}}\n"));
        let output = caller.run(&[&image, "--pod", &strict]);
        assert_eq!(output.status.code(), Some(125), "{}", said(&output));
        assert!(stderr(&output).contains("the kubelet would not start it"), "{}", said(&output));
    }
}

/// Limits need a control group, which root has.
#[test]
fn the_limits_of_a_pod_are_set_and_read_back() {
    let Some(root) = callers().into_iter().find(Caller::is_root) else { return };
    let limits = "resources: {limits: {memory: 64Mi, cpu: 1500m}}";
    let file = DEPLOYMENT.replace("PATH", "/").replace("ports:", &format!("{limits}\n          ports:"));
    let file = write(&root, "pod.yaml", &file);
    let (verdict, _) = root.judge(&["--pod", &file]);
    let asked = |name: &str| {
        let mut measures = verdict["measures"].as_array().unwrap().iter();
        measures
            .find(|measure| measure["name"] == name)
            .map(|measure| (measure["asked"].clone(), measure["status"].clone()))
    };
    let Some((memory, status)) = asked("memory-limit") else { panic!("{verdict:#}") };
    if status == "unavailable" {
        return common::skip("cgroup: this host has none for a limit");
    }
    assert_eq!((memory, status), (json!("64 MiB"), json!("holds")));
    assert_eq!(asked("cpu-limit"), Some((json!("150000 of each 100000 µs"), json!("holds"))), "{verdict:#}");
}
