//! Who the app is: user, group, supplementary groups, and the user namespace that makes it so.
//!
//! Three modes. *real*: the caller is root, so ids are what the image says. *mapped*: they are too, in a user namespace where the caller's own
//! id stands for 0 and subordinate ids for the rest. *single*: a normal user has one id; austere puts itself into a user namespace that maps 0 to it (so that it may mount, make whiteouts and store file
//! capabilities), and the jail into one below that maps the app's id to this 0. Everything then belongs to the app, and the store projects the
//! permission bits so that they mean what they would have meant.
//!
//! Source: `user_namespaces(7)`, "Defining user and group ID mappings".

pub mod gained;
pub mod mapped;
pub mod subordinate;

use std::fs;
use std::io;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid};

use self::gained::Gained;
use crate::digest::{Algorithm, Hasher};
use crate::measure::Measure;
use crate::process::{self, Process};
use crate::refusal::Refusal;

/// The user and the groups that the app runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary groups besides the primary one.
    pub groups: Vec<u32>,
}

/// How ids of the image relate to ids of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They are the same.
    Real,
    /// They are the same within a user namespace, which austere is in too.
    Mapped,
    /// The app has the caller's one id, under the name of its own.
    Single,
}

impl Mode {
    /// The word in reports.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Real => "real",
            Mode::Mapped => "mapped",
            Mode::Single => "single",
        }
    }

    /// What clone(2) needs beside the other namespaces.
    pub fn clone_flags(self) -> libc::c_int {
        match self {
            Mode::Real | Mode::Mapped => 0,
            Mode::Single => libc::CLONE_NEWUSER,
        }
    }
}

/// Which mode is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The most faithful one that can be had.
    #[default]
    Auto,
    /// [`Mode::Mapped`], or an error.
    Mapped,
    /// [`Mode::Single`].
    Single,
}

/// The mode that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entered {
    /// It.
    pub mode: Mode,
    /// Why it is not a more faithful one.
    pub why: Option<String>,
}

/// There is no way to run an app here under the ids that were asked for.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// No user namespace could be made, and without one nobody but root with `CAP_SYS_ADMIN` can build a jail.
    #[error("{0}")]
    NoUserNamespace(Refusal),
    /// The mode was asked for by name.
    #[error("ids cannot be mapped here: {0}\n  hint: austere doctor says what is missing; --ids auto does with one id")]
    NotMapped(String),
}

/// The highest id that ordinary images give to files: `nobody` of 16 bits.
const HIGHEST_COMMON_ID: u32 = 65_534;

/// Ids of 16 bits: so many a map must have at least.
pub const HIGHEST_MAPPED_ID: u32 = 65_535;

/// Chooses the mode, and puts the process where it can work: call it once, before any thread is started. `needed` is an id that
/// is known to be used.
///
/// # Errors
///
/// [`EnterError::NoUserNamespace`] when the caller is a normal user, or root without `CAP_SYS_ADMIN` as containers have it, and may not
/// make one; [`EnterError::NotMapped`] when [`Choice::Mapped`] cannot be had.
pub fn enter(choice: Choice, needed: u32) -> Result<Entered, EnterError> {
    let entered = |mode, why: Option<&str>| Ok(Entered { mode, why: why.map(str::to_owned) });
    let asked_for = Some("it was asked for");
    let is_initial = is_initial();
    let is_bound = geteuid().is_root() && is_initial && !may_mount();
    if geteuid().is_root() && !is_bound {
        let holds_common = || holds_common_ids("/proc/self/uid_map") && holds_common_ids("/proc/self/gid_map");
        return match choice {
            Choice::Single => entered(Mode::Single, asked_for),
            Choice::Auto if is_initial => entered(Mode::Real, None),
            Choice::Mapped if is_initial => Err(EnterError::NotMapped("root has real ids".to_owned())),
            // Somebody else made the namespace that austere is root of.
            _ if holds_common() => entered(Mode::Mapped, None),
            Choice::Auto => entered(Mode::Single, Some("this user namespace has too few ids")),
            Choice::Mapped => Err(EnterError::NotMapped("this user namespace has too few ids".to_owned())),
        };
    }
    let why = match choice {
        Choice::Single => asked_for.map(str::to_owned),
        Choice::Auto | Choice::Mapped if is_bound => match mapped::enter_own() {
            Ok(()) => return entered(Mode::Mapped, Some("root has no CAP_SYS_ADMIN here")),
            Err(why) if choice == Choice::Mapped => return Err(EnterError::NotMapped(why)),
            Err(why) => Some(why),
        },
        Choice::Auto | Choice::Mapped => {
            match mapped::Means::find(needed.max(HIGHEST_MAPPED_ID)).and_then(|means| means.enter()) {
                Ok(()) => return entered(Mode::Mapped, None),
                Err(why) if choice == Choice::Mapped => return Err(EnterError::NotMapped(why)),
                Err(why) => Some(why),
            }
        }
    };
    let (uid, gid) = (geteuid(), nix::unistd::getegid());
    unshare(CloneFlags::CLONE_NEWUSER)
        .map_err(|errno| EnterError::NoUserNamespace(Refusal::host("unshare", "CLONE_NEWUSER", errno)))?;
    write_maps(&Identity { uid: 0, gid: 0, groups: Vec::new() }, (uid.as_raw(), gid.as_raw()))
        .map_err(EnterError::NoUserNamespace)?;
    Ok(Entered { mode: Mode::Single, why })
}

