//! The kernel itself.

use super::surroundings::Surroundings;
use super::{Check, Status};
use crate::sys::probe::Call;

/// Overlays of a user namespace (`userxattr`, 5.11) and recursive read-only mounts (5.12).
const OLDEST: (u32, u32) = (5, 12);

/// `5.10.0-28-amd64` to `(5, 10)`.
fn parse(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn running() -> (String, Option<(u32, u32)>) {
    let release =
        nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default();
    let version = parse(&release);
    (release, version)
}

pub(super) fn version() -> Check {
    let (release, version) = running();
    let found = format!("Linux {release} on {}", std::env::consts::ARCH);
    match version {
        Some(version) if version < OLDEST => Check::new("kernel", Status::No, found)
            .means(format!("Linux {}.{} or newer is needed", OLDEST.0, OLDEST.1))
            .remedy("sudo apt-get install linux-image-amd64 && sudo reboot"),
        _ => Check::new("kernel", Status::Ok, found),
    }
    .needed()
}

pub(super) fn calls(around: &Surroundings) -> Check {
    let (_, version) = running();
    let mut missing = Vec::new();
    let mut filtered = false;
    for call in Call::ALL {
        let refusal = call.refusal();
        let absent = match refusal {
            nix::Error::ENOSYS => true,
            nix::Error::EPERM => !call.is_privileged(),
            _ => false,
        };
        if absent {
            filtered |= version.is_some_and(|version| version >= call.since());
            missing.push(format!("{} ({refusal:?}; Linux {}.{} has it)", call.name(), call.since().0, call.since().1));
        }
    }
    if missing.is_empty() {
        let names: Vec<_> = Call::ALL.iter().map(|call| call.name()).collect();
        return Check::new("system calls", Status::Ok, names.join(", ")).needed();
    }
    let check = Check::new("system calls", Status::No, format!("refused: {}", missing.join(", "))).needed();
    if filtered {
        check.means("this kernel has them: a seccomp filter around austere refuses them").remedy(around.remedy())
    } else {
        check.means("the kernel is too old")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_as_distributions_write_them() {
        assert_eq!(parse("6.1.0-28-amd64"), Some((6, 1)));
        assert_eq!(parse("5.4"), Some((5, 4)));
        assert_eq!(parse("6.18.44-fc-v595"), Some((6, 18)));
        assert_eq!(parse("x"), None);
    }
}
