//! Which wall refused a call: found by looking at what the kernel looked at.
//!
//! Source: `path_resolution(7)`, capabilities(7), and Linux `fs/namei.c`, which looks at the read-only flag of a file system before the mode, and
//! at that of a mount after it.

use std::fmt::Write as _;

use nix::sys::statvfs::FsFlags;
use nix::unistd::Pid;

use super::calls::Does;
use super::place::{Files, Thing, above};
use super::timeline::Wall;
use crate::cgroup::amount::Bytes;
use crate::process::{Process, inside};

/// A call that failed.
pub(super) struct Refused<'a> {
    pub(super) pid: Pid,
    pub(super) call: &'a str,
    pub(super) does: Does,
    pub(super) path: Option<&'a str>,
    pub(super) errno: i32,
    /// It means to change what it names.
    pub(super) writes: bool,
    /// For open(2) and access(2): reading, writing, executing, as bits.
    pub(super) wants: u32,
}

/// Who asks, as permission checks see it.
struct Who {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    capabilities: u64,
    no_new_privs: bool,
    /// How its ids are called inside.
    map: Vec<(u32, u32, u32)>,
}

impl Who {
    fn of(pid: Pid) -> Option<Self> {
        let process = Process::open(pid.as_raw()).ok()?;
        let status = process.status();
        Some(Who {
            uid: status.fuid,
            gid: status.fgid,
            groups: status.groups.clone(),
            capabilities: status.capeff,
            no_new_privs: status.nonewprivs == Some(1),
            map: process.id_map("uid_map").unwrap_or_default(),
        })
    }

    /// The bits of the class that counts for this process.
    fn bits(&self, thing: &Thing) -> u32 {
        let shift = if thing.stat.st_uid == self.uid {
            6
        } else if thing.stat.st_gid == self.gid || self.groups.contains(&thing.stat.st_gid) {
            3
        } else {
            0
        };
        thing.mode() >> shift & 7
    }

    /// A user's number inside.
    fn inside(&self, uid: u32) -> u32 {
        inside(&self.map, uid).unwrap_or(uid)
    }

    /// Whose a thing is, where that is not the one id that there is.
    fn owner(&self, thing: &Thing) -> String {
        match self.map[..] {
            [(.., 1)] => String::new(),
            _ => format!(" and belongs to {}:{}", self.inside(thing.stat.st_uid), thing.stat.st_gid),
        }
    }

    fn may(&self, thing: &Thing, wants: u32) -> bool {
        const DAC_OVERRIDE: u64 = 1 << 1;
        self.capabilities & DAC_OVERRIDE != 0 || self.bits(thing) & wants == wants
    }
}

/// Below it a port may need a capability; above, only Landlock refuses one with EACCES (`bind(2)`, `landlock(7)`).
const FIRST_UNPRIVILEGED: u16 = 1024;

/// The wall, and how that is known.
pub(super) fn judge(refused: &Refused<'_>) -> (Option<Wall>, Option<String>) {
    let found = match refused.errno {
        libc::EROFS => Some(read_only(refused)),
        libc::EACCES => by_mode(refused),
        libc::EPERM => not_permitted(refused),
        libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN if matches!(refused.does, Does::Connect(_)) => {
            Some((Wall::Room, "the network of the jail leads nowhere".to_owned()))
        }
        libc::ENOMEM | libc::EAGAIN if refused.does == Does::Lock => limit(refused.pid, "Max locked memory"),
        libc::EAGAIN if refused.does == Does::Fork => {
            Some((Wall::Limit, "no more processes or threads may be started".to_owned()))
        }
        libc::EINVAL if matches!(refused.does, Does::Become | Does::Own) => not_permitted(refused)
            .map(|(wall, why)| (wall, format!("{why} (EPERM where the jail has more than one id)"))),
        libc::EMFILE => limit(refused.pid, "Max open files"),
        libc::EDQUOT | libc::ENOSPC => match room(refused) {
            // The host's disk is no wall of the jail.
            Some((false, why)) => return (None, Some(why)),
            Some((true, why)) => Some((Wall::Limit, why)),
            None => Some((Wall::Limit, "there is no room left where it was to be written".to_owned())),
        },
        _ => None,
    };
    match found {
        Some((wall, why)) => (Some(wall), Some(why)),
        None => (None, None),
    }
}

type Found = Option<(Wall, String)>;

fn limit(pid: Pid, name: &str) -> Found {
    let hard = Process::open(pid.as_raw()).ok()?.hard_limits().ok()?.remove(name)??;
    Some((Wall::Limit, format!("{} is {hard}", name.to_lowercase())))
}

