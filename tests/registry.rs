//! Registries that behave, and registries that do not: each bad answer is one clear error, exit code 2, and nothing in the store.

// A helper that fails fails the test.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/image.rs"]
mod image;
#[path = "common/pull.rs"]
mod pull;
#[path = "common/server.rs"]
mod server;
#[path = "common/wrong.rs"]
mod wrong;

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use image::{Image, Layer};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pull::{is_blob, layout, pull, refused, works};
use serde_json::{Value, json};
use server::{Layout, Reply, Seen, Server, is_clean};
use wrong::WRONG;

#[test]
fn only_what_is_missing_is_fetched() {
    let (_dir, layout) = layout();
    let layers = [layout.layers("1"), layout.layers("2")];
    let server = Server::start(move |seen| layout.answer(seen));
    let store = tempfile::tempdir().unwrap();
    let blobs = |paths: &[String]| {
        paths.iter().filter(|path| layers.concat().iter().any(|l| path.ends_with(l.as_str()))).count()
    };

    refused(&mut pull(store.path(), &server, &["1", "--pull", "never"]), "was not pulled before");
    assert!(server.taken().is_empty() && is_clean(store.path()));

    works(&mut pull(store.path(), &server, &["1"]));
    assert_eq!(blobs(&server.taken()), 2);
    works(&mut pull(store.path(), &server, &["2"]));
    let paths = server.taken();
    assert!(blobs(&paths) == 1 && paths.iter().any(|path| path.ends_with(&layers[1][1])), "{paths:?}");

    works(&mut pull(store.path(), &server, &["1", "--pull", "missing"]));
    works(&mut pull(store.path(), &server, &["1", "--pull", "never"]));
    assert!(server.taken().is_empty());
    works(&mut pull(store.path(), &server, &["1", "--pull", "always"]));
    let paths = server.taken();
    assert!(paths.contains(&"/v2/app/manifests/1".to_owned()) && blobs(&paths) == 0, "{paths:?}");

    let gone = format!("docker://{}/app:1", server.address);
    drop(server);
    let report = works(common::austere(store.path()).args(["inspect", "--format", "json", &gone]));
    assert_eq!(common::json(&report)["kind"], "registry");
    refused(common::austere(store.path()).args(["inspect", "--pull", "always", &gone]), "cannot connect");
    // The note alone is not enough.
    works(common::austere(store.path()).args(["store", "gc", "--unused"]));
    refused(common::austere(store.path()).args(["inspect", "--pull", "never", &gone]), "--pull never forbids");
}

