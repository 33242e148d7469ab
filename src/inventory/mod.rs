//! What is in an image, found by reading: nothing is run.
//!
//! These files turn bytes into types. The caller opens files for them, through [`Tree`].

mod access;
mod capability;
pub mod elf;
mod entrypoint;
mod findings;
mod libraries;
pub mod script;
mod tree;

pub use access::Credentials;
pub use capability::FileCapabilities;
pub use entrypoint::{Command, Entrypoint, Kind, health_check, resolve, user};
pub use libraries::Library;
pub use tree::{Entry, EntryKind, Found, ReadSeek, Tree};