/// Whether it is a tmpfs that has no room, with a sentence about it.
fn room(refused: &Refused<'_>) -> Option<(bool, String)> {
    let (path, files) = (refused.path?, Files::of(refused.pid)?);
    let ways = above(path);
    let mut nearest = std::iter::once(path).chain(ways.iter().rev().map(String::as_str));
    let (mut mount, thing) = nearest.find_map(|path| Some((path, files.find(path, true)?)))?;
    for above in nearest {
        match files.find(above, true) {
            Some(folder) if folder.stat.st_dev == thing.stat.st_dev => mount = above,
            _ => break,
        }
    }
    let room = thing.room()?;
    let size = Bytes(room.size);
    let why = match (room.is_tmpfs, room.no_more_files) {
        (true, true) if !room.is_full => format!("`{mount}` is a tmpfs that holds no more files"),
        (true, _) => format!("`{mount}` is a tmpfs of {size}, which is full"),
        (false, _) => format!("`{mount}` lies on a file system of {size} that has no room: the host's, or a quota"),
    };
    Some((room.is_tmpfs, why))
}

fn read_only(refused: &Refused<'_>) -> (Wall, String) {
    let (Some(path), Some(files)) = (refused.path, Files::of(refused.pid)) else {
        return (Wall::ReadOnlyMount, "EROFS has no other reason".to_owned());
    };
    let ways = above(path);
    let nearest = std::iter::once(path).chain(ways.iter().rev().map(String::as_str));
    let mount = nearest.into_iter().find_map(|path| Some((path, files.find(path, true)?)));
    (
        Wall::ReadOnlyMount,
        match mount {
            Some((at, thing)) if thing.flags.contains(FsFlags::ST_RDONLY) => {
                format!("`{at}` lies on a read-only mount")
            }
            _ => "the mount is read-only".to_owned(),
        },
    )
}

/// The first folder on the way that may not be searched, else the thing itself or the folder it is to be made in.
fn by_mode(refused: &Refused<'_>) -> Found {
    if let Does::Bind = refused.does
        && refused.path.is_none_or(|path| !path.starts_with('/'))
    {
        let port = refused.path.and_then(|path| path.rsplit_once(':')?.1.parse::<u16>().ok());
        if let Some(port) = port.filter(|port| *port >= FIRST_UNPRIVILEGED) {
            return Some((Wall::Landlock, format!("port {port} is not declared")));
        }
        return Some((
            Wall::Capability,
            "a port below ip_unprivileged_port_start needs CAP_NET_BIND_SERVICE".to_owned(),
        ));
    }
    if let Does::Connect(_) = refused.does
        && refused.path.is_none_or(|path| !path.starts_with('/'))
    {
        return Some((Wall::Landlock, "a sealed jail connects to nothing".to_owned()));
    }
    if let Does::Limit = refused.does {
        return Some((Wall::Capability, "it needs CAP_SYS_NICE".to_owned()));
    }
    if let Does::Socket = refused.does {
        return Some((Wall::Capability, "the group is not in net.ipv4.ping_group_range".to_owned()));
    }
    let (path, who, files) = (refused.path?, Who::of(refused.pid)?, Files::of(refused.pid)?);
    let said = |at: &str, thing: &Thing, what: &str| {
        let (mode, owner, user) = (thing.mode(), who.owner(thing), who.inside(who.uid));
        format!("`{at}` has mode {mode:04o}{owner}; user {user} may not {what} it")
    };
    let ways = above(path);
    for way in &ways {
        let Some(thing) = files.find(way, true) else { break };
        if thing.is_dir() && !who.may(&thing, 1) {
            return Some((Wall::FileMode, said(way, &thing, "search")));
        }
    }
    let parent = ways.last().map_or("/", String::as_str);
    let thing = files.find(path, !matches!(refused.does, Does::Remove));
    let noexec = |thing: &Thing| thing.flags.contains(FsFlags::ST_NOEXEC);
    match (refused.does, &thing) {
        (Does::Exec, Some(thing)) if thing.is_dir() => {
            return Some((Wall::FileMode, format!("`{path}` is a directory")));
        }
        (Does::Exec, Some(thing)) if noexec(thing) => {
            return Some((Wall::NoexecMount, format!("`{path}` lies on a mount with noexec")));
        }
        (Does::Exec, Some(thing)) if !who.may(thing, 1) => {
            return Some((Wall::FileMode, said(path, thing, "execute")));
        }
        (Does::Make | Does::Remove, _) | (_, None) => {
            let folder = files.find(parent, true)?;
            if !who.may(&folder, 3) {
                return Some((Wall::FileMode, said(parent, &folder, "write to")));
            }
        }
        (_, Some(thing)) => {
            let wants = if refused.wants == 0 { if refused.writes { 2 } else { 4 } } else { refused.wants };
            if !who.may(thing, wants) {
                let what = match wants {
                    2 => "write to",
                    6 | 3 | 7 => "read and write",
                    1 => "search",
                    _ => "read",
                };
                return Some((Wall::FileMode, said(path, thing, what)));
            }
        }
    }
    let sees = "modes and mounts would allow it";
    (!matches!(refused.does, Does::Exec)).then(|| (Wall::Landlock, sees.to_owned()))
}

