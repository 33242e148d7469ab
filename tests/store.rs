//! The store: what is in it is whole, shared, and untouched when it is used again.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "common/image.rs"]
mod image;

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use austere::source::{self, Opened};
use austere::store::{Accounts, Store, StoreError, Unpacked, privileged};
use austere::unpack::{DeviceKind, Limits, Projection, Special, SpecialKind};
use image::{Image, Layer, Stored};

fn open(image: &Image, dir: &Path) -> Opened {
    let archive = image.oci_archive(&dir.join("image.tar"));
    source::open(&archive.to_str().unwrap().parse().unwrap(), &source::Options::default()).unwrap()
}

fn nobody() -> Projection {
    Projection::Owner { uid: 65532, gid: 100, groups: vec![200] }
}

fn ensure(store: &Store, opened: &Opened, projection: Projection) -> Result<Unpacked, StoreError> {
    store.ensure(opened, &Limits::default(), |_| projection)
}

fn mode(unpacked: &Unpacked, layer: usize, path: &str) -> u32 {
    unpacked.layers[layer].path.join(path).symlink_metadata().unwrap().mode() & 0o7777
}

/// Every name below a folder with its inode and times: any write shows.
fn snapshot(dir: &Path) -> BTreeMap<PathBuf, (u64, i64, i64, i64)> {
    let mut all = BTreeMap::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(path) = todo.pop() {
        let stat = path.symlink_metadata().unwrap();
        if stat.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        all.insert(path, (stat.ino(), stat.ctime(), stat.ctime_nsec(), stat.mtime_nsec()));
    }
    all
}

#[test]
fn a_layer_has_the_form_that_overlayfs_reads() {
    let dir = tempfile::tempdir().unwrap();
    let layer = Layer::new()
        .whiteout("gone")
        .dir("hidden", 0o755)
        .opaque("hidden")
        .whiteout("again")
        .dir("again", 0o755)
        .file("stays", 0o644, "")
        .whiteout("stays")
        .dir("plain", 0o755)
        .pax(&[("SCHILY.xattr.user.overlay.opaque", b"y")])
        .dir("evil", 0o755);
    let opened = open(&Image::of(layer), dir.path());
    let store = Store::open(&dir.path().join("store"), false).unwrap();
    let unpacked = ensure(&store, &opened, nobody()).unwrap();
    let tree = &unpacked.layers[0].path;
    let gone = tree.join("gone").symlink_metadata().unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    let opaque = |name: &str| {
        let folder = fs::File::open(tree.join(name)).unwrap();
        austere::sys::xattr::get(folder.as_fd(), c"user.overlay.opaque").unwrap().is_some()
    };
    assert!(opaque("hidden") && opaque("again"));
    assert!(!opaque("plain") && !opaque("evil"));
    assert!(tree.join("stays").is_file());
    assert_eq!(unpacked.layers[0].facts.findings[0].code, "overlay-attributes");
    assert_eq!(fs::read_dir(dir.path().join("store/staging")).unwrap().count(), 0);
}

