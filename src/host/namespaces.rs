//! Namespaces and mounts, really made: by a child, which takes them with it.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{chdir, getegid, geteuid, pivot_root};

use super::storage::Place;
use super::surroundings::Surroundings;
use super::{Check, Status, setting};
use crate::refusal::Refusal;
use crate::sys::fork::in_child;

/// What is tried, in this order; later ones need the earlier ones.
const STEPS: [(&str, &str); 7] = [
    ("user namespaces", "unshare(CLONE_NEWUSER)"),
    ("id map", "a second one inside of it, with the id 65532 mapped and read back"),
    ("namespaces", "mount, pid, net, ipc, uts and cgroup namespaces"),
    ("mounts", "a mount namespace that nothing leaves"),
    ("overlay", "an overlay with userxattr in the store: whiteouts and opaque directories are honoured"),
    ("mounting /proc", "a procfs of its own for a new pid namespace"),
    ("new root", "pivot_root into a tmpfs"),
];
const USER: usize = 0;
const MAP: usize = 1;
const OTHERS: usize = 2;
const PRIVATE: usize = 3;
const OVERLAY: usize = 4;
const PROC: usize = 5;
const ROOT: usize = 6;

/// An id that no file on the host should have: the app's.
const APP: u32 = 65532;

/// Steps that were tried, with errno (0 for success).
type Outcome = Vec<(usize, i32)>;

pub(super) fn checks(root: bool, around: &Surroundings, place: &Place) -> Vec<Check> {
    // Root needs no user namespace; whether there are any is told all the same.
    let first = if root { &STEPS[OTHERS..] } else { &STEPS[..] };
    let outcome = match try_all(!root, place.folder()) {
        Ok(outcome) => outcome,
        Err(error) => {
            return vec![Check::new("namespaces", Status::No, format!("could not be tried: {error}")).needed()];
        }
    };
    let mut checks = Vec::new();
    if root {
        let user = try_all(true, None).unwrap_or_default();
        let check = user.iter().find(|(step, _)| *step == USER).map(|&(step, errno)| explain(step, errno, around));
        checks.extend(check.map(|check| Check {
            status: if check.status == Status::No { Status::Warn } else { check.status },
            ..check
        }));
    }
    for (name, what) in first {
        let tried = outcome.iter().find(|(step, _)| STEPS[*step].0 == *name);
        checks.push(match tried {
            Some(&(step, errno)) => explain(step, errno, around).needed(),
            None => Check::new(name, Status::No, format!("not tried: {what}"))
                .means("something else that it needs is missing")
                .needed(),
        });
    }
    checks
}

fn try_all(user: bool, folder: Option<&Path>) -> io::Result<Outcome> {
    let text = in_child(|| encode(&attempt(user, folder)))?;
    Ok(decode(&String::from_utf8_lossy(&text)))
}

fn encode(outcome: &Outcome) -> Vec<u8> {
    let mut text = String::new();
    for (step, errno) in outcome {
        let _ = writeln!(text, "{step} {errno}");
    }
    text.into_bytes()
}

fn decode(text: &str) -> Outcome {
    text.lines()
        .filter_map(|line| {
            let (step, errno) = line.split_once(' ')?;
            Some((step.parse().ok().filter(|step| *step < STEPS.len())?, errno.parse().ok()?))
        })
        .collect()
}

/// In the child: stops where going on would touch what is not ours.
fn attempt(user: bool, folder: Option<&Path>) -> Outcome {
    let mut outcome = Outcome::new();
    let mut step = |number: usize, result: io::Result<()>| {
        outcome.push((number, result.as_ref().err().map_or(0, |error| error.raw_os_error().unwrap_or(libc::EIO))));
        result.is_ok()
    };
    let others = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    let own = (geteuid().as_raw(), getegid().as_raw());
    let user_ready =
        !user || step(USER, unshare(CloneFlags::CLONE_NEWUSER).map_err(io::Error::from)) && step(MAP, map_twice(own));
    let private = MsFlags::MS_REC | MsFlags::MS_SLAVE;
    if !user_ready
        || !step(OTHERS, unshare(others).map_err(io::Error::from))
        || !step(PRIVATE, mount(None::<&str>, "/", None::<&str>, private, None::<&str>).map_err(io::Error::from))
    {
        return outcome;
    }
    let Some(folder) = folder else { return outcome };
    // Relative names need no escapes in mount options.
    if let Err(error) = chdir(folder) {
        step(OVERLAY, Err(error.into()));
        return outcome;
    }
    step(OVERLAY, overlay());
    // The new pid namespace begins with the next child.
    match in_child(|| encode(&vec![(PROC, errno(&procfs())), (ROOT, errno(&new_root()))])) {
        Ok(text) => outcome.extend(decode(&String::from_utf8_lossy(&text))),
        Err(error) => {
            step(PROC, Err(error));
        }
    }
    outcome
}

