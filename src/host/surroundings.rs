//! Whether we are in a container ourselves.

use std::path::Path;

use super::{Check, Status};

/// Where we run.
pub(super) struct Surroundings {
    /// The signs of a container that were seen.
    signs: Vec<&'static str>,
}

pub(super) fn look() -> Surroundings {
    let mut signs = Vec::new();
    for file in ["/.dockerenv", "/run/.containerenv"] {
        if Path::new(file).exists() {
            signs.push(file);
        }
    }
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        signs.push("KUBERNETES_SERVICE_HOST");
    }
    if std::env::var_os("container").is_some() {
        signs.push("the variable `container`");
    }
    if root_is_overlay(&std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()) {
        signs.push("a root on overlay");
    }
    Surroundings { signs }
}

/// `proc_pid_mountinfo(5)`: the mount point is the fifth field, the type the first after ` - `.
fn root_is_overlay(mounts: &str) -> bool {
    mounts.lines().any(|line| {
        line.split_once(" - ").is_some_and(|(mount, source)| {
            mount.split(' ').nth(4) == Some("/") && source.split(' ').next() == Some("overlay")
        })
    })
}

impl Surroundings {
    pub(super) fn inside(&self) -> bool {
        !self.signs.is_empty()
    }

    /// What gives a container the rights that a jail needs, or else what root can do about a refusal.
    pub(super) fn remedy(&self) -> String {
        if self.inside() {
            "docker run --security-opt seccomp=unconfined --security-opt systempaths=unconfined …".to_owned()
        } else {
            "grep Seccomp /proc/self/status".to_owned()
        }
    }

    pub(super) fn check(&self) -> Check {
        if self.inside() {
            Check::new("container", Status::Warn, format!("austere runs in a container ({})", self.signs.join(", ")))
                .means("its engine may refuse namespaces and mounts; the lines below say what it does")
        } else {
            Check::new("container", Status::Ok, "austere does not run in a container")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_roots_own_mount_counts() {
        let line = |at: &str, kind: &str| format!("30 1 0:26 / {at} rw,relatime shared:1 - {kind} x rw\n");
        assert!(root_is_overlay(&(line("/proc", "proc") + &line("/", "overlay"))));
        assert!(!root_is_overlay(&(line("/", "ext4") + &line("/var/lib/docker/x", "overlay"))));
    }
}