#[test]
fn modes_become_what_the_user_would_have_had() {
    let dir = tempfile::tempdir().unwrap();
    let layer = Layer::new()
        .dir("./", 0o755)
        .file("root-only", 0o600, "")
        .file("world", 0o644, "")
        .file_of("own", 0o640, 65532, 0, "")
        .file_of("group", 0o460, 0, 100, "")
        .file_of("further", 0o040, 0, 200, "")
        // The owner's bits count even where the others' are wider.
        .file_of("own-less", 0o077, 65532, 100, "")
        .dir("private", 0o700)
        .file("private/in", 0o644, "")
        .file("su", 0o4755, "")
        .device("null", 1, 3)
        .symlink("link", "/world");
    let opened = open(&Image::of(layer), dir.path());
    for (name, as_root) in [("user", false), ("root", privileged())] {
        let store = Store::open(&dir.path().join(name), as_root).unwrap();
        let unpacked = ensure(&store, &opened, nobody()).unwrap();
        let expected = [
            ("", 0o555),
            ("root-only", 0o000),
            ("world", 0o444),
            ("own", 0o640),
            ("group", 0o660),
            ("further", 0o440),
            ("own-less", 0o077),
            ("private", 0o000),
            ("private/in", 0o444),
            ("su", 0o555),
        ];
        for (path, bits) in expected {
            // Whoever is no root, of the host or of a namespace, is kept out of it just as the image's user is.
            if path == "private/in" && !nix::unistd::geteuid().is_root() {
                continue;
            }
            assert_eq!(mode(&unpacked, 0, path) & 0o700, bits & 0o700, "{path}");
        }
        assert_eq!(mode(&unpacked, 0, "own"), 0o640);
        assert_eq!(mode(&unpacked, 0, "su"), 0o555);
        let own = nix::unistd::geteuid().as_raw();
        assert_eq!(unpacked.layers[0].path.join("own").metadata().unwrap().uid(), own);
        let specials = [
            Special { path: "/su".into(), kind: SpecialKind::SetId { mode: 0o4755 } },
            Special {
                path: "/null".into(),
                kind: SpecialKind::Device { kind: DeviceKind::Char, major: 1, minor: 3, made: false },
            },
        ];
        assert_eq!(unpacked.layers[0].facts.specials, specials);
        let null = unpacked.layers[0].path.join("null").metadata().unwrap();
        assert!(null.file_type().is_char_device() && null.rdev() == 0, "a whiteout stands for it");
        // Another user's view is another tree.
        let other = Projection::Owner { uid: 65532, gid: 65532, groups: vec![] };
        let other = ensure(&store, &opened, other).unwrap();
        assert_eq!(mode(&other, 0, "group") & 0o700, 0);
        assert_ne!(other.layers[0].path, unpacked.layers[0].path);
    }
}

#[test]
fn real_owners_are_for_root() {
    let dir = tempfile::tempdir().unwrap();
    let layer = Layer::new().file_of("f", 0o4750, 7, 8, "").device("null", 1, 3);
    let opened = open(&Image::of(layer), dir.path());
    let store = Store::open(&dir.path().join("user"), false).unwrap();
    assert!(matches!(ensure(&store, &opened, Projection::Real), Err(StoreError::NeedsRoot)));
    if !privileged() {
        println!("SKIP real owners: this is no root");
        return;
    }
    let store = Store::open(&dir.path().join("root"), true).unwrap();
    let unpacked = ensure(&store, &opened, Projection::Real).unwrap();
    let stat = unpacked.layers[0].path.join("f").metadata().unwrap();
    assert_eq!((stat.uid(), stat.gid(), stat.mode() & 0o7777), (7, 8, 0o4750));
    assert_eq!(unpacked.layers[0].path.join("null").metadata().unwrap().rdev(), libc::makedev(1, 3));
}

#[test]
fn accounts_are_the_merged_images() {
    let dir = tempfile::tempdir().unwrap();
    let base = || {
        let etc = Layer::new().dir("etc", 0o755).file("etc/passwd", 0o644, "base");
        etc.file("etc/group", 0o644, "base").dir("usr", 0o755)
    };
    let files = |passwd: Layer| Image::new().layer(base(), Stored::Gzip).layer(passwd, Stored::Gzip);
    let cases = [
        (files(Layer::new().file("etc/passwd", 0o644, "top")), Some("top"), Some("base")),
        (files(Layer::new().whiteout("etc/passwd")), None, Some("base")),
        (files(Layer::new().whiteout("etc")), None, None),
        (files(Layer::new().dir("etc", 0o755).opaque("etc").file("etc/group", 0o644, "new")), None, Some("new")),
        (
            files(Layer::new().symlink("etc/passwd", "../usr/users").file("usr/users", 0o644, "linked")),
            Some("linked"),
            Some("base"),
        ),
        (files(Layer::new().fifo("etc/passwd")), None, Some("base")),
    ];
    let store = Store::open(&dir.path().join("store"), false).unwrap();
    for (image, passwd, group) in cases {
        let opened = open(&image, dir.path());
        let expected = Accounts {
            passwd: passwd.map(|text| text.as_bytes().to_vec()),
            group: group.map(|text| text.as_bytes().to_vec()),
        };
        // The first time from what is being unpacked, the second time from what is there.
        for _ in 0..2 {
            let mut seen = None;
            let unpacked = store.ensure(&opened, &Limits::default(), |accounts| {
                seen = Some(accounts.clone());
                nobody()
            });
            assert_eq!(seen.as_ref(), Some(&expected));
            assert_eq!(unpacked.unwrap().accounts, expected);
        }
    }
}

