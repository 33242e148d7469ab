//! Landlock: a second wall behind the mounts.
//!
//! Under an engine preset it may not change any answer the app gets: it allows what the mounts allow, so it only speaks where a mount
//! failed to. It needs ABI 2 (Linux 5.19), because ABI 1 always refuses a rename from one folder to another with EXDEV.
//!
//! Source: landlock(7).

use std::os::fd::{AsFd, OwnedFd};

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, RulesetStatus,
};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use crate::measure::Measure;
use crate::refusal::Refusal;
use crate::sys;

/// The first ABI that can refuse nothing the mounts allow.
const LOWEST: i32 = 2;
/// The newest ABI whose file system rights were tried here.
const HIGHEST: i32 = 7;

/// A ruleset that handles every file system right and allows none yet.
pub struct Wall {
    ruleset: RulesetCreated,
    rights: BitFlags<AccessFs>,
    read: BitFlags<AccessFs>,
    abi: i32,
}

/// Why there is no second wall on this host.
#[derive(Debug, thiserror::Error)]
pub enum NoWall {
    /// The kernel has none, or it is not active.
    #[error("this kernel offers no Landlock: {0}")]
    Absent(Errno),
    /// It would change answers.
    #[error("this kernel's Landlock has ABI {0}; {LOWEST} (Linux 5.19) is the first that changes no answer")]
    TooOld(i32),
    /// The ruleset could not be made.
    #[error("landlock_create_ruleset: {0}")]
    Refused(#[from] RulesetError),
}

impl Wall {
    /// Makes the ruleset for this kernel.
    ///
    /// # Errors
    ///
    /// [`NoWall`].
    pub fn new() -> Result<Self, NoWall> {
        let abi = sys::landlock_abi::landlock_abi().map_err(NoWall::Absent)?;
        if abi < LOWEST {
            return Err(NoWall::TooOld(abi));
        }
        let known = ABI::from(abi.min(HIGHEST));
        let rights = AccessFs::from_all(known);
        let ruleset =
            Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(rights)?.create()?;
        Ok(Wall { ruleset, rights, read: AccessFs::from_read(known), abi })
    }

    /// What the wall is, for reports.
    pub fn describe(&self) -> String {
        format!("ABI {}: read and execute everywhere, write where a mount is writable", self.abi)
    }

    /// Confines the calling process: below `root` it may read and execute, below each of `writable` everything.
    ///
    /// # Errors
    ///
    /// `landlock_restrict_self(2)`: EPERM without `no_new_privs` and without `CAP_SYS_ADMIN`.
    pub fn apply(self, root: &OwnedFd, writable: &[OwnedFd]) -> Result<(), Refusal> {
        let refused = |error: &RulesetError| Refusal::host("landlock_restrict_self", error.to_string(), Errno::last());
        let mut ruleset =
            self.ruleset.add_rule(PathBeneath::new(root.as_fd(), self.read)).map_err(|error| refused(&error))?;
        for folder in writable {
            ruleset =
                ruleset.add_rule(PathBeneath::new(folder.as_fd(), self.rights)).map_err(|error| refused(&error))?;
        }
        // no_new_privs is a measure of its own; this one must not set it on the side.
        let status = ruleset.no_new_privs(false).restrict_self().map_err(|error| refused(&error))?;
        match status.ruleset {
            RulesetStatus::FullyEnforced => Ok(()),
            _ => Err(Refusal::host("landlock_restrict_self", "enforced in part only", Errno::EOPNOTSUPP)),
        }
    }
}

/// What the launcher saw right before its exec: whether a folder that no rule names could be opened, before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witness {
    /// It could be opened before, so nothing else refuses it.
    pub before: bool,
    /// It can still be opened.
    pub after: bool,
    /// The root can be read.
    pub allowed: bool,
}

/// Tries to open the folder behind `outside`, a mount that is attached nowhere.
pub fn opens(outside: &OwnedFd) -> bool {
    openat(outside, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).is_ok()
}

/// The measure, from what the launcher saw.
pub fn read_back(asked: &str, witness: Option<Witness>) -> Measure {
    let measure = match witness {
        None => Measure::unverified("landlock", asked, "the launcher did not report what it saw"),
        Some(Witness { before: true, after: false, allowed: true }) => {
            Measure::judged("landlock", asked, Ok("a folder outside is refused, the root is readable".to_owned()))
        }
        Some(Witness { before: false, .. }) => {
            Measure::unverified("landlock", asked, "the folder outside could not be opened before either")
        }
        Some(Witness { after: true, .. }) => {
            Measure::judged("landlock", asked, Err("a folder that no rule names can be opened".to_owned()))
        }
        Some(Witness { allowed: false, .. }) => {
            Measure::judged("landlock", asked, Err("the root cannot be read".to_owned()))
        }
    };
    measure.optional()
}
