//! One path in several layers, as overlayfs shows it.
//!
//! Source: Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories".

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, readlinkat};
use nix::sys::stat::{FileStat, SFlag, fstat};

use crate::unpack::{below, is_opaque, is_whiteout};

/// Links on the way, as the kernel bounds them.
const LINKS_MAX: usize = 40;

/// What a path leads to.
pub(super) struct Found {
    /// The layer that shows it, counted from the top.
    pub(super) layer: usize,
    /// Its true path in that layer.
    pub(super) path: Vec<u8>,
    /// Its status there.
    pub(super) stat: FileStat,
}

/// Looks `path` up in `trees`, the topmost first. Links are followed as if the image's root were `/`, or, without `follow`,
/// nothing is found behind them.
pub(super) fn find(trees: &[BorrowedFd<'_>], path: &[u8], follow: bool) -> Result<Option<Found>, Errno> {
    let mut at: Vec<u8> = Vec::new();
    let mut todo: VecDeque<Vec<u8>> = parts(path).map(<[u8]>::to_vec).collect();
    // The layers that have a part in the folder at `at`.
    let mut showing: Vec<usize> = (0..trees.len()).collect();
    let mut links = 0;
    let mut last = None;
    while let Some(part) = todo.pop_front() {
        let next = if at.is_empty() { part } else { [&at[..], b"/", &part].concat() };
        let Some((found, fd, folders)) = step(trees, &showing, &next)? else { return Ok(None) };
        if kind(&found.stat) == SFlag::S_IFLNK {
            links += 1;
            if !follow || links > LINKS_MAX {
                return Ok(None);
            }
            let target = std::os::unix::ffi::OsStringExt::into_vec(readlinkat(&fd, c"")?);
            // Begun again from the root: which layers show a folder is known only along the way.
            let mut whole: Vec<Vec<u8>> =
                if target.starts_with(b"/") { Vec::new() } else { parts(&at).map(<[u8]>::to_vec).collect() };
            whole.extend(parts(&target).map(<[u8]>::to_vec));
            whole.extend(todo);
            todo = resolved(whole);
            (at, showing) = (Vec::new(), (0..trees.len()).collect());
            continue;
        }
        if kind(&found.stat) != SFlag::S_IFDIR && !todo.is_empty() {
            return Ok(None);
        }
        (at, showing) = (next, folders);
        last = Some(found);
    }
    Ok(last)
}

type Step = (Found, OwnedFd, Vec<usize>);

/// One path without links on its way: what shows, and, for a folder, the layers that have a part in it.
fn step(trees: &[BorrowedFd<'_>], showing: &[usize], path: &[u8]) -> Result<Option<Step>, Errno> {
    let mut first: Option<Step> = None;
    for layer in showing {
        let fd = match below(trees[*layer], path, OFlag::O_PATH | OFlag::O_NOFOLLOW) {
            Ok(fd) => fd,
            Err(Errno::ENOENT | Errno::ENOTDIR) => continue,
            Err(errno) => return Err(errno),
        };
        let stat = fstat(&fd)?;
        if is_whiteout(&stat) {
            break;
        }
        let is_dir = kind(&stat) == SFlag::S_IFDIR;
        let ends = !is_dir
            || is_opaque(fd.as_fd()).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?;
        match &mut first {
            None => {
                let found = Found { layer: *layer, path: path.to_owned(), stat };
                first = Some((found, fd, if is_dir { vec![*layer] } else { Vec::new() }));
            }
            Some((_, _, folders)) if is_dir => folders.push(*layer),
            // A file below a folder is hidden by it.
            Some(_) => break,
        }
        if ends {
            break;
        }
    }
    Ok(first)
}

/// `..` taken out. In a link's text it undoes the part before it, even if that is a link itself; nobody writes that.
fn resolved(parts: Vec<Vec<u8>>) -> VecDeque<Vec<u8>> {
    let mut out = VecDeque::new();
    for part in parts {
        if part == b".." {
            out.pop_back();
        } else {
            out.push_back(part);
        }
    }
    out
}

fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."))
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}
