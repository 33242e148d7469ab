//! Registries that are wrong, each in one way.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use crate::pull::is_blob;
use crate::server::{Layout, Reply, Seen};

/// One way to be wrong: what is done to a good answer, and what has to be said of it.
pub type Wrong = (&'static str, fn(&Seen, &Layout, Reply) -> Reply, &'static str);

fn of_base(seen: &Seen, layout: &Layout) -> bool {
    is_blob(seen, &layout.layers("1")[0])
}

fn of_manifest(seen: &Seen) -> bool {
    seen.path.contains("/manifests/")
}

/// All that was thought of.
pub const WRONG: [Wrong; 12] = [
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
