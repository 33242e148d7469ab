use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;

use nix::sys::stat::mknod;

use super::*;

struct Stack(Vec<tempfile::TempDir>);

impl Stack {
    /// Folders, topmost first, with files of these names; each file holds its own name, a `/` at the end makes a directory.
    fn new(layers: &[&[&str]]) -> Self {
        let make = |names: &&[&str]| {
            let folder = tempfile::tempdir().unwrap();
            for name in *names {
                let path = folder.path().join(name);
                fs::create_dir_all(if name.ends_with('/') { &path } else { path.parent().unwrap() }).unwrap();
                if !name.ends_with('/') {
                    fs::write(&path, name).unwrap();
                }
            }
            folder
        };
        Stack(layers.iter().map(make).collect())
    }

    fn at(&self, layer: usize, name: &str) -> std::path::PathBuf {
        self.0[layer].path().join(name)
    }

    fn view(&self) -> View {
        let one = |folder: &tempfile::TempDir| View::of_folder(folder.path()).unwrap().layers.pop().unwrap();
        View::new(self.0.iter().map(one).collect())
    }

    fn whiteout(&self, layer: usize, name: &str) {
        mknod(&self.at(layer, name), SFlag::S_IFCHR, Mode::from_bits_truncate(0o600), 0).unwrap();
    }
}

fn error(view: &View, path: &str) -> io::ErrorKind {
    view.find(path).unwrap_err().kind()
}

#[test]
fn the_topmost_layer_wins() {
    let stack = Stack::new(&[&["a/new", "a/both"], &["a/old", "a/both", "b/only"]]);
    fs::write(stack.at(0, "a/both"), "top").unwrap();
    let view = stack.view();
    for path in ["/a/new", "/a/old", "b/only", "//a/./../b/only"] {
        view.find(path).unwrap();
    }
    let mut text = String::new();
    view.open(&view.find("/a/both").unwrap()).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "top");
}

#[test]
fn a_whiteout_hides_what_lies_below_it_and_nothing_above() {
    let stack = Stack::new(&[&["c/again"], &["x"], &["a", "b/inner", "c/old"]]);
    for name in ["a", "b", "c"] {
        stack.whiteout(1, name);
    }
    let view = stack.view();
    for path in ["/a", "/b/inner", "/c/old"] {
        assert_eq!(error(&view, path), io::ErrorKind::NotFound, "{path}");
    }
    view.find("/c/again").unwrap();
    // The twin: without the layer of whiteouts all of it is there.
    let bare = Stack(stack.0.into_iter().skip(2).collect());
    for path in ["/a", "/b/inner", "/c/old"] {
        bare.view().find(path).unwrap();
    }
}

#[test]
fn an_opaque_directory_hides_the_one_below() {
    let stack = Stack::new(&[&["d/new"], &["d/old"]]);
    stack.view().find("/d/old").unwrap();
    let directory = File::open(stack.at(0, "d")).unwrap();
    if let Err(error) = crate::sys::xattr::set(directory.as_fd(), OPAQUE, b"y") {
        println!("SKIP user xattrs where temporary files are: {error}");
        return;
    }
    assert_eq!(error(&stack.view(), "/d/old"), io::ErrorKind::NotFound);
    stack.view().find("/d/new").unwrap();
}

#[test]
fn links_stay_inside() {
    let stack = Stack::new(&[&["etc/hostname", "usr/lib/x"]]);
    symlink("/usr/lib", stack.at(0, "lib")).unwrap();
    symlink("../../../../../../etc/hostname", stack.at(0, "up")).unwrap();
    symlink("loop", stack.at(0, "loop")).unwrap();
    symlink("/etc/passwd", stack.at(0, "out")).unwrap();
    let view = stack.view();
    assert_eq!(view.find("/lib/x").unwrap().path, "/usr/lib/x");
    assert_eq!(view.find("/lib/../lib/x").unwrap().path, "/usr/lib/x");
    assert_eq!(view.find("/up").unwrap().path, "/etc/hostname");
    assert_eq!(error(&view, "/out"), io::ErrorKind::NotFound, "the host's file is not to be seen");
    assert_eq!(view.find("/loop").unwrap_err().raw_os_error(), Some(libc::ELOOP));
    assert_eq!(error(&view, "/etc/hostname/x"), io::ErrorKind::NotADirectory);
    let searched: Vec<_> = view.find("/lib/x").unwrap().searched.into_iter().map(|(name, _)| name).collect();
    assert_eq!(searched, ["/", "/usr", "/usr/lib"]);
}

#[test]
fn a_fifo_is_not_opened() {
    let stack = Stack::new(&[&["a"]]);
    nix::unistd::mkfifo(&stack.at(0, "fifo"), Mode::from_bits_truncate(0o600)).unwrap();
    let view = stack.view();
    let found = view.find("/fifo").unwrap();
    assert_eq!(found.entry.kind, EntryKind::Special);
    assert!(view.open(&found).is_err());
    assert!(view.open(&view.find("/a").unwrap()).is_ok());
}

#[test]
fn capabilities_kept_beside_a_layer_are_the_files() {
    let stack = Stack::new(&[&["usr/app"]]);
    let mut view = stack.view();
    assert_eq!(view.find("/usr/app").unwrap().entry.capability, None);
    view.layers[0].capabilities.insert("usr/app".to_owned(), vec![1]);
    assert_eq!(view.find("/usr/app").unwrap().entry.capability, Some(vec![1]));
}

#[test]
fn a_list_has_what_is_shown_and_what_lies_hidden() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let stack = Stack::new(&[&["new", "d/x"], &["a", "d/x", "d/y", "e/z"]]);
    stack.whiteout(0, "a");
    stack.whiteout(0, "e");
    symlink("new", stack.at(0, "link")).unwrap();
    let listing = stack.view().list();
    let shown: Vec<&str> = listing.items.iter().map(|item| item.path.as_str()).collect();
    assert_eq!(shown, ["/d", "/d/x", "/d/y", "/link", "/new"]);
    assert_eq!(
        listing.changes,
        [Change { added: 4, changed: 0, removed: 0 }, Change { added: 2, changed: 1, removed: 2 },]
    );
    let mut hidden: Vec<&str> = listing.hidden.iter().map(|hidden| hidden.path.as_str()).collect();
    hidden.sort_unstable();
    assert_eq!(hidden, ["/a", "/d/x", "/e/z"]);

    let view = stack.view();
    let contents = crate::inventory::Contents::new(&listing.items, &view);
    assert_eq!(contents.resolve("/link").unwrap().path, "/new");
    assert_eq!(contents.resolve("/d/../link").unwrap().path, "/new");
    assert!(contents.resolve("/link/x").is_none() && contents.resolve("/a").is_none());
    assert_eq!(contents.text("/d/x", 10).as_deref(), Some("d/x"));
    assert_eq!(contents.below("/d").len(), 2);
}
