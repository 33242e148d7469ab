//! The one exec, without allocation.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char};
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

/// Ends the calling process at once: no destructor and no exit handler runs twice in a clone.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: one integer; nothing of this process is used afterwards.
    unsafe { libc::_exit(code) }
}
