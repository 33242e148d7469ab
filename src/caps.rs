//! Capabilities: all five sets, dropped and read back.
//!
//! Source: capabilities(7).

use std::collections::BTreeSet;

use caps::Capability;
use nix::errno::Errno;

use crate::measure::Measure;
use crate::process::Process;
use crate::refusal::Refusal;
use crate::sys;

/// A set of capabilities, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Set(u64);

/// A word that is no capability's name.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a capability (for example CAP_NET_BIND_SERVICE)")]
pub struct UnknownCapability(String);

impl Set {
    /// No capability at all.
    pub const EMPTY: Set = Set(0);

    /// The set of the given names (`CAP_CHOWN`, `chown`).
    ///
    /// # Errors
    ///
    /// [`UnknownCapability`] names the first that is none.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, UnknownCapability> {
        let mut bits = 0;
        for name in names {
            let capability: Capability =
                caps::to_canonical(name).parse().map_err(|_| UnknownCapability(name.to_owned()))?;
            bits |= capability.bitmask();
        }
        Ok(Set(bits))
    }

    /// The names, sorted.
    pub fn names(self) -> BTreeSet<String> {
        let mut names: BTreeSet<String> =
            caps::all().iter().filter(|c| self.0 & c.bitmask() != 0).map(ToString::to_string).collect();
        let known = caps::all().iter().fold(0, |bits, c| bits | c.bitmask());
        let unknown = (0..u64::BITS).filter(|n| (self.0 & !known) >> n & 1 == 1);
        names.extend(unknown.map(|n| format!("CAP_{n}")));
        names
    }

    fn has(self, number: u32) -> bool {
        self.0 >> number & 1 == 1
    }

    fn words(self) -> String {
        if self.0 == 0 { "none".to_owned() } else { self.names().into_iter().collect::<Vec<_>>().join(" ") }
    }
}

/// Takes every capability that is not in `keep` out of the bounding set, up to the last one this kernel knows.
///
/// # Errors
///
/// prctl(2), `PR_CAPBSET_DROP`: EPERM without `CAP_SETPCAP`.
pub fn limit(keep: Set) -> Result<(), Refusal> {
    let known = (0..u64::BITS).take_while(|number| sys::bounding::has(*number).is_some());
    for number in known.filter(|number| !keep.has(*number)) {
        sys::bounding::drop(number)
            .map_err(|errno| Refusal::host("prctl", format!("PR_CAPBSET_DROP, {number}"), errno))?;
    }
    Ok(())
}

/// Makes `keep` the permitted and effective set, and `ambient`, which is a part of it, the ambient and the inheritable one. The user id is final by
/// now.
///
/// # Errors
///
/// capset(2): EPERM.
pub fn apply(keep: Set, ambient: Set) -> Result<(), Refusal> {
    match sys::bounding::clear_ambient() {
        Ok(()) | Err(Errno::EINVAL) => {}
        Err(errno) => return Err(Refusal::host("prctl", "PR_CAP_AMBIENT_CLEAR_ALL", errno)),
    }
    sys::capset::capset(keep.0, ambient.0).map_err(|errno| Refusal::host("capset", keep.words(), errno))?;
    for number in (0..u64::BITS).filter(|number| ambient.has(*number)) {
        sys::bounding::raise_ambient(number)
            .map_err(|errno| Refusal::host("prctl", format!("PR_CAP_AMBIENT_RAISE, {number}"), errno))?;
    }
    Ok(())
}

/// Whether the five sets are as asked: `bounding` is the bounding set, `permitted` the permitted and effective one, `ambient` the ambient
/// and inheritable one. A program whose file gives some has gained `more`, within the bounding set.
pub fn read_back(app: &Process, bounding: Set, permitted: Set, ambient: Set, more: bool) -> Measure {
    let status = app.status();
    let words = |bounding: Set, permitted: Set, effective: Set, inheritable: Set, ambient: Set| {
        if [bounding, permitted, effective, inheritable, ambient] == [Set::EMPTY; 5] {
            return "none in any of the five sets".to_owned();
        }
        format!(
            "bounding: {}; permitted: {}; effective: {}; inheritable: {}; ambient: {}",
            bounding.words(),
            permitted.words(),
            effective.words(),
            inheritable.words(),
            ambient.words()
        )
    };
    let asked = words(bounding, permitted, permitted, ambient, ambient);
    let (Some(seen_bounding), Some(seen_ambient)) = (status.capbnd, status.capamb) else {
        return Measure::unverified("capabilities", asked, "this kernel's /proc/PID/status lacks CapBnd or CapAmb");
    };
    let seen = words(Set(seen_bounding), Set(status.capprm), Set(status.capeff), Set(status.capinh), Set(seen_ambient));
    let gained = Set(status.capprm);
    let by_file = more
        && Set(seen_bounding) == bounding
        && [gained.0 & !bounding.0, status.capeff & !gained.0, status.capinh & !ambient.0, seen_ambient] == [0; 4];
    if by_file && asked != seen {
        return Measure::judged("capabilities", asked, Ok(format!("{seen}, by the program's file")));
    }
    Measure::compared("capabilities", asked, seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_docker_writes_them() {
        let set = Set::from_names(["CAP_CHOWN", "net_bind_service"]).unwrap();
        assert_eq!(set.names().into_iter().collect::<Vec<_>>(), ["CAP_CHOWN", "CAP_NET_BIND_SERVICE"]);
        assert!(Set::from_names(["CAP_NOTHING"]).is_err());
    }

    #[test]
    fn a_capability_newer_than_our_list_still_shows() {
        assert_eq!(Set(1 << 63).words(), "CAP_63");
    }
}
