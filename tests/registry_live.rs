//! Real registries and engines: what comes from them is what is in the archive.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/image.rs"]
mod image;
#[path = "common/live.rs"]
mod live;
#[path = "common/pull.rs"]
mod pull;
#[path = "common/server.rs"]
mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::{Image, Layer, Stored};
use live::{DockerEngine, DockerRegistry, certificates, program, run, script, tunnel};
use pull::{refused, works};
use serde_json::{Value, json};
use server::is_clean;

/// An app of austere's own file, which needs nothing else: `example:hello`, as an image of a registry.
fn hello(stored: Stored) -> Image {
    let program = fs::read(env!("CARGO_BIN_EXE_austere")).unwrap();
    let layer = Layer::new().dir("etc", 0o755).file("austere-hello", 0o755, program);
    let top = Layer::new().file("etc/motd", 0o644, "hello\n");
    let config = json!({ "Entrypoint": ["/austere-hello"], "ExposedPorts": { "8080/tcp": {} } });
    Image::new().layer(layer, stored).layer(top, stored).config(config).named("app:1")
}

fn inspected(command: &mut Command, image: &str) -> Value {
    common::json(&works(command.args(["inspect", "--format", "json", image])))
}

/// That `image` is the one in `archive`: configuration, layers and files.
fn is_the_same(austere: impl Fn() -> Command, image: &str, kind: &str, archive: &Path) {
    let (here, there) = (inspected(&mut austere(), image), inspected(&mut austere(), archive.to_str().unwrap()));
    assert_eq!(here["kind"], kind);
    assert_eq!(here["config_digest"], there["config_digest"]);
    let diff_ids = |value: &Value| -> Vec<Value> {
        value["layers"].as_array().unwrap().iter().map(|layer| layer["diff_id"].clone()).collect()
    };
    assert_eq!(diff_ids(&here), diff_ids(&there));
    let folder = tempfile::tempdir().unwrap();
    let [ours, theirs] = ["ours", "theirs"].map(|name| folder.path().join(name));
    works(austere().args(["unpack", image]).arg(&ours));
    works(austere().arg("unpack").arg(archive).arg(&theirs));
    run(Command::new("diff").arg("-r").args([&ours, &theirs]));
    let attributes = |folder: &Path| {
        let listed = run(Command::new("find")
            .args([".", "-mindepth", "1", "-printf", "%P %y %m %U:%G %T@ %l\n"])
            .current_dir(folder));
        let mut lines: Vec<_> = listed.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(attributes(&ours), attributes(&theirs));
}

/// That an engine's image is not exported while its layers are in the store, and is when one of them is not: an export needs a place
/// in the store's folder, and says so where it is closed.
fn is_kept(austere: impl Fn() -> Command, image: &str) {
    if program("strace").is_none() {
        return common::skip("strace is not installed");
    }
    let store = tempfile::tempdir().unwrap();
    let pull = || {
        let mut command = austere();
        command.args(["store", "pull", image, "--store"]).arg(store.path());
        command
    };
    let exports = |command: &mut Command| {
        let log = store.path().join("strace");
        let mut traced = Command::new("strace");
        traced
            .args(["-f", "-qq", "-e", "trace=openat", "-o"])
            .arg(&log)
            .arg(command.get_program())
            .args(command.get_args());
        traced.env_clear();
        for (name, value) in command.get_envs() {
            traced.env(name, value.unwrap_or_default());
        }
        works(&mut traced);
        // Nobody else makes a file without a name there.
        let place = format!("\"{}\", ", store.path().display());
        let text = fs::read_to_string(log).unwrap();
        text.lines().filter(|line| line.contains("O_TMPFILE") && line.contains(&place)).count()
    };
    assert_eq!((exports(&mut pull()), exports(&mut pull())), (1, 0));
    let layers: Vec<PathBuf> =
        fs::read_dir(store.path().join("layers")).unwrap().map(|entry| entry.unwrap().path()).collect();
    fs::remove_dir_all(&layers[0]).unwrap();
    assert_eq!((exports(&mut pull()), exports(&mut pull())), (1, 0));
}

#[test]
fn debian_s_registry_with_a_password_and_a_certificate_of_its_own() {
    let Some(mut registry) = DockerRegistry::start() else { return };
    let folder = registry.folder.path().to_owned();
    let archive = hello(Stored::Gzip).oci_archive(&folder.join("hello.tar"));
    let (dir, store) = (hello(Stored::Gzip).oci_dir(&folder.join("hello")), folder.join("store"));
    registry.push(&dir);
    // In the open, on loopback: an image by its bare name, through the registry.
    let open = format!("{}/app:1", registry.address);
    let verdict = common::json(&works(common::austere(&store).args(["verify", "--format", "json", &open])));
    assert_eq!((&verdict["verdict"], &verdict["image"]["source"]), (&json!("pass"), &json!("registry")));
    is_the_same(|| common::austere(&store), &open, "registry", &archive);

    certificates(&folder);
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    // `me:secret`.
    fs::write(path("htpasswd"), "me:$2y$04$XJinDxKn47n4gElLgjUAzetBjwBtJjJGUMlmhE1iY.4/FtXpzU38C\n").unwrap();
    let (certificate, key, users) = (path("server.crt"), path("server.key"), path("htpasswd"));
    registry.serve(&format!(
        "  tls: {{certificate: {certificate}, key: {key}}}\nauth: {{htpasswd: {{realm: told, path: {users}}}}}\n"
    ));
    let image = format!("docker://{}/app:1", registry.address);
    let ca = path("ca.crt");
    let pull = |store: &Path, rest: &[&str]| {
        let mut command = common::austere(store);
        command.args(["store", "pull", &image]).args(rest);
        command
    };
    let fresh = folder.join("fresh");
    refused(&mut pull(&fresh, &[]), "its certificate is not trusted");
    refused(&mut pull(&fresh, &["--ca-file", &users]), "there are none in PEM");
    refused(&mut pull(&fresh, &["--ca-file", &ca]), "does not let anyone read app");
    let named = ["--ca-file", &ca, "--username", "me", "--password-stdin"];
    let password = |text: &str| {
        fs::write(path("password"), text).unwrap();
        fs::File::open(path("password")).unwrap()
    };
    refused(pull(&fresh, &named).stdin(password("wrong\n")), "does not let `me` (from --username) read app: 401");
    refused(pull(&fresh, &named).stdin(password("\n")), "standard input has no password");
    assert!(is_clean(&fresh));
    works(pull(&fresh, &named).stdin(password("secret\n")));

    // Through a proxy, TLS is with the registry itself: a certificate for another name is not taken.
    let (proxy, asked) = tunnel(&registry.address);
    let through = |name: &str| {
        let mut command = common::austere(&folder.join("proxied"));
        command.args(["store", "pull", &format!("docker://{name}/app:1")]).args(named).stdin(password("secret\n"));
        command.env("HTTPS_PROXY", format!("http://{proxy}"));
        command
    };
    refused(&mut through("other.invalid"), "its certificate is not trusted");
    works(&mut through("registry.invalid"));
    let asked: Vec<String> = asked.try_iter().collect();
    assert!(
        asked[0].starts_with("CONNECT other.invalid:443 ") && asked[1].starts_with("CONNECT registry.invalid:443 ")
    );

    // What `docker login`, `podman login` and a helper leave behind.
    let auths = json!({ "auths": { &registry.address: { "auth": "bWU6c2VjcmV0" } } }).to_string();
    fs::write(path("config.json"), &auths).unwrap();
    works(pull(&folder.join("docker"), &["--ca-file", &ca]).env("DOCKER_CONFIG", &folder));
    works(pull(&folder.join("podman"), &["--tls-verify=false"]).env("REGISTRY_AUTH_FILE", path("config.json")));
    script(
        &folder,
        "docker-credential-told",
        r#"read server; echo "{\"ServerURL\":\"$server\",\"Username\":\"me\",\"Secret\":\"secret\"}""#,
    );
    fs::write(path("config.json"), r#"{"credsStore":"told"}"#).unwrap();
    let search = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    works(pull(&folder.join("helper"), &["--ca-file", &ca]).env("DOCKER_CONFIG", &folder).env("PATH", search));
}

#[test]
fn a_docker_engine_gives_what_was_loaded_into_it() {
    let Some(engine) = DockerEngine::start() else { return };
    let path = |name: &str| engine.folder.path().join(name);
    let archive = hello(Stored::Plain).docker_archive(&path("hello.tar"));
    run(engine.client().arg("load").arg("--input").arg(&archive));
    let austere = || {
        let mut command = common::austere(&path("store"));
        command.env("DOCKER_HOST", &engine.host);
        command
    };
    is_the_same(austere, "docker-daemon:app:1", "docker-daemon", &archive);
    is_the_same(austere, "app:1", "docker-daemon", &archive);
    refused(austere().args(["inspect", "docker-daemon:app:2"]), "it has no image of that name");
    let verdict = common::json(&works(austere().args(["verify", "--format", "json", "app:1"])));
    assert_eq!((&verdict["verdict"], &verdict["image"]["source"]), (&json!("pass"), &json!("docker-daemon")));
    // What was exported once is here; when only its note is, it is exported again.
    is_kept(austere, "docker-daemon:app:1");
    // The twin: the same name without the engine.
    refused(
        austere().args(["inspect", "docker-daemon:app:1"]).env("DOCKER_HOST", "unix:///none"),
        "no `app:1` in docker",
    );
}

#[test]
fn podman_gives_what_was_loaded_into_it() {
    if !common::root() {
        return common::skip("root: podman's storage of this test needs it");
    }
    let Some(podman) = program("podman") else { return common::skip("podman is not installed") };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (root, run_root, tmp) = (path("root"), path("run"), path("tmp"));
    let wrapped = format!(
        "exec {} --root {root} --runroot {run_root} --tmpdir {tmp} --storage-driver vfs --cgroup-manager cgroupfs --events-backend none \"$@\"",
        podman.display()
    );
    script(folder.path(), "podman", &wrapped);
    let archive = hello(Stored::Gzip).oci_archive(&folder.path().join("hello.tar"));
    run(Command::new(folder.path().join("podman")).args(["load", "--quiet", "--input"]).arg(&archive));
    let search = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap_or_default());
    let austere = || {
        let mut command = common::austere(&folder.path().join("store"));
        command.env("PATH", &search).env("DOCKER_HOST", "unix:///none");
        command
    };
    is_the_same(austere, "containers-storage:app:1", "containers-storage", &archive);
    is_the_same(austere, "app:1", "containers-storage", &archive);
    is_kept(austere, "containers-storage:app:1");
    refused(austere().args(["inspect", "containers-storage:app:2"]), "it has no image of that name");
    let verdict = common::json(&works(austere().args(["verify", "--format", "json", "app:1"])));
    assert_eq!((&verdict["verdict"], &verdict["image"]["source"]), (&json!("pass"), &json!("containers-storage")));
}
