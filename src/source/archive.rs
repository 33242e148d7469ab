//! A tar file whose entries are read in place.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use tar::EntryType;

use super::SourceError;
use super::holder::Part;

/// More entries than any image archive has: 127 layers of 3 entries each, and their documents.
const ENTRIES_MAX: usize = 100_000;
/// What the headers of one entry may take; the tar reader keeps long names in memory.
const HEADERS_MAX: u64 = 1 << 20;
/// Links to links.
const HOPS_MAX: usize = 8;

/// The entries of a tar file by name.
pub(super) struct Archive {
    file: Arc<File>,
    entries: HashMap<String, Entry>,
}

enum Entry {
    File { offset: u64, size: u64 },
    Link(String),
}

impl Archive {
    /// Walks the archive once; file contents are skipped, not read.
    pub(super) fn of(path: &Path, file: File) -> Result<Self, SourceError> {
        let read = |source| SourceError::Read { path: path.to_owned(), source };
        let not = |why: &str| SourceError::NotAnImage { path: path.to_owned(), why: why.to_owned() };
        let mut magic = [0; 6];
        let got = file.read_at(&mut magic, 0).map_err(read)?;
        let compression = match &magic[..got] {
            [] => return Err(not("the file is empty")),
            [0x1f, 0x8b, ..] => Some("gzip"),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("zstd"),
            [0xfd, b'7', b'z', b'X', b'Z', 0] => Some("xz"),
            _ => None,
        };
        if let Some(name) = compression {
            let why = format!(
                "the archive as a whole is {name}-compressed\n  hint: {name} -dc {} > image.tar; blobs are read in place",
                path.display()
            );
            return Err(not(&why));
        }
        let entries = index(&file).map_err(|error| {
            // What follows is the block that was taken for a header.
            let said = error.to_string();
            not(&format!("not a whole tar archive ({})", said.split(": ").next().unwrap_or(&said)))
        })?;
        Ok(Archive { file: Arc::new(file), entries })
    }

    /// Where the file `name` lies; links inside the archive are followed.
    pub(super) fn find(&self, name: &str) -> Option<Part> {
        let mut name = normal("", name)?;
        for _ in 0..HOPS_MAX {
            match self.entries.get(&name)? {
                Entry::File { offset, size } => {
                    return Some(Part::File { file: Arc::clone(&self.file), offset: *offset, size: *size });
                }
                Entry::Link(target) => name.clone_from(target),
            }
        }
        None
    }
}

fn index(file: &File) -> io::Result<HashMap<String, Entry>> {
    let length = file.metadata()?.len();
    let allowance = Rc::new(Cell::new(HEADERS_MAX));
    let mut archive = tar::Archive::new(Leash { inner: file, allowance: Rc::clone(&allowance) });
    let mut entries = HashMap::new();
    for (number, entry) in archive.entries_with_seek()?.enumerate() {
        allowance.set(HEADERS_MAX);
        let entry = entry?;
        if number >= ENTRIES_MAX {
            return Err(io::Error::other("more than 100,000 entries"));
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let Some(name) = normal("", &text(&entry.path_bytes())) else { continue };
        let target = entry.link_name_bytes().map(|bytes| text(&bytes));
        let found = match (entry.header().entry_type(), target) {
            (EntryType::Regular | EntryType::Continuous, _) => {
                let (offset, size) = (entry.raw_file_position(), entry.size());
                if offset.checked_add(size).is_none_or(|end| end > length) {
                    return Err(io::Error::other(format!("it ends within `{name}`")));
                }
                Some(Entry::File { offset, size })
            }
            (EntryType::Symlink, Some(target)) => {
                let dir = name.rsplit_once('/').map_or("", |(dir, _)| dir);
                normal(dir, &target).map(Entry::Link)
            }
            (EntryType::Link, Some(target)) => normal("", &target).map(Entry::Link),
            _ => None,
        };
        entries.extend(found.map(|found| (name, found)));
    }
    Ok(entries)
}

/// A name inside the archive without `.`, `..` and empty parts; nothing when it leads outside.
fn normal(dir: &str, name: &str) -> Option<String> {
    let mut parts: Vec<&str> = dir.split('/').filter(|part| !part.is_empty()).collect();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Reads no more than an allowance.
struct Leash<R> {
    inner: R,
    allowance: Rc<Cell<u64>>,
}

impl<R: Read> Read for Leash<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buf)?;
        let left = self.allowance.get().checked_sub(got as u64);
        self.allowance.set(left.ok_or_else(|| io::Error::other("an entry's headers are larger than 1 MiB"))?);
        Ok(got)
    }
}

impl<R: Seek> Seek for Leash<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use super::normal;

    #[test]
    fn links_stay_inside_the_archive() {
        assert_eq!(normal("abc", "../layer.tar").as_deref(), Some("layer.tar"));
        assert_eq!(normal("", "./blobs//sha256/x").as_deref(), Some("blobs/sha256/x"));
        assert_eq!(normal("abc", "../../etc/passwd"), None);
    }
}
