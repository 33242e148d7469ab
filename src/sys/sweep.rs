//! Any system call by its number, by every entry that a machine has, with arguments that no call can use.

#![allow(unsafe_code)]

use nix::errno::Errno;

/// All arguments of every call: no file, no address, no flag that is known, and for most ids "leave it".
pub const ARGUMENT: u64 = u64::MAX;

/// A way into the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The machine's own.
    Native,
    /// That of 32-bit programs, `int 0x80`; on x86 only.
    I386,
    /// That of x32 programs: the machine's own with bit 30 of the number set; on x86 only.
    X32,
}

/// What marks an x32 call.
pub const X32_BIT: u32 = 0x4000_0000;

impl Entry {
    /// Those that a processor like this can have.
    pub const ALL: &'static [Entry] =
        if cfg!(target_arch = "x86_64") { &[Entry::Native, Entry::I386, Entry::X32] } else { &[Entry::Native] };

    /// Makes the call `number` with [`ARGUMENT`] six times. The caller is a process that ends right after it.
    ///
    /// # Errors
    ///
    /// What the kernel, or a filter, answers.
    pub fn call(self, number: u32) -> Result<(), Errno> {
        match self {
            Entry::Native => native(number),
            Entry::X32 => native(number | X32_BIT),
            Entry::I386 => i386(number),
        }
    }
}

fn native(number: u32) -> Result<(), Errno> {
    let (number, all) = (libc::c_long::from(number), ARGUMENT);
    // SAFETY: an address of all ones is no user's, so nothing is read from this process or written into it, and nothing is mapped or unmapped
    // there. A call that returns twice does so in a copy, since the sweep leaves vfork(2) out; one that does not return, or breaks the stack, does
    // so in a process that was made for this one call.
    let rc = unsafe { libc::syscall(number, all, all, all, all, all, all) };
    Errno::result(rc).map(drop)
}

#[cfg(target_arch = "x86_64")]
fn i386(number: u32) -> Result<(), Errno> {
    let mut answer = u64::from(number);
    // SAFETY: as above; rbx and rbp, which the compiler keeps for itself, are given back.
    unsafe {
        std::arch::asm!("push rbx", "push rbp", "mov rbx, -1", "mov rbp, -1", "int 0x80", "pop rbp", "pop rbx",
            inout("rax") answer, inout("rcx") ARGUMENT => _, inout("rdx") ARGUMENT => _, inout("rsi") ARGUMENT => _,
            inout("rdi") ARGUMENT => _, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    // A 32-bit answer, in the lower half.
    let answer = answer.to_le_bytes().first_chunk::<4>().map_or(-1, |low| i32::from_le_bytes(*low));
    if (-4095..0).contains(&answer) { Err(Errno::from_raw(-answer)) } else { Ok(()) }
}

#[cfg(not(target_arch = "x86_64"))]
fn i386(_: u32) -> Result<(), Errno> {
    Err(Errno::ENOSYS)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Only calls that do nothing to the process that tests run in.
    #[test]
    fn a_call_is_made_and_its_arguments_are_refused() {
        let number = |call: libc::c_long| u32::try_from(call).unwrap();
        assert_eq!(Entry::Native.call(number(libc::SYS_getpid)), Ok(()));
        assert_eq!(Entry::Native.call(number(libc::SYS_close)), Err(Errno::EBADF));
        assert_eq!(Entry::Native.call(1023), Err(Errno::ENOSYS));
    }
}