#[test]
fn folders_that_no_entry_speaks_of_are_as_below() {
    let dir = tempfile::tempdir().unwrap();
    let top = || Layer::new().file("tmp/x/y", 0o644, "");
    let over = |mode| Image::new().layer(Layer::new().dir("tmp", mode), Stored::Plain).layer(top(), Stored::Plain);
    let store = Store::open(&dir.path().join("store"), false).unwrap();
    for bits in [0o1777, 0o755, 0o1777] {
        let unpacked = ensure(&store, &open(&over(bits), dir.path()), nobody()).unwrap();
        assert_eq!(mode(&unpacked, 1, "tmp"), mode(&unpacked, 0, "tmp"), "{bits:o}");
        assert_eq!(mode(&unpacked, 1, "tmp/x"), 0o555);
        assert!(!unpacked.layers[1].facts.root);
    }
    // One layer twice: each place has its own attributes below it.
    let twice = Image::new()
        .layer(top(), Stored::Plain)
        .layer(Layer::new().dir("tmp", 0o1777), Stored::Plain)
        .layer(top(), Stored::Plain);
    let unpacked = ensure(&store, &open(&twice, dir.path()), nobody()).unwrap();
    assert_eq!((mode(&unpacked, 0, "tmp"), mode(&unpacked, 2, "tmp")), (0o555, 0o1777));
}

#[test]
fn the_second_time_nothing_is_read_or_written() {
    let dir = tempfile::tempdir().unwrap();
    let shared = || Layer::new().dir("usr", 0o755).file("usr/shared", 0o644, vec![1; 100_000]);
    let image = |text: &str| {
        let passwd = Layer::new().file("etc/passwd", 0o644, text);
        Image::new()
            .layer(shared(), Stored::Gzip)
            .layer(passwd, Stored::Gzip)
            .layer(Layer::new().file("app", 0o755, text), Stored::Plain)
    };
    let path = dir.path().join("store");
    let opened = open(&image("one"), dir.path());
    let first = ensure(&Store::open(&path, false).unwrap(), &opened, nobody()).unwrap();
    // The archive is gone; only an image that is there can still be had.
    fs::remove_file(dir.path().join("image.tar")).unwrap();
    let before = snapshot(&path);
    let mut best = u128::MAX;
    for _ in 0..5 {
        let started = Instant::now();
        let again = ensure(&Store::open(&path, false).unwrap(), &opened, nobody()).unwrap();
        best = best.min(started.elapsed().as_micros());
        assert!(again.layers.iter().zip(&first.layers).all(|(a, b)| a.path == b.path && a.facts == b.facts));
    }
    assert_eq!(snapshot(&path), before);
    println!("three layers that are there: {best} us");
    // Another image with the same base shares it.
    let other = ensure(&Store::open(&path, false).unwrap(), &open(&image("two"), dir.path()), nobody()).unwrap();
    assert_eq!(other.layers[0].path, first.layers[0].path);
    assert_ne!(other.layers[2].path, first.layers[2].path);
}

#[test]
fn a_layer_in_use_is_locked_and_a_damaged_one_is_not_published() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = Store::open(&path, false).unwrap();
    let image = Image::new()
        .layer(Layer::new().file("good", 0o644, ""), Stored::Gzip)
        .layer(Layer::new().file("bad", 0o644, ""), Stored::Gzip);
    let opened = open(&image, dir.path());
    let unpacked = ensure(&store, &opened, nobody()).unwrap();
    let layer = fs::File::open(unpacked.layers[0].path.parent().unwrap()).unwrap();
    assert!(layer.try_lock().is_err(), "shared locks keep a cleaner away");
    assert!(unpacked.layers[0].tree.as_raw_fd() > 2);
    drop(unpacked);
    layer.try_lock().unwrap();

    let mut wrong = Image::new().layer(Layer::new().file("other", 0o644, ""), Stored::Gzip);
    wrong.diff_id = Some(austere::digest::Digest::sha256(b"wrong"));
    assert!(ensure(&store, &open(&wrong, dir.path()), nobody()).is_err());
    let wrong = path.join("layers").join(austere::digest::Digest::sha256(b"wrong").hex());
    assert_eq!(fs::read_dir(wrong).into_iter().flatten().count(), 0);
    assert_eq!(fs::read_dir(path.join("staging")).unwrap().count(), 0);
}

