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

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use pull::{is_blob, layout, pull, refused, works};
use serde_json::json;
use server::{Layout, Reply, Seen, Server, is_clean};

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

/// One way to be wrong: what is done to a good answer, and what has to be said of it.
type Wrong = (&'static str, fn(&Seen, &Layout, Reply) -> Reply, &'static str);

fn of_base(seen: &Seen, layout: &Layout) -> bool {
    is_blob(seen, &layout.layers("1")[0])
}

fn of_manifest(seen: &Seen) -> bool {
    seen.path.contains("/manifests/")
}

const WRONG: [Wrong; 12] = [
    (
        "a blob with other bytes",
        |seen, layout, mut reply| {
            let last = reply.body.len().saturating_sub(1);
            if of_base(seen, layout) {
                reply.body[last / 2] ^= 1;
            }
            reply
        },
        "layer 1 (sha256:",
    ),
    (
        "a blob that is announced longer",
        |seen, layout, reply| {
            if of_base(seen, layout) { Reply::new(200, [reply.body, vec![0; 9]].concat()) } else { reply }
        },
        "the manifest says",
    ),
    (
        "a blob that is longer",
        |seen, layout, reply| {
            if of_base(seen, layout) { Reply::new(200, [reply.body, vec![0; 9]].concat()).unannounced() } else { reply }
        },
        "longer than the manifest says",
    ),
    (
        "a blob that is announced shorter",
        |seen, layout, reply| {
            if of_base(seen, layout) { Reply::new(200, &reply.body[..1000]) } else { reply }
        },
        "the manifest says",
    ),
    (
        "a blob that never ends",
        |seen, layout, mut reply| {
            reply.endless = of_base(seen, layout);
            if reply.endless { reply.unannounced() } else { reply }
        },
        "longer than the manifest says",
    ),
    (
        "a manifest of 100 MB",
        |seen, _, reply| {
            if of_manifest(seen) { Reply { length: Some(100_000_000), endless: true, ..reply } } else { reply }
        },
        "100000000 bytes are too many",
    ),
    (
        "a manifest that never ends",
        |seen, _, mut reply| {
            reply.endless = of_manifest(seen);
            if reply.endless { reply.unannounced() } else { reply }
        },
        "bytes are too many",
    ),
    (
        "a manifest that is not what the registry says",
        |seen, _, mut reply| {
            if of_manifest(seen) {
                reply.body.push(b' ');
                reply.length = Some(reply.body.len() as u64);
            }
            reply
        },
        "and the registry says sha256:",
    ),
    (
        "a manifest that is none",
        |seen, _, reply| {
            if of_manifest(seen) {
                Reply::new(200, "<html>Welcome to the hotel").with("Content-Type", "text/html")
            } else {
                reply
            }
        },
        "neither a manifest nor an index, but `text/html`",
    ),
    (
        "redirects in a circle",
        |seen, _, _| Reply::new(302, "").with("Location", seen.path.clone()),
        "redirects too often",
    ),
    ("no such image", |_, _, _| Reply::new(404, ""), "has no app:1"),
    (
        "a configuration of something else",
        |seen, layout, reply| {
            let is_config =
                seen.path.contains("/blobs/") && !layout.layers("1").iter().any(|layer| is_blob(seen, layer));
            if is_config { Reply::new(200, "{}") } else { reply }
        },
        "has 2 bytes, its descriptor says",
    ),
];

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
