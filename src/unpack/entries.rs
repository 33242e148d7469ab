//! The entries of a layer's tar, with everything the formats can say about them.
//!
//! `tar::Archive` keeps headers of any length in memory, cannot read every extended header (see `pax`), and skips data after
//! links, which other readers take for the next header. So entries are walked here; the `tar` crate reads the blocks.
//!
//! Source: POSIX.1-2017, `pax`; GNU tar manual, "Basic Tar Format" and "Storing Sparse Files".

use std::io::BufRead;

use tar::{EntryType, Header};

use super::error::shown;
use super::pax::{self, Pax};
use super::sparse::{self, Segments};
use super::{Budget, UnpackError};

/// What the headers of one entry may take.
const HEADERS_MAX: u64 = 1 << 20;
const BLOCK: u64 = 512;

/// One entry.
#[derive(Debug)]
pub(super) struct Entry {
    /// Below the root, without `.` and empty parts; empty for the root itself.
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
    /// Permission, set-id and sticky bits.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds and nanoseconds since 1970.
    pub(super) mtime: (i64, i64),
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What an entry is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file of that many bytes; the segments are where its data goes when it has holes.
    File { size: u64, segments: Option<Segments> },
    /// A folder.
    Dir,
    /// A symbolic link, with its text.
    Symlink(Vec<u8>),
    /// Another name for what lies at that path.
    Link(Vec<u8>),
    /// A device node.
    Device { block: bool, major: u32, minor: u32 },
    /// A named pipe.
    Fifo,
}

/// Walks a tar.
pub(super) struct Entries<'a, R> {
    input: R,
    budget: &'a Budget,
    /// Data of the present entry that was not read yet, and what fills its last block.
    left: u64,
    padding: u64,
}

#[derive(Default)]
struct Before {
    pax: Option<Pax>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl<'a, R: BufRead> Entries<'a, R> {
    pub(super) fn new(input: R, budget: &'a Budget) -> Self {
        Entries { input, budget, left: 0, padding: 0 }
    }

    /// The next entry; nothing at the end of the archive.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, UnpackError> {
        let mut before = Before::default();
        let mut spent = 0;
        loop {
            self.skip()?;
            let Some(header) = self.header()? else { return Ok(None) };
            let kind = header.entry_type();
            let size = field(&header.as_old().size, "size")?;
            let extends = matches!(
                kind,
                EntryType::XHeader | EntryType::XGlobalHeader | EntryType::GNULongName | EntryType::GNULongLink
            );
            if !extends {
                self.budget.entry()?;
                return self.entry(&header, kind, size, before).map(Some);
            }
            spent += size.saturating_add(BLOCK);
            if spent > HEADERS_MAX {
                return Err(UnpackError::Format("the headers of one entry are larger than 1 MiB".into()));
            }
            self.start(size);
            let bytes = self.data()?;
            match kind {
                EntryType::XHeader => before.pax = Some(pax::parse(&bytes).map_err(UnpackError::Format)?),
                EntryType::GNULongName => before.name = Some(until_nul(&bytes).to_owned()),
                EntryType::GNULongLink => before.link = Some(until_nul(&bytes).to_owned()),
                // Global headers are comments in practice (git archive); no engine applies them.
                _ => {}
            }
        }
    }

