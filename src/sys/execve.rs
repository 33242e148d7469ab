//! The one exec, without allocation.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use nix::errno::Errno;

/// An argument or environment vector in the form the kernel takes, made before the clone.
#[derive(Debug)]
pub struct Vector {
    pointers: Vec<*const c_char>,
    strings: Vec<CString>,
}

impl Vector {
    /// Takes the strings and lays out the array that ends with a null pointer.
    pub fn new(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect();
        Vector { pointers, strings }
    }

    /// The strings.
    pub fn strings(&self) -> &[CString] {
        &self.strings
    }
}

/// Replaces the program; returns only to say why it could not.
pub fn execve(path: &CStr, argv: &Vector, envp: &Vector) -> Errno {
    // SAFETY: the three pointers come from live borrows; each array ends with null and points to strings that its `Vector` owns and
    // never changes, whose heap addresses do not move with the `Vector`.
    unsafe { libc::execve(path.as_ptr(), argv.pointers.as_ptr(), envp.pointers.as_ptr()) };
    Errno::last()
}

/// How an exec names its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// execve(2)
    Path,
    /// execveat(2)
    Descriptor,
}

/// An exec of nothing: the empty path names no file, so the kernel answers ENOENT unless something refuses execs before it looks.
pub fn exec_nothing(form: Form) -> Errno {
    let (path, argv, envp) = (c"".as_ptr(), ptr::null::<*const c_char>(), ptr::null::<*const c_char>());
    let (number, first) = match form {
        Form::Path => (libc::SYS_execve, 0),
        Form::Descriptor => (libc::SYS_execveat, 1),
    };
    let mut all = [0_usize; 5];
    all[first..first + 3].copy_from_slice(&[path.addr(), argv.addr(), envp.addr()]);
    // SAFETY: the one pointer that is not null is to a literal that ends with a null byte. The kernel refuses an empty path before it looks at the
    // vectors, so this process stays what it is.
    unsafe { libc::syscall(number, all[0], all[1], all[2], all[3], all[4]) };
    Errno::last()
}

/// An exec of a file that is no program, by its descriptor: ENOEXEC unless something refuses it before the kernel reads it. The caller makes
/// sure that it is none: otherwise this process becomes it.
pub fn exec_junk(file: BorrowedFd<'_>) -> Errno {
    let argv = [c"austere".as_ptr(), ptr::null()];
    let (fd, path, argv, envp) = (file.as_raw_fd(), c"".as_ptr(), argv.as_ptr(), ptr::null::<*const c_char>());
    // SAFETY: the path and the one argument are literals that end with a null byte, the array ends with a null pointer, and all outlive the call.
    unsafe { libc::syscall(libc::SYS_execveat, fd, path, argv, envp, libc::AT_EMPTY_PATH) };
    Errno::last()
}

/// Becomes the program behind `file`, or, with a path, the one that the path names from there; returns only to say why it could not.
pub fn execveat(file: BorrowedFd<'_>, path: &CStr, argv: &Vector, envp: &Vector) -> Errno {
    let (argv, envp) = (argv.pointers.as_ptr(), envp.pointers.as_ptr());
    // SAFETY: as for execve above; the kernel refuses a descriptor that is no program.
    unsafe { libc::syscall(libc::SYS_execveat, file.as_raw_fd(), path.as_ptr(), argv, envp, libc::AT_EMPTY_PATH) };
    Errno::last()
}

/// Ends the calling process at once: no destructor and no exit handler runs twice in a clone.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: one integer; nothing of this process is used afterwards.
    unsafe { libc::_exit(code) }
}
