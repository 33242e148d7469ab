//! `austere unpack` on images of every form, against umoci on real ones, and the store beside it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "common/image.rs"]
mod image;
#[path = "common/tree.rs"]
mod tree;
#[path = "common/unpack.rs"]
mod unpack;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use image::{Image, Layer, Stored};
use serde_json::json;
use unpack::{austere, refused, two_layers, unpack};

fn is_two_layers(dir: &Path) {
    assert!(!dir.join("etc/old").exists() && !dir.join("opaque/lower").exists());
    assert_eq!(fs::read(dir.join("etc/both")).unwrap(), b"upper");
    assert_eq!(dir.join("etc/both").metadata().unwrap().mode() & 0o7777, 0o640);
    assert_eq!(dir.join("opaque").metadata().unwrap().mode() & 0o7777, 0o700);
    assert!(dir.join("opaque/upper").exists());
}

#[test]
fn every_form_and_compression_gives_the_same_tree() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for stored in [Stored::Plain, Stored::Gzip, Stored::GzipMembers, Stored::Zstd] {
        let image = two_layers(stored);
        image.oci_dir(&at("layout"));
        image.oci_archive(&at("oci.tar"));
        image.docker_archive(&at("docker.tar"));
        image.docker_archive_25(&at("docker25.tar"));
        for (transport, file) in [
            ("oci:", "layout"),
            ("", "layout"),
            ("oci-archive:", "oci.tar"),
            ("", "oci.tar"),
            ("docker-archive:", "docker.tar"),
            ("", "docker.tar"),
            ("docker-archive:", "docker25.tar"),
            ("oci-archive:", "docker25.tar"),
            ("", "docker25.tar"),
        ] {
            unpack(&format!("{transport}{}", at(file).display()), &at("out"));
            is_two_layers(&at("out"));
            fs::remove_dir_all(at("out")).unwrap();
        }
        fs::remove_dir_all(at("layout")).unwrap();
    }
}

#[test]
fn tags_are_skopeos() {
    let dir = tempfile::tempdir().unwrap();
    let layout = dir.path().join("layout");
    Image::of(Layer::new().file("one", 0o644, "")).named("app:1").oci_dir(&layout);
    Image::of(Layer::new().file("two", 0o644, "")).named("app:2").oci_dir(&layout);
    let layout = layout.display();
    unpack(&format!("oci:{layout}:app:2"), &dir.path().join("out"));
    assert!(dir.path().join("out/two").exists());
    assert!(refused(&[&format!("oci:{layout}")]).contains("app:1, app:2"));
    assert!(refused(&[&format!("oci:{layout}:app:3")]).contains("app:1, app:2"));

    let saved =
        two_layers(Stored::Plain).named("docker.io/library/app:1").docker_archive(&dir.path().join("docker.tar"));
    for tag in ["app:1", "docker.io/library/app:1", "@0"] {
        fs::remove_dir_all(dir.path().join("out")).unwrap();
        unpack(&format!("docker-archive:{}:{tag}", saved.display()), &dir.path().join("out"));
    }
    assert!(refused(&[&format!("docker-archive:{}:app:9", saved.display())]).contains("docker.io/library/app:1"));
}

#[test]
fn the_platform_is_chosen_from_nested_indexes() {
    let dir = tempfile::tempdir().unwrap();
    let layout = dir.path().join("layout");
    let host = austere::platform::Platform::host().architecture;
    for architecture in ["riscv64", host.as_str()] {
        Image::of(Layer::new().file(architecture, 0o644, "")).architecture(architecture).oci_dir(&layout);
    }
    // The two manifests go into an index, that into another one, and only that is listed.
    let mut manifests = image::index(&layout).unwrap()["manifests"].take();
    for (number, architecture) in ["riscv64", &host].iter().enumerate() {
        manifests[number]["platform"] = json!({ "os": "linux", "architecture": architecture });
    }
    let attached = json!({ "os": "unknown", "architecture": "unknown" });
    let mut provenance = manifests[0].clone();
    provenance["platform"] = attached;
    manifests.as_array_mut().unwrap().insert(0, provenance);
    let kind = "application/vnd.oci.image.index.v1+json";
    let inner = json!({ "schemaVersion": 2, "manifests": manifests });
    let inner = image::blob(&layout, kind, inner.to_string().as_bytes());
    let outer = json!({ "schemaVersion": 2, "manifests": [inner] });
    let outer = image::blob(&layout, kind, outer.to_string().as_bytes());
    fs::remove_file(layout.join("index.json")).unwrap();
    image::add(&layout, outer);

    let reference = layout.to_str().unwrap();
    unpack(reference, &dir.path().join("here"));
    assert!(dir.path().join("here").join(&host).exists());
    let other = dir.path().join("other");
    let out = austere(&["--platform", "linux/riscv64", reference, other.to_str().unwrap()]);
    assert!(out.status.success() && other.join("riscv64").exists());
    let error = refused(&["--platform", "linux/s390x", reference]);
    assert!(error.contains("linux/s390x") && error.contains("linux/riscv64") && error.contains(&host), "{error}");
}

