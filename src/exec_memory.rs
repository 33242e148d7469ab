//! No code that was not a file of the image: memory that was written to does not become executable, and a file in memory cannot be executed.
//!
//! Source: `PR_SET_MDWE(2const)` and `memfd_create(2)`, Linux 6.3. Programs that compile while they run, as Java and JavaScript do, need the first.

use nix::errno::Errno;

use crate::measure::Measure;
use crate::refusal::Refusal;
use crate::sys::exec_memory::{map_writable_and_executable, memfd, refuse_exec_gain};

/// What is taken away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Memory that can be written to and executed.
    pub gain: bool,
    /// Files in memory without `MFD_NOEXEC_SEAL`; the filter refuses them.
    pub memfd: bool,
}

/// What the launcher saw: what both came to, as errnos, 0 when they worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Memory.
    pub gain: i32,
    /// A file in memory.
    pub memfd: i32,
}

/// Takes the memory away.
///
/// # Errors
///
/// prctl(2), but for EINVAL: a kernel without it is reported by the read-back.
pub fn apply() -> Result<(), Refusal> {
    match refuse_exec_gain() {
        Ok(()) | Err(Errno::EINVAL) => Ok(()),
        Err(errno) => Err(Refusal::host("prctl", "PR_SET_MDWE", errno)),
    }
}

/// Tries both.
pub fn attempt() -> Tried {
    let errno = |result: Result<(), Errno>| result.err().map_or(0, |errno| errno as i32);
    Tried { gain: errno(map_writable_and_executable()), memfd: errno(memfd(libc::MFD_CLOEXEC).map(drop)) }
}

/// A measure for each that is taken away.
pub fn read_back(taken: Taken, seen: Option<(Tried, Tried)>) -> Vec<Measure> {
    let judge = |name: &str, asked: &str, of: fn(&Tried) -> i32| {
        let errno = |tried: &Tried| Errno::from_raw(of(tried));
        match seen {
            None => Measure::unverified(name, asked, "the launcher did not report what it saw"),
            Some((before, _)) if of(&before) != 0 => {
                Measure::unverified(name, asked, format!("{:?} before it was refused too", errno(&before)))
            }
            Some((_, after)) if of(&after) != 0 => {
                Measure::judged(name, asked, Ok(format!("tried: {:?}", errno(&after))))
            }
            Some(_) => Measure::judged(name, asked, Err("it still works".to_owned())),
        }
    };
    let mut measures = Vec::new();
    if taken.gain {
        let asked = "memory that can be written to cannot be executed";
        let measure = judge("no-exec-gain", asked, |tried| tried.gain);
        // The call is there since Linux 6.3, and what it refuses is no wall that anything else leans on.
        let is_absent = crate::seccomp::running_kernel().is_ok_and(|kernel| kernel < (6, 3));
        measures.push(if is_absent {
            Measure::unavailable("no-exec-gain", asked, "this kernel has no PR_SET_MDWE (Linux 6.3)").optional()
        } else {
            measure
        });
    }
    if taken.memfd {
        measures.push(judge("no-exec-memfd", "a file in memory cannot be executed", |tried| tried.memfd));
    }
    measures
}
