//! The kernel: system calls that `nix` does not offer. The only place with `unsafe`, one call a file.

pub mod fork;
pub mod landlock_abi;
pub mod probe;
pub mod read_xattr;
pub mod seccomp_action;
pub mod write_xattr;