/// Whether this is the namespace of the host: every id is itself. A namespace that maps all of them cannot be told from it.
pub fn is_initial() -> bool {
    let whole = |map: String| map.split_whitespace().eq(["0", "0", "4294967295"]);
    fs::read_to_string("/proc/self/uid_map").is_ok_and(whole)
}

/// Whether mounts and namespaces can be made without a user namespace. Root of a container cannot.
fn may_mount() -> bool {
    ::caps::has_cap(None, ::caps::CapSet::Effective, ::caps::Capability::CAP_SYS_ADMIN).unwrap_or(false)
}

/// A name for this user namespace's maps, safe as a file name. Files that were written under other maps have other owners.
///
/// # Errors
///
/// Where `/proc` is not mounted.
pub fn map_name() -> io::Result<String> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    for file in ["/proc/self/uid_map", "/proc/self/gid_map"] {
        hasher.update(&fs::read(file)?);
        hasher.update(b"/");
    }
    Ok(hasher.finish().hex()[..12].to_owned())
}

/// Whether the app can be this one here.
pub fn holds(mode: Mode, identity: &Identity) -> bool {
    mode != Mode::Mapped
        || identity.uid < mapped_ids("/proc/self/uid_map")
            && all_groups(identity).into_iter().max() < Some(mapped_ids("/proc/self/gid_map"))
}

/// The highest group that has an id here.
pub fn highest_group() -> u32 {
    mapped_ids("/proc/self/gid_map").saturating_sub(1)
}

fn holds_common_ids(map: &str) -> bool {
    mapped_ids(map) > HIGHEST_COMMON_ID
}

/// How many ids from 0 on are mapped, without a gap.
fn mapped_ids(map: &str) -> u32 {
    let Ok(text) = fs::read_to_string(map) else { return 0 };
    let mut next = 0;
    let mut rows: Vec<(u32, u32)> = text
        .lines()
        .filter_map(|line| {
            let mut numbers = line.split_whitespace().map(str::parse::<u32>);
            Some((numbers.next()?.ok()?, numbers.nth(1)?.ok()?))
        })
        .collect();
    rows.sort_unstable();
    for (start, count) in rows {
        if start <= next {
            next = next.max(start.saturating_add(count));
        }
    }
    next
}

/// In the child of a single-id jail: gives its user namespace the one mapping it can have. What does not apply stays root's.
///
/// # Errors
///
/// `user_namespaces(7)`: EPERM when the outer id is not the caller's own.
pub fn map(mode: Mode, identity: &Identity, applies: impl Fn(&str) -> bool) -> Result<(), Refusal> {
    match mode {
        Mode::Real | Mode::Mapped => Ok(()),
        Mode::Single => {
            // Here the mapping alone makes the app who it is.
            let (uid, gid) =
                (if applies("user") { identity.uid } else { 0 }, if applies("group") { identity.gid } else { 0 });
            write_maps(&Identity { uid, gid, groups: Vec::new() }, (0, 0))
        }
    }
}

fn write_maps(inside: &Identity, outside: (u32, u32)) -> Result<(), Refusal> {
    let write = |file: &str, text: String| {
        fs::write(file, &text).map_err(|error| Refusal::host("write", format!("{file}: {text}"), errno_of(&error)))
    };
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/uid_map", format!("{} {} 1", inside.uid, outside.0))?;
    write("/proc/self/gid_map", format!("{} {} 1", inside.gid, outside.1))
}

fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw)
}

/// Becomes the app's user for good, but for what does not apply.
///
/// # Errors
///
/// setgroups(2), setresgid(2), setresuid(2): EPERM, or EINVAL for an id that is not mapped here.
pub fn apply(mode: Mode, identity: &Identity, applies: impl Fn(&str) -> bool) -> Result<(), Refusal> {
    let Identity { uid, gid, .. } = *identity;
    if mode != Mode::Single && applies("groups") {
        let groups = all_groups(identity);
        let list: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
        setgroups(&list).map_err(|errno| Refusal::host("setgroups", format!("{groups:?}"), errno))?;
    }
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
    if applies("group") {
        setresgid(group, group, group).map_err(|errno| Refusal::host("setresgid", gid.to_string(), errno))?;
    }
    if applies("user") {
        setresuid(user, user, user).map_err(|errno| Refusal::host("setresuid", uid.to_string(), errno))?;
    }
    Ok(())
}

/// Engines put the primary group among the supplementary ones too, so that dropping it gains nothing (CVE-2022-36109).
fn all_groups(identity: &Identity) -> Vec<u32> {
    let mut groups = vec![identity.gid];
    groups.extend(identity.groups.iter().filter(|group| **group != identity.gid));
    groups
}

/// Whether the app is who it was to be.
pub fn read_back(app: &Process, mode: Mode, identity: &Identity, gained: Gained) -> Vec<Measure> {
    let maps = app.id_map("uid_map").and_then(|uids| Ok((uids, app.id_map("gid_map")?)));
    let (uids, gids) = match maps {
        // The app is in our own user namespace, so that its ids read as it has them; its map tells what they are outside.
        Ok(_) if mode != Mode::Single => (vec![(0, 0, u32::MAX)], vec![(0, 0, u32::MAX)]),
        Ok(maps) => maps,
        Err(error) => return vec![Measure::unverified("user", identity.uid.to_string(), format!("id maps: {error}"))],
    };
    let status = app.status();
    let four = |map: &[(u32, u32, u32)], ids: [u32; 4]| -> String {
        let mut names: Vec<String> = ids
            .iter()
            .map(|id| process::inside(map, *id).map_or_else(|| format!("{id}?"), |id| id.to_string()))
            .collect();
        names.dedup();
        names.join(" ")
    };
    let user = four(&uids, [status.ruid, status.euid, status.suid, status.fuid]);
    let group = four(&gids, [status.rgid, status.egid, status.sgid, status.fgid]);
    // The real id stays; the others are those of the program's file.
    let one = |name, asked: u32, seen: String, map: &[(u32, u32, u32)], by_program: Option<u32>, bit| {
        let given = by_program.and_then(|id| process::inside(map, id)).map(|id| format!("{asked} {id}"));
        if given.as_ref() == Some(&seen) {
            return Measure::judged(name, asked.to_string(), Ok(format!("{seen}, by the program's {bit} bit")));
        }
        Measure::compared(name, asked.to_string(), seen)
    };
    vec![
        one("user", identity.uid, user, &uids, gained.uid, "set-user-id"),
        one("group", identity.gid, group, &gids, gained.gid, "set-group-id"),
        groups_measure(mode, identity, &gids, &status.groups),
    ]
}

fn groups_measure(mode: Mode, identity: &Identity, map: &[(u32, u32, u32)], seen: &[u32]) -> Measure {
    let words = |groups: &[u32]| {
        let mut groups = groups.to_vec();
        groups.sort_unstable();
        groups.dedup();
        groups.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
    };
    let asked = words(&all_groups(identity));
    let inside: Vec<u32> = seen.iter().filter_map(|id| process::inside(map, *id)).collect();
    let foreign = seen.len() - inside.len();
    if mode == Mode::Single && (foreign > 0 || !identity.groups.is_empty()) {
        let why = "one id cannot carry or drop supplementary groups; no file in the jail belongs to them";
        let read_back = Some(format!("{} and {foreign} of the host's", words(&inside)));
        return Measure { read_back, ..Measure::unavailable("groups", asked, why).optional() };
    }
    // The primary group counts whether or not it is listed.
    let mut inside = inside;
    inside.push(identity.gid);
    Measure::compared("groups", asked, words(&inside))
}
