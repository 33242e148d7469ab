//! The system call filter: compiled from a policy, installed, and seen to be there.
//!
//! `seccompiler` would be the obvious library, but a filter of its making has one matching action, one architecture and no
//! user notification; docker's needs ALLOW, EPERM and ENOSYS side by side, for i386 and x32 too, and the seal needs to
//! notify. So the emitter is our own: some two hundred lines, checked number by number against a plain reading of the
//! policy, while `evaluate` runs any such program in user space.

mod compile;
mod emit;
mod evaluate;
mod numbers;
pub mod observe;
mod table;
#[cfg(test)]
mod tests;
mod witness;

use std::io;

pub use compile::{CompileError, Filter, compile};
pub use evaluate::{SeccompData, audit_arch, evaluate};
pub use table::{name, names, number};
pub use witness::{Observation, Witness};

use crate::profile::seccomp::kernel_version;

/// The running kernel's first two numbers, which profiles make conditions on.
///
/// # Errors
///
/// When `/proc/sys/kernel/osrelease` cannot be read or does not start with two numbers.
pub fn running_kernel() -> io::Result<(u32, u32)> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let unclear = || io::Error::other(format!("`{}` is no kernel release", release.trim()));
    kernel_version(&release).ok_or_else(unclear)
}
