//! Every system call number by every entry, and what the profile says of each.
//!
//! A number that the profile does not allow has to be answered by the filter. What else answers is the kernel: then there is a hole.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use libc::sock_filter;
use nix::errno::Errno;
use nix::sys::wait::WaitStatus;
use nix::unistd::alarm;
use serde::Serialize;

use crate::profile::seccomp::Arch;
use crate::seccomp::{SeccompData, evaluate, names};
use crate::sys;
use crate::sys::sweep::{ARGUMENT, Entry, X32_BIT};

/// The name of the attempt.
pub(super) const NAME: &str = "sweep";
/// Linux has given fewer numbers yet.
const NUMBERS: u32 = 1024;
/// Calls that are not made, and why.
const SKIPPED: &[(&str, &str)] = &[
    ("sync", "it has every disk of the host written"),
    ("vfork", "its child would run on the stack of the one that waits for it"),
    ("pause", "it never returns"),
    ("sigsuspend", "it never returns"),
    ("uprobe", "the kernel asks no filter (Linux 6.18), and ends whoever is not a probe's trampoline"),
    ("uretprobe", "the kernel asks no filter (Linux 6.14), and ends whoever is not a probe's trampoline"),
];
/// A call that is there and did what it does: a code that is no errno.
const DONE: u8 = 254;
/// Seconds after which a call that waits is ended by a signal. Ended so it counts as made.
const PATIENCE: u32 = 20;
/// Calls named in one line of text.
const NAMED: usize = 12;

const ENOSYS: i32 = Errno::ENOSYS as i32;

fn arch(entry: Entry) -> Arch {
    match entry {
        Entry::Native => Arch::NATIVE,
        Entry::I386 => Arch::X86,
        Entry::X32 => Arch::X32,
    }
}

fn word(entry: Entry) -> &'static str {
    match entry {
        Entry::Native => "native",
        Entry::I386 => "int-0x80",
        Entry::X32 => "x32",
    }
}

/// The calls of an entry by their numbers, without the bit of x32.
fn known(entry: Entry) -> BTreeMap<u32, &'static str> {
    names(arch(entry)).map(|(number, name)| (number & !X32_BIT, name)).collect()
}

fn is_skipped(name: Option<&&'static str>) -> bool {
    name.is_some_and(|name| SKIPPED.iter().any(|(skipped, _)| skipped == name))
}

/// Makes all calls, and gives a line for each entry: what was answered otherwise than by ENOSYS. The process has one thread.
pub(super) fn run() -> Vec<String> {
    Entry::ALL.iter().map(|entry| of_entry(*entry)).collect()
}

fn of_entry(entry: Entry) -> String {
    let known = known(entry);
    let mut line = format!("{NAME}-{}", word(entry));
    // Without an entry for 32-bit programs its instruction is none that may be used.
    let asks = known.iter().find(|(_, name)| **name == "getpid").map_or(0, |(number, _)| *number);
    if entry == Entry::I386 && one(entry, asks) == -libc::SIGSEGV {
        return line + " absent";
    }
    // Numbers that no kernel has given yet, in one child.
    let strange = (0..NUMBERS).filter(|number| !known.contains_key(number));
    let said = |number: u32| entry.call(number).err() == Some(Errno::ENOSYS);
    let all_unknown = sys::fork::outcome_of(|| {
        let _ = alarm::set(PATIENCE);
        u8::from(!strange.clone().all(said))
    });
    let numbers: Vec<u32> = match all_unknown {
        Ok(WaitStatus::Exited(_, 0)) => known.keys().copied().collect(),
        _ => (0..NUMBERS).collect(),
    };
    for number in numbers.into_iter().filter(|number| *number < NUMBERS && !is_skipped(known.get(number))) {
        let code = one(entry, number);
        if code != ENOSYS {
            let _ = write!(line, " {number}:{code}");
        }
    }
    line
}

