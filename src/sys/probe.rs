//! Whether a system call is there, asked with arguments that it must refuse.

#![allow(unsafe_code)]

use std::io;

/// System calls that a jail needs and that a kernel, or a filter around us, may not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// clone3(2)
    Clone3,
    /// openat2(2)
    Openat2,
    /// `pidfd_open(2)`
    PidfdOpen,
    /// `pidfd_getfd(2)`
    PidfdGetfd,
    /// `close_range(2)`
    CloseRange,
    /// fsopen(2)
    Fsopen,
    /// `open_tree(2)`
    OpenTree,
    /// `move_mount(2)`
    MoveMount,
    /// `mount_setattr(2)`
    MountSetattr,
}

impl Call {
    /// All of them.
    pub const ALL: [Call; 9] = [
        Call::Clone3,
        Call::Openat2,
        Call::PidfdOpen,
        Call::PidfdGetfd,
        Call::CloseRange,
        Call::Fsopen,
        Call::OpenTree,
        Call::MoveMount,
        Call::MountSetattr,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Call::Clone3 => "clone3",
            Call::Openat2 => "openat2",
            Call::PidfdOpen => "pidfd_open",
            Call::PidfdGetfd => "pidfd_getfd",
            Call::CloseRange => "close_range",
            Call::Fsopen => "fsopen",
            Call::OpenTree => "open_tree",
            Call::MoveMount => "move_mount",
            Call::MountSetattr => "mount_setattr",
        }
    }

    /// The first Linux that has it. Source: syscalls(2).
    pub fn since(self) -> (u32, u32) {
        match self {
            Call::Fsopen | Call::OpenTree | Call::MoveMount => (5, 2),
            Call::Clone3 | Call::PidfdOpen => (5, 3),
            Call::Openat2 | Call::PidfdGetfd => (5, 6),
            Call::CloseRange => (5, 9),
            Call::MountSetattr => (5, 12),
        }
    }

    /// Whether the kernel refuses it to everybody without `CAP_SYS_ADMIN`, before it looks at the arguments.
    pub fn is_privileged(self) -> bool {
        matches!(self, Call::Fsopen | Call::OpenTree | Call::MoveMount | Call::MountSetattr)
    }

    /// Makes the call with arguments that no kernel accepts, and gives its refusal.
    pub fn refusal(self) -> nix::Error {
        let (number, arguments): (libc::c_long, [libc::c_long; 5]) = match self {
            Call::Clone3 => (libc::SYS_clone3, [0; 5]),
            Call::Openat2 => (libc::SYS_openat2, [-1, 0, 0, 0, 0]),
            Call::PidfdOpen => (libc::SYS_pidfd_open, [-1, 0, 0, 0, 0]),
            Call::PidfdGetfd => (libc::SYS_pidfd_getfd, [-1, -1, 0, 0, 0]),
            Call::CloseRange => (libc::SYS_close_range, [1, 0, 0, 0, 0]),
            Call::Fsopen => (libc::SYS_fsopen, [0, -1, 0, 0, 0]),
            Call::OpenTree => (libc::SYS_open_tree, [-1, 0, -1, 0, 0]),
            Call::MoveMount => (libc::SYS_move_mount, [-1, 0, -1, 0, -1]),
            Call::MountSetattr => (libc::SYS_mount_setattr, [-1, 0, -1, 0, 0]),
        };
        let [first, second, third, fourth, fifth] = arguments;
        // SAFETY: every pointer among the arguments is null and every size 0; descriptors are -1, flags unknown or the range
        // empty, so the kernel refuses before it reads or changes anything.
        let rc = unsafe { libc::syscall(number, first, second, third, fourth, fifth) };
        if rc == -1 {
            nix::Error::from_raw(io::Error::last_os_error().raw_os_error().unwrap_or(0))
        } else {
            nix::Error::UnknownErrno
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_refused_with_an_error_of_its_own() {
        for call in Call::ALL {
            assert_ne!(call.refusal(), nix::Error::UnknownErrno, "{}", call.name());
        }
    }
}
