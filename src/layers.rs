//! A stack of layer folders, read as an overlay mount would show it, without one.
//!
//! The folders have the form the store gives them: a whiteout is a character device 0:0, an opaque directory has the xattr
//! `user.overlay.opaque=y`. One plain folder (`rootfs:DIR`) is a stack of one.
//!
//! Source: Linux `Documentation/filesystems/overlayfs.rst`, "whiteouts and opaque directories".

mod walk;

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

use crate::inventory::{Entry, EntryKind, Found, ReadSeek, Tree};
use crate::sys::xattr;

pub use walk::{Change, Hidden, Listing};

/// As many symbolic links as the kernel follows (`path_resolution(7)`).
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
    /// Modes of set-id files as the image says, by path as above: the folder's own may be projected.
    pub set_ids: BTreeMap<String, u32>,
}

/// The files that a stack of layers shows.
#[derive(Debug)]
pub struct View {
    /// Topmost first.
    layers: Vec<Layer>,
    /// One folder that a store did not make: a device 0:0 in it is a device.
    plain: bool,
}

/// A directory of the merged tree: the folders that make it up, topmost first, with the index of each one's layer.
#[derive(Debug)]
struct Merged {
    name: String,
    parts: Vec<(usize, OwnedFd)>,
    entry: Entry,
}

/// Where a path leads: the directories it goes through, and a name in the last of them that is none.
struct Way {
    directories: Vec<Merged>,
    last: Option<(String, Leaf)>,
}

/// Something that is neither a directory nor a link.
struct Leaf {
    layer: usize,
    fd: OwnedFd,
    stat: FileStat,
}

/// What a name in a merged directory is.
enum Child {
    Directory(Merged),
    Link(String),
    Leaf(Leaf),
}

impl View {
    /// A view of `layers`, topmost first.
    pub fn new(layers: Vec<Layer>) -> Self {
        View { layers, plain: false }
    }

    /// A view of one plain folder.
    ///
    /// # Errors
    ///
    /// Those of open(2) with `O_DIRECTORY`.
    pub fn of_folder(folder: &Path) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let tree = nix::fcntl::open(folder, flags, Mode::empty())?;
        let layer = Layer { tree, capabilities: BTreeMap::new(), set_ids: BTreeMap::new() };
        Ok(View { layers: vec![layer], plain: true })
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
    fn walk(&self, path: &str) -> io::Result<Way> {
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
            match directory.child(&name)? {
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
                Child::Leaf(leaf) if rest.is_empty() && !path.ends_with('/') => {
                    return Ok(Way { directories: way, last: Some((name, leaf)) });
                }
                Child::Leaf(_) => return Err(io::ErrorKind::NotADirectory.into()),
            }
        }
        Ok(Way { directories: way, last: None })
    }
}

impl Merged {
    fn child(&self, name: &str) -> io::Result<Child> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut merged: Option<Merged> = None;
        for (layer, part) in &self.parts {
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
                None => return Ok(Child::Leaf(Leaf { layer: *layer, fd, stat })),
            }
        }
        merged.map(Child::Directory).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Tree for View {
    fn find(&self, path: &str) -> io::Result<Found> {
        let way = self.walk(path)?;
        let mut searched = Vec::new();
        let mut name = String::new();
        for merged in &way.directories {
            name.push_str(if name.ends_with('/') || merged.name.is_empty() { "" } else { "/" });
            name.push_str(&merged.name);
            searched.push((if name.is_empty() { "/".to_owned() } else { name.clone() }, merged.entry.clone()));
        }
        let Some((file, leaf)) = way.last else {
            let (path, entry) = searched.pop().ok_or(io::ErrorKind::NotFound)?;
            return Ok(Found { path, entry, searched });
        };
        let path = format!("{name}/{file}");
        let kept = self.layers[leaf.layer].capabilities.get(path.trim_start_matches('/'));
        // A store that cannot hold them keeps them beside the layer; any other lets everybody read them.
        let stored = || xattr::get(leaf.fd.as_fd(), CAPABILITY).ok().flatten();
        let capability = kept.cloned().or_else(stored);
        Ok(Found { path, entry: entry_of(&leaf.stat, capability), searched })
    }

    fn open(&self, found: &Found) -> io::Result<Box<dyn ReadSeek>> {
        let Some((_, leaf)) = self.walk(&found.path)?.last else { return Err(io::ErrorKind::IsADirectory.into()) };
        // Opened again by descriptor, so that it is the file that was looked at; a fifo would wait for a writer for ever.
        if found.entry.kind != EntryKind::File {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Box::new(File::open(format!("/proc/self/fd/{}", leaf.fd.as_raw_fd()))?))
    }
}

fn components(path: &str) -> VecDeque<String> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned).collect()
}

fn is_opaque(directory: &OwnedFd) -> io::Result<bool> {
    let value = xattr::get(directory.as_fd(), OPAQUE);
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
mod tests;
