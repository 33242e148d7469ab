//! All names of an image at once, for questions about the whole of it.

use std::collections::HashMap;
use std::io;

use super::tree::{Entry, EntryKind, Found, ReadSeek, Tree};

/// As many symbolic links as the kernel follows (`path_resolution(7)`).
const MOST_LINKS: usize = 40;

/// One name of the merged tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// From the image's root, with a leading slash; what is not UTF-8 in it is replaced.
    pub path: String,
    /// The same in bytes, where it is not UTF-8.
    pub raw: Option<Box<[u8]>>,
    /// The layer that has it: the base is 0.
    pub layer: usize,
    /// What it is.
    pub kind: ItemKind,
    /// Permission bits, with set-id and sticky, as the image says.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Equal for names of one file within a layer.
    pub inode: u64,
    /// How many names the file has in its layer.
    pub names: u64,
    /// The `security.capability` xattr, as the image says.
    pub capability: Option<Vec<u8>>,
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, and where it points.
    Link(String),
    /// A device, fifo or socket.
    Special,
}

impl Item {
    /// The last part of the path.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Whether it is a regular file that somebody may execute.
    pub fn is_executable(&self) -> bool {
        self.kind == ItemKind::File && self.mode & 0o111 != 0
    }
}

/// What opens the files of a listing. Several threads may.
pub trait Reader: Sync {
    /// Opens a regular file.
    ///
    /// # Errors
    ///
    /// Those of open(2).
    fn open(&self, item: &Item) -> io::Result<Box<dyn ReadSeek>>;
}

/// A whole image: every name, and a way to read each file.
pub struct Contents<'a> {
    /// Sorted by path.
    pub items: &'a [Item],
    reader: &'a dyn Reader,
    index: HashMap<&'a str, usize>,
}

impl<'a> Contents<'a> {
    /// Takes a listing.
    pub fn new(items: &'a [Item], reader: &'a dyn Reader) -> Self {
        let index = items.iter().enumerate().map(|(at, item)| (item.path.as_str(), at)).collect();
        Contents { items, reader, index }
    }

    /// What has exactly this path, links in it not followed.
    pub fn at(&self, path: &str) -> Option<&'a Item> {
        self.index.get(path).map(|at| &self.items[*at])
    }

    /// What `path` leads to: links are followed inside of the image.
    pub fn resolve(&self, path: &str) -> Option<&'a Item> {
        let mut here = String::new();
        let mut rest: Vec<String> = parts(path);
        let mut links = 0;
        let mut last = None;
        while let Some(part) = rest.pop() {
            if part == ".." {
                here.truncate(here.rfind('/').unwrap_or(0));
                last = None;
                continue;
            }
            let before = here.len();
            here.push('/');
            here.push_str(&part);
            let item = self.at(&here)?;
            match &item.kind {
                ItemKind::Link(target) => {
                    links += 1;
                    if links > MOST_LINKS {
                        return None;
                    }
                    here.truncate(if target.starts_with('/') { 0 } else { before });
                    rest.extend(parts(target));
                    last = None;
                }
                ItemKind::Directory => last = Some(item),
                _ if rest.is_empty() => return Some(item),
                _ => return None,
            }
        }
        last.or_else(|| self.at(&here))
    }

    /// Opens a regular file.
    ///
    /// # Errors
    ///
    /// Those of open(2).
    pub fn open(&self, item: &Item) -> io::Result<Box<dyn ReadSeek>> {
        self.reader.open(item)
    }

    /// A whole file of at most `most` bytes; nothing when it cannot be read or is larger.
    pub fn read(&self, item: &Item, most: u64) -> Option<Vec<u8>> {
        use std::io::Read as _;
        if item.kind != ItemKind::File || item.size > most {
            return None;
        }
        let mut bytes = Vec::with_capacity(usize::try_from(item.size).ok()?);
        self.open(item).ok()?.take(most).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// The same as text.
    pub fn text(&self, path: &str, most: u64) -> Option<String> {
        Some(String::from_utf8_lossy(&self.read(self.resolve(path)?, most)?).into_owned())
    }

    /// Everything below a directory, which ends without a slash.
    pub fn below(&self, directory: &str) -> &'a [Item] {
        let prefix = format!("{directory}/");
        let start = self.items.partition_point(|item| item.path.as_str() < prefix.as_str());
        let count = self.items[start..].iter().take_while(|item| item.path.starts_with(&prefix)).count();
        &self.items[start..start + count]
    }
}

impl Tree for Contents<'_> {
    fn find(&self, path: &str) -> io::Result<Found> {
        let item = self.resolve(path).ok_or(io::ErrorKind::NotFound)?;
        let kind = match item.kind {
            ItemKind::File => EntryKind::File,
            ItemKind::Directory => EntryKind::Directory,
            ItemKind::Link(_) | ItemKind::Special => EntryKind::Special,
        };
        let Item { mode, uid, gid, size, .. } = *item;
        let entry = Entry { kind, mode, uid, gid, size, capability: item.capability.clone() };
        Ok(Found { path: item.path.clone(), entry, searched: Vec::new() })
    }

    fn open(&self, found: &Found) -> io::Result<Box<dyn ReadSeek>> {
        self.reader.open(self.at(&found.path).ok_or(io::ErrorKind::NotFound)?)
    }
}

/// In reverse, the next one last.
fn parts(path: &str) -> Vec<String> {
    path.split('/').rev().filter(|part| !part.is_empty() && *part != ".").map(str::to_owned).collect()
}
