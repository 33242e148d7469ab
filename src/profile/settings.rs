//! Single settings of a container, as docker's flags spell them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Whom the app can reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// Itself: a network of its own with lo only. Probes come in by a way of their own.
    #[default]
    None,
    /// Whomever the host can reach.
    Host,
}

/// `NAME=VALUE` of a kernel parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// `net.ipv4.ip_forward`.
    pub name: String,
    /// As it is written to the file.
    pub value: String,
}

/// `NAME=SOFT[:HARD]` of a resource limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ulimit {
    /// Which.
    pub resource: &'static Resource,
    /// Where the kernel starts to refuse; `None` is unlimited.
    pub soft: Option<u64>,
    /// How far the app may raise it.
    pub hard: Option<u64>,
}

/// One of the kernel's resource limits.
#[derive(Debug, PartialEq, Eq)]
pub struct Resource {
    /// As docker names it: `nofile`.
    pub name: &'static str,
    /// Its number for setrlimit(2).
    pub number: u32,
    /// As `/proc/PID/limits` names it.
    pub title: &'static str,
}

const fn resource(name: &'static str, number: u32, title: &'static str) -> Resource {
    Resource { name, number, title }
}

/// All of them, but `core`, which stays 0 so that a crash hands its memory to nobody. The numbers are those of `asm-generic/resource.h`: the
/// types of `libc`'s differ with the C library.
static RESOURCES: [Resource; 15] = [
    resource("as", 9, "Max address space"),
    resource("cpu", 0, "Max cpu time"),
    resource("data", 2, "Max data size"),
    resource("fsize", 1, "Max file size"),
    resource("locks", 10, "Max file locks"),
    resource("memlock", 8, "Max locked memory"),
    resource("msgqueue", 12, "Max msgqueue size"),
    resource("nice", 13, "Max nice priority"),
    resource("nofile", 7, "Max open files"),
    resource("nproc", 6, "Max processes"),
    resource("rss", 5, "Max resident set"),
    resource("rtprio", 14, "Max realtime priority"),
    resource("rttime", 15, "Max realtime timeout"),
    resource("sigpending", 11, "Max pending signals"),
    resource("stack", 3, "Max stack size"),
];

/// A setting that docker would not take either, or that austere cannot give.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// No name, or no value.
    #[error("`{0}` is not NAME=VALUE")]
    NotPair(String),
    /// It belongs to the host, not to a container.
    #[error(
        "`{0}` is not a kernel parameter of a container's own (net.*, kernel.msg*, kernel.sem, kernel.shm*, fs.mqueue.*)"
    )]
    NotNamespaced(String),
    /// No limit of that name.
    #[error("`{0}` is not one of {names}", names = names())]
    NoResource(String),
    /// Not a number, or soft above hard.
    #[error("`{0}` is not SOFT[:HARD], each a number or -1 for unlimited, with SOFT not above HARD")]
    NoLimit(String),
    /// A word that is no capability's name.
    #[error("`{0}` is not a capability (for example NET_BIND_SERVICE, or ALL)")]
    NoCapability(String),
    /// Another network than the two.
    #[error("`{0}` is not a network that austere has: none (closed) or host")]
    NoNetwork(String),
}

fn names() -> String {
    RESOURCES.each_ref().map(|resource| resource.name).join(", ")
}

impl FromStr for Sysctl {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let (name, value) = text.split_once('=').ok_or_else(|| SettingError::NotPair(text.to_owned()))?;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
        let is_name = !name.is_empty() && name.bytes().all(fits) && !name.split(['.', '/']).any(str::is_empty);
        let is_value = !value.contains(['\0', '\n']);
        if !is_name || !is_value || name.contains('/') {
            return Err(SettingError::NotPair(text.to_owned()));
        }
        // What runc takes (libcontainer/configs/validate: isSysctlsAllowed by namespace).
        let ipc = [
            "kernel.msgmax",
            "kernel.msgmnb",
            "kernel.msgmni",
            "kernel.sem",
            "kernel.shmall",
            "kernel.shmmax",
            "kernel.shmmni",
            "kernel.shm_rmid_forced",
        ];
        if !ipc.contains(&name) && !name.starts_with("fs.mqueue.") && !name.starts_with("net.") {
            return Err(SettingError::NotNamespaced(name.to_owned()));
        }
        Ok(Sysctl { name: name.to_owned(), value: value.to_owned() })
    }
}

impl Sysctl {
    /// Its file.
    pub fn path(&self) -> String {
        format!("/proc/sys/{}", self.name.replace('.', "/"))
    }
}

impl fmt::Display for Sysctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

