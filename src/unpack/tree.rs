//! A tree of files below a folder's descriptor, and the only way into it.
//!
//! Every path is walked below the root with `openat2(RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)`. A
//! symbolic link on the way is read and walked here, as if the root were `/`; so no entry leads outside, whatever links say,
//! and the folder that was reached is known by its true path.
//!
//! Source: openat2(2), Linux 5.6.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, futimens, mkdirat};
use nix::sys::time::{TimeSpec, TimeValLike};

use super::error::refused;
use super::{Budget, UnpackError};

/// Links on the way to one folder, as the kernel bounds them.
const LINKS_MAX: usize = 40;

/// A tree that is being written.
pub(super) struct Tree<'a> {
    root: OwnedFd,
    budget: &'a Budget,
    parent: Option<Parent>,
    /// Folders that their image's mode would close to us before they are full: true path and mode.
    held: BTreeMap<Vec<u8>, u32>,
    /// Folders that no entry made.
    implied: BTreeSet<Vec<u8>>,
    /// Whether a 0:0 character device in it is a whiteout.
    whiteouts: bool,
}

/// The folder that entries are being written to.
pub(super) struct Parent {
    /// As the entries name it, and as it truly is.
    named: Vec<u8>,
    pub(super) path: Vec<u8>,
    pub(super) fd: Rc<OwnedFd>,
    pub(super) inode: u64,
    mtime: TimeSpec,
}

impl<'a> Tree<'a> {
    /// A tree in `root`. With `whiteouts`, a 0:0 character device in it stands for what a lower layer has and this removes.
    pub(super) fn new(root: OwnedFd, budget: &'a Budget, whiteouts: bool) -> Self {
        Tree { root, budget, parent: None, held: BTreeMap::new(), implied: BTreeSet::new(), whiteouts }
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The folders that no entry made, by their true paths.
    pub(super) fn implied(&self) -> &BTreeSet<Vec<u8>> {
        &self.implied
    }

    /// An entry has spoken for the folder at `path`.
    pub(super) fn spoken_for(&mut self, path: &[u8]) {
        self.implied.remove(path);
    }

    /// Opens the folder that `named` leads to, and makes what is missing of it. It stays open for the entries after.
    pub(super) fn enter(&mut self, named: &[u8]) -> Result<&Parent, UnpackError> {
        if self.parent.as_ref().is_none_or(|parent| parent.named != named) {
            self.leave()?;
            let (path, fd) = match self.open_dir(named) {
                Ok(fd) => (named.to_owned(), fd),
                Err(Errno::ENOENT | Errno::ELOOP | Errno::ENOTDIR) => {
                    let path = self.walk(named, true)?;
                    let fd = self.open_dir(&path).map_err(refused("open folder", &path))?;
                    (path, fd)
                }
                Err(errno) => return Err(refused("open folder", named)(errno)),
            };
            let stat = fstat(&fd).map_err(refused("stat", &path))?;
            let mtime = TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec);
            self.parent = Some(Parent { named: named.to_owned(), path, fd: Rc::new(fd), inode: stat.st_ino, mtime });
        }
        self.parent.as_ref().ok_or_else(|| UnpackError::Format("no folder is open".into()))
    }

    /// Closes the folder; what was written to it does not show in its time.
    pub(super) fn leave(&mut self) -> Result<(), UnpackError> {
        let Some(parent) = self.parent.take() else { return Ok(()) };
        futimens(parent.fd.as_fd(), &TimeSpec::UTIME_OMIT, &parent.mtime)
            .map_err(refused("set the time of", &parent.path))
    }

    /// Keeps a folder open to us until [`Tree::finish`] gives it its mode.
    pub(super) fn hold(&mut self, path: &[u8], mode: u32) {
        self.held.insert(path.to_owned(), mode);
    }

    /// The folder at `path` has its mode, or is gone.
    pub(super) fn release(&mut self, path: &[u8]) {
        self.held.remove(path);
    }

    /// Closes the last folder and gives held ones their modes, the deepest first.
    pub(super) fn finish(&mut self) -> Result<(), UnpackError> {
        self.leave()?;
        for (path, mode) in std::mem::take(&mut self.held).into_iter().rev() {
            match self.open_dir(&path) {
                Ok(fd) => fchmod(&fd, Mode::from_bits_truncate(mode)).map_err(refused("chmod", &path))?,
                // It was replaced or removed by a later layer.
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {}
                Err(errno) => return Err(refused("open folder", &path)(errno)),
            }
        }
        Ok(())
    }

    /// Opens the folder that holds `path`, without making anything; the last part is not looked at.
    pub(super) fn existing_parent(&self, dir: &[u8]) -> Result<Rc<OwnedFd>, UnpackError> {
        if let Some(parent) = self.parent.as_ref().filter(|parent| parent.named == dir) {
            return Ok(Rc::clone(&parent.fd));
        }
        let open = |path: &[u8]| self.open_dir(path);
        open(dir)
            .or_else(|errno| match errno {
                Errno::ELOOP | Errno::ENOTDIR => {
                    let path = self.resolve(dir).ok_or(Errno::ENOENT)?;
                    open(&path)
                }
                errno => Err(errno),
            })
            .map(Rc::new)
            .map_err(refused("open folder", dir))
    }

    fn resolve(&self, dir: &[u8]) -> Option<Vec<u8>> {
        self.steps(dir, |_, _, _| Ok(false)).ok().flatten()
    }

