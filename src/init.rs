//! PID 1 of a jail with `--init`, as docker's tini: passes signals on to the app, reaps what nobody waits for, and ends as the app does.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::profile::mount::INIT;

/// Runs the app behind `--`, if `name`, the program's own name, is that of the init. `None`: it is austere itself.
pub fn run(name: &OsStr) -> Option<ExitCode> {
    if Path::new(name) != Path::new(INIT) {
        return None;
    }
    let words: Vec<OsString> = std::env::args_os().skip(1).skip_while(|word| word == "--").collect();
    let code = words.split_first().map_or(Ok(127), |(program, args)| serve(program, args));
    Some(ExitCode::from(code.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "docker-init: {error}");
        1
    })))
}

fn serve(program: &OsStr, args: &[OsString]) -> io::Result<u8> {
    // Before signals are blocked: the app would inherit that.
    let child = match Command::new(program).args(args).process_group(0).spawn() {
        Ok(child) => Pid::from_raw(child.id().cast_signed()),
        Err(error) => {
            let _ = writeln!(io::stderr(), "docker-init: {}: {error}", program.display());
            return Ok(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 });
        }
    };
    let signals = SigSet::all();
    signals.thread_block()?;
    let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC)?;
    // It may have ended already, and nothing would say so any more.
    if let Some(code) = reap(child)? {
        return Ok(code);
    }
    loop {
        let Some(signal) = signals.read_signal()? else { continue };
        match Signal::try_from(signal.ssi_signo.cast_signed()) {
            Ok(Signal::SIGCHLD) => {
                if let Some(code) = reap(child)? {
                    return Ok(code);
                }
            }
            // It may have ended a moment ago; SIGCHLD says so next.
            Ok(signal) => match kill(child, signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => return Err(errno.into()),
            },
            Err(_) => {}
        }
    }
}

/// Waits for all that ended; the app's exit code when it is among them.
fn reap(app: Pid) -> io::Result<Option<u8>> {
    let mut code = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) if pid == app => code = Some(u8::try_from(status).unwrap_or(1)),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == app => {
                code = Some(u8::try_from(128 + signal as i32).unwrap_or(1));
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(code),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