/// The capability that a call wants where it answers EPERM.
fn wanted(refused: &Refused<'_>) -> Option<&'static str> {
    Some(match (refused.does, refused.call) {
        (Does::Own, _) => "CAP_CHOWN",
        (Does::Mode, "setxattr" | "lsetxattr" | "fsetxattr" | "removexattr" | "lremovexattr" | "fremovexattr") => {
            "CAP_SETFCAP or CAP_SYS_ADMIN"
        }
        (Does::Mode, _) => "CAP_FOWNER",
        (Does::Become, "setuid" | "setreuid" | "setresuid" | "setfsuid") => "CAP_SETUID",
        (Does::Become, "setgid" | "setregid" | "setresgid" | "setfsgid" | "setgroups") => "CAP_SETGID",
        (Does::Become | Does::Prctl, _) => "CAP_SETPCAP",
        (Does::Make, "mknod" | "mknodat") => "CAP_MKNOD",
        (Does::Lock, _) => "CAP_IPC_LOCK",
        (Does::Socket, _) => "CAP_NET_RAW",
        (Does::Limit, "setrlimit" | "prlimit64") => "CAP_SYS_RESOURCE",
        (Does::Limit, _) => "CAP_SYS_NICE",
        (Does::Bind, _) => "CAP_NET_BIND_SERVICE",
        (Does::Other, "chroot") => "CAP_SYS_CHROOT",
        (Does::Other, "kill" | "tgkill") => "CAP_KILL",
        (Does::Other, "settimeofday" | "clock_settime" | "clock_adjtime") => "CAP_SYS_TIME",
        (Does::Other, "ptrace") => "CAP_SYS_PTRACE",
        (Does::Other, "mount" | "umount2" | "pivot_root" | "unshare" | "setns" | "sethostname" | "setdomainname") => {
            "CAP_SYS_ADMIN"
        }
        _ => return None,
    })
}

fn not_permitted(refused: &Refused<'_>) -> Found {
    let who = Who::of(refused.pid)?;
    if let Does::Map(_) = refused.does {
        return Some((Wall::NoexecMount, "the file lies on a mount with noexec".to_owned()));
    }
    if let Does::Exec = refused.does {
        let thing = Files::of(refused.pid)?.find(refused.path?, true)?;
        let why = if thing.capability().is_some() {
            "the file has capabilities that are not in the bounding set"
        } else {
            "the file asks for capabilities that the app may not have"
        };
        return Some((Wall::Capability, why.to_owned()));
    }
    if let (Does::Remove, Some(path)) = (refused.does, refused.path) {
        let parent = above(path).pop()?;
        let folder = Files::of(refused.pid)?.find(&parent, true)?;
        let why = format!("`{parent}` is sticky, and neither it nor `{path}` belongs to user {}", who.inside(who.uid));
        return (folder.mode() & 0o1000 != 0).then_some((Wall::FileMode, why));
    }
    let lacks = wanted(refused)?;
    let owner = match (refused.does, refused.path) {
        (Does::Own | Does::Mode, Some(path)) => Files::of(refused.pid).and_then(|files| files.find(path, true)),
        _ => None,
    };
    let mut why = match owner {
        Some(thing) if thing.stat.st_uid != who.uid => {
            let (path, owner) = (refused.path.unwrap_or_default(), who.inside(thing.stat.st_uid));
            format!("`{path}` belongs to user {owner}, and ")
        }
        _ => String::new(),
    };
    let _ = write!(why, "the app, user {}, has no {lacks}", who.inside(who.uid));
    if who.no_new_privs && matches!(refused.does, Does::Become) {
        why.push_str(" and cannot get it");
    }
    Some((Wall::Capability, why))
}
