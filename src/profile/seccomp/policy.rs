//! What a profile says once its conditions are settled: words that know neither JSON nor system call numbers.

/// An architecture whose system calls a process can make on a machine that austere runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Arch {
    /// `SCMP_ARCH_X86_64`.
    X86_64,
    /// `SCMP_ARCH_X86`: i386, which an `x86_64` kernel runs too.
    X86,
    /// `SCMP_ARCH_X32`: `x86_64` with 32-bit pointers; its calls carry bit 30.
    X32,
    /// `SCMP_ARCH_AARCH64`.
    Aarch64,
    /// `SCMP_ARCH_ARM`: EABI, which many aarch64 kernels run too.
    Arm,
}

impl Arch {
    /// The architecture this binary is for.
    #[cfg(target_arch = "x86_64")]
    pub const NATIVE: Arch = Arch::X86_64;
    /// The architecture this binary is for.
    #[cfg(target_arch = "aarch64")]
    pub const NATIVE: Arch = Arch::Aarch64;

    /// The name in profiles.
    pub fn scmp_name(self) -> &'static str {
        match self {
            Arch::X86_64 => "SCMP_ARCH_X86_64",
            Arch::X86 => "SCMP_ARCH_X86",
            Arch::X32 => "SCMP_ARCH_X32",
            Arch::Aarch64 => "SCMP_ARCH_AARCH64",
            Arch::Arm => "SCMP_ARCH_ARM",
        }
    }

    /// The name in `includes` and `excludes`: Go's, except that i386 is `x86` there.
    pub fn go_name(self) -> &'static str {
        match self {
            Arch::X86_64 => "amd64",
            Arch::X86 => "x86",
            Arch::X32 => "x32",
            Arch::Aarch64 => "arm64",
            Arch::Arm => "arm",
        }
    }

    /// The architectures whose calls a kernel for `self` can take, `self` first.
    pub fn runs(self) -> &'static [Arch] {
        match self {
            Arch::X86_64 => &[Arch::X86_64, Arch::X86, Arch::X32],
            Arch::Aarch64 => &[Arch::Aarch64, Arch::Arm],
            Arch::X86 => &[Arch::X86],
            Arch::X32 => &[Arch::X32],
            Arch::Arm => &[Arch::Arm],
        }
    }
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The process dies by SIGSYS.
    KillProcess,
    /// The thread dies by SIGSYS.
    KillThread,
    /// SIGSYS is sent.
    Trap,
    /// The call fails with this errno (0 to 4095; 0 makes it "succeed" with 0).
    Errno(u16),
    /// A tracer is told, with this message; without a tracer the call is ENOSYS.
    Trace(u16),
    /// Whoever holds the filter's listener answers; without one any more the call is ENOSYS.
    Notify,
    /// The call is done and logged.
    Log,
    /// The call is done.
    Allow,
}

impl Action {
    /// The value a filter returns for it (`SECCOMP_RET_*`, seccomp(2)).
    pub fn code(self) -> u32 {
        match self {
            Action::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
            Action::KillThread => libc::SECCOMP_RET_KILL_THREAD,
            Action::Trap => libc::SECCOMP_RET_TRAP,
            Action::Errno(errno) => libc::SECCOMP_RET_ERRNO | u32::from(errno),
            Action::Trace(message) => libc::SECCOMP_RET_TRACE | u32::from(message),
            Action::Notify => libc::SECCOMP_RET_USER_NOTIF,
            Action::Log => libc::SECCOMP_RET_LOG,
            Action::Allow => libc::SECCOMP_RET_ALLOW,
        }
    }
}

/// How an argument is compared, unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `SCMP_CMP_NE`.
    Ne,
    /// `SCMP_CMP_LT`.
    Lt,
    /// `SCMP_CMP_LE`.
    Le,
    /// `SCMP_CMP_EQ`.
    Eq,
    /// `SCMP_CMP_GE`.
    Ge,
    /// `SCMP_CMP_GT`.
    Gt,
    /// `SCMP_CMP_MASKED_EQ`: equal where this mask has ones.
    MaskedEq(u64),
}

/// One argument of a call, compared with a constant.
///
/// On 32-bit architectures (i386, x32, arm) only the lower halves count, as libseccomp has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which argument, 0 to 5.
    pub index: u8,
    /// The comparison.
    pub op: Op,
    /// What it is compared with.
    pub value: u64,
}

/// What a profile says of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The call, by the kernel's name for it.
    pub name: String,
    /// What then happens.
    pub action: Action,
    /// All of them must hold; none means always.
    pub conditions: Vec<Condition>,
}

/// How the filter is to be installed (`SECCOMP_FILTER_FLAG_*`, seccomp(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Log what is not allowed (Linux 4.14).
    pub log: bool,
    /// Leave speculative store bypass alone (Linux 4.17).
    pub spec_allow: bool,
}

/// A profile for one machine and one set of capabilities.
///
/// For one call the rules mean what libseccomp makes of them: a rule whose action is the default's is no rule; a rule
/// without conditions beats those with conditions, the first such beats later ones; otherwise the first that matches.
/// (Where rules with *different* actions overlap, libseccomp's order is its own and not documented.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The native architecture first, then the others that may be used.
    pub architectures: Vec<Arch>,
    /// For calls that no rule matches.
    pub default: Action,
    /// For numbers above the highest that the rules name on an architecture, whatever else is said: there the profile is
    /// older than the call, and an honest "no such call" lets programs fall back. None: nothing special.
    pub newer: Option<Action>,
    /// For calls of any other architecture.
    pub foreign: Action,
    /// In the profile's order.
    pub rules: Vec<Rule>,
    /// How to install it.
    pub flags: Flags,
}

impl Policy {
    /// The policy of an app that no profile confines, on a machine of this architecture.
    pub fn open(native: Arch) -> Self {
        Policy {
            architectures: native.runs().to_vec(),
            default: Action::Allow,
            newer: None,
            foreign: Action::Allow,
            rules: Vec::new(),
            flags: Flags { spec_allow: true, ..Flags::default() },
        }
    }
}