/// One call in a child of its own: 0, an errno, or a signal below 0.
fn one(entry: Entry, number: u32) -> i32 {
    let made = || {
        let _ = nix::unistd::setsid();
        let _ = alarm::set(PATIENCE);
        entry.call(number).map_or_else(|errno| u8::try_from(errno as i32).unwrap_or(DONE), |()| DONE)
    };
    match sys::fork::outcome_of(made) {
        // exit(2) with the argument of all calls ends with 255.
        Ok(WaitStatus::Exited(_, code)) if code == i32::from(DONE) || code == i32::from(u8::MAX) => 0,
        Ok(WaitStatus::Signaled(_, signal, _)) => -(signal as i32),
        Ok(WaitStatus::Exited(_, code)) => code,
        // Another child cannot be had: nothing was learnt.
        Ok(_) | Err(_) => ENOSYS,
    }
}

/// What the calls of a jail are judged by.
#[derive(Clone, Debug)]
pub struct Allowed {
    /// Whose list it is.
    pub profile: String,
    /// The filter that is made of it.
    pub program: Vec<sock_filter>,
}

impl Allowed {
    fn allows(&self, entry: Entry, number: u32) -> bool {
        let action = self.action(entry, number) & libc::SECCOMP_RET_ACTION_FULL;
        action == libc::SECCOMP_RET_ALLOW || action == libc::SECCOMP_RET_LOG
    }

    /// Whether `code` is what the filter answers. EPERM and death by SIGSYS are never the sign of a hole.
    fn explains(&self, entry: Entry, number: u32, code: i32) -> bool {
        let action = self.action(entry, number);
        let errno = i32::try_from(action & libc::SECCOMP_RET_DATA).unwrap_or(0);
        action & libc::SECCOMP_RET_ACTION_FULL == libc::SECCOMP_RET_ERRNO && errno == code
    }

    fn action(&self, entry: Entry, number: u32) -> u32 {
        let (number, argument) = match entry {
            Entry::Native => (number, ARGUMENT),
            Entry::X32 => (number | X32_BIT, ARGUMENT),
            Entry::I386 => (number, ARGUMENT >> 32),
        };
        evaluate(&self.program, &SeccompData::new(arch(entry), number, [argument; 6]))
    }
}

/// What came of the sweep, in the document.
#[derive(Clone, Debug, Serialize)]
pub struct Sweep {
    /// Whose list of calls it is compared with; `null` where there is no filter.
    pub profile: Option<String>,
    /// Each way into the kernel.
    pub entries: Vec<Swept>,
    /// Calls that are not made, and why.
    pub skipped: BTreeMap<&'static str, &'static str>,
}

/// One way into the kernel.
#[derive(Clone, Debug, Serialize)]
pub struct Swept {
    /// native, int-0x80, x32.
    pub entry: &'static str,
    /// How many numbers were tried.
    pub tried: usize,
    /// Calls that were answered otherwise than by ENOSYS, EPERM, the profile's errno or SIGSYS.
    pub let_through: Vec<String>,
    /// Those of them that the profile does not allow.
    pub outside: Vec<String>,
    /// How many such there are without walls.
    pub twin_outside: usize,
}

