//! Files and folders of the host, seen in the jail.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::fcntl::OFlag;

use super::{Plan, attach, inside, open_path};
use crate::ids;
use crate::measure::Measure;
use crate::process::Process;
use crate::profile::mount::{Bind, INIT};
use crate::refusal::Refusal;
use crate::sys;

/// Attaches a copy of each, with all that is mounted below it, and gives those that may be written to. What is not there to mount on is made, as
/// engines do; the host's files are named by the host's own root, which is still ours.
pub(super) fn mount(plan: &Plan, root: BorrowedFd<'_>) -> Result<Vec<OwnedFd>, Refusal> {
    let mut binds: Vec<_> = plan.binds.iter().collect();
    // A mount below another one comes after it.
    binds.sort_by_key(|bind| bind.target.components().count());
    let mut writable = Vec::new();
    for bind in binds {
        let (from, to) = (bind.source.to_string_lossy(), bind.target.to_string_lossy());
        let source = open_path(&bind.source)?;
        let is_dir = inside::is_dir(source.as_fd()).map_err(|errno| Refusal::host("fstat", from.as_ref(), errno))?;
        let copy = sys::open_tree::clone_mount(source.as_fd(), c"", true)
            .map_err(|errno| Refusal::host("open_tree", from.as_ref(), errno))?;
        if bind.read_only {
            sys::mount_setattr::set_all(copy.as_fd(), libc::MOUNT_ATTR_RDONLY)
                .map_err(|errno| Refusal::host("mount_setattr", format!("{from}, rdonly"), errno))?;
        }
        let target = if is_dir {
            inside::make_dir(root, &to, inside::shown_mode(plan.ids))?
        } else {
            inside::make_file(root, &to, inside::shown_mode(plan.ids))?
        };
        attach(&copy, target.as_fd(), &to)?;
        if !bind.read_only {
            writable.push(copy);
        }
    }
    Ok(writable)
}

/// Where a bind that may be written to really lies: its target may have been named through a link.
pub(super) fn places(app: &Process, plan: &Plan) -> Vec<String> {
    let Ok(root) = app.root() else { return Vec::new() };
    let place = |bind: &Bind| {
        let opened = inside::open(root.as_fd(), &bind.target.to_string_lossy(), OFlag::O_PATH).ok()?;
        let name = format!("/proc/self/fd/{}", opened.as_raw_fd());
        Some(std::fs::read_link(name).ok()?.to_string_lossy().into_owned())
    };
    plan.binds.iter().filter(|bind| !bind.read_only).filter_map(place).collect()
}

/// What a user namespace cannot carry over from the host's files.
pub(super) fn owners(plan: &Plan) -> Option<Measure> {
    // A program that everybody may run is the same to all.
    let is_program = |bind: &Bind| bind.target == Path::new(INIT);
    let foreign = plan.ids != ids::Mode::Real && !plan.binds.iter().all(is_program);
    let why = "the host's files do not keep their owners in a user namespace: what is the caller's is root's or the app's there";
    foreign.then(|| Measure::unavailable("bind-owners", "as on the host", why).giving())
}
