//! Writes shell completions and manual pages, made from the command line itself, to a folder:
//!
//! ```text
//! cargo run --example docs -- FOLDER
//! ```
//!
//! They are no part of the binary that is shipped.

use std::io;
use std::path::PathBuf;

use clap::ValueEnum as _;
use clap_complete::Shell;

fn main() -> io::Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.ok_or_else(|| io::Error::other("usage: cargo run --example docs -- FOLDER"))?;
    let (pages, completions) = (folder.join("man"), folder.join("completions"));
    std::fs::create_dir_all(&pages)?;
    std::fs::create_dir_all(&completions)?;
    clap_mangen::generate_to(austere::cli::command(), &pages)?;
    for shell in Shell::value_variants() {
        clap_complete::generate_to(*shell, &mut austere::cli::command(), "austere", &completions)?;
    }
    Ok(())
}
