//! The doors: one file a command. Arguments come in here; results leave on standard output, the rest on standard error.

mod attack;
mod compare;
mod container;
mod doctor;
mod fit;
mod flags;
mod hints;
mod inspect;
mod launch;
mod limits;
mod manifest;
mod profile;
mod progress;
mod pull;
mod run;
mod session;
mod store;
mod unpack;
mod usage;
mod verify;
mod vulns;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::{enter, example, init};

/// Exit codes of every command but `run`, which gives the app's own.
pub mod exit {
    use std::process::ExitCode;

    /// The image passed, or the command did what it was asked.
    pub const PASS: ExitCode = ExitCode::SUCCESS;
    /// The image failed.
    pub fn fail() -> ExitCode {
        ExitCode::from(1)
    }
    /// The arguments or the input were wrong.
    pub fn usage() -> ExitCode {
        ExitCode::from(2)
    }
    /// This host could not enforce or read back what was asked for.
    pub fn inconclusive() -> ExitCode {
        ExitCode::from(3)
    }
}

const EXAMPLES: &str = "\
Examples:
  austere doctor                                can this host judge an image?
  austere verify example:hello                  an image that is built in
  austere verify ./image.tar --no-shell         do its ports answer, and has it no shell?
  austere verify nginx:1.27 --tmpfs /run --http 80/
  austere verify ./job.tar --exit 0 -- --once   a job, and arguments for its entrypoint
  austere fit ./image.tar                       what would make it work?

Exit codes: 0 pass or done, 1 fail, 2 wrong usage or input, 3 inconclusive on this host;
`run` gives the app's own";

/// Does a container image work with a read-only root, no capabilities, a non-root user, seccomp and Landlock?
#[derive(Parser)]
#[command(name = "austere", version, arg_required_else_help = true, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

// The arguments of a command are laid out only if it is the one that was called: laying out all of them takes a millisecond. A doc comment on a
// struct of flattened arguments would then replace the command's own.
#[derive(Subcommand)]
#[command(defer = true)]
enum Command {
    /// Run an image in the jail, test that it works there, and judge
    Verify(Box<verify::Args>),
    /// Find the least that has to be given back for an image to work, and hand it to an engine
    Fit(Box<fit::Args>),
    /// Run an image in the same jail, for a person
    Run(Box<run::Args>),
    /// Put an adversary into an image's jail, and see what works
    Attack(Box<attack::Args>),
    /// Show an image's configuration, layers, entrypoint, packages and programs
    Inspect(Box<inspect::Args>),
    /// Show variants of an image side by side
    Compare(Box<compare::Args>),
    /// Write an image's merged root filesystem to a folder
    Unpack(Box<unpack::Args>),
    /// Show what this host can enforce
    Doctor(doctor::Args),
    /// Show what is unpacked, and remove what nobody needs
    Store(store::Args),
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// Writes to standard output, in colour only on a terminal. A reader that went away has read enough.
fn print(text: &str) -> anyhow::Result<()> {
    match anstream::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}

/// What cannot be done on this host: the verdict is `inconclusive`, not wrong input.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CannotEnforce(pub String);

/// The command line as data: what completions and manual pages are made of (`examples/docs.rs`).
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Runs the command line and gives the process's exit code.
pub fn main() -> ExitCode {
    if let Some(code) = std::env::args_os().next().and_then(|name| {
        example::run(&name)
            .or_else(|| init::run(&name))
            .or_else(|| enter::run(&name))
            .or_else(|| crate::attack::run(&name))
    }) {
        return code;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            if let Some(why) = container::explain(&error, std::env::args_os()).or_else(|| hints::explain(&error)) {
                eprintln!("austere: {why}");
                return exit::usage();
            }
            let asked_for = !error.use_stderr();
            // The terminal may be gone; there is nobody left to tell.
            let _ = error.print();
            return if asked_for { exit::PASS } else { exit::usage() };
        }
    };
    let result = match cli.command {
        Command::Verify(args) => verify::run(*args),
        Command::Fit(args) => fit::run(*args),
        Command::Run(args) => Ok(run::run(*args)),
        Command::Attack(args) => attack::run(*args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Unpack(args) => unpack::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Store(args) => store::run(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("austere: {error:#}{}", hints::hint(&error));
        if error.is::<CannotEnforce>() { exit::inconclusive() } else { exit::usage() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commands_help_begins_with_what_the_list_says_of_it() {
        let listed = command();
        let mut whole = listed.clone();
        whole.build();
        for command in listed.get_subcommands() {
            let built = whole.find_subcommand(command.get_name()).unwrap();
            let about = |command: &clap::Command| command.get_about().map(ToString::to_string);
            assert_eq!(about(built), about(command), "{}", command.get_name());
        }
    }
}
