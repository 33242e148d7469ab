//! Control groups.

use super::{Check, Status};
use crate::cgroup::{DELEGATE, delegated};

/// Whether limits can be set: by root everywhere, by a normal user where a group of version 2 is the user's own. Looked at, and left as it is.
pub(super) fn check(root: bool) -> Check {
    let check = |status, found: &str| Check::new("cgroup", status, found);
    match version(&std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default()) {
        "v2" if root => check(Status::Ok, "version 2"),
        "v2" => match delegated() {
            Ok(group) => check(Status::Ok, &format!("version 2, and {group} is the user's own")),
            Err(why) => check(Status::Warn, &format!("version 2: {why}"))
                .means("limits (`--memory`, `--pids-limit`, `--cpus`) cannot be set")
                .remedy(DELEGATE),
        },
        "" => check(Status::Warn, "/proc/self/cgroup has no groups")
            .means("limits (`--memory`, `--pids-limit`, `--cpus`) cannot be set"),
        other => check(Status::Warn, &format!("version 1 ({other})"))
            .means("limits (`--memory`, `--pids-limit`, `--cpus`) can be set by root only"),
    }
}

/// cgroups(7), "/proc/pid/cgroup": version 2 is the line that starts with `0::`.
fn version(groups: &str) -> &'static str {
    let two = groups.lines().any(|line| line.starts_with("0::"));
    let one = groups.lines().any(|line| !line.starts_with("0::"));
    match (one, two) {
        (false, true) => "v2",
        (true, true) => "hybrid",
        (true, false) => "v1",
        (false, false) => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_apart() {
        assert_eq!(version("0::/user.slice\n"), "v2");
        assert_eq!(version("5:pids:/\n0::/\n"), "hybrid");
        assert_eq!(version("5:pids:/\n"), "v1");
        assert_eq!(version(""), "");
    }
}
