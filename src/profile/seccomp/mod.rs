//! Docker's seccomp profiles: what such a file says on a given machine, for a given set of capabilities.
//!
//! Source: the profile format of moby/profiles (`seccomp.go`), containers-common's additions to it, and the runtime
//! specification's `config-linux.md`, "Seccomp"; the rules of resolution are moby's (`setupSeccomp`), and what becomes of
//! the result is runc's (`libcontainer/seccomp`).

mod format;
mod policy;
#[cfg(test)]
mod tests;

use nix::errno::Errno;

pub use policy::{Action, Arch, Condition, Flags, Op, Policy, Rule};

/// The profile that docker has now.
pub const DOCKER: &str = "docker-26.1";

/// The text of a profile that comes with austere.
pub fn shipped(name: &str) -> Option<&'static str> {
    match name {
        "docker-20.10" => Some(include_str!("../../../profiles/seccomp/docker-20.10.json")),
        "docker" | DOCKER => Some(include_str!("../../../profiles/seccomp/docker-26.1.json")),
        "podman-4.3" => Some(include_str!("../../../profiles/seccomp/podman-4.3.json")),
        "containerd-2.1" => Some(include_str!("../../../profiles/seccomp/containerd-2.1.json")),
        "containerd-1.7" => Some(include_str!("../../../profiles/seccomp/containerd-1.7.json")),
        "sealed" => Some(include_str!("../../../profiles/seccomp/sealed.json")),
        _ => None,
    }
}

/// A profile that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Not JSON, or not of the right form.
    #[error("the seccomp profile cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// It reads, but makes no sense at this place.
    #[error("the seccomp profile cannot be used: {place}: {why}")]
    Sense {
        /// Which part: `defaultAction`, `entry 3 (clone, …)`.
        place: String,
        /// What is wrong with it.
        why: String,
    },
}

/// What a profile's conditions are decided by.
#[derive(Clone, Copy, Debug)]
pub struct Conditions<'a> {
    /// The capabilities of the bounding set, by name (`CAP_CHOWN`).
    pub caps: &'a [&'a str],
    /// The machine's architecture.
    pub arch: Arch,
    /// The kernel's first two numbers: `(6, 18)`.
    pub kernel: (u32, u32),
}

/// A profile that has been read and makes sense.
#[derive(Debug)]
pub struct Profile(Option<Body>);

#[derive(Debug)]
struct Body {
    default: Action,
    flags: Flags,
    architectures: Vec<String>,
    arch_map: Vec<format::ArchMap>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    names: Vec<String>,
    action: Action,
    conditions: Vec<Condition>,
    includes: When,
    excludes: When,
}

#[derive(Debug)]
struct When {
    caps: Vec<String>,
    arches: Vec<String>,
    min_kernel: Option<(u32, u32)>,
}

impl Profile {
    /// Reads a profile.
    ///
    /// # Errors
    ///
    /// What docker, containers-common and runc refuse, and further: unknown keys, a capital error in a list of what is
    /// allowed; an errno for an action that has none, as the runtime specification demands; `SCMP_ACT_NOTIFY`, for which
    /// there is nobody to notify.
    pub fn parse(text: &str) -> Result<Profile, ProfileError> {
        let file: format::File = serde_json::from_str(text)?;
        if file.default_action.is_empty() && file.syscalls.is_empty() {
            return Ok(Profile(None));
        }
        if !file.architectures.is_empty() && !file.arch_map.is_empty() {
            return Err(sense("architectures", "`archMap` is given too, one of them must go"));
        }
        let in_map = file.arch_map.iter().flat_map(|a| std::iter::once(&a.architecture).chain(&a.sub_architectures));
        if let Some(name) = file.architectures.iter().chain(in_map).find(|a| !ARCHITECTURES.contains(&a.as_str())) {
            return Err(sense("architectures", &format!("`{name}` is no architecture")));
        }
        let default = action(&file.default_action, file.default_errno.as_deref(), file.default_errno_ret);
        Ok(Profile(Some(Body {
            default: default.map_err(|why| sense("defaultAction", &why))?,
            flags: flags(file.flags.as_deref()).map_err(|why| sense("flags", &why))?,
            architectures: file.architectures,
            arch_map: file.arch_map,
            entries: file.syscalls.into_iter().enumerate().map(entry).collect::<Result<_, _>>()?,
        })))
    }

