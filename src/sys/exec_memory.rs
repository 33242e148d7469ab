//! Memory and files in memory that could be executed.

#![allow(unsafe_code)]

use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::errno::Errno;

/// `linux/prctl.h`; Linux 6.3.
const PR_SET_MDWE: libc::c_int = 65;
const PR_MDWE_REFUSE_EXEC_GAIN: libc::c_ulong = 1;

/// From now on, and in every program that is started, memory that can be written to never becomes executable, nor the other way round.
///
/// # Errors
///
/// prctl(2): EINVAL before Linux 6.3.
pub fn refuse_exec_gain() -> Result<(), Errno> {
    let zero: libc::c_ulong = 0;
    // SAFETY: five integers; only the flags of this process change.
    let rc = unsafe { libc::prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, zero, zero, zero) };
    Errno::result(rc).map(drop)
}

/// Asks for a page that can be written to and executed, and gives it back.
///
/// # Errors
///
/// mmap(2): EACCES where that is refused.
pub fn map_writable_and_executable() -> Result<(), Errno> {
    let (protection, flags) =
        (libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new private mapping at an address of the kernel's choice; nothing that is mapped already changes.
    let page = unsafe { libc::mmap(ptr::null_mut(), 4096, protection, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    // SAFETY: exactly the page that was just mapped, to which nobody has a reference.
    unsafe { libc::munmap(page, 4096) };
    Ok(())
}

/// Asks for a page that can be written to, makes it executable, and gives it back.
///
/// # Errors
///
/// mprotect(2): EACCES where that is refused.
pub fn make_executable() -> Result<(), Errno> {
    let (writable, executable) = (libc::PROT_READ | libc::PROT_WRITE, libc::PROT_READ | libc::PROT_EXEC);
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: as above: a new private mapping at an address of the kernel's choice.
    let page = unsafe { libc::mmap(ptr::null_mut(), 4096, writable, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    // SAFETY: exactly the page that was just mapped; it holds no code and none is run.
    let result = Errno::result(unsafe { libc::mprotect(page, 4096, executable) });
    // SAFETY: the same page, to which nobody has a reference.
    unsafe { libc::munmap(page, 4096) };
    result.map(drop)
}

/// Makes a file in memory with these `MFD_*` flags.
///
/// # Errors
///
/// `memfd_create(2)`.
pub fn memfd(flags: libc::c_uint) -> Result<OwnedFd, Errno> {
    // SAFETY: the name is a literal that ends with a null byte; the kernel copies it.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_memfd_create, c"austere".as_ptr(), flags) })?;
    let fd = RawFd::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel made this descriptor in the call before, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_wall_both_are_to_be_had() {
        assert_eq!(map_writable_and_executable(), Ok(()));
        assert_eq!(make_executable(), Ok(()));
        assert!(memfd(libc::MFD_CLOEXEC).is_ok());
        assert_eq!(memfd(u32::MAX).unwrap_err(), Errno::EINVAL);
    }
}