impl FromStr for Ulimit {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let (name, limits) = text.split_once('=').ok_or_else(|| SettingError::NotPair(text.to_owned()))?;
        let resource = RESOURCES
            .iter()
            .find(|resource| resource.name == name)
            .ok_or_else(|| SettingError::NoResource(name.to_owned()))?;
        let no_limit = || SettingError::NoLimit(limits.to_owned());
        let limit = |text: &str| match text {
            "-1" | "unlimited" => Ok(None),
            _ => text.parse().map(Some).map_err(|_| no_limit()),
        };
        let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
        let (soft, hard) = (limit(soft)?, limit(hard)?);
        let height = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
        if height(soft) > height(hard) {
            return Err(no_limit());
        }
        Ok(Ulimit { resource, soft, hard })
    }
}

impl fmt::Display for Ulimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |limit: Option<u64>| limit.map_or_else(|| "-1".to_owned(), |limit| limit.to_string());
        write!(f, "{}={}:{}", self.resource.name, word(self.soft), word(self.hard))
    }
}

impl FromStr for Network {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        match text {
            "none" => Ok(Network::None),
            "host" => Ok(Network::Host),
            _ => Err(SettingError::NoNetwork(text.to_owned())),
        }
    }
}

/// The capabilities behind a word of `--cap-add`: one, or all that Linux has.
///
/// # Errors
///
/// [`SettingError::NoCapability`].
pub fn capabilities(word: &str) -> Result<BTreeSet<String>, SettingError> {
    let upper = word.to_ascii_uppercase();
    if upper == "ALL" || upper == "CAP_ALL" {
        return Ok(caps::all().into_iter().map(|capability| capability.to_string()).collect());
    }
    let name = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
    let known: Result<caps::Capability, _> = name.parse();
    known.map(|known| BTreeSet::from([known.to_string()])).map_err(|_| SettingError::NoCapability(word.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sysctl_is_a_container_s_own() {
        let path = |text: &str| text.parse::<Sysctl>().map(|sysctl| sysctl.path());
        assert_eq!(path("net.core.somaxconn=1024").as_deref(), Ok("/proc/sys/net/core/somaxconn"));
        assert_eq!(path("kernel.shmmax=1").as_deref(), Ok("/proc/sys/kernel/shmmax"));
        for text in ["", "x", "net.=1", "net..x=1", "=1", "net.ipv4/../../kernel/x=1", "net.ipv4.x=1\n2"] {
            assert_eq!(path(text), Err(SettingError::NotPair(text.to_owned())), "{text:?}");
        }
        for name in ["kernel.core_pattern", "vm.swappiness", "kernel.hostname"] {
            assert_eq!(path(&format!("{name}=1")), Err(SettingError::NotNamespaced(name.to_owned())));
        }
    }

    #[test]
    fn resources_have_the_kernel_s_numbers() {
        use nix::sys::resource::Resource;
        let number = |name: &str| RESOURCES.iter().find(|resource| resource.name == name).unwrap().number;
        for (name, resource) in [
            ("as", Resource::RLIMIT_AS),
            ("cpu", Resource::RLIMIT_CPU),
            ("locks", Resource::RLIMIT_LOCKS),
            ("msgqueue", Resource::RLIMIT_MSGQUEUE),
            ("nofile", Resource::RLIMIT_NOFILE),
            ("nproc", Resource::RLIMIT_NPROC),
            ("rtprio", Resource::RLIMIT_RTPRIO),
            ("sigpending", Resource::RLIMIT_SIGPENDING),
            ("stack", Resource::RLIMIT_STACK),
        ] {
            assert_eq!(i64::from(number(name)), resource as i64, "{name}");
        }
    }

    #[test]
    fn a_ulimit_reads_back() {
        for (text, shown) in
            [("nofile=1024", "nofile=1024:1024"), ("nproc=1:-1", "nproc=1:-1"), ("stack=unlimited", "stack=-1:-1")]
        {
            assert_eq!(text.parse::<Ulimit>().unwrap().to_string(), shown);
        }
        assert_eq!("core=0".parse::<Ulimit>().unwrap_err().to_string().split(' ').next(), Some("`core`"));
        for text in ["nofile", "nofile=", "nofile=x", "nofile=2:1", "nofile=-1:5", "nofile=1:2:3"] {
            assert!(text.parse::<Ulimit>().is_err(), "{text}");
        }
    }

    #[test]
    fn capabilities_are_named_with_and_without_their_prefix() {
        assert_eq!(capabilities("chown"), Ok(BTreeSet::from(["CAP_CHOWN".to_owned()])));
        assert_eq!(capabilities("CAP_NET_ADMIN"), Ok(BTreeSet::from(["CAP_NET_ADMIN".to_owned()])));
        assert!(capabilities("ALL").unwrap().len() > 38);
        for word in ["", "CAP_", "ROOT", "CAP_CAP_CHOWN"] {
            assert_eq!(capabilities(word), Err(SettingError::NoCapability(word.to_owned())));
        }
    }
}
