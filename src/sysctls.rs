//! Kernel parameters of the app's own namespaces.
//!
//! Source: sysctl(2), `namespaces(7)`.

use std::fs;

use nix::errno::Errno;

use crate::measure::Measure;
use crate::profile::settings::Sysctl;
use crate::refusal::Refusal;

/// Writes them, through a /proc where the files follow the writer's namespaces.
///
/// # Errors
///
/// ENOENT for a parameter that this kernel lacks, EINVAL for a value it does not take; EACCES or EPERM for one that a user namespace may
/// not set.
pub fn apply<'a>(sysctls: impl Iterator<Item = &'a Sysctl>) -> Result<(), Refusal> {
    for sysctl in sysctls {
        fs::write(sysctl.path(), &sysctl.value).map_err(|error| {
            let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
            Refusal::host("write", format!("{}: {}", sysctl.path(), sysctl.value), errno)
        })?;
    }
    Ok(())
}

/// In the jail: whether every one is as asked; `None` where they cannot be read. The kernel writes several values with tabs between them.
pub fn hold(sysctls: &[Sysctl]) -> Option<bool> {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut hold = true;
    for sysctl in sysctls {
        hold &= words(&fs::read_to_string(sysctl.path()).ok()?) == words(&sysctl.value);
    }
    Some(hold)
}

/// The measure, from what the launcher saw; nothing where nothing was asked for.
pub fn read_back(sysctls: &[Sysctl], seen: Option<bool>) -> Option<Measure> {
    let asked = sysctls.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let measure = match seen {
        _ if sysctls.is_empty() => return None,
        None => Measure::unverified("sysctls", asked, "the launcher could not read them inside"),
        Some(true) => Measure::compared("sysctls", asked.clone(), asked),
        Some(false) => Measure::judged("sysctls", asked, Err("another value is in force inside".to_owned())),
    };
    Some(measure.giving())
}