    /// What the profile says under `conditions`. None: it asks for no filter at all.
    pub fn resolve(&self, conditions: &Conditions<'_>) -> Option<Policy> {
        let body = self.0.as_ref()?;
        let native = conditions.arch;
        let mapped = body.arch_map.iter().find(|a| a.architecture == native.scmp_name());
        let named = mapped.map_or(&body.architectures, |a| &a.sub_architectures);
        // The native architecture is always in: libseccomp adds it to every filter, and runc relies on it.
        let others = native.runs().iter().filter(|&&a| a != native && named.iter().any(|n| n == a.scmp_name()));
        let applies =
            body.entries.iter().filter(|e| !e.excludes.excluded(conditions) && e.includes.included(conditions));
        Some(Policy {
            architectures: std::iter::once(native).chain(others.copied()).collect(),
            default: body.default,
            // runc's patchbpf: only when the default says no. Allow, log and trace leave new calls to whoever handles them.
            newer: match body.default {
                Action::Allow | Action::Log | Action::Trace(_) => None,
                _ => Some(Action::Errno(ENOSYS)),
            },
            // libseccomp's default for a bad architecture, which neither runc nor crun changes.
            foreign: Action::KillThread,
            rules: applies.flat_map(Entry::rules).collect(),
            flags: body.flags,
        })
    }
}

#[expect(clippy::cast_possible_truncation)]
const ENOSYS: u16 = libc::ENOSYS as u16;
#[expect(clippy::cast_possible_truncation)]
const EPERM: u16 = libc::EPERM as u16;

impl Entry {
    /// One rule a name; or, when an argument is named twice, one a condition. That was libseccomp's limit once ("each
    /// argument once a rule"), and runc, crun and podman have kept what they did about it: any one suffices.
    fn rules(&self) -> impl Iterator<Item = Rule> + '_ {
        let indices = self.conditions.iter().map(|c| c.index);
        let repeats = indices.fold((0u8, false), |(seen, twice), i| (seen | 1 << i, twice || seen & 1 << i != 0)).1;
        let sets: Vec<Vec<Condition>> =
            if repeats { self.conditions.iter().map(|&c| vec![c]).collect() } else { vec![self.conditions.clone()] };
        self.names.iter().flat_map(move |name| {
            let rule =
                |conditions: &Vec<_>| Rule { name: name.clone(), action: self.action, conditions: conditions.clone() };
            sets.iter().map(rule).collect::<Vec<_>>()
        })
    }
}

impl When {
    fn excluded(&self, c: &Conditions<'_>) -> bool {
        self.arches.iter().any(|a| a == c.arch.go_name())
            || self.caps.iter().any(|cap| c.caps.contains(&cap.as_str()))
            || self.min_kernel.is_some_and(|least| c.kernel >= least)
    }

    fn included(&self, c: &Conditions<'_>) -> bool {
        (self.arches.is_empty() || self.arches.iter().any(|a| a == c.arch.go_name()))
            && self.caps.iter().all(|cap| c.caps.contains(&cap.as_str()))
            && self.min_kernel.is_none_or(|least| c.kernel >= least)
    }
}

/// The first two numbers of a kernel release: `6.18` of `6.18.44-generic`.
pub fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let (major, rest) = release.trim().split_once('.')?;
    let minor = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn sense(place: &str, why: &str) -> ProfileError {
    ProfileError::Sense { place: place.to_owned(), why: why.to_owned() }
}

fn entry((index, entry): (usize, format::Entry)) -> Result<Entry, ProfileError> {
    let first = if entry.name.is_empty() { entry.names.first() } else { Some(&entry.name) };
    let label = match (first, entry.names.len()) {
        (None, _) => format!("entry {}", index + 1),
        (Some(name), 0 | 1) => format!("entry {} ({name})", index + 1),
        (Some(name), _) => format!("entry {} ({name}, …)", index + 1),
    };
    let fail = |why: String| sense(&label, &why);
    if !entry.name.is_empty() && !entry.names.is_empty() {
        return Err(fail("both `name` and `names` are given, one of them must go".to_owned()));
    }
    let names = if entry.name.is_empty() { entry.names } else { vec![entry.name] };
    if names.iter().any(String::is_empty) {
        return Err(fail("an empty string is no system call".to_owned()));
    }
    Ok(Entry {
        action: action(&entry.action, entry.errno.as_deref(), entry.errno_ret).map_err(fail)?,
        conditions: entry.args.iter().map(condition).collect::<Result<_, _>>().map_err(fail)?,
        includes: when(entry.includes).map_err(fail)?,
        excludes: when(entry.excludes).map_err(fail)?,
        names,
    })
}

