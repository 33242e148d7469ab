//! Layers that nobody should have made. None writes outside, hangs or fills the disk; each refusal has a twin beside it, the
//! harmless shape, which unpacks.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "common/image.rs"]
mod image;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

use image::{Image, Layer, Stored};
use tempfile::TempDir;

/// A folder with a secret in it, an image beside it, and the folder to unpack to.
struct Case {
    dir: TempDir,
}

impl Case {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/secret"), "secret").unwrap();
        Case { dir }
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    fn run(&self, image: &Image, flags: &[&str]) -> Result<(), String> {
        let archive = image.oci_archive(&self.dir.path().join("image.tar"));
        let _ = fs::remove_dir_all(self.out());
        let out = Command::new(env!("CARGO_BIN_EXE_austere"))
            .arg("unpack")
            .args(flags)
            .arg(archive)
            .arg(self.out())
            .output()
            .unwrap();
        // Whatever came of it, nothing outside was touched.
        let mut names: Vec<_> =
            fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.retain(|name| name != "out");
        names.sort();
        assert_eq!(names, ["image.tar", "outside"]);
        let secret = self.dir.path().join("outside/secret");
        assert_eq!((fs::read(&secret).unwrap(), secret.metadata().unwrap().nlink()), (b"secret".to_vec(), 1));
        assert_eq!(fs::read_dir(self.dir.path().join("outside")).unwrap().count(), 1);
        let stderr = String::from_utf8(out.stderr).unwrap();
        match out.status.code() {
            Some(0) => Ok(()),
            Some(2) => {
                assert!(!self.out().exists(), "left behind after: {stderr}");
                Err(stderr)
            }
            code => panic!("{code:?}: {stderr}"),
        }
    }

    fn refuses(layer: Layer, flags: &[&str], why: &str) {
        let error = Case::new().run(&Image::of(layer), flags).unwrap_err();
        assert!(error.contains(why), "{error}");
    }

    /// Unpacks, and gives the case for a look at the tree.
    fn takes(layer: Layer) -> Self {
        let case = Case::new();
        case.run(&Image::of(layer), &[]).unwrap();
        case
    }
}

