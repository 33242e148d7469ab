//! The stopwatch of `scripts/bench/run` for what takes milliseconds: starts each command in turn, waits for its end, and prints a line of
//! microseconds for each, a number a round.
//!
//! `start ROUNDS PROGRAM [-- COMMAND ARGUMENTS…]…`. The first line is of PROGRAM by itself, the second of PROGRAM behind the floor: what any jail
//! needs, with nothing around it. That is a clone into six namespaces, an empty bounding set, another user, `no_new_privs` and a filter of one
//! instruction. No file system is built, and nothing is read back.

use std::ffi::{CString, c_char, c_int, c_long, c_uint, c_ulong, c_void};
use std::process::{Command, Stdio};
use std::time::Instant;

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn prctl(option: c_int, ...) -> c_int;
    fn execv(path: *const c_char, argv: *const *const c_char) -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn setgroups(size: usize, list: *const c_uint) -> c_int;
    fn setresgid(real: c_uint, effective: c_uint, saved: c_uint) -> c_int;
    fn setresuid(real: c_uint, effective: c_uint, saved: c_uint) -> c_int;
    fn _exit(code: c_int) -> !;
}

#[cfg(target_arch = "x86_64")]
const CLONE: c_long = 56;
#[cfg(target_arch = "aarch64")]
const CLONE: c_long = 220;
/// `CLONE_NEWNS`, `NEWCGROUP`, `NEWUTS`, `NEWIPC`, `NEWPID`, `NEWNET`.
const NAMESPACES: c_int = 0x2_0000 | 0x200_0000 | 0x400_0000 | 0x800_0000 | 0x2000_0000 | 0x4000_0000;
const SIGCHLD: c_int = 17;
const PR_SET_SECCOMP: c_int = 22;
const PR_CAPBSET_DROP: c_int = 24;
const PR_SET_NO_NEW_PRIVS: c_int = 38;

#[repr(C)]
struct Instruction(u16, u8, u8, u32);
#[repr(C)]
struct Program(u16, *const Instruction);

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut parts = words.split(|word| word == "--");
    let [rounds, program] = parts.next().unwrap_or_default() else { panic!("start ROUNDS PROGRAM [-- COMMAND…]…") };
    let commands: Vec<&[String]> = parts.collect();
    let rounds: usize = rounds.parse().expect("a number of rounds");
    let mut times = vec![Vec::new(); commands.len() + 2];
    // The first rounds warm the caches.
    for round in 0..rounds + 3 {
        for (case, times) in times.iter_mut().enumerate() {
            let begun = Instant::now();
            match case {
                0 => run(std::slice::from_ref(program)),
                1 => floor(program),
                _ => run(commands[case - 2]),
            }
            let took = begun.elapsed().as_micros();
            if round >= 3 {
                times.push(took.to_string());
            }
        }
    }
    for times in times {
        println!("{}", times.join(" "));
    }
}

fn run(words: &[String]) {
    let nothing = || Stdio::null();
    let status = Command::new(&words[0]).args(&words[1..]).stdin(nothing()).stdout(nothing()).stderr(nothing()).status();
    assert!(status.expect("a command that can be started").success(), "{words:?} failed");
}

fn floor(program: &str) {
    let path = CString::new(program).expect("a path");
    let argv = [path.as_ptr(), std::ptr::null()];
    // SAFETY: this process has one thread; the child makes system calls only, until its exec.
    let pid = unsafe { syscall(CLONE, c_long::from(NAMESPACES | SIGCHLD), 0 as c_ulong, 0 as c_ulong, 0 as c_ulong, 0 as c_ulong) } as c_int;
    if pid == 0 {
        // SAFETY: plain numbers, and pointers to what outlives the calls.
        unsafe {
            for capability in 0..=40 as c_ulong {
                prctl(PR_CAPBSET_DROP, capability);
            }
            let is_other = setgroups(0, std::ptr::null()) == 0 && setresgid(0, 0, 0) == 0 && setresuid(65532, 65532, 65532) == 0;
            let allow = [Instruction(6, 0, 0, 0x7fff_0000)];
            let filter = Program(1, allow.as_ptr());
            let is_bound = prctl(PR_SET_NO_NEW_PRIVS, 1 as c_ulong, 0 as c_ulong, 0 as c_ulong, 0 as c_ulong) == 0
                && prctl(PR_SET_SECCOMP, 2 as c_ulong, (&raw const filter).cast::<c_void>()) == 0;
            if is_other && is_bound {
                execv(path.as_ptr(), argv.as_ptr());
            }
            _exit(99);
        }
    }
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    let waited = unsafe { waitpid(pid, &raw mut status, 0) };
    assert!(pid > 0 && waited == pid && status == 0, "the floor failed: {status:#x}");
}
