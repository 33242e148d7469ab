//! What `ptrace(2)` offers beyond `nix`: any signal, system calls as `PTRACE_GET_SYSCALL_INFO` (Linux 5.3) shows them on every
//! architecture, and calls that are skipped.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::ptr;

use nix::errno::Errno;
use nix::unistd::Pid;

/// `linux/ptrace.h`; the C libraries' bindings differ in their types.
const GETREGSET: libc::c_long = 0x4204;
const SETREGSET: libc::c_long = 0x4205;
const LISTEN: libc::c_long = 0x4208;
const GET_SYSCALL_INFO: libc::c_long = 0x420e;
const CONT: libc::c_long = 7;
const SYSCALL: libc::c_long = 24;
/// `linux/elf.h`: the general registers, and on arm64 the number of the call.
const NT_PRSTATUS: usize = 1;
#[cfg(target_arch = "aarch64")]
const NT_ARM_SYSTEM_CALL: usize = 0x404;

/// What is reported of a traced thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// It stopped, with this status: a signal, and above it a `PTRACE_EVENT_*`.
    Stopped(i32),
    /// It ended by itself, with this code.
    Exited(i32),
    /// This signal ended it.
    Killed(i32),
}

/// Waits until something is to be said about a thread that the calling thread traces, and leaves it to be said again: a stop until the thread
/// is let go, an end until it is taken ([`take`]).
///
/// # Errors
///
/// waitid(2): ECHILD when the calling thread traces nobody, EINTR.
pub fn wait() -> Result<(Pid, Report), Errno> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let flags = libc::WEXITED | libc::WSTOPPED | libc::WNOWAIT | libc::__WALL | libc::__WNOTHREAD;
    // SAFETY: the kernel writes one siginfo_t to `info`, which outlives the call.
    let rc = unsafe { libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), flags) };
    Errno::result(rc)?;
    // SAFETY: all zeros is a valid siginfo_t, and the kernel writes only valid ones.
    let info = unsafe { info.assume_init() };
    // SAFETY: waitid(2) fills the fields of SIGCHLD, to which si_pid belongs.
    let pid = unsafe { info.si_pid() };
    // SAFETY: the same, for si_status.
    let status = unsafe { info.si_status() };
    let report = match info.si_code {
        libc::CLD_EXITED => Report::Exited(status),
        libc::CLD_KILLED | libc::CLD_DUMPED => Report::Killed(status),
        _ => Report::Stopped(status),
    };
    Ok((Pid::from_raw(pid), report))
}

/// Takes the end of a traced thread, so that it is gone.
pub fn take(pid: Pid) {
    let flags = libc::__WALL | libc::__WNOTHREAD | libc::WNOHANG;
    // SAFETY: with a null pointer for the status nothing is written.
    unsafe { libc::waitpid(pid.as_raw(), ptr::null_mut(), flags) };
}

/// Takes a stop, as wait(2) does, and leaves the thread where it stands. Before that a thread which took its leader's place by an exec answers
/// no request but ESRCH: who knows the thread by its former number is not to reach it (Linux 5.13).
pub fn take_stop(pid: Pid) {
    let flags = libc::WSTOPPED | libc::__WALL | libc::__WNOTHREAD | libc::WNOHANG;
    // SAFETY: with a null pointer for the siginfo_t nothing is written.
    unsafe { libc::waitid(libc::P_PID, pid.as_raw().cast_unsigned(), ptr::null_mut(), flags) };
}

/// The address that a thread stumbled over, which stands before a signal of the kernel's for that (`PTRACE_GETSIGINFO`); nothing where
/// somebody sent the signal.
///
/// # Errors
///
/// ESRCH: it was killed meanwhile. EINVAL: it stands elsewhere.
pub fn fault_address(pid: Pid) -> Result<Option<u64>, Errno> {
    let info = nix::sys::ptrace::getsiginfo(pid)?;
    if info.si_code <= 0 {
        return Ok(None);
    }
    // SAFETY: si_addr(3) reads a part of the siginfo_t that the kernel has written whole; with another signal it is only meaningless.
    let address = unsafe { info.si_addr() };
    Ok(u64::try_from(address.addr()).ok())
}

/// How a stopped thread goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// To its next event.
    On,
    /// To the end of the call it is in.
    ToExit,
    /// Not at all, but it is told to when a SIGCONT comes (`PTRACE_LISTEN`).
    Listen,
}

