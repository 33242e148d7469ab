//! The `austere` command.

use std::process::ExitCode;

/// musl's allocator maps and unmaps nearly every page by itself: some 140 system calls before the arguments are read.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    austere::cli::main()
}
