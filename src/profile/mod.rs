//! What is allowed: presets that behave as engines do, and seccomp profiles.

pub mod preset;
