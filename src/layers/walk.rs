//! Every name of a stack of layers in one pass: what it shows, and what lies hidden in it.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2, readlinkat};
use nix::sys::stat::{FileStat, SFlag, fstat, fstatat};

use super::{CAPABILITY, Layer, View, is_opaque};
use crate::inventory::{Item, ItemKind, ReadSeek, Reader};
use crate::sys::xattr;

/// What a walk saw.
#[derive(Debug, Default)]
pub struct Listing {
    /// Every name of the merged tree but the root's, sorted by path.
    pub items: Vec<Item>,
    /// What each layer did, base first.
    pub changes: Vec<Change>,
    /// Files that a layer above replaced or removed, and that are still shipped.
    pub hidden: Vec<Hidden>,
    /// Directories that could not be read.
    pub unread: Vec<String>,
}

/// What a layer did to those below it. Directories are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Names that were not there.
    pub added: u64,
    /// Names that were there.
    pub changed: u64,
    /// Names that are gone.
    pub removed: u64,
}

/// A file that is shipped and not shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// Its path.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// The layer that has it: the base is 0.
    pub layer: usize,
    /// The layer that replaced or removed it.
    pub by: usize,
}

/// A directory that is still to be listed: the layers that have it, base first, and the one that hides it.
struct Pending {
    path: Vec<u8>,
    layers: Vec<usize>,
    hidden_by: Option<usize>,
}

/// One layer's version of a name.
struct Version {
    layer: usize,
    stat: FileStat,
}

/// What a name stands for, after some of the layers.
enum State {
    Nothing,
    Leaf(Version),
    Directory(Vec<Version>),
}

impl View {
    /// Lists everything. Directories that cannot be read are named, not fatal.
    pub fn list(&self) -> Listing {
        let count = self.layers.len();
        let mut walk = Walk {
            view: self,
            listing: Listing { changes: vec![Change::default(); count], ..Listing::default() },
            pending: vec![Pending { path: Vec::new(), layers: (0..count).collect(), hidden_by: None }],
            counted: HashSet::new(),
            device: self.layers.last().and_then(|layer| fstat(&layer.tree).ok()).map(|stat| stat.st_dev),
        };
        while let Some(pending) = walk.pending.pop() {
            walk.directory(&pending);
        }
        let mut listing = walk.listing;
        listing.items.sort_by(|a, b| a.path.cmp(&b.path));
        listing.hidden.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.path.cmp(&b.path)));
        listing
    }

    /// A layer by its number from the base.
    fn layer(&self, from_base: usize) -> &Layer {
        &self.layers[self.layers.len() - 1 - from_base]
    }
}

impl Reader for View {
    fn open(&self, item: &Item) -> io::Result<Box<dyn ReadSeek>> {
        let path = item.raw.as_deref().unwrap_or(item.path.as_bytes());
        // Only files are asked for; should another process have put a fifo there, nothing waits for a writer.
        let file = below(self.layer(item.layer), &path[1..], OFlag::O_RDONLY | OFlag::O_NONBLOCK)?;
        Ok(Box::new(File::from(file)))
    }
}

struct Walk<'a> {
    view: &'a View,
    listing: Listing,
    pending: Vec<Pending>,
    /// Files with several names whose bytes have been counted as hidden.
    counted: HashSet<(usize, u64)>,
    /// The file system of a plain folder: what is mounted in it is not of it.
    device: Option<u64>,
}

