//! The `austere` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    austere::cli::main()
}