/// Lets a stopped thread go on, with a signal for it or 0.
///
/// # Errors
///
/// ESRCH: it was killed meanwhile.
pub fn resume(pid: Pid, how: Resume, signal: i32) -> Result<(), Errno> {
    let request = match how {
        Resume::On => CONT,
        Resume::ToExit => SYSCALL,
        Resume::Listen => LISTEN,
    };
    // SAFETY: these requests take numbers only: no address is used, and the signal goes by value.
    let rc = unsafe { libc::syscall(libc::SYS_ptrace, request, pid.as_raw(), 0_usize, libc::c_long::from(signal)) };
    Errno::result(rc).map(drop)
}

/// Where a thread stands in a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The filter asks about a call.
    Asked {
        /// `AUDIT_ARCH_*`.
        arch: u32,
        /// The call's number.
        number: u64,
        /// Its arguments.
        args: [u64; 6],
        /// What the filter says with it.
        message: u32,
    },
    /// A call is over: its value, or a negated errno.
    Done(i64),
    /// Anything else.
    Other,
}

/// Where a stopped thread stands.
///
/// # Errors
///
/// ESRCH: it was killed meanwhile. EIO: the kernel is older than 5.3.
pub fn syscall_info(pid: Pid) -> Result<Stop, Errno> {
    // struct ptrace_syscall_info, in words: op | arch << 32, ip, sp, then number and arguments, or the value.
    let mut info = [0_u64; 11];
    // SAFETY: the kernel writes at most as many bytes as is said in the third argument, which is the size of `info`.
    let rc = unsafe {
        libc::syscall(libc::SYS_ptrace, GET_SYSCALL_INFO, pid.as_raw(), size_of_val(&info), info.as_mut_ptr())
    };
    Errno::result(rc)?;
    // `op` is the first byte and `arch` the second half of the first word, whatever the byte order.
    let head = info[0].to_ne_bytes();
    let arch = u32::from_ne_bytes([head[4], head[5], head[6], head[7]]);
    let message = info[10].to_ne_bytes();
    Ok(match head[0] {
        3 => Stop::Asked {
            arch,
            number: info[3],
            args: [info[4], info[5], info[6], info[7], info[8], info[9]],
            message: u32::from_ne_bytes([message[0], message[1], message[2], message[3]]),
        },
        2 => Stop::Done(info[3].cast_signed()),
        _ => Stop::Other,
    })
}

/// As many registers as any architecture here has.
const MOST: usize = 34;
/// Where the value of a call is among them, and on `x86_64` its number (`orig_rax`).
#[cfg(target_arch = "x86_64")]
const VALUE: usize = 10;
#[cfg(target_arch = "x86_64")]
const NUMBER: usize = 15;
#[cfg(target_arch = "aarch64")]
const VALUE: usize = 0;

/// Makes a thread that stands before a call skip it, and get this value for it: 0, or a negated errno.
///
/// # Errors
///
/// ESRCH: it was killed meanwhile.
pub fn skip(pid: Pid, value: i64) -> Result<(), Errno> {
    let mut registers = [0_u64; MOST];
    let mut vector = libc::iovec { iov_base: (&raw mut registers).cast(), iov_len: size_of_val(&registers) };
    // SAFETY: the kernel writes to `registers` no more than `iov_len` bytes, and to `vector` how many they were.
    let rc = unsafe { libc::syscall(libc::SYS_ptrace, GETREGSET, pid.as_raw(), NT_PRSTATUS, &raw mut vector) };
    Errno::result(rc)?;
    registers[VALUE] = value.cast_unsigned();
    #[cfg(target_arch = "x86_64")]
    {
        registers[NUMBER] = u64::MAX;
    }
    let vector = libc::iovec { iov_base: (&raw mut registers).cast(), iov_len: vector.iov_len };
    // SAFETY: the kernel reads `iov_len` bytes, as many as it has just written, from `registers`.
    let rc = unsafe { libc::syscall(libc::SYS_ptrace, SETREGSET, pid.as_raw(), NT_PRSTATUS, &raw const vector) };
    Errno::result(rc)?;
    #[cfg(target_arch = "aarch64")]
    {
        let mut none = -1_i32;
        let vector = libc::iovec { iov_base: (&raw mut none).cast(), iov_len: size_of_val(&none) };
        // SAFETY: the kernel reads one int from `none`.
        let rc =
            unsafe { libc::syscall(libc::SYS_ptrace, SETREGSET, pid.as_raw(), NT_ARM_SYSTEM_CALL, &raw const vector) };
        Errno::result(rc)?;
    }
    Ok(())
}
