//! Who may do what, by mode bits alone: the app has no capabilities, so user 0 is nobody special.

use super::tree::{Entry, Found};

/// The ids a process has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

const EXECUTE: u32 = 1;

impl Credentials {
    /// Whether the x bit of the one class that counts is set: owner, else group, else other (`path_resolution(7)`).
    pub fn may_execute(&self, entry: &Entry) -> bool {
        let shift = if entry.uid == self.uid {
            6
        } else if entry.gid == self.gid || self.groups.contains(&entry.gid) {
            3
        } else {
            0
        };
        entry.mode >> shift & EXECUTE != 0
    }

    /// The first directory on the way that these credentials may not search.
    pub fn stopped_at<'a>(&self, found: &'a Found) -> Option<&'a (String, Entry)> {
        found.searched.iter().find(|(_, directory)| !self.may_execute(directory))
    }

    /// Whether execve(2) would be allowed, as far as modes go.
    pub fn may_start(&self, found: &Found) -> bool {
        self.stopped_at(found).is_none() && self.may_execute(&found.entry)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::EntryKind;
    use super::*;

    fn entry(uid: u32, gid: u32, mode: u32) -> Entry {
        Entry { kind: EntryKind::File, mode, uid, gid, size: 0, capability: None }
    }

    #[test]
    fn only_the_first_class_that_fits_counts() {
        let app = Credentials { uid: 65532, gid: 7, groups: vec![8] };
        assert!(app.may_execute(&entry(0, 0, 0o755)));
        assert!(!app.may_execute(&entry(0, 0, 0o754)));
        assert!(app.may_execute(&entry(0, 8, 0o710)));
        assert!(!app.may_execute(&entry(0, 8, 0o701)), "a group without the bit is not saved by other");
        assert!(!app.may_execute(&entry(65532, 0, 0o077)), "nor is an owner");
    }

    #[test]
    fn user_0_without_capabilities_is_bound_by_modes() {
        let root = Credentials { uid: 0, gid: 0, groups: vec![] };
        assert!(!root.may_execute(&entry(1000, 1000, 0o770)));
        assert!(root.may_execute(&entry(1000, 1000, 0o771)));
    }
}
