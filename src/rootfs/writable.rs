//! What the app may write to although its root is read-only: the image's volumes, and tmpfs where it was asked for.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::str::FromStr;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, fstat};

use super::{Plan, attach, inside};
use crate::refusal::Refusal;
use crate::sys;

/// `--tmpfs PATH[:OPTIONS]`, as docker takes it: noexec, nosuid and nodev unless said otherwise, and with the mode of the image's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tmpfs {
    path: String,
    attributes: u64,
    options: Vec<(&'static str, String)>,
}

/// Text that is no tmpfs.
#[derive(Debug, thiserror::Error)]
pub enum TmpfsError {
    /// The path is not absolute, or is the root itself.
    #[error("`{0}` is not an absolute path below / (--tmpfs /tmp[:size=64m,mode=1777,…])")]
    Path(String),
    /// An option that docker does not take either.
    #[error("`{0}` is not a tmpfs option (exec, noexec, suid, nosuid, dev, nodev, ro, rw, size=, mode=, uid=, gid=, nr_inodes=)")]
    Option(String),
}

impl Tmpfs {
    /// Where it is mounted.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl FromStr for Tmpfs {
    type Err = TmpfsError;

    fn from_str(text: &str) -> Result<Self, TmpfsError> {
        let (path, words) = text.split_once(':').unwrap_or((text, ""));
        let leaves = path.split('/').any(|part| part == "..");
        if !path.starts_with('/') || path.trim_matches('/').is_empty() || leaves {
            return Err(TmpfsError::Path(text.to_owned()));
        }
        let mut attributes = super::HELD;
        let mut options = Vec::new();
        for word in words.split(',').filter(|word| !word.is_empty()) {
            match word {
                "exec" => attributes &= !libc::MOUNT_ATTR_NOEXEC,
                "noexec" => attributes |= libc::MOUNT_ATTR_NOEXEC,
                "suid" => attributes &= !libc::MOUNT_ATTR_NOSUID,
                "nosuid" => attributes |= libc::MOUNT_ATTR_NOSUID,
                "dev" => attributes &= !libc::MOUNT_ATTR_NODEV,
                "nodev" => attributes |= libc::MOUNT_ATTR_NODEV,
                "ro" => attributes |= libc::MOUNT_ATTR_RDONLY,
                "rw" => attributes &= !libc::MOUNT_ATTR_RDONLY,
                _ => options.push(option(word).ok_or_else(|| TmpfsError::Option(word.to_owned()))?),
            }
        }
        Ok(Tmpfs { path: path.to_owned(), attributes, options })
    }
}

/// `KEY=VALUE` with a value of the right form.
fn option(word: &str) -> Option<(&'static str, String)> {
    let (key, value) = word.split_once('=')?;
    let key = ["size", "mode", "uid", "gid", "nr_inodes"].into_iter().find(|known| *known == key)?;
    let number = match key {
        "size" | "nr_inodes" => value.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G', '%']).unwrap_or(value),
        _ => value,
    };
    let digit = |b: u8| if key == "mode" { (b'0'..=b'7').contains(&b) } else { b.is_ascii_digit() };
    (!number.is_empty() && number.bytes().all(digit)).then(|| (key, value.to_owned()))
}

/// Attaches a writable copy of the overlay's mount on each volume: it shows the image's content with its owner, and what the app writes goes
/// to the upper layer. Call it while the root is still writable.
pub(super) fn volumes(plan: &Plan, root: BorrowedFd<'_>) -> Result<Vec<OwnedFd>, Refusal> {
    let attach_volume = |path: &String| {
        let target = inside::make_dir(root, path, inside::shown_mode(plan.ids))?;
        let copy = sys::open_tree::clone_mount(target.as_fd(), c"", false)
            .map_err(|errno| Refusal::host("open_tree", path, errno))?;
        attach(&copy, target.as_fd(), path)?;
        Ok(copy)
    };
    plan.volumes.iter().map(attach_volume).collect()
}

/// Mounts each tmpfs.
pub(super) fn tmpfs(plan: &Plan, root: BorrowedFd<'_>) -> Result<Vec<OwnedFd>, Refusal> {
    let mount = |tmpfs: &Tmpfs| {
        let path = &tmpfs.path;
        let refused = |errno| Refusal::host("fsmount", path, errno);
        let existing = inside::open(root, path, OFlag::O_PATH | OFlag::O_DIRECTORY);
        let mut options = tmpfs.options.clone();
        if !options.iter().any(|(key, _)| *key == "mode") {
            let mode = match &existing {
                Ok(folder) => fstat(folder).map_err(refused)?.st_mode & 0o7777,
                // What docker gives a folder that was not there.
                Err(_) => 0o1777,
            };
            options.push(("mode", format!("{mode:o}")));
        }
        let pairs: Vec<(CString, CString)> = options
            .into_iter()
            .map(|(key, value)| Ok((CString::new(key)?, CString::new(value)?)))
            .collect::<Result<_, std::ffi::NulError>>()
            .map_err(|_| refused(Errno::EINVAL))?;
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| (key.as_c_str(), Some(value.as_c_str()))).collect();
        let target = inside::make_dir(root, path, Mode::from_bits_truncate(0o755))?;
        let mount = sys::fsmount::fsmount(c"tmpfs", &pairs, tmpfs.attributes).map_err(refused)?;
        attach(&mount, target.as_fd(), path)?;
        Ok(mount)
    };
    plan.tmpfs.iter().map(mount).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tmpfs_holds_no_program_unless_asked() {
        let plain: Tmpfs = "/tmp".parse().unwrap();
        assert_eq!((plain.path(), plain.attributes), ("/tmp", super::super::HELD));
        let exec: Tmpfs = "/run:exec,size=1m,uid=65532".parse().unwrap();
        assert_eq!(exec.attributes & libc::MOUNT_ATTR_NOEXEC, 0);
        assert_eq!(exec.options, [("size", "1m".to_owned()), ("uid", "65532".to_owned())]);
    }

    #[test]
    fn what_is_no_tmpfs_is_refused() {
        for text in ["", "tmp", "/", "/a/../b", "/tmp:bogus", "/tmp:mode=9", "/tmp:size=", "/tmp:uid=-1", "/tmp:size=1m,x"] {
            assert!(text.parse::<Tmpfs>().is_err(), "{text}");
        }
    }
}
