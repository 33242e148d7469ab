//! An adversary inside: austere's own program, in the jail in place of the app, tries what an intruder would try.
//!
//! It comes as a file in memory, so it needs nothing in the image and no wall of files holds it back. Every attempt is made twice: in the jail, and in
//! one without walls, by its root. What fails there too fails for another reason than a wall, and does not count.

mod acts;
pub mod against;
mod exec;
mod gain;
mod list;
mod report;
mod sweep;
mod terminal;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::sys::wait::WaitStatus;

pub use list::attempts;
pub use report::{Facts, Outcome, Report, Tried};
pub use sweep::{Allowed, Sweep, Swept};

use crate::sys;
use crate::sys::exec_memory::memfd;

/// What the adversary is called, and the program that it tries to start.
pub const NAME: &str = "austere-attack";
const SECOND: &str = "austere-attacked";
/// How the second program ends: with a number that is no errno.
const STARTED: u8 = 200;

/// One thing that an intruder would try.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// What it is about.
    pub group: &'static str,
    /// A stable name.
    pub name: &'static str,
    /// The call, or what was done.
    pub tried: &'static str,
    /// What it would mean if it worked.
    pub meaning: &'static str,
    act: Act,
    /// Refusals of the arguments, which come after those of a wall.
    open: &'static [Errno],
}

#[derive(Clone, Copy, Debug)]
enum Act {
    /// A call of the list in `sys::acts`.
    Call(&'static str),
    /// Opening a file.
    Read(&'static str),
    /// Opening a file to write to it; nothing is written.
    Write(&'static str),
    /// Making a file, which is removed again.
    Make(&'static str),
    /// Anything else.
    Do(fn(&str) -> Result<(), Errno>),
    /// All calls there are.
    Sweep,
}

impl Attempt {
    /// Does it, in this process. `outside` names an abstract socket that listens outside of the jail.
    fn make(&self, outside: &str) -> u8 {
        let result = match self.act {
            Act::Call(name) => sys::acts::named(name).map_or(Err(Errno::ENOSYS), |call| call.make().map(drop)),
            Act::Read(path) => acts::open(path, false),
            Act::Write(path) => acts::open(path, true),
            Act::Make(path) => acts::make(path),
            Act::Do(act) => act(outside),
            // Made by itself: it takes a process for each call.
            Act::Sweep => Ok(()),
        };
        result.err().map_or(0, |errno| u8::try_from(errno as i32).unwrap_or(u8::MAX))
    }
}

/// A copy of the running program in memory, to be executed by its descriptor.
///
/// # Errors
///
/// `/proc/self/exe` cannot be read, or there is no memory for it.
pub fn program() -> io::Result<OwnedFd> {
    let copy = memfd(libc::MFD_CLOEXEC)?;
    io::copy(&mut File::open("/proc/self/exe")?, &mut File::from(copy.try_clone()?))?;
    Ok(copy)
}

/// Runs as the adversary, if `name`, the program's own name, is that. `None`: it is austere itself.
pub fn run(name: &OsStr) -> Option<ExitCode> {
    let first = std::env::args_os().nth(1);
    if name == SECOND || first.as_ref().is_some_and(|word| word == SECOND) {
        return Some(ExitCode::from(STARTED));
    }
    // An engine starts it by its path.
    if Path::new(name).file_name() != Some(OsStr::new(NAME)) {
        return None;
    }
    let outside = first.and_then(|word| word.into_string().ok()).unwrap_or_default();
    for attempt in attempts() {
        if matches!(attempt.act, Act::Sweep) {
            for line in sweep::run() {
                let _ = writeln!(io::stdout(), "{line}");
            }
        }
        let said = match sys::fork::outcome_of(|| attempt.make(&outside)) {
            Ok(WaitStatus::Exited(_, code)) => code.to_string(),
            Ok(WaitStatus::Signaled(_, signal, _)) => format!("-{}", signal as i32),
            Ok(_) | Err(_) => "?".to_owned(),
        };
        // Without a reader there is nobody to attack for.
        let _ = writeln!(io::stdout(), "{} {said}", attempt.name);
    }
    Some(ExitCode::SUCCESS)
}
