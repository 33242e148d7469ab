//! Owners, modes, attributes and times of what was made.

use std::ffi::CString;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, fchmod, futimens, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat};

use super::UnpackError;
use super::entries::{Entry, Kind};
use super::error::{refused, shown};
use super::facts::SpecialKind;
use super::place::{Rights, Writer, kind, status};
use crate::sys::xattr;

/// The finding's code when a file's owner has no id in this user namespace.
pub const OWNERS_NOT_MAPPED: &str = "owners-not-mapped";

/// Nobody's id: what belongs to an unmapped owner must not come to belong to the app, which may well be `nobody` (65534).
const STAND_IN: u32 = 65_535;

impl Writer<'_> {
    /// Owner, mode, attributes and time of an open file or folder.
    pub(super) fn attributes(
        &mut self,
        entry: &Entry,
        fd: BorrowedFd<'_>,
        path: &[u8],
        kind: SFlag,
    ) -> Result<(), UnpackError> {
        let is_dir = kind == SFlag::S_IFDIR;
        if !is_dir && entry.mode & 0o6000 != 0 {
            self.facts.special(path, SpecialKind::SetId { mode: entry.mode });
        }
        if let Some(record) = &mut self.record {
            record.add(path, kind.bits() | entry.mode, entry.uid, entry.gid)?;
        }
        if self.rights == Rights::All {
            self.owner(entry, path, |uid, gid| fchown(fd, uid, gid))?;
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
    pub(super) fn attributes_at(
        &mut self,
        entry: &Entry,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
    ) -> Result<(), UnpackError> {
        let is_link = matches!(entry.kind, Kind::Symlink(_));
        if self.rights == Rights::All {
            self.owner(entry, path, |uid, gid| fchownat(parent, name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW))?;
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

    /// Gives the file its owner and group; one that this user namespace has no id for becomes [`STAND_IN`].
    fn owner(
        &mut self,
        entry: &Entry,
        path: &[u8],
        chown: impl Fn(Option<Uid>, Option<Gid>) -> Result<(), Errno>,
    ) -> Result<(), UnpackError> {
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        match chown(Some(uid), Some(gid)) {
            Err(Errno::EINVAL) => {}
            done => return done.map_err(refused("chown", path)),
        }
        let message = "owners above the ids that are mapped here: their files belong to 65535 instead";
        self.facts.note(OWNERS_NOT_MAPPED, path, message);
        let instead = |done: Result<(), Errno>, again: &dyn Fn() -> Result<(), Errno>| match done {
            Err(Errno::EINVAL) => again(),
            done => done,
        };
        instead(chown(Some(uid), None), &|| chown(Some(Uid::from_raw(STAND_IN)), None))
            .and_then(|()| instead(chown(None, Some(gid)), &|| chown(None, Some(Gid::from_raw(STAND_IN)))))
            .map_err(refused("chown", path))
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
                let hex = value.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
                self.facts.special(path, SpecialKind::FileCapability { hex, stored });
            }
        }
        Ok(())
    }
}

fn time(entry: &Entry) -> TimeSpec {
    TimeSpec::new(entry.mtime.0, entry.mtime.1)
}
