//! Entries become files.
//!
//! The last part of a path is only ever named to calls that do not follow links and refuse what exists; what exists is removed
//! first. The order is: content, owner (which clears set-id bits and capabilities), attributes (which need a mode that lets us
//! write), mode, time.

use std::io::BufRead;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat, makedev, mkdirat, mknodat};
use nix::unistd::{linkat, symlinkat};

use super::added::Added;
use super::entries::{Entries, Entry, Kind};
use super::error::{refused, shown};
use super::facts::{DeviceKind, Facts, SpecialKind};
use super::record::Record;
use super::tree::{Tree, is_whiteout, join, split};
use super::{Budget, UnpackError, remove};
use crate::sys::xattr;

/// What overlayfs reads (mounted with `userxattr`) as "nothing of lower layers shows through this folder".
const OPAQUE: &std::ffi::CStr = c"user.overlay.opaque";

/// What a tree is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One layer for overlayfs: whiteouts are 0:0 devices.
    Overlay,
    /// All layers in one: whiteouts are carried out.
    Merged,
}

/// What this process can give files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    /// Everything: owners and devices are as the image says.
    All,
    /// Modes, but no owners and no devices.
    Modes,
    /// Neither; modes come later, from the record.
    Later,
}

/// Writes entries into a tree.
pub(super) struct Writer<'a> {
    pub(super) tree: Tree<'a>,
    form: Form,
    pub(super) rights: Rights,
    budget: &'a Budget,
    pub(super) facts: Facts,
    pub(super) record: Option<Record>,
    /// What this layer brought, when whiteouts must spare it.
    added: Option<Added>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(root: OwnedFd, form: Form, rights: Rights, budget: &'a Budget, record: Option<Record>) -> Self {
        let tree = Tree::new(root, budget, form == Form::Overlay);
        Writer { tree, form, rights, budget, facts: Facts::default(), record, added: None }
    }

    /// Writes one layer.
    pub(super) fn layer<R: BufRead>(&mut self, tar: &mut Entries<'_, R>, has_lower: bool) -> Result<(), UnpackError> {
        self.added = (self.form == Form::Merged && has_lower).then(Added::default);
        while let Some(entry) = tar.next()? {
            self.facts.entries += 1;
            self.entry(&entry, tar)?;
        }
        Ok(())
    }

    /// Gives folders their last attributes. The paths are folders that no entry spoke for.
    pub(super) fn finish(mut self) -> Result<(Facts, Vec<Vec<u8>>), UnpackError> {
        self.tree.finish()?;
        let implied: Vec<_> = self.tree.implied().iter().cloned().collect();
        if let Some(mut record) = self.record {
            for path in &implied {
                record.add(path, SFlag::S_IFDIR.bits() | 0o755, 0, 0)?;
            }
            record.finish()?;
        }
        Ok((self.facts, implied))
    }

    fn entry<R: BufRead>(&mut self, entry: &Entry, tar: &mut Entries<'_, R>) -> Result<(), UnpackError> {
        if entry.path.is_empty() {
            return self.root(entry);
        }
        let (dir, name) = split(&entry.path);
        if let Some(hidden) = name.strip_prefix(b".wh.") {
            return self.whiteout(&entry.path, dir, hidden);
        }
        // The target is looked for first: looking may not move the folder that is open.
        let target = match &entry.kind {
            Kind::Link(target) => Some(self.target(entry, target)?),
            _ => None,
        };
        let parent = self.tree.enter(dir)?;
        let path = join(&parent.path, name);
        self.budget.path(&path)?;
        if let Some(added) = &mut self.added {
            added.insert(parent.inode, name);
        }
        let parent = Rc::clone(&parent.fd);
        let parent = parent.as_fd();
        match (&entry.kind, target) {
            (Kind::Dir, _) => self.dir(entry, parent, name, &path),
            (Kind::File { size, segments }, _) => {
                self.facts.bytes += size;
                let fd = self.make("create", parent, name, &path, || create(parent, name))?;
                super::content::write(&fd, tar, *size, segments.as_ref(), &path)?;
                self.attributes(entry, fd.as_fd(), &path, SFlag::S_IFREG)
            }
            (Kind::Symlink(text), _) => {
                self.make("create link", parent, name, &path, || symlinkat(&text[..], parent, name))?;
                self.attributes_at(entry, parent, name, &path)
            }
            (Kind::Link(_), Some((target_dir, target_name, inode))) => {
                if status(parent, name).is_some_and(|stat| stat.st_ino == inode) {
                    return Ok(());
                }
                let link = || linkat(&target_dir, &target_name[..], parent, name, AtFlags::empty());
                self.make("create hard link", parent, name, &path, link)
            }
            (Kind::Link(_), None) => Ok(()),
            (Kind::Fifo, _) => {
                let fifo = || mknodat(parent, name, SFlag::S_IFIFO, Mode::S_IRUSR | Mode::S_IWUSR, 0);
                self.make("create fifo", parent, name, &path, fifo)?;
                self.attributes_at(entry, parent, name, &path)
            }
            (Kind::Device { block, major, minor }, _) => {
                self.clear(parent, name, &path)?;
                self.device(entry, parent, name, &path, (*block, *major, *minor))
            }
        }
    }

    fn root(&mut self, entry: &Entry) -> Result<(), UnpackError> {
        if entry.kind != Kind::Dir {
            return Err(UnpackError::Entry { path: "/".into(), why: "the root can only be a folder".into() });
        }
        self.tree.leave()?;
        self.facts.root = true;
        let fd = self.tree.root().try_clone_to_owned();
        let fd = fd.map_err(|source| UnpackError::Write { what: "open", path: "/".into(), source })?;
        self.attributes(entry, fd.as_fd(), b"", SFlag::S_IFDIR)
    }

    fn dir(&mut self, entry: &Entry, parent: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<(), UnpackError> {
        let (mut is_dir, mut was_there) = (false, false);
        match mkdirat(parent, name, Mode::S_IRWXU) {
            Err(Errno::EEXIST) => {
                was_there = true;
                is_dir = status(parent, name).is_some_and(|stat| kind(&stat) == SFlag::S_IFDIR);
                if !is_dir {
                    self.make("create folder", parent, name, path, || mkdirat(parent, name, Mode::S_IRWXU))?;
                }
            }
            made => made.map_err(refused("create folder", path))?,
        }
        let fd = open_own(parent, name).map_err(refused("open folder", path))?;
        if is_dir && self.form == Form::Merged {
            for name in xattr::list(fd.as_fd()).unwrap_or_default() {
                // Those that cannot be removed are the file system's own (labels, access lists of the parent).
                let _ = xattr::remove(fd.as_fd(), &name);
            }
        }
        if was_there && !is_dir && self.form == Form::Overlay {
            // What it replaces, a whiteout or a file, hid the lower layers here; so must the folder.
            make_opaque(fd.as_fd(), path)?;
        }
        self.tree.spoken_for(path);
        self.attributes(entry, fd.as_fd(), path, SFlag::S_IFDIR)
    }

    /// A device node where it may be made; elsewhere only its facts, and nothing of lower layers in its place.
    fn device(
        &mut self,
        entry: &Entry,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        (block, major, minor): (bool, u32, u32),
    ) -> Result<(), UnpackError> {
        let (flag, kind) = if block { (SFlag::S_IFBLK, DeviceKind::Block) } else { (SFlag::S_IFCHR, DeviceKind::Char) };
        let mut made = false;
        if self.rights == Rights::All {
            let device = makedev(major.into(), minor.into());
            match mknodat(parent, name, flag, Mode::S_IRUSR | Mode::S_IWUSR, device) {
                Ok(()) => made = true,
                Err(Errno::EPERM) => self.facts.note("devices-not-made", path, "device nodes cannot be made here"),
                Err(errno) => return Err(refused("create device", path)(errno)),
            }
        } else {
            self.facts.note("devices-not-made", path, "device nodes cannot be made without being root");
        }
        self.facts.special(path, SpecialKind::Device { kind, major, minor, made });
        if made {
            return self.attributes_at(entry, parent, name, path);
        }
        if self.form == Form::Overlay {
            whiteout(parent, name).map_err(refused("create whiteout", path))
        } else {
            Ok(())
        }
    }

    /// Where a hard link leads: the folder, the name and the inode there.
    fn target(&mut self, entry: &Entry, target: &[u8]) -> Result<(Rc<OwnedFd>, Vec<u8>, u64), UnpackError> {
        let why = |why: &str| UnpackError::Entry {
            path: shown(&entry.path),
            why: format!("it is a hard link to `{}`, which {why}", shown(target)),
        };
        let (dir, name) = split(target);
        let parent = self.tree.existing_parent(dir).map_err(|_| why("this layer does not have"))?;
        match status(parent.as_fd(), name) {
            Some(stat) if kind(&stat) == SFlag::S_IFDIR => Err(why("is a folder")),
            Some(stat) if !(self.form == Form::Overlay && is_whiteout(&stat)) => {
                Ok((parent, name.to_owned(), stat.st_ino))
            }
            _ => Err(why("this layer does not have")),
        }
    }

    /// `.wh.NAME` removes NAME of lower layers, `.wh..wh..opq` all that they have in this folder.
    fn whiteout(&mut self, full: &[u8], dir: &[u8], hidden: &[u8]) -> Result<(), UnpackError> {
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(UnpackError::Entry { path: shown(full), why: "it removes no name in its folder".into() });
        }
        let opaque = hidden == b".wh..opq";
        if !opaque && hidden.starts_with(b".wh.") {
            // aufs kept its own notes under such names.
            return Ok(());
        }
        if self.form == Form::Merged {
            // The folder that is open may be among what is removed.
            self.tree.leave()?;
            return match self.tree.existing_parent(dir) {
                Ok(parent) => remove::lower(parent.as_fd(), (!opaque).then_some(hidden), self.added.as_ref()),
                // There is nothing to remove.
                Err(_) => Ok(()),
            };
        }
        let parent = self.tree.enter(dir)?;
        if opaque {
            return make_opaque(parent.fd.as_fd(), dir);
        }
        match status(parent.fd.as_fd(), hidden) {
            // A folder of this layer stays, and hides what is below it.
            Some(stat) if kind(&stat) == SFlag::S_IFDIR => {
                let fd = open_own(parent.fd.as_fd(), hidden).map_err(refused("open folder", full))?;
                make_opaque(fd.as_fd(), full)
            }
            Some(_) => Ok(()),
            None => whiteout(parent.fd.as_fd(), hidden).map_err(refused("create whiteout", full)),
        }
    }

    /// Makes something with `call`, which refuses what exists; that is removed then.
    fn make<T>(
        &mut self,
        what: &'static str,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        call: impl Fn() -> Result<T, Errno>,
    ) -> Result<T, UnpackError> {
        match call() {
            Err(Errno::EEXIST) => {
                self.clear(parent, name, path)?;
                call().map_err(refused(what, path))
            }
            made => made.map_err(refused(what, path)),
        }
    }

    /// Makes room for an entry that is no folder.
    fn clear(&mut self, parent: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<(), UnpackError> {
        match remove::any(parent, name) {
            Ok(removed) => {
                if removed {
                    self.tree.release(path);
                    self.facts.forget(path);
                }
                Ok(())
            }
            Err(errno) => Err(refused("replace", path)(errno)),
        }
    }
}