impl Walk<'_> {
    fn directory(&mut self, pending: &Pending) {
        let mut names = BTreeMap::<Vec<u8>, Vec<Version>>::new();
        for &layer in &pending.layers {
            if let Err(error) = self.versions(layer, &pending.path, &mut names) {
                self.listing.unread.push(format!("/{}: {error}", String::from_utf8_lossy(&pending.path)));
            }
        }
        for (name, versions) in names {
            let path = if pending.path.is_empty() { name } else { [&pending.path[..], b"/", &name].concat() };
            let state = self.replay(&path, versions, pending.hidden_by);
            match (state, pending.hidden_by) {
                (State::Nothing, _) => {}
                (state, Some(by)) => self.bury(&path, state, by, true),
                (State::Leaf(version), None) => self.show(&path, &version),
                (State::Directory(parts), None) => {
                    if let Some(top) = parts.last() {
                        self.show(&path, top);
                    }
                    let is_mounted = |part: &Version| self.view.plain && Some(part.stat.st_dev) != self.device;
                    if !parts.iter().any(is_mounted) {
                        let layers = parts.iter().map(|part| part.layer).collect();
                        self.pending.push(Pending { path, layers, hidden_by: None });
                    }
                }
            }
        }
    }

    /// Adds what one layer has in a directory.
    fn versions(&self, layer: usize, path: &[u8], names: &mut BTreeMap<Vec<u8>, Vec<Version>>) -> Result<(), Errno> {
        let folder = below(self.view.layer(layer), path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        let mut listing = Dir::from_fd(folder.try_clone().map_err(|_| Errno::EMFILE)?)?;
        for entry in listing.iter() {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            match fstatat(&folder, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                Ok(stat) => names.entry(name.to_bytes().to_owned()).or_default().push(Version { layer, stat }),
                Err(Errno::ENOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// What a name stands for after all layers that have it; what they replaced is buried on the way.
    fn replay(&mut self, path: &[u8], versions: Vec<Version>, hidden_by: Option<usize>) -> State {
        let mut state = State::Nothing;
        for version in versions {
            let layer = version.layer;
            let kind = kind_of(&version.stat);
            let is_whiteout = kind == SFlag::S_IFCHR && version.stat.st_rdev == 0 && !self.view.plain;
            let before = std::mem::replace(&mut state, State::Nothing);
            if is_whiteout {
                let was_leaf = matches!(before, State::Leaf(_));
                self.bury(path, before, layer, false);
                if was_leaf && hidden_by.is_none() {
                    self.listing.changes[layer].removed += 1;
                }
                continue;
            }
            state = match (before, kind == SFlag::S_IFDIR) {
                (State::Directory(mut parts), true) if !self.is_opaque(layer, path) => {
                    parts.push(version);
                    State::Directory(parts)
                }
                (State::Nothing, true) => State::Directory(vec![version]),
                (before, true) => {
                    self.bury(path, before, layer, false);
                    State::Directory(vec![version])
                }
                (before, false) => {
                    let change = &mut self.listing.changes[layer];
                    match before {
                        State::Nothing => change.added += 1,
                        _ => change.changed += 1,
                    }
                    self.bury(path, before, layer, false);
                    State::Leaf(version)
                }
            };
        }
        state
    }

    /// Takes note of what is no longer shown. What goes with its directory is counted as removed here.
    fn bury(&mut self, path: &[u8], state: State, by: usize, hidden_in_directory: bool) {
        match state {
            State::Nothing => {}
            State::Leaf(Version { layer, stat }) => {
                if hidden_in_directory && self.listing.changes.get(by).is_some() {
                    self.listing.changes[by].removed += 1;
                }
                let first = stat.st_nlink < 2 || self.counted.insert((layer, stat.st_ino));
                if kind_of(&stat) == SFlag::S_IFREG && first && stat.st_size > 0 {
                    let size = u64::try_from(stat.st_size).unwrap_or(0);
                    self.listing.hidden.push(Hidden { path: slashed(path), size, layer, by });
                }
            }
            State::Directory(parts) => {
                let layers = parts.iter().map(|part| part.layer).collect();
                self.pending.push(Pending { path: path.to_owned(), layers, hidden_by: Some(by) });
            }
        }
    }

    fn is_opaque(&self, layer: usize, path: &[u8]) -> bool {
        let folder = below(self.view.layer(layer), path, OFlag::O_RDONLY | OFlag::O_DIRECTORY);
        folder.is_ok_and(|folder| is_opaque(&folder).unwrap_or(false))
    }

    fn show(&mut self, path: &[u8], version: &Version) {
        let layer = self.view.layer(version.layer);
        let stat = &version.stat;
        let text = slashed(path);
        let kind = match kind_of(stat) {
            SFlag::S_IFREG => ItemKind::File,
            SFlag::S_IFDIR => ItemKind::Directory,
            SFlag::S_IFLNK => ItemKind::Link(link(layer, path).unwrap_or_default()),
            _ => ItemKind::Special,
        };
        let key = &text[1..];
        let capability = layer.capabilities.get(key).cloned().or_else(|| {
            // A store says beside the layer what its files ask for; a plain folder has only the files.
            let asks = self.view.plain && kind == ItemKind::File && stat.st_mode & 0o111 != 0;
            let file = asks.then(|| below(layer, path, OFlag::O_PATH).ok()).flatten()?;
            xattr::get(file.as_fd(), CAPABILITY).ok().flatten()
        });
        self.listing.items.push(Item {
            raw: std::str::from_utf8(path).is_err().then(|| [b"/", path].concat().into()),
            layer: version.layer,
            mode: layer.set_ids.get(key).copied().unwrap_or(stat.st_mode) & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            inode: stat.st_ino,
            #[allow(clippy::useless_conversion, reason = "it is narrower on some machines")]
            names: stat.st_nlink.into(),
            capability,
            kind,
            path: text,
        });
    }
}

fn kind_of(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

fn slashed(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}

/// Opens a path of a layer that has no links on the way.
fn below(layer: &Layer, path: &[u8], flags: OFlag) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let path = if path.is_empty() { b"." } else { path };
    let how = OpenHow::new().flags(flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).resolve(resolve);
    loop {
        match openat2(&layer.tree, path, how) {
            // The kernel could not prove that a rename elsewhere did not move the walk; then it asks again.
            Err(Errno::EAGAIN) => {}
            other => return other,
        }
    }
}

fn link(layer: &Layer, path: &[u8]) -> Option<String> {
    let link = below(layer, path, OFlag::O_PATH).ok()?;
    Some(readlinkat(&link, "").ok()?.to_string_lossy().into_owned())
}
