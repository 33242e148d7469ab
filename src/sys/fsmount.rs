//! A file system that is mounted nowhere yet.

#![allow(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::errno::Errno;

/// Makes a file system of type `kind` with `options` and gives its root as a detached mount with the flags `MOUNT_ATTR_*` of `attributes`.
///
/// An option with a value is a string parameter, one without is a flag; a string may have 255 bytes.
///
/// # Errors
///
/// fsopen(2), fsconfig(2), fsmount(2), Linux 5.2: ENODEV for an unknown file system, EINVAL for an option it does not know, EPERM where the
/// caller may not mount it, which for `proc` and `sysfs` includes a place where the present ones are covered in part.
pub fn fsmount(kind: &CStr, options: &[(&CStr, Option<&CStr>)], attributes: u64) -> Result<OwnedFd, Errno> {
    let context = fsopen(kind)?;
    // What mount(8) would show as the source; engines use the type's name too.
    fsconfig(context.as_fd(), libc::FSCONFIG_SET_STRING, Some(c"source"), Some(kind))?;
    for (key, value) in options {
        let command = if value.is_some() { libc::FSCONFIG_SET_STRING } else { libc::FSCONFIG_SET_FLAG };
        fsconfig(context.as_fd(), command, Some(key), *value)?;
    }
    fsconfig(context.as_fd(), libc::FSCONFIG_CMD_CREATE, None, None)?;
    // SAFETY: three integers; the descriptor is open while `context` lives.
    let fd = unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), libc::FSMOUNT_CLOEXEC, attributes) };
    owned(fd)
}

fn fsopen(kind: &CStr) -> Result<OwnedFd, Errno> {
    // SAFETY: `kind` is NUL-terminated and outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), libc::FSOPEN_CLOEXEC) };
    owned(fd)
}

fn fsconfig(
    context: BorrowedFd<'_>,
    command: libc::c_uint,
    key: Option<&CStr>,
    value: Option<&CStr>,
) -> Result<(), Errno> {
    let key = key.map_or(ptr::null(), CStr::as_ptr);
    let value = value.map_or(ptr::null(), CStr::as_ptr);
    // SAFETY: each pointer is null, which the commands that take no key or no value ask for, or a NUL-terminated string that outlives the
    // call, which copies it.
    let rc = unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), command, key, value, 0) };
    Errno::result(rc).map(drop)
}

fn owned(fd: libc::c_long) -> Result<OwnedFd, Errno> {
    let fd = RawFd::try_from(Errno::result(fd)?).map_err(|_| Errno::EOVERFLOW)?;
    // SAFETY: the kernel has just made this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
