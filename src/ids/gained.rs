//! What a program's own file gives whoever runs it: a set-user-id or set-group-id bit, or file capabilities (execve(2), capabilities(7)).
//!
//! Only where no-new-privileges was left out. The app is then more than it was started as, exactly as in an engine.

use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use nix::sys::stat::Mode;

use crate::process::Process;
use crate::sys::xattr;

/// What may have come with the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gained {
    /// The user of a set-user-id program, by this process's ids.
    pub uid: Option<u32>,
    /// The group of a set-group-id program.
    pub gid: Option<u32>,
    /// It has file capabilities.
    pub by_file: bool,
}

impl Gained {
    /// By the program that `app` runs; nothing where it cannot be looked at.
    pub fn by_program(app: &Process) -> Self {
        let seen = app.program().and_then(|program| Ok((program.metadata()?, program)));
        let Ok((file, program)) = seen else { return Gained::default() };
        let mode = file.permissions().mode();
        let has = |bits: Mode| mode & bits.bits() == bits.bits();
        Gained {
            uid: has(Mode::S_ISUID).then(|| file.uid()),
            // Without the group's x bit it meant mandatory locking once, and gives nobody a group.
            gid: has(Mode::S_ISGID | Mode::S_IXGRP).then(|| file.gid()),
            by_file: xattr::get(program.as_fd(), c"security.capability").is_ok_and(|value| value.is_some()),
        }
    }

    /// Whether capabilities may have come with it.
    pub fn capabilities(self) -> bool {
        self.uid.is_some() || self.by_file
    }
}