#[test]
fn everything_that_a_tar_can_say_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let long = format!("dir/{}", "n".repeat(200));
    let layer = Layer::new()
        .dir("./", 0o711)
        .dir("dir", 0o2755)
        .file("dir/file", 0o4711, "content")
        .pax(&[("mtime", b"1500000000.123456789"), ("SCHILY.xattr.user.note", b"a\nb"), ("uid", b"7")])
        .file("dir/times", 0o644, "")
        .pax(&[("path", long.as_bytes())])
        .file("short", 0o644, "long name")
        .hardlink("hard", "/dir/file")
        .symlink("link", "dir/file")
        .hardlink("hard-to-link", "link")
        .fifo("dir/fifo")
        .symlink("lib", "/usr/lib")
        .file("lib/made.so", 0o644, "through a link")
        .dir("dir/closed", 0o500)
        .file("dir/closed/in", 0o400, "")
        .file("twice", 0o644, "1")
        .dir("twice", 0o755)
        .file("twice/in", 0o644, "")
        .file("twice", 0o600, "3")
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"sparse"),
            ("GNU.sparse.realsize", b"1048576"),
        ])
        .file("GNUSparseFile.0/sparse", 0o644, [&b"1\n1048572\n4\n"[..], &[0; 500], b"tail"].concat());
    let archive = Image::of(layer).oci_archive(&dir.path().join("image.tar"));
    let out = dir.path().join("out");
    // The umask must not matter.
    let script =
        format!("umask 077; exec {} unpack {} {}", env!("CARGO_BIN_EXE_austere"), archive.display(), out.display());
    assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());

    let stat = |name: &str| out.join(name).symlink_metadata().unwrap();
    assert_eq!(out.metadata().unwrap().mode() & 0o7777, 0o711);
    assert_eq!(out.metadata().unwrap().mtime().cast_unsigned(), image::MTIME);
    assert_eq!((stat("dir").mode() & 0o7777, stat("dir").mtime().cast_unsigned()), (0o2755, image::MTIME));
    assert_eq!(stat("dir/file").mode() & 0o7777, 0o4711);
    assert_eq!((stat("dir/times").mtime(), stat("dir/times").mtime_nsec()), (1_500_000_000, 123_456_789));
    assert_eq!(fs::read(out.join(&long)).unwrap(), b"long name");
    assert_eq!(stat("hard").ino(), stat("dir/file").ino());
    assert!(stat("hard-to-link").is_symlink());
    assert_eq!(stat("hard-to-link").ino(), stat("link").ino());
    assert_eq!(stat("dir/fifo").mode() & libc::S_IFMT, libc::S_IFIFO);
    assert_eq!(fs::read(out.join("usr/lib/made.so")).unwrap(), b"through a link");
    assert_eq!(stat("usr").mode() & 0o7777, 0o755);
    assert_eq!(stat("dir/closed").mode() & 0o7777, 0o500);
    assert_eq!((fs::read(out.join("twice")).unwrap(), stat("twice").mode() & 0o7777), (b"3".to_vec(), 0o600));
    let sparse = fs::read(out.join("sparse")).unwrap();
    assert_eq!((sparse.len(), &sparse[1_048_572..]), (1 << 20, &b"tail"[..]));
    assert!(stat("sparse").blocks() * 512 < 100_000, "the hole takes space");
    if nix::unistd::geteuid().is_root() {
        assert_eq!(stat("dir/times").uid(), 7);
    }
    fs::set_permissions(out.join("dir/closed"), PermissionsExt::from_mode(0o700)).unwrap();
}

#[test]
fn a_whiteout_spares_what_its_own_layer_brings() {
    let dir = tempfile::tempdir().unwrap();
    let base = Layer::new()
        .dir("d", 0o755)
        .file("d/lower", 0o644, "")
        .file("f", 0o644, "lower")
        .dir("gone", 0o755)
        .file("gone/x", 0o644, "");
    let top = Layer::new()
        .file("f", 0o644, "upper")
        .whiteout("f")
        .file("d/upper", 0o644, "")
        .whiteout("d")
        .whiteout("gone")
        .whiteout("never-there")
        .opaque("nor-this")
        .file("d/.wh..wh.plnk", 0o644, "");
    let image = Image::new().layer(base, Stored::Plain).layer(top, Stored::Plain);
    unpack(image.oci_archive(&dir.path().join("i.tar")).to_str().unwrap(), &dir.path().join("out"));
    let out = dir.path().join("out");
    assert_eq!(fs::read(out.join("f")).unwrap(), b"upper");
    assert!(out.join("d/upper").exists() && !out.join("d/lower").exists());
    assert!(!out.join("gone").exists() && !out.join("nor-this").exists() && !out.join("d/.wh..wh.plnk").exists());
}

