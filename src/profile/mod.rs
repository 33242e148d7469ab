//! What is allowed inside a jail, read from the forms people have it in.

pub mod seccomp;