fn when(when: format::When) -> Result<When, String> {
    let text = &when.min_kernel;
    let exact = |v: &(u32, u32)| *text == format!("{}.{}", v.0, v.1);
    let min_kernel = match text.as_str() {
        "" => None,
        text => Some(kernel_version(text).filter(exact).ok_or(format!("minKernel `{text}` is not of the form `4.8`"))?),
    };
    Ok(When { caps: when.caps, arches: when.arches, min_kernel })
}

fn condition(arg: &format::Arg) -> Result<Condition, String> {
    let index = u8::try_from(arg.index).ok().filter(|&i| i < 6);
    let index = index.ok_or(format!("argument {}: a system call has the arguments 0 to 5", arg.index))?;
    let (op, value) = match arg.op.as_str() {
        "SCMP_CMP_NE" => (Op::Ne, arg.value),
        "SCMP_CMP_LT" => (Op::Lt, arg.value),
        "SCMP_CMP_LE" => (Op::Le, arg.value),
        "SCMP_CMP_EQ" => (Op::Eq, arg.value),
        "SCMP_CMP_GE" => (Op::Ge, arg.value),
        "SCMP_CMP_GT" => (Op::Gt, arg.value),
        "SCMP_CMP_MASKED_EQ" => (Op::MaskedEq(arg.value), arg.value_two),
        other => return Err(format!("argument {index}: `{other}` is no comparison (SCMP_CMP_EQ, …)")),
    };
    Ok(Condition { index, op, value })
}

/// An action and its errno. The errno's name wins over its number, as in containers-common; EPERM where none is given.
fn action(name: &str, errno: Option<&str>, number: Option<u32>) -> Result<Action, String> {
    let number = match errno.filter(|e| !e.is_empty()) {
        Some(errno) => Some(errno_number(errno).ok_or(format!("`{errno}` is no errno"))?),
        None => number,
    };
    let data = |most: u16| match u16::try_from(number.unwrap_or(EPERM.into())) {
        Ok(n) if n <= most => Ok(n),
        _ => Err(format!("{} is more than the {most} that {name} can carry", number.unwrap_or_default())),
    };
    let action = match name {
        "SCMP_ACT_ERRNO" => return Ok(Action::Errno(data(4095)?)),
        "SCMP_ACT_TRACE" => return Ok(Action::Trace(data(u16::MAX)?)),
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_TRAP" => Action::Trap,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        "SCMP_ACT_NOTIFY" => return Err("SCMP_ACT_NOTIFY needs an agent to notify, and austere has none".to_owned()),
        other => return Err(format!("`{other}` is no action (SCMP_ACT_ALLOW, SCMP_ACT_ERRNO, …)")),
    };
    match number {
        None => Ok(action),
        Some(_) => Err(format!("{name} cannot carry an errno")),
    }
}

fn errno_number(name: &str) -> Option<u32> {
    let known = |n: &i32| Errno::from_raw(*n) != Errno::UnknownErrno && format!("{:?}", Errno::from_raw(*n)) == name;
    name.parse().ok().or_else(|| (1..134).find(known).and_then(|n| u32::try_from(n).ok()))
}

/// runc's flags. No list at all means what runc takes as the default; an empty list means none.
fn flags(names: Option<&[String]>) -> Result<Flags, String> {
    let Some(names) = names else { return Ok(Flags { spec_allow: true, ..Flags::default() }) };
    names.iter().try_fold(Flags::default(), |flags, name| match name.as_str() {
        "SECCOMP_FILTER_FLAG_LOG" => Ok(Flags { log: true, ..flags }),
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => Ok(Flags { spec_allow: true, ..flags }),
        // Both are about others: threads, of which there is one when the filter is installed, and a listener.
        "SECCOMP_FILTER_FLAG_TSYNC" | "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => Ok(flags),
        other => Err(format!("`{other}` is no flag (SECCOMP_FILTER_FLAG_LOG, …)")),
    })
}

/// The architectures runc knows. Those of other machines stand in profiles too.
const ARCHITECTURES: [&str; 18] = [
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_LOONGARCH64",
];
