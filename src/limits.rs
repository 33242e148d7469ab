//! Resource limits: the jail inherits ours, never has a higher one, and leaves no core dumps with the host.

use std::collections::BTreeMap;

use nix::sys::resource::{Resource, setrlimit};

use crate::measure::Measure;
use crate::process::Process;
use crate::profile::settings::Ulimit;
use crate::refusal::Refusal;
use crate::sys;

/// Sets the limits that are asked for, and the core file limit to 0: where the host's `core_pattern` names a program, a crash in the jail would
/// hand its memory to it.
///
/// # Errors
///
/// setrlimit(2): EPERM for a hard limit above ours without `CAP_SYS_RESOURCE` in the host's own user namespace.
pub fn apply(ulimits: &[Ulimit]) -> Result<(), Refusal> {
    for ulimit in ulimits {
        let height = |limit: Option<u64>| limit.unwrap_or(libc::RLIM_INFINITY);
        sys::setrlimit::setrlimit(ulimit.resource.number, height(ulimit.soft), height(ulimit.hard))
            .map_err(|errno| Refusal::host("setrlimit", ulimit.to_string(), errno))?;
    }
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(|errno| Refusal::host("setrlimit", "RLIMIT_CORE, 0", errno))
}

/// Whether the core limit is 0, those that were asked for are as asked, and no other hard limit is above ours.
pub fn read_back(app: &Process, ours: &BTreeMap<String, Option<u64>>, ulimits: &[Ulimit]) -> Measure {
    let name = "rlimits";
    let mut asked = "core 0, no hard limit above this process's own".to_owned();
    for ulimit in ulimits {
        asked = format!("{ulimit}, {asked}");
    }
    let theirs = match app.hard_limits() {
        Ok(theirs) => theirs,
        Err(error) => return Measure::unverified(name, asked, format!("/proc/PID/limits: {error}")),
    };
    let is_asked = |name: &str| ulimits.iter().rev().find(|ulimit| ulimit.resource.title == name);
    let too_high = |(name, limit): &(&String, &Option<u64>)| match (name.as_str(), limit, ours.get(*name)) {
        ("Max core file size", limit, _) => **limit != Some(0),
        (name, limit, _) if is_asked(name).is_some() => is_asked(name).is_some_and(|asked| asked.hard != **limit),
        (_, _, Some(None)) => false,
        (_, Some(theirs), Some(Some(ours))) => theirs > ours,
        (_, None, Some(Some(_))) | (_, _, None) => true,
    };
    let too_high: Vec<&str> = theirs.iter().filter(too_high).map(|(name, _)| name.as_str()).collect();
    let result =
        if too_high.is_empty() { Ok(asked.clone()) } else { Err(format!("not as asked: {}", too_high.join(", "))) };
    Measure::judged(name, asked, result)
}
