//! Entries become files.
//!
//! The last part of a path is only ever named to calls that do not follow links and refuse what exists; what exists is removed
//! first. The order is: content, owner (which clears set-id bits and capabilities), attributes (which need a mode that lets us
//! write), mode, time.

use std::ffi::CString;
use std::io::BufRead;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{
    FileStat, Mode, SFlag, UtimensatFlags, fchmod, fstatat, futimens, makedev, mkdirat, mknodat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat, linkat, symlinkat};

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
    tree: Tree<'a>,
    form: Form,
    rights: Rights,
    budget: &'a Budget,
    pub(super) facts: Facts,
    record: Option<Record>,
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
        let parent = parent.fd.try_clone().map_err(|source| UnpackError::Write {
            what: "open folder",
            path: shown(dir),
            source,
        })?;
        let parent = parent.as_fd();
        match (&entry.kind, target) {
            (Kind::Dir, _) => self.dir(entry, parent, name, &path),
            (Kind::File { size, segments }, _) => {
                self.facts.bytes += size;
                self.clear(parent, name, &path)?;
                let fd = create(parent, name).map_err(refused("create", &path))?;
                super::content::write(&fd, tar, *size, segments.as_ref(), &path)?;
                self.attributes(entry, fd.as_fd(), &path, SFlag::S_IFREG)
            }
            (Kind::Symlink(text), _) => {
                self.clear(parent, name, &path)?;
                symlinkat(&text[..], parent, name).map_err(refused("create link", &path))?;
                self.attributes_at(entry, parent, name, &path)
            }
            (Kind::Link(_), Some((target_dir, target_name, inode))) => {
                if status(parent, name).is_some_and(|stat| stat.st_ino == inode) {
                    return Ok(());
                }
                self.clear(parent, name, &path)?;
                linkat(&target_dir, &target_name[..], parent, name, AtFlags::empty())
                    .map_err(refused("create hard link", &path))
            }
            (Kind::Link(_), None) => Ok(()),
            (Kind::Fifo, _) => {
                self.clear(parent, name, &path)?;
                mknodat(parent, name, SFlag::S_IFIFO, Mode::S_IRUSR | Mode::S_IWUSR, 0)
                    .map_err(refused("create fifo", &path))?;
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
        let before = status(parent, name);
        let is_dir = before.as_ref().is_some_and(|stat| kind(stat) == SFlag::S_IFDIR);
        if !is_dir {
            self.clear(parent, name, path)?;
            mkdirat(parent, name, Mode::S_IRWXU).map_err(refused("create folder", path))?;
        }
        let fd = open_own(parent, name).map_err(refused("open folder", path))?;
        if is_dir && self.form == Form::Merged {
            for name in xattr::list(fd.as_fd()).unwrap_or_default() {
                // Those that cannot be removed are the file system's own (labels, access lists of the parent).
                let _ = xattr::remove(fd.as_fd(), &name);
            }
        }
        if before.is_some() && !is_dir && self.form == Form::Overlay {
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
    fn target(&mut self, entry: &Entry, target: &[u8]) -> Result<(OwnedFd, Vec<u8>, u64), UnpackError> {
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

    /// Owner, mode, attributes and time of an open file or folder.
    fn attributes(&mut self, entry: &Entry, fd: BorrowedFd<'_>, path: &[u8], kind: SFlag) -> Result<(), UnpackError> {
        let is_dir = kind == SFlag::S_IFDIR;
        if !is_dir && entry.mode & 0o6000 != 0 {
            self.facts.special(path, SpecialKind::SetId { mode: entry.mode });
        }
        if let Some(record) = &mut self.record {
            record.add(path, kind.bits() | entry.mode, entry.uid, entry.gid)?;
        }
        if self.rights == Rights::All {
            let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            fchown(fd, Some(uid), Some(gid)).map_err(refused("chown", path))?;
        }
        self.xattrs(entry, path, |name, value| xattr::set(fd, name, value))?;
        if self.rights != Rights::Later {
            let held = is_dir && self.rights == Rights::Modes && entry.mode & 0o700 != 0o700;
            if held {
                self.tree.hold(path, entry.mode);
            } else if is_dir {
                self.tree.release(path);
            }
            let mode = if held { entry.mode | 0o700 } else { entry.mode };
            fchmod(fd, Mode::from_bits_truncate(mode)).map_err(refused("chmod", path))?;
        }
        futimens(fd, &TimeSpec::UTIME_OMIT, &time(entry)).map_err(refused("set the time of", path))
    }

    /// The same for what is not opened: links, pipes and devices.
    fn attributes_at(
        &mut self,
        entry: &Entry,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
    ) -> Result<(), UnpackError> {
        let is_link = matches!(entry.kind, Kind::Symlink(_));
        if self.rights == Rights::All {
            let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            fchownat(parent, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)
                .map_err(refused("chown", path))?;
        }
        if !is_link {
            if let Some(record) = &mut self.record {
                let kind = status(parent, name).map_or(0, |stat| kind(&stat).bits());
                record.add(path, kind | entry.mode, entry.uid, entry.gid)?;
            }
            if self.rights != Rights::Later {
                super::record::chmod(parent, name, entry.mode).map_err(refused("chmod", path))?;
            }
        }
        let file = CString::new(name).map_err(|_| refused("name", path)(Errno::EINVAL))?;
        self.xattrs(entry, path, |name, value| xattr::set_at(parent, &file, name, value))?;
        utimensat(parent, name, &TimeSpec::UTIME_OMIT, &time(entry), UtimensatFlags::NoFollowSymlink)
            .map_err(refused("set the time of", path))
    }

    fn xattrs(
        &mut self,
        entry: &Entry,
        path: &[u8],
        set: impl Fn(&std::ffi::CStr, &[u8]) -> std::io::Result<()>,
    ) -> Result<(), UnpackError> {
        for (name, value) in &entry.xattrs {
            if name.starts_with(b"user.overlay.") || name.starts_with(b"trusted.overlay.") {
                let message = "attributes that overlayfs would obey were left out: they could hide files";
                self.facts.note("overlay-attributes", path, message);
                continue;
            }
            let bad = |why: &str| UnpackError::Entry {
                path: shown(path),
                why: format!("its attribute `{}` {why}", shown(name)),
            };
            let c_name = CString::new(&name[..]).map_err(|_| bad("has a NUL in its name"))?;
            let stored = match set(&c_name, value) {
                Ok(()) => true,
                Err(error) => {
                    match error.raw_os_error() {
                        Some(libc::EPERM | libc::EACCES | libc::ENOTSUP) => {
                            self.facts.note(
                                "attributes-not-stored",
                                path,
                                "attributes of files cannot all be stored here",
                            );
                        }
                        Some(libc::ENOSPC) => return Err(bad("does not fit on this file system, or the disk is full")),
                        _ => return Err(bad(&format!("cannot be set: {error}"))),
                    }
                    false
                }
            };
            if name == b"security.capability" {
                let hex = value.iter().map(|byte| format!("{byte:02x}")).collect();
                self.facts.special(path, SpecialKind::FileCapability { hex, stored });
            }
        }
        Ok(())
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

fn status(parent: BorrowedFd<'_>, name: &[u8]) -> Option<FileStat> {
    fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok()
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

fn time(entry: &Entry) -> TimeSpec {
    TimeSpec::new(entry.mtime.0, entry.mtime.1)
}
