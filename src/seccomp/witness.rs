//! Whether a filter is in force, seen from behind it.
//!
//! The kernel says only that there is some filter (`Seccomp:` in `/proc/PID/status`), not what it says. So, between its
//! installation and the exec, the launcher makes one call that this filter refuses and one that it allows.

use libc::sock_filter;

use super::evaluate::{SeccompData, evaluate};
use crate::profile::seccomp::Arch;
use crate::sys::seccomp::Harmless;

/// In the order of preference: what every kernel has first.
const REFUSED: [Harmless; 8] = [
    Harmless::Unshare,
    Harmless::Setns,
    Harmless::Kcmp,
    Harmless::AddKey,
    Harmless::Keyctl,
    Harmless::GetMempolicy,
    Harmless::IoUringRegister,
    Harmless::Clone3,
];
const ALLOWED: [Harmless; 3] = [Harmless::Getppid, Harmless::Gettid, Harmless::SchedYield];

/// Two calls that tell a filter from none.
#[derive(Clone, Copy, Debug)]
pub struct Witness {
    refused: Harmless,
    errno: i32,
    allowed: Harmless,
}

/// What the two calls returned; negated errnos, where they failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The call that should have been refused.
    pub refused: i64,
    /// The call that should have been allowed.
    pub allowed: i64,
}

impl Witness {
    /// Chooses the calls for `program`, in a process that is not yet behind it.
    ///
    /// The call to be refused is tried here first: behind an engine's filter, say, it may get the same errno already, and
    /// then its refusal would prove nothing. None: nothing on the list tells this filter from no filter, and whoever asks
    /// has to report it as not verified.
    pub fn choose(program: &[sock_filter]) -> Option<Witness> {
        Witness::candidates(program).find(|witness| witness.refused.call() != -i64::from(witness.errno))
    }

    fn candidates(program: &[sock_filter]) -> impl Iterator<Item = Witness> + '_ {
        let allowed = ALLOWED.into_iter().find(|&call| answer(program, call) == libc::SECCOMP_RET_ALLOW);
        REFUSED.into_iter().filter_map(move |refused| {
            let answer = answer(program, refused);
            let errno = i32::try_from(answer & libc::SECCOMP_RET_DATA).ok().filter(|&errno| errno != 0)?;
            let refuses = answer & libc::SECCOMP_RET_ACTION_FULL == libc::SECCOMP_RET_ERRNO;
            refuses.then_some(Witness { refused, errno, allowed: allowed? })
        })
    }

    /// Makes the two calls, behind the filter. Nothing is allocated.
    pub fn observe(&self) -> Observation {
        Observation { refused: self.refused.call(), allowed: self.allowed.call() }
    }

    /// Whether the filter is in force, after what was seen.
    ///
    /// # Errors
    ///
    /// A sentence that says which call was answered how, and how it should have been.
    pub fn judge(&self, seen: &Observation) -> Result<(), String> {
        if seen.refused != -i64::from(self.errno) {
            let (call, got) = (self.refused, seen.refused);
            return Err(format!(
                "the seccomp filter should answer {call:?} with {}, and the call gave {got}",
                -self.errno
            ));
        }
        if seen.allowed < 0 {
            let (call, got) = (self.allowed, seen.allowed);
            return Err(format!("the seccomp filter should allow {call:?}, and the call gave {got}"));
        }
        Ok(())
    }
}

fn answer(program: &[sock_filter], call: Harmless) -> u32 {
    let [a, b] = call.args().map(i64::cast_unsigned);
    let Ok(number) = u32::try_from(call.number()) else { return libc::SECCOMP_RET_KILL_PROCESS };
    evaluate(program, &SeccompData::new(Arch::NATIVE, number, [a, b, 0, 0, 0, 0]))
}