/// Marks a folder of a layer so that nothing of lower layers shows through it.
pub(super) fn make_opaque(dir: BorrowedFd<'_>, path: &[u8]) -> Result<(), UnpackError> {
    let path = shown(path);
    xattr::set(dir, OPAQUE, b"y").map_err(|source| UnpackError::Write { what: "mark as opaque", path, source })
}

/// Whether a folder of a layer hides what lower layers have in it.
pub(crate) fn is_opaque(dir: BorrowedFd<'_>) -> std::io::Result<bool> {
    Ok(xattr::get(dir, OPAQUE)?.as_deref() == Some(b"y"))
}

fn whiteout(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    match mknodat(parent, name, SFlag::S_IFCHR, Mode::empty(), makedev(0, 0)) {
        // This layer has something of that name, which hides what is below just as well.
        Err(Errno::EEXIST) => Ok(()),
        other => other,
    }
}

/// Opens a folder that is ours, whatever the umask left of its mode.
pub(super) fn open_own(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match openat(parent, name, flags, Mode::empty()) {
        Err(Errno::EACCES) => {
            super::record::chmod(parent, name, 0o700)?;
            openat(parent, name, flags, Mode::empty())
        }
        other => other,
    }
}

fn create(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(parent, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)
}

pub(super) fn status(parent: BorrowedFd<'_>, name: &[u8]) -> Option<FileStat> {
    fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok()
}

pub(super) fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}
