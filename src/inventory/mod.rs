//! What is in an image, found by reading: nothing is run.
//!
//! These files turn bytes into types. The caller opens files for them, through [`Tree`].

mod access;
mod base;
mod binary;
mod capability;
mod contents;
pub mod elf;
mod entrypoint;
mod findings;
mod libraries;
pub mod packages;
pub mod programs;
mod release;
pub mod script;
mod survey;
mod tree;

pub use access::Credentials;
pub use base::{Base, Serves};
pub use capability::FileCapabilities;
pub use contents::{Contents, Item, ItemKind, Reader};
pub use entrypoint::{Command, Entrypoint, Kind, health_check, resolve, user};
pub use libraries::Library;
pub use programs::{Program, shells};
pub use release::Release;
pub use survey::{Missing, Survey, Writable, owned};
pub use tree::{Entry, EntryKind, Found, ReadSeek, Tree};
