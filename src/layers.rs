//! A stack of layer folders, read as an overlay mount would show it, without one.
//!
//! The folders have the form the store gives them: a whiteout is a character device 0:0, an opaque directory has the xattr
//! `user.overlay.opaque=y`. One plain folder (`rootfs:DIR`) is a stack of one.
//!
//! Source: Linux `Documentation/filesystems/overlayfs.rst`, "whiteouts and opaque directories".

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

use crate::inventory::{Entry, EntryKind, Found, ReadSeek, Tree};
use crate::sys::read_xattr::read_xattr;

/// As many symbolic links as the kernel follows (path_resolution(7)).
const MOST_LINKS: usize = 40;
const CAPABILITY: &std::ffi::CStr = c"security.capability";
const OPAQUE: &std::ffi::CStr = c"user.overlay.opaque";

/// One folder of the stack.
#[derive(Debug)]
pub struct Layer {
    /// The folder.
    pub tree: OwnedFd,
    /// File capabilities that the folder's filesystem could not hold: xattr bytes by path inside of the layer, without a leading slash.
    pub capabilities: BTreeMap<String, Vec<u8>>,
}

/// The files that a stack of layers shows.
#[derive(Debug)]
pub struct View {
    /// Topmost first.
    layers: Vec<Layer>,
}

/// A directory of the merged tree: the folders that make it up, topmost first, with the index of each one's layer.
#[derive(Debug)]
struct Merged {
    name: String,
    parts: Vec<(usize, OwnedFd)>,
    entry: Entry,
}

/// What a name in a merged directory is.
enum Child {
    Directory(Merged),
    Link(String),
    Other { layer: usize, fd: OwnedFd, stat: FileStat },
}

impl View {
    /// A view of `layers`, topmost first.
    pub fn new(layers: Vec<Layer>) -> Self {
        View { layers }
    }

    /// A view of one plain folder.
    ///
    /// # Errors
    ///
    /// Those of open(2) with `O_DIRECTORY`.
    pub fn of_folder(folder: &Path) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let tree = nix::fcntl::open(folder, flags, Mode::empty())?;
        Ok(View { layers: vec![Layer { tree, capabilities: BTreeMap::new() }] })
    }

    fn root(&self) -> io::Result<Merged> {
        let mut parts = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            parts.push((index, layer.tree.try_clone()?));
        }
        let (_, top) = parts.first().ok_or(io::ErrorKind::NotFound)?;
        let entry = entry_of(&fstat(top)?, None);
        Ok(Merged { name: String::new(), parts, entry })
    }

    /// Follows `path` to its end. Whatever links say, it cannot leave the stack: `..` ends at its root, where `/` starts.
    fn walk(&self, path: &str) -> io::Result<(Vec<Merged>, Option<(String, Child)>)> {
        let mut way = vec![self.root()?];
        let mut rest: VecDeque<String> = components(path);
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                if way.len() > 1 {
                    way.pop();
                }
                continue;
            }
            let Some(directory) = way.last() else { return Err(io::ErrorKind::NotFound.into()) };
            match self.child(directory, &name)? {
                Child::Directory(merged) => way.push(merged),
                Child::Link(target) => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(io::Error::from_raw_os_error(libc::ELOOP));
                    }
                    if target.starts_with('/') {
                        way.truncate(1);
                    }
                    let mut parts = components(&target);
                    parts.append(&mut rest);
                    rest = parts;
                }
                other if rest.is_empty() && !path.ends_with('/') => return Ok((way, Some((name, other)))),
                Child::Other { .. } => return Err(io::ErrorKind::NotADirectory.into()),
            }
        }
        Ok((way, None))
    }

    fn child(&self, directory: &Merged, name: &str) -> io::Result<Child> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut merged: Option<Merged> = None;
        for (layer, part) in &directory.parts {
            let fd = match openat(part, name, flags, Mode::empty()) {
                Ok(fd) => fd,
                Err(nix::Error::ENOENT | nix::Error::ENOTDIR) => continue,
                Err(error) => return Err(error.into()),
            };
            let stat = fstat(&fd)?;
            let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
            if kind == SFlag::S_IFCHR && stat.st_rdev == 0 {
                break;
            }
            match &mut merged {
                // Something else below a directory is hidden by it, and hides what lies further down.
                Some(_) if kind != SFlag::S_IFDIR => break,
                Some(merged) => {
                    let (_, above) = &merged.parts[merged.parts.len() - 1];
                    if is_opaque(above)? {
                        break;
                    }
                    merged.parts.push((*layer, fd));
                }
                None if kind == SFlag::S_IFDIR => {
                    let entry = entry_of(&stat, None);
                    merged = Some(Merged { name: name.to_owned(), parts: vec![(*layer, fd)], entry });
                }
                None if kind == SFlag::S_IFLNK => {
                    return Ok(Child::Link(readlinkat(&fd, "")?.to_string_lossy().into_owned()));
                }
                None => return Ok(Child::Other { layer: *layer, fd, stat }),
            }
        }
        merged.map(Child::Directory).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Tree for View {
    fn find(&self, path: &str) -> io::Result<Found> {
        let (way, last) = self.walk(path)?;
        let mut searched = Vec::new();
        let mut name = String::new();
        for merged in &way {
            name.push_str(if name.ends_with('/') || merged.name.is_empty() { "" } else { "/" });
            name.push_str(&merged.name);
            searched.push((if name.is_empty() { "/".to_owned() } else { name.clone() }, merged.entry.clone()));
        }
        match last {
            Some((file, Child::Other { layer, fd, stat })) => {
                let path = format!("{name}/{file}");
                let kept = self.layers[layer].capabilities.get(path.trim_start_matches('/'));
                // Only root may be refused nothing here; whoever may not read it cannot be told either.
                let stored = || read_xattr(fd.as_fd(), CAPABILITY).ok().flatten();
                let capability = kept.cloned().or_else(stored);
                Ok(Found { path, entry: entry_of(&stat, capability), searched })
            }
            _ => {
                let (path, entry) = searched.pop().ok_or(io::ErrorKind::NotFound)?;
                Ok(Found { path, entry, searched })
            }
        }
    }

    fn open(&self, found: &Found) -> io::Result<Box<dyn ReadSeek>> {
        let (_, last) = self.walk(&found.path)?;
        let Some((_, Child::Other { fd, .. })) = last else { return Err(io::ErrorKind::IsADirectory.into()) };
        // Opened again by descriptor, so that it is the file that was looked at; a fifo would wait for a writer for ever.
        if found.entry.kind != EntryKind::File {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Box::new(File::open(format!("/proc/self/fd/{}", fd.as_raw_fd()))?))
    }
}

fn components(path: &str) -> VecDeque<String> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned).collect()
}

fn is_opaque(directory: &OwnedFd) -> io::Result<bool> {
    let value = read_xattr(directory.as_fd(), OPAQUE);
    // Not PermissionDenied: that would say the app may not search the directory, which is another matter.
    let value = value.map_err(|error| io::Error::other(format!("cannot tell what a directory hides ({error})")))?;
    Ok(value.as_deref() == Some(b"y"))
}

fn entry_of(stat: &FileStat, capability: Option<Vec<u8>>) -> Entry {
    let kind = match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFREG => EntryKind::File,
        SFlag::S_IFDIR => EntryKind::Directory,
        _ => EntryKind::Special,
    };
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    Entry { kind, mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid, size, capability }
}

#[cfg(test)]
mod tests {
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
        if let Err(error) = crate::sys::write_xattr::write_xattr(directory.as_fd(), OPAQUE, b"y") {
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
}