fn header(kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

#[test]
fn names_cannot_climb() {
    for name in ["../outside/new", "a/../../outside/new", "..", "a/.."] {
        Case::refuses(Layer::new().file(name, 0o644, "x"), &[], "`..`");
    }
    let case = Case::takes(Layer::new().file("./a/./b//..c", 0o644, "x").file("/outside/secret", 0o644, "absolute"));
    assert!(case.out().join("a/b/..c").exists());
    assert_eq!(fs::read(case.out().join("outside/secret")).unwrap(), b"absolute");
}

#[test]
fn links_lead_nowhere_but_inside() {
    let case = Case::new();
    let outside = case.dir.path().join("outside");
    for target in [outside.to_str().unwrap(), "../outside", "../../../../../../../../tmp"] {
        // The link is kept as it is; what is written through it lands below the root.
        let layer =
            Layer::new().symlink("link", target).file("link/new", 0o644, "x").file("link/secret", 0o644, "overwritten");
        case.run(&Image::of(layer), &[]).unwrap();
        assert_eq!(fs::read_link(case.out().join("link")).unwrap().to_str(), Some(target));
    }
    // In a lower layer, in two steps, with a folder entry for the link itself.
    let lower = Layer::new().dir("c", 0o755).symlink("a", "/c/..").symlink("b", "a/../../../outside");
    let upper =
        Layer::new().file("b/new", 0o644, "x").file("c/x", 0o644, "").dir("b", 0o700).file("b/again", 0o644, "");
    case.run(&Image::new().layer(lower, Stored::Gzip).layer(upper, Stored::Gzip), &[]).unwrap();
    assert!(case.out().join("b/again").exists());
    // The twin of all: a link that means the image's own folder.
    let case = Case::takes(Layer::new().dir("usr/lib", 0o755).symlink("lib", "/usr/lib").file("lib/x", 0o644, "x"));
    assert!(case.out().join("usr/lib/x").exists());
}

#[test]
fn links_in_circles_end() {
    Case::refuses(Layer::new().symlink("a", "b").symlink("b", "a").file("a/x", 0o644, ""), &[], "circles");
    Case::refuses(Layer::new().symlink("a", "a").file("a/x", 0o644, ""), &[], "circles");
    Case::takes(Layer::new().symlink("a", "b").symlink("b", "c").file("a/x", 0o644, ""));
}

#[test]
fn hard_links_stay_inside_and_follow_nothing() {
    let case = Case::new();
    let secret = case.dir.path().join("outside/secret");
    let secret = secret.to_str().unwrap();
    let error = case
        .run(&Image::of(Layer::new().pax(&[("linkpath", secret.as_bytes())]).hardlink("stolen", "x")), &[])
        .unwrap_err();
    assert!(error.contains("does not have"), "{error}");
    Case::refuses(Layer::new().hardlink("stolen", "../outside/secret"), &[], "`..`");
    Case::refuses(Layer::new().dir("d", 0o755).hardlink("stolen", "d"), &[], "folder");
    // To a link: the link gets a second name, and writing to that name replaces it.
    let layer = Layer::new().pax(&[("linkpath", secret.as_bytes())]).symlink("link", "x");
    let layer = layer.hardlink("second", "link").file("second", 0o644, "mine");
    case.run(&Image::of(layer), &[]).unwrap();
    assert_eq!(fs::read(case.out().join("second")).unwrap(), b"mine");
    // Through a folder that is a link out of the image.
    let layer = Layer::new().symlink("up", "../outside").hardlink("stolen", "up/secret");
    assert!(case.run(&Image::of(layer), &[]).is_err());
    let case =
        Case::takes(Layer::new().file("a", 0o644, "1").file("b", 0o644, "2").hardlink("b", "/a").hardlink("a", "a"));
    assert_eq!(fs::read(case.out().join("b")).unwrap(), b"1");
}

#[test]
fn whiteouts_remove_names_and_nothing_else() {
    for name in [".wh.", ".wh..", ".wh...", "d/.wh.."] {
        Case::refuses(Layer::new().dir("d", 0o755).file(name, 0o644, ""), &[], "removes no name");
    }
    let case = Case::new();
    let lower = Layer::new()
        .symlink("link", "../outside")
        .symlink("deep", "../outside")
        .file("f", 0o644, "")
        .file("kept", 0o644, "");
    let upper = Layer::new().whiteout("link").whiteout("deep/secret").whiteout("f").opaque("deep");
    case.run(&Image::new().layer(lower, Stored::Plain).layer(upper, Stored::Plain), &[]).unwrap();
    assert!(case.out().join("link").symlink_metadata().is_err() && !case.out().join("f").exists());
    assert!(case.out().join("kept").exists());
}

#[test]
fn bombs_are_stopped() {
    // 200 MiB of zeros in about 1 MiB; a better compressor makes it 200 kB.
    let layer = || Layer::new().file("zeros", 0o644, vec![0; 200 << 20]);
    let case = Case::new();
    let image = Image::new().layer(layer(), Stored::Gzip);
    assert!(case.run(&image, &["--max-ratio", "50"]).unwrap_err().contains("--max-ratio"));
    assert!(
        case.run(&image, &["--max-ratio", "2000", "--max-bytes", "100000000"]).unwrap_err().contains("--max-bytes")
    );
    case.run(&image, &["--max-ratio", "2000"]).unwrap();
    // A bomb that is small enough is only a sparse file.
    case.run(
        &Image::new().layer(Layer::new().file("zeros", 0o644, vec![0; 100 << 20]), Stored::Gzip),
        &["--max-ratio", "50"],
    )
    .unwrap();
    // Many entries.
    let many = |count| (0..count).fold(Layer::new(), |layer, n| layer.file(&format!("f{n}"), 0o644, ""));
    Case::refuses(many(101), &["--max-entries", "100"], "--max-entries");
    Case::new().run(&Image::of(many(100)), &["--max-entries", "100"]).unwrap();
    // A hole of a petabyte.
    let hole = |size: &[u8]| {
        let keys = [("GNU.sparse.major", &b"1"[..]), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", size)];
        Layer::new().pax(&keys).file("hole", 0o644, [&b"0\n"[..], &[0; 510]].concat())
    };
    Case::refuses(hole(b"1125899906842624"), &[], "--max-bytes");
    assert_eq!(Case::takes(hole(b"1073741824")).out().join("hole").metadata().unwrap().len(), 1 << 30);
}

#[test]
fn paths_are_bounded() {
    let deep = |depth: usize| Layer::new().pax(&[("path", "d/".repeat(depth).as_bytes())]).dir("x", 0o755);
    Case::refuses(deep(129), &[], "--max-depth");
    Case::takes(deep(128));
    // Deeper with each link: the true path counts, not the name.
    let mut layer = Layer::new();
    for n in 0..10 {
        let base = if n == 0 { String::new() } else { format!("l{}/", n - 1) };
        let path = format!("{base}{}", "d/".repeat(50));
        layer = layer.pax(&[("path", path.as_bytes())]).dir("x", 0o755);
        layer = layer.pax(&[("linkpath", path.as_bytes())]).symlink(&format!("l{n}"), "x");
    }
    Case::refuses(layer, &[], "--max-depth");
    let long = |length: usize| {
        let path = "0123456789abcde/".repeat(length / 16);
        Layer::new().pax(&[("path", path.as_bytes())]).dir("x", 0o755)
    };
    Case::refuses(long(1024), &["--max-path", "1000"], "--max-path");
    Case::refuses(long(8192), &[], "--max-path");
    Case::new().run(&Image::of(long(992)), &["--max-path", "1000"]).unwrap();
    Case::refuses(Layer::new().pax(&[("path", "n".repeat(256).as_bytes())]).file("x", 0o644, ""), &[], "name too long");
    Case::takes(Layer::new().pax(&[("path", "n".repeat(255).as_bytes())]).file("x", 0o644, ""));
}

#[test]
fn numbers_that_lie_are_found_out() {
    let mut negative = header(tar::EntryType::Regular, 0);
    negative.as_old_mut().size = [0xff; 12];
    Case::refuses(Layer::new().raw(b"f", b"", negative, b""), &[], "size");
    let mut huge = header(tar::EntryType::Regular, 0);
    huge.as_old_mut().size = *b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff";
    Case::refuses(Layer::new().raw(b"f", b"", huge, b""), &[], "--max-bytes");
    let mut text = header(tar::EntryType::Regular, 0);
    text.as_old_mut().size = *b"not a number";
    Case::refuses(Layer::new().raw(b"f", b"", text, b""), &[], "size");
    // More than there is.
    Case::refuses(Layer::new().raw(b"f", b"", header(tar::EntryType::Regular, 100_000), b"short"), &[], "ends within");
    Case::refuses(Layer::new().pax(&[("size", b"99999999")]).file("f", 0o644, "short"), &[], "ends within");
    Case::refuses(Layer::new().pax(&[("size", b"-1")]).file("f", 0o644, "short"), &[], "`size`");
    Case::refuses(Layer::new().pax(&[("uid", b"4294967295")]).file("f", 0o644, ""), &[], "uid");
    // The extended size is the one that holds, for us as for every other reader.
    let hidden = [b"short".to_vec(), vec![0; 507]].concat();
    let case =
        Case::takes(Layer::new().pax(&[("size", b"5")]).raw(b"f", b"", header(tar::EntryType::Regular, 0), &hidden));
    assert_eq!(fs::read(case.out().join("f")).unwrap(), b"short");
    // A link has no data, whatever its size says.
    let link = header(tar::EntryType::Link, 512);
    let case = Case::takes(Layer::new().file("f", 0o644, "1").raw(b"l", b"f", link, b"").file("g", 0o644, "2"));
    assert_eq!(fs::read(case.out().join("g")).unwrap(), b"2");
    let mut broken = Layer::new().file("f", 0o644, "1").tar();
    broken[0] = b'g';
    let image = |tar: Vec<u8>| {
        let mut image = Image::new();
        image.layers.push((tar, Stored::Gzip));
        image
    };
    assert!(Case::new().run(&image(broken), &[]).unwrap_err().contains("checksum"));
    // What comes after the end does not count; what ends before its end does not either, when it is whole.
    let whole = Layer::new().file("f", 0o644, "1").tar();
    Case::new().run(&image([&whole[..], &[b'x'; 5000]].concat()), &[]).unwrap();
    Case::new().run(&image(whole[..513].to_vec()), &[]).unwrap();
    assert!(Case::new().run(&image(whole[..512].to_vec()), &[]).unwrap_err().contains("ends within"));
    Case::new().run(&image(Vec::new()), &[]).unwrap();
}

#[test]
fn headers_do_not_fill_memory() {
    let name = vec![b'n'; 2 << 20];
    let long = |kind, name: &[u8]| Layer::new().raw(b"././@LongLink", b"", header_gnu(kind, name.len() as u64), name);
    for kind in [
        tar::EntryType::GNULongName,
        tar::EntryType::GNULongLink,
        tar::EntryType::XHeader,
        tar::EntryType::XGlobalHeader,
    ] {
        Case::refuses(long(kind, &name).file("f", 0o644, ""), &[], "1 MiB");
    }
    Case::takes(long(tar::EntryType::GNULongName, b"long").file("f", 0o644, ""));
    // A header without an entry after it is the end.
    Case::refuses(Layer::new().raw(b"x", b"", header(tar::EntryType::XHeader, 5), b"5 a=b"), &[], "malformed");
}

fn header_gnu(kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header
}

#[test]
fn odd_names_are_names() {
    Case::refuses(Layer::new().pax(&[("path", b"a\0b")]).file("x", 0o644, ""), &[], "NUL");
    Case::refuses(Layer::new().pax(&[("linkpath", b"a\0b")]).symlink("x", "y"), &[], "NUL");
    Case::refuses(Layer::new().raw(b"f", b"", header(tar::EntryType::new(b'V'), 0), b""), &[], "type");
    Case::refuses(Layer::new().symlink("./", "x"), &[], "root");
    let case = Case::takes(
        Layer::new()
            .pax(&[("path", b"new\nline\x1b[2J")])
            .file("x", 0o644, "")
            .pax(&[("path", b"\xff\xfe")])
            .file("x", 0o644, ""),
    );
    assert_eq!(fs::read_dir(case.out()).unwrap().count(), 2);
}

#[test]
fn what_lies_in_the_way_goes() {
    let layer = Layer::new()
        .dir("d", 0o755)
        .file("d/x", 0o644, "")
        .symlink("d", "/outside")
        .file("d/y", 0o644, "")
        .file("d", 0o644, "")
        .fifo("d")
        .file("d", 0o644, "last");
    let case = Case::takes(layer);
    assert_eq!(fs::read(case.out().join("d")).unwrap(), b"last");
    Case::refuses(Layer::new().file("f", 0o644, "").file("f/x", 0o644, ""), &[], "not a folder");
    // A pipe is replaced, not written to: that would wait for ever.
    let case = Case::takes(Layer::new().fifo("p").file("p", 0o644, "x"));
    assert_eq!(fs::read(case.out().join("p")).unwrap(), b"x");
    Case::takes(Layer::new().device("null", 1, 3).file("null", 0o644, "x"));
    // Names that overlayfs and the store give a meaning to mean nothing here.
    Case::takes(Layer::new().file("staging", 0o644, "").file("record", 0o644, "").file("tree/facts.json", 0o644, ""));
}

#[test]
fn attributes_of_overlayfs_are_left_out() {
    let records = [("SCHILY.xattr.user.overlay.opaque", &b"y"[..]), ("SCHILY.xattr.trusted.overlay.redirect", b"/etc")];
    let case = Case::takes(
        Layer::new().pax(&records).dir("d", 0o755).pax(&[("SCHILY.xattr.user.kept", b"1")]).dir("e", 0o755),
    );
    let names = |name: &str| {
        let folder = fs::File::open(case.out().join(name)).unwrap();
        austere::sys::xattr::list(std::os::fd::AsFd::as_fd(&folder)).unwrap()
    };
    assert!(names("d").is_empty());
    assert_eq!(names("e"), [c"user.kept".to_owned()]);
    Case::refuses(Layer::new().pax(&[("SCHILY.xattr.user.a\0b", b"1")]).dir("d", 0o755), &[], "NUL");
}