#[test]
fn many_at_once_agree() {
    let dir = tempfile::tempdir().unwrap();
    let layers = || (0..4).map(|n| Layer::new().file(&format!("f{n}"), 0o644, vec![n; 1 << 20]));
    let image = layers().fold(Image::new(), |image, layer| image.layer(layer, Stored::Gzip));
    let opened = open(&image, dir.path());
    let path = dir.path().join("store");
    std::thread::scope(|scope| {
        let users: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| ensure(&Store::open(&path, false).unwrap(), &opened, nobody()).unwrap()))
            .collect();
        let inode = |unpacked: &Unpacked| nix::sys::stat::fstat(&unpacked.layers[3].tree).unwrap().st_ino;
        let all: Vec<_> = users.into_iter().map(|user| user.join().unwrap()).collect();
        assert!(all.iter().all(|unpacked| inode(unpacked) == inode(&all[0])));
    });
    assert_eq!(fs::read_dir(path.join("staging")).unwrap().count(), 0);
}

#[test]
fn a_full_disk_is_one_error_and_leaves_room() {
    if !privileged() {
        println!("SKIP tmpfs: this is no root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let small = dir.path().join("small");
    fs::create_dir(&small).unwrap();
    let mount =
        |args: &[&str]| Command::new("mount").args(args).arg(&small).status().is_ok_and(|status| status.success());
    if !mount(&["-t", "tmpfs", "-o", "size=1m", "tmpfs"]) {
        println!("SKIP tmpfs: it cannot be mounted");
        return;
    }
    let store = Store::open(&small.join("store"), true).unwrap();
    let result =
        ensure(&store, &open(&Image::of(Layer::new().file("big", 0o644, vec![1; 2 << 20])), dir.path()), nobody());
    let left = fs::read_dir(small.join("store/staging")).unwrap().count();
    let fits =
        ensure(&store, &open(&Image::of(Layer::new().file("small", 0o644, vec![1; 1 << 18])), dir.path()), nobody())
            .map(drop);
    drop(store);
    assert!(Command::new("umount").arg(&small).status().unwrap().success());
    let error = std::iter::successors(result.err().as_ref().map(|e| e as &dyn std::error::Error), |e| e.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ");
    assert!(error.contains("No space left"), "{error}");
    assert_eq!(left, 0);
    fits.unwrap();
}

#[test]
fn capabilities_of_files_are_kept_or_at_least_known() {
    let dir = tempfile::tempdir().unwrap();
    // cap_net_bind_service+ep, revision 2; it has a line end in it so that no reader of lines gets it right.
    let value = [&[1, 0, 0, 2, 0, 0x0a, 0, 0][..], &[0; 12]].concat();
    let layer = Layer::new().pax(&[("SCHILY.xattr.security.capability", &value)]).file("app", 0o755, "");
    let store = Store::open(&dir.path().join("store"), false).unwrap();
    let unpacked = ensure(&store, &open(&Image::of(layer), dir.path()), nobody()).unwrap();
    let file = fs::File::open(unpacked.layers[0].path.join("app")).unwrap();
    let there = austere::sys::xattr::get(file.as_fd(), c"security.capability").unwrap().is_some();
    // Root of a namespace may, and the kernel notes whose root that was; anyone else may not.
    assert_eq!(there, nix::unistd::geteuid().is_root());
    let hex = "01000002000a0000000000000000000000000000".to_owned();
    let special = Special { path: "/app".into(), kind: SpecialKind::FileCapability { hex, stored: there } };
    assert_eq!(unpacked.layers[0].facts.specials, [special]);
}
