//! Runs a filter in user space, as the kernel would.
//!
//! Source: seccomp(2); Linux `Documentation/networking/filter.rst` for classic BPF, `kernel/seccomp.c`
//! (`seccomp_check_filter`) for what of it a filter may use.

use libc::sock_filter;
use libc::{
    BPF_A, BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET,
    BPF_W,
};

use crate::profile::seccomp::Arch;

/// What a filter is asked about (`struct seccomp_data`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeccompData {
    /// The system call number; x32's carry bit 30.
    pub nr: u32,
    /// `AUDIT_ARCH_*`.
    pub arch: u32,
    /// The arguments.
    pub args: [u64; 6],
}

impl SeccompData {
    /// The call `nr` of `arch`.
    pub fn new(arch: Arch, nr: u32, args: [u64; 6]) -> Self {
        SeccompData { nr, arch: audit_arch(arch), args }
    }

    /// The 32-bit word at `offset`, on a little-endian machine.
    fn word(&self, offset: u32) -> Option<u32> {
        match offset {
            0 => Some(self.nr),
            4 => Some(self.arch),
            // Nothing here depends on where the caller is.
            8 | 12 => Some(0),
            _ if !offset.is_multiple_of(4) => None,
            _ => {
                let arg = self.args.get(usize::try_from(offset.checked_sub(16)? / 8).ok()?)?;
                Some(if offset.is_multiple_of(8) { low(*arg) } else { high(*arg) })
            }
        }
    }
}

/// The value by which filters know `arch` (`linux/audit.h`). The kernel has none for x32: it is `x86_64`, with bit 30 set.
pub fn audit_arch(arch: Arch) -> u32 {
    match arch {
        Arch::X86_64 | Arch::X32 => 0xC000_003E,
        Arch::X86 => 0x4000_0003,
        Arch::Aarch64 => 0xC000_00B7,
        Arch::Arm => 0x4000_0028,
    }
}

/// The lower half.
#[expect(clippy::cast_possible_truncation)]
pub(super) fn low(value: u64) -> u32 {
    value as u32
}

/// The upper half.
pub(super) fn high(value: u64) -> u32 {
    (value >> 32) as u32
}

/// What `program` returns for `data` (`SECCOMP_RET_*` with its 16 bits of data).
///
/// It knows the instructions that [`compile()`](super::compile()) and libseccomp emit. Any other, and a jump out of the
/// program, is answered with `SECCOMP_RET_KILL_PROCESS`; the kernel would not have taken such a program in the first place.
pub fn evaluate(program: &[sock_filter], data: &SeccompData) -> u32 {
    run(program, data).unwrap_or(libc::SECCOMP_RET_KILL_PROCESS)
}

fn run(program: &[sock_filter], data: &SeccompData) -> Option<u32> {
    let mut accumulator = 0;
    let mut at = 0usize;
    loop {
        // Jumps only go forward, so this ends.
        let &sock_filter { code, jt, jf, k } = program.get(at)?;
        at += 1;
        let code = u32::from(code);
        if code == BPF_LD | BPF_W | BPF_ABS {
            accumulator = data.word(k)?;
        } else if code == BPF_ALU | BPF_AND | BPF_K {
            accumulator &= k;
        } else if code == BPF_RET | BPF_K {
            return Some(k);
        } else if code == BPF_RET | BPF_A {
            return Some(accumulator);
        } else if code == BPF_JMP | BPF_JA {
            at = at.checked_add(usize::try_from(k).ok()?)?;
        } else {
            let holds = match code {
                c if c == BPF_JMP | BPF_JEQ | BPF_K => accumulator == k,
                c if c == BPF_JMP | BPF_JGT | BPF_K => accumulator > k,
                c if c == BPF_JMP | BPF_JGE | BPF_K => accumulator >= k,
                c if c == BPF_JMP | BPF_JSET | BPF_K => accumulator & k != 0,
                _ => return None,
            };
            at += usize::from(if holds { jt } else { jf });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
        sock_filter { code: u16::try_from(code).unwrap(), jt, jf, k }
    }

    #[test]
    fn halves_of_arguments_are_where_the_kernel_has_them() {
        let data = SeccompData::new(Arch::X86_64, 7, [0, 0, 0x1122_3344_5566_7788, 0, 0, 9]);
        let load =
            |offset| evaluate(&[op(BPF_LD | BPF_W | BPF_ABS, 0, 0, offset), op(BPF_RET | BPF_A, 0, 0, 0)], &data);
        assert_eq!([load(0), load(4)], [7, 0xC000_003E]);
        assert_eq!([load(32), load(36), load(56)], [0x5566_7788, 0x1122_3344, 9]);
    }

    #[test]
    fn what_the_kernel_would_refuse_is_answered_with_death() {
        let data = SeccompData::new(Arch::X86_64, 0, [0; 6]);
        let wrong: [&[sock_filter]; 5] = [
            &[],
            &[op(BPF_LD | BPF_W | BPF_ABS, 0, 0, 0)],
            &[op(BPF_LD | BPF_W | BPF_ABS, 0, 0, 64), op(BPF_RET | BPF_K, 0, 0, 0)],
            &[op(BPF_LD | BPF_W | BPF_ABS, 0, 0, 2), op(BPF_RET | BPF_K, 0, 0, 0)],
            &[op(BPF_JMP | BPF_JA, 0, 0, u32::MAX)],
        ];
        for program in wrong {
            assert_eq!(evaluate(program, &data), libc::SECCOMP_RET_KILL_PROCESS);
        }
    }
}
