//! Resource limits: the jail inherits ours, never has a higher one, and leaves no core dumps with the host.

use std::collections::BTreeMap;

use nix::sys::resource::{Resource, setrlimit};

use crate::measure::Measure;
use crate::process::Process;
use crate::refusal::Refusal;

/// Sets the core file limit to 0: where the host's `core_pattern` names a program, a crash in the jail would hand its memory to it.
///
/// # Errors
///
/// setrlimit(2); lowering a limit is always allowed.
pub fn apply() -> Result<(), Refusal> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(|errno| Refusal::host("setrlimit", "RLIMIT_CORE, 0", errno))
}

/// Whether the core limit is 0 and none of the app's hard limits is above ours.
pub fn read_back(app: &Process, ours: &BTreeMap<String, Option<u64>>) -> Measure {
    let name = "rlimits";
    let asked = "core 0, no hard limit above this process's own";
    let theirs = match app.hard_limits() {
        Ok(theirs) => theirs,
        Err(error) => return Measure::unverified(name, asked, format!("/proc/PID/limits: {error}")),
    };
    let too_high = |(name, limit): &(&String, &Option<u64>)| match (name.as_str(), limit, ours.get(*name)) {
        ("Max core file size", limit, _) => **limit != Some(0),
        (_, _, Some(None)) => false,
        (_, Some(theirs), Some(Some(ours))) => theirs > ours,
        (_, None, Some(Some(_))) | (_, _, None) => true,
    };
    let too_high: Vec<&str> = theirs.iter().filter(too_high).map(|(name, _)| name.as_str()).collect();
    let result =
        if too_high.is_empty() { Ok(asked.to_owned()) } else { Err(format!("too high: {}", too_high.join(", "))) };
    Measure::judged(name, asked, result)
}
