//! System calls that `nix` does not offer, one a file.
//!
//! This is the only folder with `unsafe`. Every wrapper takes borrowed descriptors and C strings, allocates nothing (several are called
//! between clone and exec), and gives the kernel's errno back as it came.

pub mod acts;
pub mod bounding;
pub mod capset;
pub mod clone;
pub mod close_range;
pub mod exec_memory;
pub mod execve;
pub mod fork;
pub mod fsmount;
pub mod ifreq;
pub mod landlock_abi;
pub mod mount_setattr;
pub mod move_mount;
pub mod open_tree;
pub mod pidfd_send_signal;
pub mod probe;
pub mod ptrace;
pub mod receive_fd;
pub mod seccomp;
pub mod seccomp_action;
pub mod seccomp_notify;
pub mod setrlimit;
pub mod signals;
pub mod sweep;
pub mod terminal;
pub mod waitid;
pub mod xattr;
