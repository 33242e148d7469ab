//! The same adversary in somebody else's container: docker's, podman's, or one of an OCI runtime.
//!
//! Its twin runs in a second container of theirs, with every wall left out that they can leave out. So both answers come from the same engine,
//! image and kernel.

mod child;
mod engine;
mod runtime;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::str::FromStr;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::report::finished;
pub use runtime::{Bundle, DEFAULT};

/// Where the adversary's program is in a container.
const PROGRAM: &str = "/austere-attack";
/// Far longer than a start, all attempts and an end take.
const LONGEST: Duration = Duration::from_mins(5);

/// Whose container it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Against {
    /// A Docker Engine's, by its command line.
    Docker,
    /// Podman's.
    Podman,
    /// One that this OCI runtime starts.
    Runtime(PathBuf),
}

/// A word that names nobody's container.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is none of docker, podman, runtime:PATH")]
pub struct NoContainer(String);

impl FromStr for Against {
    type Err = NoContainer;

    fn from_str(text: &str) -> Result<Self, NoContainer> {
        match (text, text.strip_prefix("runtime:")) {
            ("docker", _) => Ok(Against::Docker),
            ("podman", _) => Ok(Against::Podman),
            (_, Some(path)) if !path.is_empty() => Ok(Against::Runtime(path.into())),
            _ => Err(NoContainer(text.to_owned())),
        }
    }
}

impl fmt::Display for Against {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Against::Docker => f.write_str("docker"),
            Against::Podman => f.write_str("podman"),
            Against::Runtime(path) => write!(f, "runtime:{}", path.display()),
        }
    }
}

/// Why the adversary could not be put into a container.
#[derive(Debug, thiserror::Error)]
pub enum AgainstError {
    /// There is no such program.
    #[error(
        "`{program}` cannot be run: {why}\n  hint: install it, or say another --against docker|podman|runtime:PATH"
    )]
    NoProgram {
        /// What was run.
        program: String,
        /// execve(2)'s answer.
        why: io::Error,
    },
    /// The engine itself did not answer.
    #[error(
        "{program} does not answer: {why}\n  hint: `{program} version` says whether it runs; docker's is found by DOCKER_HOST"
    )]
    NoAnswer {
        /// What was run.
        program: String,
        /// The last line that it said.
        why: String,
    },
    /// A command of theirs failed.
    #[error("`{command}` failed ({status}): {why}")]
    Failed {
        /// The command, without its flags.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The last line that it said.
        why: String,
    },
    /// The container ended, or did not, without a word of the adversary's for each attempt.
    #[error(
        "{whose}: the adversary did not come to its end: {why}\n  hint: flags that detach, limit or replace what a container runs leave nothing \
         to report; the program must be static and readable for the container's user"
    )]
    Unfinished {
        /// Whose container.
        whose: String,
        /// What was said instead.
        why: String,
    },
    /// Somebody stopped austere.
    #[error("{0} stopped it; what it had made is removed")]
    Stopped(Signal),
    /// Something of this host.
    #[error("{what}: {why}")]
    Host {
        /// What was tried.
        what: String,
        /// The kernel's answer.
        why: io::Error,
    },
}

fn host(what: &str) -> impl FnOnce(io::Error) -> AgainstError {
    let what = what.to_owned();
    move |why| AgainstError::Host { what, why }
}

/// What the adversary wrote.
#[derive(Clone, Debug)]
pub struct Said {
    /// In the container as it was asked for.
    pub inside: String,
    /// In the one without walls.
    pub without: String,
    /// The engine's or runtime's name with its version.
    pub who: String,
}

/// Runs the adversary in a container of docker's or podman's (`program`), once with `flags` and once without walls. `outside` is for the
/// adversary. Without an image it gets an almost empty one, which is removed again.
///
/// # Errors
///
/// See [`AgainstError`].
pub fn engine(program: &str, image: Option<&str>, flags: &[String], outside: &str) -> Result<Said, AgainstError> {
    engine::attack(program, image, flags, outside)
}

/// The most that a container here can be given, without `CAP_`: what this host's own processes may have.
fn own_capabilities() -> Vec<String> {
    let own = caps::read(None, caps::CapSet::Bounding).unwrap_or_default();
    own.iter().map(|one| one.to_string().trim_start_matches("CAP_").to_owned()).collect()
}

/// What the adversary said, if it came to its end.
fn whole(whose: &str, done: child::Done) -> Result<String, AgainstError> {
    if finished(&done.stdout) {
        return Ok(done.stdout);
    }
    let why = match done.status {
        // Not a word: it was not started.
        Some(status) if !status.success() && done.stdout.is_empty() => {
            let (command, why) = (format!("{whose} run"), done.last_line());
            return Err(AgainstError::Failed { command, status, why });
        }
        None => format!("it was ended after {} s", LONGEST.as_secs()),
        Some(status) => format!("{} ({status})", done.last_line()),
    };
    Err(AgainstError::Unfinished { whose: whose.to_owned(), why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_attacked_is_named_as_on_the_command_line() {
        for text in ["docker", "podman", "runtime:/usr/bin/crun", "runtime:crun"] {
            assert_eq!(text.parse::<Against>().unwrap().to_string(), text);
        }
        for text in ["", "runtime:", "runtime", "containerd", "Docker"] {
            assert_eq!(text.parse::<Against>(), Err(NoContainer(text.to_owned())));
        }
    }
}