#[test]
fn the_target_must_be_empty_and_is_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let image = two_layers(Stored::Plain).oci_archive(&dir.path().join("i.tar"));
    let image = image.to_str().unwrap();
    let full = dir.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("mine"), "").unwrap();
    let out = austere(&[image, full.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(2));
    assert_eq!(fs::read_dir(&full).unwrap().count(), 1);
    fs::remove_file(full.join("mine")).unwrap();
    let out = austere(&["--max-entries", "3", image, full.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(2));
    assert_eq!(fs::read_dir(&full).unwrap().count(), 0);
    unpack(image, &full);
}

#[test]
fn a_normal_user_gets_the_files_and_is_told_what_is_missing() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIP the user to become: this is no root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let layer = Layer::new()
        .dir("closed", 0o000)
        .file_of("closed/secret", 0o600, 0, 0, "s")
        .device("null", 1, 3)
        .file_of("suid", 0o4755, 0, 0, "");
    let image = Image::of(layer).oci_archive(&dir.path().join("i.tar"));
    let binary = dir.path().join("austere");
    // Not by this process, whose open descriptor could live on in a child of another test (ETXTBSY).
    assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_austere")).arg(&binary).status().unwrap().success());
    let user = |target: &str| {
        use std::os::unix::process::CommandExt;
        Command::new(&binary)
            .arg("unpack")
            .arg(&image)
            .arg(dir.path().join(target))
            .uid(4711)
            .gid(4711)
            .output()
            .unwrap()
    };
    let out = user("out");
    let stderr = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.success(), "{stderr}");
    assert!(stderr.contains("not made: /null (char device 1:3)"), "{stderr}");
    let stat = |name: &str| dir.path().join("out").join(name).metadata().unwrap();
    assert_eq!((stat("closed").mode() & 0o7777, stat("closed").uid()), (0o000, 4711));
    assert_eq!(stat("suid").mode() & 0o7777, 0o4755);
    assert!(!dir.path().join("out/null").exists());
    // The twin: root gets the device.
    unpack(image.to_str().unwrap(), &dir.path().join("root"));
    assert_eq!(dir.path().join("root/null").metadata().unwrap().rdev(), libc::makedev(1, 3));
}

#[test]
fn real_images_are_unpacked_as_umoci_unpacks_them() {
    let archives =
        std::env::var_os("AUSTERE_CORPUS").map_or_else(|| std::env::temp_dir().join("austere-corpus"), Into::into);
    let archives = archives.join("archives");
    let present = |tool: &str| Command::new(tool).arg("--version").output().is_ok();
    let mut images: Vec<_> = fs::read_dir(&archives).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    images.retain(|path| path.extension().is_some_and(|extension| extension == "tar"));
    images.sort();
    if images.is_empty() || !present("umoci") || !present("skopeo") || !nix::unistd::geteuid().is_root() {
        println!("SKIP umoci: needs root, umoci, skopeo and the images of tests/corpus/build-corpus.sh");
        assert!(std::env::var_os("CI").is_none(), "in CI nothing is skipped");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for image in images {
        let name = image.file_stem().unwrap().to_str().unwrap();
        let (layout, bundle, out) = (dir.path().join("layout"), dir.path().join("bundle"), dir.path().join("out"));
        unpack(image.to_str().unwrap(), &out);
        let opened =
            austere::source::open(&image.to_str().unwrap().parse().unwrap(), &austere::source::Options::default())
                .unwrap();
        // umoci 0.4 reads gzip only, so what is zstd is compressed anew.
        let zstd = opened.image.layers.iter().any(|layer| layer.compression == austere::image::Compression::Zstd);
        let again = ["--dest-compress", "--dest-compress-format", "gzip"];
        let copied = Command::new("skopeo")
            .args(["copy", "-q"])
            .args(if zstd { &again[..] } else { &[] })
            .args([format!("{}:{}", opened.kind, image.display()), format!("oci:{}:x", layout.display())])
            .output()
            .unwrap();
        assert!(copied.status.success(), "{name}: {}", String::from_utf8_lossy(&copied.stderr));
        let unpacked = Command::new("umoci")
            .args(["unpack", "--image", &format!("{}:x", layout.display())])
            .arg(&bundle)
            .output()
            .unwrap();
        assert!(unpacked.status.success(), "{name}: {}", String::from_utf8_lossy(&unpacked.stderr));
        let differences = tree::differences(&out, &bundle.join("rootfs"));
        assert!(differences.is_empty(), "{name}: {differences:#?}");
        for folder in [layout, bundle, out] {
            fs::remove_dir_all(folder).unwrap();
        }
    }
}
