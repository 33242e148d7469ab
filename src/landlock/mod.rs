//! Landlock: a second wall behind the mounts.
//!
//! Under an engine preset it may not change any answer the app gets: it allows what the mounts allow, so it only speaks where a mount
//! failed to. It needs ABI 2 (Linux 5.19), because ABI 1 always refuses a rename from one folder to another with EXDEV.
//!
//! Two things make it a wall of its own: a list of what may be executed, and narrowness, which leaves nothing writable but what was declared, no
//! port but those that are, no connection out, and no way to processes outside.
//!
//! Source: landlock(7).

mod narrow;

use std::os::fd::{AsFd, OwnedFd};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use crate::measure::Measure;
use crate::refusal::Refusal;
use crate::sys;

pub use narrow::{Narrowness, Tried, read_back as narrow_read_back};

/// The first ABI that can refuse nothing the mounts allow.
const LOWEST: i32 = 2;
/// The newest ABI whose file system rights were tried here.
const HIGHEST: i32 = 7;

/// The first ABI with ports (Linux 6.7), and with scopes (Linux 6.12).
pub(crate) const PORTS_SINCE: i32 = 4;
pub(crate) const SCOPES_SINCE: i32 = 6;

/// What the wall is to hold back beyond what the mounts do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The only files that may be executed, by their paths in the jail.
    pub execute: Option<Vec<String>>,
    /// Nothing is writable but what is declared; the ports that may be bound.
    pub narrow: Option<Vec<u16>>,
    /// Measures that are left out although they are asked for, so that a test can see the read-back notice.
    pub without: Vec<String>,
}

impl Rules {
    fn applies(&self, measure: &str) -> bool {
        !self.without.iter().any(|name| name == measure)
    }
}

/// A ruleset that handles what the rules are about and allows none of it yet.
pub struct Wall {
    ruleset: RulesetCreated,
    rights: BitFlags<AccessFs>,
    read: BitFlags<AccessFs>,
    rules: Rules,
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
    pub fn new(rules: &Rules) -> Result<Self, NoWall> {
        let abi = sys::landlock_abi::landlock_abi().map_err(NoWall::Absent)?;
        if abi < LOWEST {
            return Err(NoWall::TooOld(abi));
        }
        let known = ABI::from(abi.min(HIGHEST));
        let rights = AccessFs::from_all(known);
        let mut ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(rights)?;
        if rules.narrow.is_some() && abi >= PORTS_SINCE && rules.applies("narrow-ports") {
            ruleset = ruleset.handle_access(AccessNet::from_all(known))?;
        }
        if rules.narrow.is_some() && abi >= SCOPES_SINCE && rules.applies("narrow-scopes") {
            ruleset = ruleset.scope(Scope::from_all(known))?;
        }
        let (mut read, mut rights) = (AccessFs::from_read(known), rights);
        if rules.execute.is_some() && rules.applies("execute-list") {
            read.remove(AccessFs::Execute);
            rights.remove(AccessFs::Execute);
        }
        Ok(Wall { ruleset: ruleset.create()?, rights, read, rules: rules.clone(), abi })
    }

    /// What the wall is, for reports.
    pub fn describe(&self) -> String {
        let execute = match &self.rules.execute {
            None => "read and execute everywhere".to_owned(),
            Some(files) => format!("read everywhere, execute {}", files.join(" ")),
        };
        let write = if self.rules.narrow.is_some() { "what is declared" } else { "where a mount is writable" };
        format!("ABI {}: {execute}, write {write}", self.abi)
    }

    /// Confines the calling process: below `root` it may read and execute, below each of `declared` everything. What the kernel's own file
    /// systems, `of_kernel`, let it write to counts only where the wall is not narrow; the devices do then.
    ///
    /// # Errors
    ///
    /// `landlock_restrict_self(2)`: EPERM without `no_new_privs` and without `CAP_SYS_ADMIN`. A file to be executed that is not there.
    pub fn apply(self, root: &OwnedFd, declared: &[OwnedFd], of_kernel: &[OwnedFd]) -> Result<(), Refusal> {
        let refused = |error: &RulesetError| Refusal::host("landlock_restrict_self", error.to_string(), Errno::last());
        let beneath = |ruleset: RulesetCreated, place: &OwnedFd, rights| {
            ruleset.add_rule(PathBeneath::new(place.as_fd(), rights)).map_err(|error| refused(&error))
        };
        let mut ruleset = beneath(self.ruleset, root, self.read)?;
        let all = if self.rules.narrow.is_some() && self.rules.applies("narrow-writes") { &[][..] } else { of_kernel };
        for folder in declared.iter().chain(all) {
            ruleset = beneath(ruleset, folder, self.rights)?;
        }
        let open = |path: &str| nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty());
        let listed = self.rules.execute.iter().filter(|_| self.rules.applies("execute-list"));
        for path in listed.flatten() {
            let file = open(path).map_err(|errno| Refusal::image("open", path, errno))?;
            ruleset = beneath(ruleset, &file, AccessFs::Execute.into())?;
        }
        if let Some(ports) = &self.rules.narrow {
            let of_file = self.rights & AccessFs::from_file(ABI::from(self.abi.min(HIGHEST)));
            for device in narrow::DEVICES {
                // One that this jail lacks cannot be written to.
                if let Ok(device) = open(device) {
                    ruleset = beneath(ruleset, &device, of_file & !BitFlags::from(AccessFs::Execute))?;
                }
            }
            for port in ports.iter().filter(|_| self.abi >= PORTS_SINCE && self.rules.applies("narrow-ports")) {
                let rule = NetPort::new(*port, AccessNet::BindTcp);
                ruleset = ruleset.add_rule(rule).map_err(|error| refused(&error))?;
            }
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
    /// What a narrow wall, or one with a list of programs, is about, before and after.
    pub tried: Option<(Tried, Tried)>,
}

/// Tries to open the folder behind `outside`, a mount that is attached nowhere.
pub fn opens(outside: &OwnedFd) -> bool {
    openat(outside, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).is_ok()
}

/// The measure, from what the launcher saw.
pub fn read_back(asked: &str, witness: Option<Witness>) -> Measure {
    let measure = match witness {
        None => Measure::unverified("landlock", asked, "the launcher did not report what it saw"),
        Some(Witness { before: true, after: false, allowed: true, .. }) => {
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
