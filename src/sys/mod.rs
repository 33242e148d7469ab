//! The kernel: system calls that `nix` does not offer. The only place with `unsafe`, one call a file.

pub mod read_xattr;
pub mod write_xattr;
