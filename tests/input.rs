//! Input that is wrong: one clear line and exit code 2, never a panic, and nothing left behind.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "common/image.rs"]
mod image;
#[path = "common/unpack.rs"]
mod unpack;

use std::fs;
use std::path::Path;

use austere::digest::Digest;
use image::Stored;
use unpack::{refused, two_layers, unpack};

#[test]
fn wrong_input_is_one_clear_line() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let text = |path: &Path| path.to_str().unwrap().to_owned();

    assert!(refused(&[&text(&at("absent.tar"))]).contains("absent.tar"));
    fs::write(at("text"), "hello").unwrap();
    assert!(refused(&[&text(&at("text"))]).contains("not an image"));
    fs::write(at("empty"), "").unwrap();
    assert!(refused(&[&text(&at("empty"))]).contains("empty"));

    let whole = fs::read(two_layers(Stored::Gzip).oci_archive(&at("oci.tar"))).unwrap();
    for length in [100, 600, 1400, whole.len() / 2, whole.len() - 1024 - 512 + 10] {
        fs::write(at("cut.tar"), &whole[..length]).unwrap();
        refused(&[&text(&at("cut.tar"))]);
    }
    fs::write(at("gz.tar"), Stored::Gzip.store(&whole)).unwrap();
    assert!(refused(&[&text(&at("gz.tar"))]).contains("gzip"));

    let foreign = two_layers(Stored::Plain).architecture("s390x").oci_archive(&at("foreign.tar"));
    let error = refused(&[&text(&foreign)]);
    assert!(
        error.contains("linux/s390x") && error.contains(&austere::platform::Platform::host().to_string()),
        "{error}"
    );

    let mut image = two_layers(Stored::Gzip);
    image.media_type = Some("application/vnd.example.layer".into());
    assert!(refused(&[&text(&image.oci_archive(&at("type.tar")))]).contains("application/vnd.example.layer"));
    image.media_type = Some("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".into());
    assert!(refused(&[&text(&image.oci_archive(&at("foreign-layer.tar")))]).contains("foreign"));
    image.media_type = Some("application/vnd.oci.image.layer.v1.tar+zstd".into());
    assert!(refused(&[&text(&image.oci_archive(&at("mismatch.tar")))]).contains("gzip"));
}

#[test]
fn every_digest_and_size_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    let layout = dir.path().join("layout");
    let mut image = two_layers(Stored::Gzip);
    image.oci_dir(&layout);
    unpack(layout.to_str().unwrap(), &dir.path().join("whole"));
    let blobs: Vec<_> = fs::read_dir(layout.join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(blobs.len(), 4);
    for blob in blobs {
        let bytes = fs::read(&blob).unwrap();
        // A changed byte in the middle, one byte too many, one too few.
        let mut changed = bytes.clone();
        changed[bytes.len() / 2] ^= 1;
        for wrong in [changed, [&bytes[..], b"\n"].concat(), bytes[..bytes.len() - 1].to_vec()] {
            fs::write(&blob, wrong).unwrap();
            let error = refused(&[layout.to_str().unwrap()]);
            assert!(error.contains("digest") || error.contains("bytes"), "{error}");
        }
        fs::write(&blob, &bytes).unwrap();
    }
    image.diff_id = Some(Digest::sha256(b"something else"));
    let error = refused(&[image.oci_archive(&dir.path().join("diff.tar")).to_str().unwrap()]);
    assert!(error.contains("layer 1") && error.contains("the configuration says otherwise"), "{error}");
}
