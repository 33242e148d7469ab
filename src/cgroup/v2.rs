//! Version 2: one hierarchy for all controllers, which a group passes on only if it has no processes of its own.

use std::fs;
use std::path::Path;

use nix::unistd::{AccessFlags, access};

use super::Controller;
use super::amount::{Bytes, Cpus, Swap};
use super::folder::{self, Folder, Why};
use super::hierarchy::Hierarchy;
use super::limit::Limit;

/// Whether a group for all these controllers could be made: the nearest that can pass them on, or why each cannot. Nothing is written.
pub(super) fn candidate(hierarchy: &Hierarchy, controllers: &[Controller]) -> Result<String, Why> {
    let mut whys = Vec::new();
    for group in hierarchy.upward() {
        let parent = hierarchy.folder(group);
        match can_pass_on(&parent, controllers) {
            Ok(()) => return Ok(group.display().to_string()),
            Err(why) => whys.push(why),
        }
    }
    Err(whys.join("; "))
}

fn can_pass_on(parent: &Path, controllers: &[Controller]) -> Result<(), Why> {
    let writable =
        |path: &Path| access(path, AccessFlags::W_OK).map_err(|errno| format!("{}: {}", path.display(), errno.desc()));
    writable(parent)?;
    let list = parent.join("cgroup.subtree_control");
    if controllers.iter().all(|controller| has(&list, *controller)) {
        return Ok(());
    }
    if let Some(none) = controllers.iter().find(|one| !has(&parent.join("cgroup.controllers"), **one)) {
        return Err(format!("{} has no controller `{}`", parent.display(), none.name()));
    }
    writable(&list)?;
    // cgroups(7), "no internal processes": a group with processes passes nothing on.
    let processes = fs::read_to_string(parent.join("cgroup.procs")).unwrap_or_default();
    if processes.is_empty() { Ok(()) } else { Err(format!("{} has processes of its own", parent.display())) }
}

/// Whether the hierarchy has the controller at all, as far up as can be seen.
pub(super) fn knows(hierarchy: &Hierarchy, controller: Controller) -> bool {
    has(&hierarchy.mount.join("cgroup.controllers"), controller)
}

fn has(list: &Path, controller: Controller) -> bool {
    fs::read_to_string(list).is_ok_and(|text| text.split_whitespace().any(|name| name == controller.name()))
}

/// A group below our own, or below the nearest above it that can pass all these controllers on.
pub(super) fn make(hierarchy: &Hierarchy, controllers: &[Controller]) -> Result<Folder, Why> {
    let mut whys = Vec::new();
    for group in hierarchy.upward() {
        let parent = hierarchy.folder(group);
        folder::sweep(&parent);
        match pass_on(&parent, controllers).and_then(|()| Folder::make(&parent, group)).and_then(usable) {
            Ok(folder) => return Ok(folder),
            Err(why) => whys.push(why),
        }
    }
    Err(format!("{} (run austere as root, or in a group of its own: {})", whys.join("; "), super::DELEGATE))
}

/// Lets the groups below have the controllers. What was not passed on before stays passed on: other groups may use it by the time we end.
fn pass_on(parent: &Path, controllers: &[Controller]) -> Result<(), Why> {
    let list = parent.join("cgroup.subtree_control");
    let missing: Vec<_> = controllers.iter().filter(|controller| !has(&list, **controller)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if let Some(none) = missing.iter().find(|controller| !has(&parent.join("cgroup.controllers"), ***controller)) {
        return Err(format!("{} has no controller `{}`", parent.display(), none.name()));
    }
    // The kernel refuses `memory` then, but takes `cpu` and `pids`, which makes the group threaded and all below it useless for processes
    // (cgroups(7), "Domain invalid"). Only the top of the hierarchy, which has no type, may have processes.
    let is_top = !parent.join("cgroup.type").exists();
    if !is_top && fs::read_to_string(parent.join("cgroup.procs")).is_ok_and(|processes| !processes.is_empty()) {
        return Err(format!("{} has processes of its own", parent.display()));
    }
    let words: Vec<_> = missing.iter().map(|controller| format!("+{}", controller.name())).collect();
    folder::write(&list, &words.join(" "))
}

/// Only what is a domain takes processes.
fn usable(folder: Folder) -> Result<Folder, Why> {
    match folder.read("cgroup.type")?.as_str() {
        "domain" => Ok(folder),
        other => Err(format!("a group there is {other}, and takes no process")),
    }
}

/// Whether the kernel counts swap (it may be told not to: `swapaccount=0`).
pub(super) fn counts_swap(folder: &Folder) -> bool {
    folder.has("memory.swap.max")
}

pub(super) fn set(folder: &Folder, limit: &Limit) -> Result<(), Why> {
    match limit {
        Limit::Memory(Bytes(bytes)) => folder.write("memory.max", &bytes.to_string()),
        Limit::Swap { memory, total: Swap::Total(total), .. } => {
            folder.write("memory.swap.max", &total.0.saturating_sub(memory.0).to_string())
        }
        Limit::Swap { total: Swap::Unlimited, .. } => folder.write("memory.swap.max", "max"),
        Limit::Pids(pids) => folder.write("pids.max", &pids.to_string()),
        Limit::Cpu(cpus) => folder.write("cpu.max", &format!("{} {}", cpus.quota(), Cpus::PERIOD)),
    }
}

pub(super) fn get(folder: &Folder, limit: &Limit) -> Result<Option<u64>, Why> {
    let read = |file: &str| number(file, &folder.read(file)?);
    match limit {
        Limit::Memory(_) => read("memory.max"),
        // Here swap has a limit of its own; asked for are both together.
        Limit::Swap { memory, .. } => Ok(read("memory.swap.max")?.map(|swap| swap.saturating_add(memory.0))),
        Limit::Pids(_) => read("pids.max"),
        Limit::Cpu(_) => {
            let text = folder.read("cpu.max")?;
            number("cpu.max", text.strip_suffix(&format!(" {}", Cpus::PERIOD)).unwrap_or(&text))
        }
    }
}

/// A number, or `max` for none.
fn number(file: &str, text: &str) -> Result<Option<u64>, Why> {
    if text == "max" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| format!("{file} says {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plain files in place of a hierarchy: a group below one that is the user's own or is not, with what the kernel writes in them.
    #[test]
    fn a_group_that_can_pass_on_is_found_above_one_that_has_processes() {
        let mount = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| fs::write(mount.path().join(path), text).unwrap();
        fs::create_dir_all(mount.path().join("user/scope")).unwrap();
        for group in [".", "user", "user/scope"] {
            write(&format!("{group}/cgroup.controllers"), "cpu memory pids\n");
            write(&format!("{group}/cgroup.subtree_control"), "");
            write(&format!("{group}/cgroup.procs"), "1\n");
        }
        let hierarchy = Hierarchy { mount: mount.path().to_owned(), root: "/".into(), group: "/user/scope".into() };
        let all = [Controller::Memory, Controller::Pids, Controller::Cpu];
        assert!(candidate(&hierarchy, &all).unwrap_err().contains("has processes of its own"));
        write("user/cgroup.procs", "");
        assert_eq!(candidate(&hierarchy, &all).as_deref(), Ok("/user"));
        write("user/cgroup.controllers", "cpu\n");
        assert!(candidate(&hierarchy, &all).unwrap_err().contains("no controller `memory`"));
        write("user/cgroup.subtree_control", "cpu memory pids\n");
        assert_eq!(candidate(&hierarchy, &all).as_deref(), Ok("/user"));
    }
}
