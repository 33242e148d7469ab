//! Ids beside one's own.

use super::{Check, Status};

/// `/etc/subuid` and `/etc/subgid` are informational: this version maps one id and projects the image's modes onto it.
pub(super) fn subordinate(root: bool) -> Check {
    if root {
        return Check::new("ids", Status::Ok, "root: files keep the ids that the image gives them");
    }
    let uid = nix::unistd::geteuid().as_raw();
    // Not getpwuid(3): a static glibc loads plug-ins for it, which crash.
    let name = name_of(&super::setting("/etc/passwd").unwrap_or_default(), uid);
    let ranges = |file: &str| count(&super::setting(file).unwrap_or_default(), name.as_deref(), uid);
    let (users, groups) = (ranges("/etc/subuid"), ranges("/etc/subgid"));
    let tools = ["newuidmap", "newgidmap"].iter().all(|tool| in_path(tool));
    let found = match (users, groups, tools) {
        (0, _, _) | (_, 0, _) => "user without subordinate ids".to_owned(),
        (_, _, false) => format!("{users} subordinate users, but no newuidmap and newgidmap"),
        _ => format!("{users} subordinate users, {groups} subordinate groups, newuidmap and newgidmap"),
    };
    Check::new("ids", Status::Ok, found)
        .means("one id is mapped, and the image's modes are projected onto it (mode single)")
}

fn in_path(tool: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(tool).is_file()))
}

/// passwd(5): `NAME:PASSWORD:UID:…`.
fn name_of(passwd: &str, uid: u32) -> Option<String> {
    let number = uid.to_string();
    let line = passwd.lines().find(|line| line.split(':').nth(2) == Some(number.as_str()))?;
    line.split(':').next().map(str::to_owned)
}

/// subuid(5): `NAME-OR-UID:FIRST:COUNT`.
fn count(file: &str, name: Option<&str>, uid: u32) -> u64 {
    let number = uid.to_string();
    let own = |line: &&str| {
        let owner = line.split(':').next();
        owner == Some(number.as_str()) || (name.is_some() && owner == name)
    };
    file.lines().filter(own).filter_map(|line| line.split(':').nth(2)?.parse::<u64>().ok()).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_passwd() {
        let passwd = "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/:/bin/sh\n";
        assert_eq!(name_of(passwd, 1000).as_deref(), Some("ann"));
        assert_eq!(name_of(passwd, 1), None);
    }

    #[test]
    fn ranges_of_a_name_and_of_a_number_add_up() {
        let file = "ann:100000:65536\n1000:300000:10\nbob:1:1\n# x\nann:bad\n";
        assert_eq!(count(file, Some("ann"), 1000), 65546);
        assert_eq!(count(file, None, 2001), 0);
    }
}