/// What was answered, by entry and number.
struct Answers(BTreeMap<&'static str, BTreeMap<u32, i32>>);

impl Answers {
    fn read(lines: &str) -> Self {
        let of = |entry: &Entry| {
            let start = format!("{NAME}-{} ", word(*entry));
            let line = lines.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or_default();
            let pair = |word: &str| word.split_once(':').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
            (word(*entry), line.split_whitespace().filter_map(pair).collect())
        };
        Answers(Entry::ALL.iter().map(of).collect())
    }

    fn let_through(&self, entry: Entry, allowed: Option<&Allowed>) -> BTreeSet<u32> {
        let refused = [ENOSYS, Errno::EPERM as i32, -libc::SIGSYS];
        let is_refused = |number: u32, code: i32| {
            refused.contains(&code) || allowed.is_some_and(|allowed| allowed.explains(entry, number, code))
        };
        let all = self.0.get(word(entry)).into_iter().flatten();
        all.filter(|(number, code)| !is_refused(**number, **code)).map(|(number, _)| *number).collect()
    }
}

impl Sweep {
    pub(super) fn new(inside: &str, without: &str, allowed: Option<&Allowed>) -> Self {
        let (inside, without) = (Answers::read(inside), Answers::read(without));
        let of = |entry: &Entry| {
            let (entry, known) = (*entry, known(*entry));
            let name = |number: &u32| known.get(number).map_or_else(|| number.to_string(), |name| (*name).to_owned());
            let is_outside = |number: &&u32| allowed.is_some_and(|allowed| !allowed.allows(entry, **number));
            let here = inside.let_through(entry, allowed);
            let skipped = known.values().filter(|name| is_skipped(Some(name))).count();
            Swept {
                entry: word(entry),
                tried: NUMBERS as usize - skipped,
                let_through: here.iter().map(name).collect(),
                outside: here.iter().filter(is_outside).map(name).collect(),
                twin_outside: without.let_through(entry, allowed).iter().filter(is_outside).count(),
            }
        };
        Sweep {
            profile: allowed.map(|allowed| allowed.profile.clone()),
            entries: Entry::ALL.iter().map(of).collect(),
            skipped: SKIPPED.iter().copied().collect(),
        }
    }

    /// Whether a call was made that the profile does not allow.
    pub(super) fn escaped(&self) -> bool {
        self.entries.iter().any(|entry| !entry.outside.is_empty())
    }

    /// Whether such a call is seen where there is no wall.
    pub(super) fn counts(&self) -> bool {
        self.entries.iter().any(|entry| entry.twin_outside > 0)
    }

    pub(super) fn said(&self) -> String {
        let through = |entry: &Swept| format!("{} of {} {}", entry.let_through.len(), entry.tried, entry.entry);
        let through: Vec<String> = self.entries.iter().map(through).collect();
        let outside = self.entries.iter().flat_map(|entry| &entry.outside);
        let mut named: Vec<&str> = outside.clone().map(String::as_str).take(NAMED).collect();
        let more = outside.count() - named.len();
        let rest = format!("{more} more");
        if more > 0 {
            named.push(&rest);
        }
        let profile = self.profile.as_deref().unwrap_or("no profile");
        let named = if named.is_empty() { "none".to_owned() } else { named.join(", ") };
        format!("let through: {}; not in the list of {profile}: {named}", through.join(", "))
    }

    pub(super) fn twin_said(&self) -> String {
        let count: usize = self.entries.iter().map(|entry| entry.twin_outside).sum();
        format!("{count} calls that are not in the list let through")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Allows close(2) alone, and answers openat(2) with ENOTTY.
    fn allowed() -> Allowed {
        let op = |code: u32, jt, jf, k| sock_filter { code: u16::try_from(code).unwrap(), jt, jf, k };
        let number = |call: libc::c_long| u32::try_from(call).unwrap();
        let ret = libc::BPF_RET | libc::BPF_K;
        let program = vec![
            op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
            op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, 0, number(libc::SYS_close)),
            op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, 2, number(libc::SYS_openat)),
            op(ret, 0, 0, libc::SECCOMP_RET_ALLOW),
            op(ret, 0, 0, libc::SECCOMP_RET_ERRNO | 0x19),
            op(ret, 0, 0, libc::SECCOMP_RET_ERRNO | 0x1),
        ];
        Allowed { profile: "one".to_owned(), program }
    }

    #[test]
    fn a_call_that_is_made_and_not_in_the_list_is_a_hole() {
        let (close, openat, getpid) = (libc::SYS_close, libc::SYS_openat, libc::SYS_getpid);
        let without = format!("sweep-native {close}:9 {openat}:14 {getpid}:0 1000:0");
        let held = format!("sweep 0\nsweep-native {close}:9 {openat}:25 {getpid}:1 1000:-31\n");
        let sweep = Sweep::new(&held, &without, Some(&allowed()));
        assert_eq!((sweep.escaped(), sweep.counts()), (false, true), "{sweep:?}");
        assert_eq!(sweep.entries[0].let_through, ["close"]);
        let sweep = Sweep::new(&without, &without, Some(&allowed()));
        assert!(sweep.escaped());
        let mut outside = sweep.entries[0].outside.clone();
        outside.sort();
        assert_eq!(outside, ["1000", "getpid", "openat"]);
        assert!(!Sweep::new(&without, &without, None).counts());
    }
}