#[test]
fn a_token_is_fetched_and_renewed_and_credentials_go_where_they_belong() {
    let (_dir, layout) = layout();
    let elsewhere = layout.clone();
    let storage = Server::start(move |seen| elsewhere.answer(seen));
    let (other, own) = (storage.address.clone(), Arc::new(Mutex::new(String::new())));
    let (place, issued) = (Arc::clone(&own), AtomicUsize::new(0));
    let layers = layout.layers("1");
    let server = Server::start(move |seen| {
        let here = place.lock().unwrap().clone();
        if seen.path.starts_with("/token?") {
            // `me:secret`, and nobody else.
            if seen.field("authorization") != Some("Basic bWU6c2VjcmV0") {
                return Reply::new(401, "");
            }
            let number = issued.fetch_add(1, Ordering::Relaxed);
            return Reply::new(200, json!({ "token": format!("t{number}"), "expires_in": 300 }).to_string());
        }
        // The first token is good for documents only, as if it ended then.
        let good = match seen.field("authorization") {
            Some("Bearer t0") => !layers.iter().any(|layer| is_blob(seen, layer)),
            Some(shown) => shown.starts_with("Bearer t"),
            None => false,
        };
        if !good {
            let realm = format!(r#"Bearer realm="http://{here}/token",service="told",scope="repository:app:pull""#);
            return Reply::new(401, "").with("WWW-Authenticate", realm);
        }
        let target = format!("http://{other}{}", seen.path);
        if is_blob(seen, &layers[0]) { Reply::new(307, "moved").with("Location", target) } else { layout.answer(seen) }
    });
    own.lock().unwrap().clone_from(&server.address);
    let home = tempfile::tempdir().unwrap();
    let store = home.path().join("store");
    let login = |auth: &str| {
        let config = json!({ "auths": { &server.address: { "auth": auth } } });
        fs::write(home.path().join("config.json"), config.to_string()).unwrap();
    };

    login("bWU6d3Jvbmc=");
    refused(pull(&store, &server, &["1"]).env("DOCKER_CONFIG", home.path()), "does not let `me` (from ");
    refused(&mut pull(&store, &server, &["1"]), "does not let anyone read app");
    assert!(is_clean(&store) && storage.seen().is_empty());
    login("bWU6c2VjcmV0");
    works(pull(&store, &server, &["1"]).env("DOCKER_CONFIG", home.path()));

    let asked = server.seen();
    let token = asked.iter().find(|seen| seen.path.starts_with("/token?")).unwrap();
    assert_eq!(token.path, "/token?service=told&scope=repository%3Aapp%3Apull");
    assert!(asked.iter().any(|seen| seen.field("authorization") == Some("Bearer t1")), "the second token was not used");
    let password =
        asked.iter().filter(|seen| seen.field("authorization").is_some_and(|shown| shown.starts_with("Basic")));
    assert!(password.clone().count() >= 2 && password.clone().all(|seen| seen.path.starts_with("/token?")));
    // Where it was redirected to, nothing was shown. The twin: here the same blob was asked for with a token.
    let redirected = storage.seen();
    assert!(
        !redirected.is_empty() && redirected.iter().all(|seen| seen.field("authorization").is_none()),
        "{redirected:?}"
    );
    assert!(asked.iter().any(|seen| seen.path == redirected[0].path && seen.field("authorization").is_some()));
}

#[test]
fn a_busy_registry_is_waited_for_as_long_as_is_sensible() {
    let (_dir, layout) = layout();
    let busy = AtomicUsize::new(0);
    let server = Server::start(move |seen| match busy.fetch_add(1, Ordering::Relaxed) {
        0 => Reply::new(429, "").with("Retry-After", "1"),
        3 => Reply::new(503, ""),
        4 => Reply::new(500, "").cut(0),
        _ => layout.answer(seen),
    });
    let store = tempfile::tempdir().unwrap();
    works(&mut pull(store.path(), &server, &["1"]));

    let limit =
        json!({ "errors": [{ "code": "TOOMANYREQUESTS", "message": "You have reached your pull rate limit" }] });
    let server = Server::start(move |_| {
        let reply = Reply::new(429, limit.to_string()).with("Retry-After", "3600");
        reply.with("Content-Type", "application/json; charset=utf-8")
    });
    let store = tempfile::tempdir().unwrap();
    refused(&mut pull(store.path(), &server, &["1"]), "You have reached your pull rate limit (it asks to wait 3600 s)");
    assert!(server.seen().len() == 1 && is_clean(store.path()));
}

#[test]
fn what_breaks_off_is_taken_up_where_it_ended() {
    for ranges in [true, false] {
        let (_dir, layout) = layout();
        let (base, cuts) = (layout.layers("1")[0].clone(), AtomicUsize::new(0));
        let server = Server::start(move |seen| {
            let plain = Seen { fields: std::collections::BTreeMap::new(), ..seen.clone() };
            let reply = layout.answer(if ranges { seen } else { &plain });
            let cut = is_blob(seen, &base) && cuts.fetch_add(1, Ordering::Relaxed) < 3;
            if cut { reply.cut(70_000 * if ranges { 1 } else { cuts.load(Ordering::Relaxed) }) } else { reply }
        });
        let store = tempfile::tempdir().unwrap();
        works(&mut pull(store.path(), &server, &["1"]));
        let seen = server.seen();
        let asked: Vec<_> = seen.iter().filter_map(|seen| seen.field("range")).collect();
        assert_eq!(asked, ["bytes=70000-", "bytes=140000-", "bytes=210000-"], "{ranges}");
        let tree = works(common::austere(store.path()).args(["store", "ls"]));
        assert!(String::from_utf8_lossy(&tree.stdout).contains("2 layers"), "{}", common::said(&tree));
    }
}

#[test]
fn each_wrong_answer_is_one_error_and_leaves_nothing() {
    for (name, bend, expected) in WRONG {
        let (_dir, layout) = layout();
        let server = Server::start(move |seen| bend(seen, &layout, layout.answer(seen)));
        let store = tempfile::tempdir().unwrap();
        eprintln!("{name}");
        refused(&mut pull(store.path(), &server, &["1"]), expected);
        assert!(is_clean(store.path()), "{name}");
    }
    // The twin, and a name with a digest that is not the image's.
    let (_dir, layout) = layout();
    let server = Server::start(move |seen| layout.answer(seen));
    let store = tempfile::tempdir().unwrap();
    works(&mut pull(store.path(), &server, &["1"]));
    let other = format!("1@{}", austere::digest::Digest::sha256(b"other"));
    refused(&mut pull(store.path(), &server, &[&other]), "has no app@sha256:");
}

#[test]
fn an_index_has_an_image_for_this_platform_or_it_is_said_which_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let host = austere::platform::Platform::host().architecture;
    let entry = |architecture: &str| {
        let folder = tempfile::tempdir().unwrap();
        let image = Image::of(Layer::new().file("arch", 0o644, architecture)).architecture(architecture);
        let mut entry = image::index(&image.oci_dir(folder.path())).unwrap()["manifests"][0].clone();
        for blob in fs::read_dir(folder.path().join("blobs/sha256")).unwrap() {
            image::blob(dir.path(), "", &fs::read(blob.unwrap().path()).unwrap());
        }
        entry["platform"] = json!({ "os": "linux", "architecture": architecture });
        entry
    };
    let index = |tag: &str, entries: &[Value]| {
        let index = json!({ "schemaVersion": 2, "manifests": entries }).to_string();
        let mut entry = image::blob(dir.path(), "application/vnd.oci.image.index.v1+json", index.as_bytes());
        entry["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
        image::add(dir.path(), entry);
    };
    index("both", &[entry("s390x"), entry(&host)]);
    index("other", &[entry("s390x"), entry("ppc64le")]);
    let layout = Layout(dir.path().to_owned());
    let server = Server::start(move |seen| layout.answer(seen));
    let store = tempfile::tempdir().unwrap();
    refused(
        &mut pull(store.path(), &server, &["other"]),
        "the image is for linux/ppc64le, linux/s390x, not for linux/",
    );
    assert!(is_clean(store.path()));
    works(&mut pull(store.path(), &server, &["both"]));
    works(&mut pull(store.path(), &server, &["other", "--platform", "linux/s390x"]));
    // Each platform has a note of its own.
    for rest in [&["both", "--pull", "never"][..], &["other", "--pull", "never", "--platform", "linux/s390x"]] {
        works(&mut pull(store.path(), &server, rest));
    }
    refused(
        &mut pull(store.path(), &server, &["both", "--pull", "never", "--platform", "linux/s390x"]),
        "was not pulled",
    );
}

#[test]
fn docker_s_own_media_types_are_read_whatever_the_registry_calls_them() {
    let (_dir, layout) = layout();
    for kind in ["application/vnd.docker.distribution.manifest.v2+json", "application/json"] {
        let layout = layout.clone();
        let server = Server::start(move |seen| {
            let reply = layout.answer(seen);
            if !seen.path.contains("/manifests/") {
                return reply;
            }
            let text = String::from_utf8(reply.body).unwrap();
            let text = text.replace("vnd.oci.image.config.v1", "vnd.docker.container.image.v1");
            let text = text.replace("vnd.oci.image.layer.v1.tar+gzip", "vnd.docker.image.rootfs.diff.tar.gzip");
            let text = text.replacen('{', r#"{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","#, 1);
            Reply::new(200, text).with("Content-Type", kind)
        });
        let store = tempfile::tempdir().unwrap();
        works(&mut pull(store.path(), &server, &["1"]));
        works(&mut pull(store.path(), &server, &["1", "--pull", "never"]));
    }
}

#[test]
fn a_proxy_is_asked_for_what_is_not_on_this_host() {
    let (_dir, layout) = layout();
    let proxy = Server::start(move |seen| layout.answer(seen));
    let store = tempfile::tempdir().unwrap();
    let pull = |variables: &[(&str, &str)]| {
        let mut command = common::austere(store.path());
        command.args(["store", "pull", "docker://registry.invalid/app:1", "--tls-verify=false"]);
        command.envs(variables.iter().copied());
        command
    };
    let address = format!("http://me:secret@{}", proxy.address);
    let both = [("HTTP_PROXY", address.as_str()), ("https_proxy", &address)];
    refused(&mut pull(&[]), "cannot find the address of registry.invalid");
    refused(pull(&both).env("NO_PROXY", ".invalid"), "cannot find the address of registry.invalid");
    refused(&mut pull(&[("HTTPS_PROXY", "socks5://127.0.0.1:1")]), "HTTPS_PROXY names no proxy");
    assert!(proxy.seen().is_empty() && is_clean(store.path()));
    works(&mut pull(&both));
    let seen = proxy.seen();
    assert!(seen[0].method == "CONNECT" && seen[1].path == "/v2/app/manifests/1", "{seen:?}");
    let shown = |seen: &Seen| seen.field("proxy-authorization") == Some("Basic bWU6c2VjcmV0");
    assert!(
        seen.iter().all(|seen| shown(seen) && seen.field("host").unwrap().starts_with("registry.invalid")),
        "{seen:?}"
    );
}

#[test]
fn who_is_stopped_in_the_middle_leaves_nothing_that_is_used() {
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let (_dir, layout) = layout();
        let (base, stalls) = (layout.layers("1")[0].clone(), Arc::new(AtomicBool::new(true)));
        let (still, asked) = (Arc::clone(&stalls), base.clone());
        let server = Server::start(move |seen| {
            let reply = layout.answer(seen);
            let half = is_blob(seen, &base) && still.load(Ordering::Relaxed);
            if half { Reply { stall: true, ..reply.cut(200_000) } } else { reply }
        });
        let store = tempfile::tempdir().unwrap();
        let mut child = common::stoppable(&pull(store.path(), &server, &["1"])).spawn().unwrap();
        // One layer is being unpacked and cannot be done; the other may have been before anybody looked.
        let is_staged = || fs::read_dir(store.path().join("staging")).is_ok_and(|listing| listing.count() > 0);
        let begun = || server.seen().iter().any(|seen| is_blob(seen, &asked)) && is_staged();
        while !begun() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(signal as i32));
        refused(&mut pull(store.path(), &server, &["1", "--pull", "never"]), "was not pulled before");
        stalls.store(false, Ordering::Relaxed);
        works(&mut pull(store.path(), &server, &["1"]));
        assert_eq!(fs::read_dir(store.path().join("staging")).unwrap().count(), 0);
        works(&mut pull(store.path(), &server, &["1", "--pull", "never"]));
    }
}