    /// Follows `named` from the root and gives the true path; makes missing folders.
    fn walk(&mut self, named: &[u8], make: bool) -> Result<Vec<u8>, UnpackError> {
        let mut new = Vec::new();
        let whiteouts = self.whiteouts;
        let found = self.steps(named, |tree, path, blocked| {
            if let Some(stat) = blocked {
                if !(whiteouts && is_whiteout(stat)) {
                    return Ok(false);
                }
                remove_whiteout(tree, path)?;
            }
            if make {
                make_dir(tree, path)?;
                new.push((path.to_owned(), blocked.is_some()));
            }
            Ok(make)
        })?;
        for (path, hides) in new {
            if hides {
                let fd = self.open_dir(&path).map_err(refused("open folder", &path))?;
                super::place::make_opaque(fd.as_fd(), &path)?;
            }
            self.implied.insert(path);
        }
        found.ok_or_else(|| UnpackError::Entry {
            path: super::error::shown(named),
            why: "what it lies in is not a folder, or its links lead in circles".into(),
        })
    }

    /// Walks part by part. `missing` is asked when a part is absent, or is no folder (with its status); it says whether it
    /// is there now.
    fn steps(
        &self,
        named: &[u8],
        mut missing: impl FnMut(&Tree<'_>, &[u8], Option<&FileStat>) -> Result<bool, UnpackError>,
    ) -> Result<Option<Vec<u8>>, UnpackError> {
        let mut at: Vec<u8> = Vec::new();
        let mut todo: VecDeque<Vec<u8>> = parts(named).map(<[u8]>::to_vec).collect();
        let mut links = 0;
        while let Some(part) = todo.pop_front() {
            if part == b".." {
                at.truncate(at.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
                continue;
            }
            let next = join(&at, &part);
            self.budget.path(&next)?;
            let fd = match self.open_path(&next) {
                Ok(fd) => fd,
                Err(Errno::ENOENT) => {
                    if !missing(self, &next, None)? {
                        return Ok(None);
                    }
                    at = next;
                    continue;
                }
                Err(errno) => return Err(refused("open", &next)(errno)),
            };
            let stat = fstat(&fd).map_err(refused("stat", &next))?;
            match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
                SFlag::S_IFDIR => at = next,
                SFlag::S_IFLNK => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Ok(None);
                    }
                    let target = readlinkat(&fd, c"").map_err(refused("read link", &next))?;
                    let target = std::os::unix::ffi::OsStringExt::into_vec(target);
                    if target.starts_with(b"/") {
                        at.clear();
                    }
                    for part in parts(&target).rev() {
                        todo.push_front(part.to_vec());
                    }
                }
                _ if missing(self, &next, Some(&stat))? => at = next,
                _ => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    fn open_dir(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        below(self.root(), path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)
    }

    /// The thing itself, a link too.
    fn open_path(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        below(self.root(), path, OFlag::O_PATH | OFlag::O_NOFOLLOW)
    }
}

/// Opens `path` below `root`; no link on the way is followed.
pub(crate) fn below(root: BorrowedFd<'_>, path: &[u8], flags: OFlag) -> Result<OwnedFd, Errno> {
    let mut resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    // With O_PATH | O_NOFOLLOW the last part may be a link and is opened itself; those before it are known to be folders.
    if !flags.contains(OFlag::O_PATH) {
        resolve |= ResolveFlag::RESOLVE_NO_SYMLINKS;
    }
    let path = if path.is_empty() { b"." } else { path };
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
    loop {
        match openat2(root, path, how) {
            // The kernel may not be able to prove that a rename elsewhere did not move the walk outside; then it asks again.
            Err(Errno::EAGAIN) => {}
            other => return other,
        }
    }
}

/// A 0:0 character device: overlayfs' mark for "removed".
pub(crate) fn is_whiteout(stat: &FileStat) -> bool {
    stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFCHR.bits() && stat.st_rdev == 0
}

/// Folder and name of a path.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

/// A path with a name after it.
pub(super) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_owned() } else { [dir, b"/", name].concat() }
}

fn parts(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."))
}

/// A folder that no entry speaks of: 0755, from 1970, so that the same layer always gives the same tree.
fn make_dir(tree: &Tree<'_>, path: &[u8]) -> Result<(), UnpackError> {
    let (dir, name) = split(path);
    let parent = tree.open_dir(dir).map_err(refused("open folder", dir))?;
    let before = fstat(&parent).map_err(refused("stat", dir))?;
    mkdirat(&parent, name, Mode::S_IRWXU).map_err(refused("create folder", path))?;
    let made = super::place::open_own(parent.as_fd(), name).map_err(refused("open folder", path))?;
    fchmod(&made, Mode::from_bits_truncate(0o755)).map_err(refused("chmod", path))?;
    futimens(&made, &TimeSpec::UTIME_OMIT, &TimeSpec::seconds(0)).map_err(refused("set the time of", path))?;
    let mtime = TimeSpec::new(before.st_mtime, before.st_mtime_nsec);
    futimens(&parent, &TimeSpec::UTIME_OMIT, &mtime).map_err(refused("set the time of", dir))
}

fn remove_whiteout(tree: &Tree<'_>, path: &[u8]) -> Result<(), UnpackError> {
    let (dir, name) = split(path);
    let parent = tree.open_dir(dir).map_err(refused("open folder", dir))?;
    nix::unistd::unlinkat(&parent, name, nix::unistd::UnlinkatFlags::NoRemoveDir).map_err(refused("remove", path))
}