    /// The next bytes of the present entry's data; empty at its end.
    pub(super) fn chunk(&mut self) -> Result<&[u8], UnpackError> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let chunk = self.input.fill_buf().map_err(UnpackError::Read)?;
        if chunk.is_empty() {
            return Err(ends_early());
        }
        Ok(&chunk[..chunk.len().min(usize::try_from(self.left).unwrap_or(usize::MAX))])
    }

    /// Takes `amount` bytes of what [`Self::chunk`] gave.
    pub(super) fn consume(&mut self, amount: usize) {
        self.input.consume(amount);
        self.left -= amount as u64;
    }

    fn entry(&mut self, header: &Header, kind: EntryType, size: u64, before: Before) -> Result<Entry, UnpackError> {
        let mut pax = before.pax.unwrap_or_default();
        let named = |text: Option<Vec<u8>>, raw: Option<Vec<u8>>, plain: &[u8]| {
            text.or(raw).unwrap_or_else(|| plain.to_owned())
        };
        let name = named(before.name, pax.sparse.name.take().or(pax.path.take()), &header.path_bytes());
        let link = named(before.link, pax.linkpath.take(), &header.link_name_bytes().unwrap_or_default());
        let path = normal(&name, self.budget)?;
        let bad = |why: &str| UnpackError::Entry { path: shown(&name), why: why.to_owned() };
        if link.contains(&0) {
            return Err(bad("its link has a NUL in it"));
        }
        let size = pax.size.unwrap_or(size);
        let is_file = matches!(kind, EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse);
        // Before folders had a type of their own they had a slash.
        let is_dir = kind == EntryType::Directory || (is_file && name.ends_with(b"/"));
        // Only files have data, whatever the size field says.
        self.start(if is_file && !is_dir { size } else { 0 });
        let number = |field_bytes: &[u8], what| field(field_bytes, what);
        let old = header.as_old();
        let kind = match kind {
            _ if is_dir => Kind::Dir,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => self.file(header, kind, &pax)?,
            EntryType::Symlink if link.is_empty() => return Err(bad("its link is empty")),
            EntryType::Symlink => Kind::Symlink(link),
            EntryType::Link => Kind::Link(normal(&link, self.budget)?),
            EntryType::Fifo => Kind::Fifo,
            EntryType::Char | EntryType::Block => {
                let number = |part: std::io::Result<Option<u32>>| {
                    part.ok().flatten().ok_or_else(|| bad("its device number is not a number"))
                };
                let (major, minor) = (number(header.device_major())?, number(header.device_minor())?);
                Kind::Device { block: kind == EntryType::Block, major, minor }
            }
            other => {
                return Err(bad(&format!("its type `{}` is unknown", char::from(other.as_byte()).escape_default())));
            }
        };
        if let Kind::File { size, .. } = kind {
            self.budget.file(size)?;
        }
        let id = |said: Option<u64>, field_bytes: &[u8], what| {
            let id = said.map_or_else(|| number(field_bytes, what), Ok)?;
            // The highest id means "leave it as it is" to the kernel.
            u32::try_from(id).ok().filter(|id| *id != u32::MAX).ok_or_else(|| bad(&format!("{id} is no {what}")))
        };
        let mtime = match pax.mtime {
            Some(mtime) => mtime,
            // A negative number in base 256 arrives with its high bits set.
            None => (number(&old.mtime, "mtime")?.cast_signed(), 0),
        };
        Ok(Entry {
            path,
            kind,
            mode: u32::try_from(number(&old.mode, "mode")? & 0o7777).unwrap_or_default(),
            uid: id(pax.uid, &old.uid, "uid")?,
            gid: id(pax.gid, &old.gid, "gid")?,
            mtime,
            xattrs: pax.xattrs,
        })
    }

    /// A file, which may have holes in one of four notations.
    fn file(&mut self, header: &Header, kind: EntryType, pax: &Pax) -> Result<Kind, UnpackError> {
        let (size, segments) = if kind == EntryType::GNUSparse {
            let gnu =
                header.as_gnu().ok_or_else(|| UnpackError::Format("a sparse file without a GNU header".into()))?;
            let mut segments = sparse::of_blocks(gnu.sparse.iter())?;
            let mut more = gnu.is_extended();
            while more {
                let mut block = tar::GnuExtSparseHeader::new();
                self.input.read_exact(block.as_mut_bytes()).map_err(|_| ends_early())?;
                segments.extend(sparse::of_blocks(block.sparse.iter())?);
                sparse::bounded(&segments)?;
                more = block.is_extended();
            }
            (field(&gnu.realsize, "sparse size")?, segments)
        } else if pax.sparse.major == Some(1) {
            let real =
                pax.sparse.real_size.ok_or_else(|| UnpackError::Format("a sparse file without a size".into()))?;
            (real, sparse::of_data(self)?)
        } else if !pax.sparse.map.is_empty() || pax.sparse.real_size.is_some() {
            let real =
                pax.sparse.real_size.ok_or_else(|| UnpackError::Format("a sparse file without a size".into()))?;
            (real, sparse::of_numbers(&pax.sparse.map)?)
        } else {
            return Ok(Kind::File { size: self.left, segments: None });
        };
        sparse::check(&segments, size, self.left)?;
        Ok(Kind::File { size, segments: Some(segments) })
    }

    fn start(&mut self, size: u64) {
        self.left = size;
        self.padding = (BLOCK - size % BLOCK) % BLOCK;
    }

    /// The whole data of a small entry.
    fn data(&mut self) -> Result<Vec<u8>, UnpackError> {
        let mut bytes = Vec::new();
        loop {
            let chunk = self.chunk()?;
            let taken = chunk.len();
            bytes.extend_from_slice(chunk);
            if taken == 0 {
                return Ok(bytes);
            }
            self.consume(taken);
        }
    }

    /// Passes over what is left of the present entry.
    fn skip(&mut self) -> Result<(), UnpackError> {
        loop {
            match self.chunk()?.len() {
                0 => break,
                taken => self.consume(taken),
            }
        }
        // Some writers leave the archive without its end, the last block's filling included.
        while self.padding > 0 {
            let there = self.input.fill_buf().map_err(UnpackError::Read)?.len() as u64;
            if there == 0 {
                break;
            }
            let taken = there.min(self.padding);
            self.input.consume(usize::try_from(taken).unwrap_or(usize::MAX));
            self.padding -= taken;
        }
        Ok(())
    }

    /// The next header block; nothing at the end.
    fn header(&mut self) -> Result<Option<Header>, UnpackError> {
        if self.input.fill_buf().map_err(UnpackError::Read)?.is_empty() {
            return Ok(None);
        }
        let mut header = Header::new_old();
        self.input.read_exact(header.as_mut_bytes()).map_err(|_| ends_early())?;
        let bytes = header.as_bytes();
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let said = field(&header.as_old().cksum, "checksum")?;
        let sum = |value: fn(u8) -> i64| -> i64 {
            let blank = |at: usize| (148..156).contains(&at);
            bytes.iter().enumerate().map(|(at, byte)| if blank(at) { 32 } else { value(*byte) }).sum()
        };
        // Old writers added signed characters.
        if ![sum(i64::from), sum(|byte| i64::from(byte.cast_signed()))].contains(&said.cast_signed()) {
            return Err(UnpackError::Format("a header's checksum is wrong".into()));
        }
        Ok(Some(header))
    }
}