fn errno(result: &io::Result<()>) -> i32 {
    result.as_ref().err().map_or(0, |error| error.raw_os_error().unwrap_or(libc::EIO))
}

/// As the jail does it: one namespace in which we are root, and in that one another in which we are the app.
fn map_twice((uid, gid): (u32, u32)) -> io::Result<()> {
    map_one(0, uid, gid)?;
    unshare(CloneFlags::CLONE_NEWUSER)?;
    map_one(APP, 0, 0)?;
    if geteuid().as_raw() == APP { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EIO)) }
}

fn map_one(inside: u32, uid: u32, gid: u32) -> io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{inside} {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{inside} {gid} 1"))
}

fn overlay() -> io::Result<()> {
    mount(Some("overlay"), "merged", Some("overlay"), MsFlags::empty(), Some("lowerdir=upper:lower,userxattr"))?;
    let there = |name: &str| Path::new("merged").join(name).exists();
    let honoured = there("seen") && there("replaced") && !there("deleted") && !there("replaced/old");
    if honoured { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EIO)) }
}

fn procfs() -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "proc", Some("proc"), flags, None::<&str>)?;
    let own = fs::read_link("proc/self")?;
    if own == Path::new("1") { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EIO)) }
}

fn new_root() -> io::Result<()> {
    mount(Some("tmpfs"), "merged", Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
    chdir("merged")?;
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/")?;
    let empty = fs::read_dir("/")?.next().is_none();
    if empty { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EIO)) }
}

/// The check of the step that a refusal belongs to.
pub(super) fn about(refusal: &Refusal, around: &Surroundings) -> Check {
    let step = match (refusal.call.as_str(), refusal.on.as_str()) {
        ("unshare", "CLONE_NEWUSER") => USER,
        ("write", on) if on.starts_with("/proc/self/") => MAP,
        ("fsmount", "proc" | "sysfs") => PROC,
        ("fsmount", "overlay") => OVERLAY,
        ("pivot_root", _) => ROOT,
        ("clone" | "unshare", _) => OTHERS,
        _ => PRIVATE,
    };
    let check = explain(step, refusal.errno as i32, around);
    Check { found: refusal.to_string(), ..check }
}

/// The limit on namespaces that leaves the fewest (`namespaces(7)`).
fn fewest() -> String {
    let limit = |kind: &&str| setting(&format!("/proc/sys/user/max_{kind}_namespaces"))?.parse::<u64>().ok();
    let kinds = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"];
    let kind = kinds.into_iter().min_by_key(|kind| limit(kind).unwrap_or(u64::MAX)).unwrap_or("user");
    format!("user.max_{kind}_namespaces")
}

fn explain(step: usize, errno: i32, around: &Surroundings) -> Check {
    let (name, what) = STEPS[step];
    if errno == 0 {
        return Check::new(name, Status::Ok, what);
    }
    let error = nix::Error::from_raw(errno);
    let check = Check::new(name, Status::No, format!("{what}: {error:?} ({})", error.desc()));
    let apparmor = setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").as_deref() == Some("1");
    if !geteuid().is_root() && apparmor && error != nix::Error::ENOSPC {
        return check
            .means("AppArmor takes the rights of user namespaces away from ordinary programs")
            .remedy("sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0");
    }
    match (step, error) {
        (USER | MAP | OTHERS, nix::Error::ENOSPC) => check
            .means("a limit on the number of namespaces is reached: user.max_*_namespaces")
            .remedy(format!("sudo sysctl -w {}=15000", fewest())),
        (USER, nix::Error::EPERM) if setting("/proc/sys/kernel/unprivileged_userns_clone").as_deref() == Some("0") => {
            check
                .means("this system keeps user namespaces from ordinary users")
                .remedy("sudo sysctl -w kernel.unprivileged_userns_clone=1")
        }
        (USER, nix::Error::EINVAL | nix::Error::ENOSYS) => check.means("this kernel was built without user namespaces"),
        (PROC, nix::Error::EPERM) => check
            .means("parts of the present /proc are covered, so the kernel gives nobody an uncovered one")
            .remedy("docker run --security-opt systempaths=unconfined …"),
        (OVERLAY, nix::Error::EINVAL | nix::Error::EPERM | nix::Error::ENODEV) => {
            check.means("this kernel mounts no overlay there: Linux 5.11 with CONFIG_OVERLAY_FS does")
        }
        (_, nix::Error::EPERM | nix::Error::EACCES) if around.inside() => {
            check.means("the container's engine refuses it").remedy(around.remedy())
        }
        (_, nix::Error::EPERM | nix::Error::EACCES) => {
            check.means("a security module, a filter or a chroot around us refuses it").remedy(around.remedy())
        }
        _ => check,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_child_says_is_understood_and_nothing_else() {
        let outcome = vec![(USER, 0), (OVERLAY, libc::EPERM)];
        assert_eq!(decode(&String::from_utf8(encode(&outcome)).unwrap()), outcome);
        assert_eq!(decode("99 0\nx\n1 y\n"), Outcome::new());
    }
}
