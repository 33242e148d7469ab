//! A store whose users are killed: what they published is whole, and what they left is gone after the next opening.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "common/image.rs"]
mod image;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use austere::source;
use austere::store::{Store, Unpacked};
use austere::unpack::{Limits, Projection};
use image::{Image, Layer, Stored};

const DIR: &str = "AUSTERE_TEST_STORE_CRASH";

fn ensure(dir: &Path) -> Unpacked {
    let reference = dir.join("image.tar").to_str().unwrap().parse().unwrap();
    let opened = source::open(&reference, &source::Options::default()).unwrap();
    let store = Store::open(&dir.join("store"), false).unwrap();
    let projection = |_: &_| Projection::Owner { uid: 65532, gid: 0, groups: vec![] };
    store.ensure(&opened, &Limits::default(), projection).unwrap()
}

/// Not a test by itself: what the next one starts, and kills.
#[test]
fn victim() {
    if let Some(dir) = std::env::var_os(DIR) {
        ensure(dir.as_ref());
    }
}

#[test]
fn killed_at_any_moment_nothing_half_done_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let files =
        |layer: u8| (0..150).fold(Layer::new(), |tar, n| tar.file(&format!("{layer}/{n}"), 0o644, vec![layer; 4096]));
    let image = (0..3).fold(Image::new(), |image, layer| image.layer(files(layer), Stored::Gzip));
    image.oci_archive(&dir.path().join("image.tar"));
    let store = dir.path().join("store");
    let start = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "victim"])
            .env(DIR, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let began = Instant::now();
    assert!(start().wait().unwrap().success());
    let whole = began.elapsed();
    let mut unfinished = 0;
    for round in 0..20 {
        fs::remove_dir_all(&store).unwrap();
        // Two at once, one killed: the other one must not care.
        let (mut victim, mut other) = (start(), (round % 4 == 0).then(&start));
        std::thread::sleep(whole * round / 18);
        victim.kill().unwrap();
        unfinished += u32::from(!victim.wait().unwrap().success());
        if let Some(other) = &mut other {
            assert!(other.wait().unwrap().success());
        }
        let began = Instant::now();
        let unpacked = ensure(dir.path());
        assert!(began.elapsed() < Duration::from_secs(10), "it waited for the dead");
        for (layer, unpacked) in unpacked.layers.iter().enumerate() {
            let folder = unpacked.path.join(layer.to_string());
            let sizes = fs::read_dir(folder).unwrap().map(|file| file.unwrap().metadata().unwrap().len());
            assert_eq!(sizes.filter(|size| *size == 4096).count(), 150);
        }
        assert_eq!(fs::read_dir(store.join("staging")).unwrap().count(), 0);
    }
    assert!(unfinished > 5, "only {unfinished} of 20 were killed before they were done");
}
