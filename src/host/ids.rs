//! Ids beside one's own.

use super::{Check, Status};
use crate::ids::mapped::Means;
use crate::ids::{HIGHEST_MAPPED_ID, subordinate};
use crate::sys::fork;

/// Whether a normal user can run images under the ids that they name: tried, in a child.
pub(super) fn subordinate(root: bool) -> Check {
    if root {
        return Check::new("ids", Status::Ok, "root: files keep the ids that the image gives them");
    }
    let means = match Means::find(HIGHEST_MAPPED_ID) {
        Ok(means) => means,
        Err(why) => return single(why),
    };
    let tried = fork::in_child(|| means.enter().err().unwrap_or_default().into_bytes());
    match tried.map(|why| String::from_utf8_lossy(&why).into_owned()) {
        Ok(why) if why.is_empty() => {
            Check::new("ids", Status::Ok, "subordinate ids: files keep the ids that the image gives them (mode mapped)")
        }
        Ok(why) => single(why),
        Err(error) => single(error.to_string()),
    }
}

fn single(why: String) -> Check {
    let uid = nix::unistd::geteuid().as_raw();
    let passwd = super::setting("/etc/passwd").unwrap_or_default();
    let remedy = remedy(&why, subordinate::name_of(&passwd, uid).as_deref());
    let check = Check::new("ids", Status::Warn, why)
        .means("one id is mapped, and the image's modes are projected onto it (mode single)");
    match remedy {
        Some(remedy) => check.remedy(remedy),
        None => check,
    }
}

/// The range is the one that useradd(8) gives a host's first user.
fn remedy(why: &str, name: Option<&str>) -> Option<String> {
    if why.starts_with("there is no new") {
        return Some("sudo apt-get install uidmap (Fedora: shadow-utils)".to_owned());
    }
    let ranges =
        || name.map(|name| format!("sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}"));
    why.starts_with("/etc/sub").then(ranges).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_has_a_command() {
        assert!(remedy("there is no newuidmap", Some("ann")).unwrap().contains("uidmap"));
        assert!(remedy("/etc/subuid has no ids for ann", Some("ann")).unwrap().ends_with(" ann"));
        assert_eq!(remedy("/etc/subuid has no ids for 2001", None), None);
        assert_eq!(remedy("newuidmap: it failed", Some("ann")), None);
    }
}
