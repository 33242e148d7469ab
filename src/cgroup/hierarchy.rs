//! Where the hierarchies are mounted, and where this process stands in each.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use procfs::process::MountInfo;

use super::Controller;
use crate::process::Process;

/// This process's own group in one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hierarchy {
    /// Where its top is mounted.
    pub(super) mount: PathBuf,
    /// What of the hierarchy the mount shows: `/`, or the group of a container that it was made for.
    pub(super) root: PathBuf,
    /// The group, as `/proc/PID/cgroup` writes it.
    pub(super) group: PathBuf,
}

/// The hierarchies of this host that have something to do with limits.
#[derive(Debug, Default)]
pub(super) struct Hierarchies {
    mounts: Vec<MountInfo>,
    groups: String,
}

impl Hierarchies {
    /// Looks at `/proc/self/mountinfo` and `/proc/self/cgroup`.
    pub(super) fn here() -> io::Result<Self> {
        Ok(Hierarchies { mounts: Process::own()?.mounts()?.to_vec(), groups: fs::read_to_string("/proc/self/cgroup")? })
    }

    /// The version 1 hierarchy of one controller.
    pub(super) fn v1(&self, controller: Controller) -> Option<Hierarchy> {
        let name = controller.name();
        let group = group(&self.groups, |controllers| controllers.split(',').any(|one| one == name))?;
        self.mounted(group, |mount| mount.fs_type == "cgroup" && mount.super_options.contains_key(name))
    }

    /// The one hierarchy of version 2.
    pub(super) fn v2(&self) -> Option<Hierarchy> {
        self.mounted(group(&self.groups, str::is_empty)?, |mount| mount.fs_type == "cgroup2")
    }

    fn mounted(&self, group: &str, wanted: impl Fn(&MountInfo) -> bool) -> Option<Hierarchy> {
        let mount = self.mounts.iter().find(|mount| wanted(mount))?;
        let hierarchy = Hierarchy {
            mount: mount.mount_point.clone(),
            root: PathBuf::from(&mount.root),
            group: PathBuf::from(group),
        };
        // A group above the mount's top, or outside of our cgroup namespace, has no folder here.
        let is_here = hierarchy.group.starts_with(&hierarchy.root) && !group.split('/').any(|part| part == "..");
        is_here.then_some(hierarchy)
    }
}

impl Hierarchy {
    /// The folder of a group of this hierarchy.
    pub(super) fn folder(&self, group: &Path) -> PathBuf {
        self.mount.join(group.strip_prefix(&self.root).unwrap_or(Path::new("")))
    }

    /// Our own group, then what is above it, up to the top of the mount.
    pub(super) fn upward(&self) -> impl Iterator<Item = &Path> {
        self.group.ancestors().filter(|group| group.starts_with(&self.root))
    }
}

/// The group in the hierarchy whose list of controllers is `wanted`, of a text like that of `/proc/PID/cgroup` (cgroups(7)).
pub(super) fn group(groups: &str, wanted: impl Fn(&str) -> bool) -> Option<&str> {
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, group) = (parts.next()?, parts.next()?, parts.next()?);
        wanted(controllers).then_some(group)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hierarchies(mounts: &[&str], groups: &str) -> Hierarchies {
        let mounts = mounts.iter().map(|line| MountInfo::from_line(line).unwrap()).collect();
        Hierarchies { mounts, groups: groups.to_owned() }
    }

    const HYBRID: [&str; 3] = [
        "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct",
        "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory",
        "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw",
    ];

    #[test]
    fn each_controller_has_its_place() {
        let here = hierarchies(&HYBRID, "4:memory:/a/b\n1:cpu,cpuacct:/\n0::/c\n");
        let memory = here.v1(Controller::Memory).unwrap();
        assert_eq!(memory.folder(&memory.group), Path::new("/sys/fs/cgroup/memory/a/b"));
        assert_eq!(memory.upward().collect::<Vec<_>>(), ["/a/b", "/a", "/"].map(Path::new));
        let cpu = here.v1(Controller::Cpu).unwrap();
        assert_eq!(cpu.folder(&cpu.group), Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(here.v1(Controller::Pids), None);
        assert_eq!(here.v2().unwrap().group, Path::new("/c"));
    }

    #[test]
    fn a_container_sees_its_part_only() {
        let mount = ["35 31 0:32 /docker/x /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"];
        let memory = hierarchies(&mount, "4:memory:/docker/x\n").v1(Controller::Memory).unwrap();
        assert_eq!(memory.folder(&memory.group), Path::new("/sys/fs/cgroup/memory/"));
        assert_eq!(memory.upward().count(), 1);
        assert_eq!(hierarchies(&mount, "4:memory:/other\n").v1(Controller::Memory), None);
        assert_eq!(hierarchies(&HYBRID, "4:memory:/../x\n").v1(Controller::Memory), None);
    }
}
