//! How the caller gives access to an image's files.

use std::io::{self, Read, Seek};

/// The files of one image, as the app would see them.
pub trait Tree {
    /// Finds what `path` names. It is always taken from the image's root; symbolic links, the last one too, are followed inside of it.
    ///
    /// # Errors
    ///
    /// `NotFound` and `NotADirectory` as open(2) would; `FilesystemLoop` after 40 symbolic links.
    fn find(&self, path: &str) -> io::Result<Found>;

    /// Opens a regular file that [`Tree::find`] found.
    ///
    /// # Errors
    ///
    /// `PermissionDenied` where austere itself may not read the file: its owner took the right away.
    fn open(&self, found: &Found) -> io::Result<Box<dyn ReadSeek>>;
}

/// What an ELF file is read through.
pub trait ReadSeek: Read + Seek {}
impl<T: Read + Seek> ReadSeek for T {}

/// Something that a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The path without links, `.` and `..`.
    pub path: String,
    /// The thing itself.
    pub entry: Entry,
    /// Every directory that was searched on the way, in that order.
    pub searched: Vec<(String, Entry)>,
}

/// What stat(2) says of a thing, and its file capabilities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is; never a symbolic link.
    pub kind: EntryKind,
    /// Permission bits, with set-id and sticky.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// The `security.capability` xattr as stored.
    pub capability: Option<Vec<u8>>,
}

/// What can lie behind a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A device, fifo or socket.
    Special,
}
