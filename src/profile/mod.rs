//! What is allowed inside a jail: presets that behave as engines do, and seccomp profiles.

pub mod account;
pub mod preset;
pub mod seccomp;
pub mod tmpfs;