/// A path below the root: `/`, `./` and doubled slashes mean nothing, `..` is refused.
fn normal(name: &[u8], budget: &Budget) -> Result<Vec<u8>, UnpackError> {
    let bad = |why: &str| UnpackError::Entry { path: shown(&name[..name.len().min(200)]), why: why.to_owned() };
    if name.contains(&0) {
        return Err(bad("its name has a NUL in it"));
    }
    let parts: Vec<&[u8]> = name.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    if parts.contains(&&b".."[..]) {
        return Err(bad("its path has `..` in it"));
    }
    let path = parts.join(&b'/');
    budget.path(&path)?;
    Ok(path)
}

/// A number of a header: octal digits, or base 256 when the first bit is set. Nothing is zero.
fn field(bytes: &[u8], what: &str) -> Result<u64, UnpackError> {
    let bad = || UnpackError::Format(format!("a header's {what} is not a number"));
    if let [first, rest @ ..] = bytes
        && first & 0x80 != 0
    {
        let negative = first & 0x40 != 0;
        let start = if negative { u64::MAX } else { u64::from(first & 0x3f) };
        let mut value = start;
        for byte in rest {
            if !negative && value >> 56 != 0 {
                return Err(bad());
            }
            value = value << 8 | u64::from(*byte);
        }
        return if negative && what != "mtime" { Err(bad()) } else { Ok(value) };
    }
    let text = until_nul(bytes).trim_ascii();
    let digit = |sum: u64, byte: &u8| match byte {
        b'0'..=b'7' => sum.checked_mul(8)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    };
    text.iter().try_fold(0, digit).ok_or_else(bad)
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn ends_early() -> UnpackError {
    UnpackError::Format("the archive ends within an entry".into())
}
