//! One thing that can be given back to an app, and sets of them.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::profile::preset::TmpfsStyle;
use crate::profile::seccomp;
use crate::profile::settings::{SettingError, Sysctl, Ulimit, capabilities};
use crate::profile::tmpfs::Tmpfs;
use crate::profile::{Profile, Seccomp};

/// The parameter that says from where on ports are everybody's.
pub const PORT_START: &str = "net.ipv4.ip_unprivileged_port_start";

/// What can be given back; the order is that of risk, the smallest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "value")]
pub enum Relaxation {
    /// A writable folder in memory.
    Tmpfs(Scratch),
    /// A writable folder with the image's own content and owners; it goes with the container.
    Volume(String),
    /// A variable, `NAME=VALUE`.
    Env(String),
    /// A line for the app's user in /etc/passwd.
    PasswdLine,
    /// Ports below 1024 are everybody's.
    LowPorts,
    /// A resource limit, `memlock=-1`.
    Ulimit(String),
    /// The user that the image itself names.
    User(String),
    /// A further group.
    Group(u32),
    /// A system call that the filter refuses.
    Syscall(String),
    /// A capability, without its prefix: `CHOWN`.
    Capability(String),
    /// User 0.
    Root,
    /// The root filesystem is no longer read-only.
    WritableRoot,
}

/// A writable folder in memory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Scratch {
    /// Where.
    pub path: String,
    /// Programs in it may be run.
    pub exec: bool,
    /// It belongs to the app's user: the image's folder is not everybody's.
    pub owned: bool,
    /// Bytes that were seen to be enough; half of the memory when absent.
    pub size: Option<u64>,
}

/// A relaxation, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Given {
    /// What is given back.
    #[serde(flatten)]
    pub what: Relaxation,
    /// The cause that asked for it: `D02: mkdir on /var/lib/nginx/body gets EROFS`.
    pub evidence: String,
    /// What would be better than giving it back: a change to the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub better: Option<String>,
}

/// Why something is given back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Why {
    /// The cause in a few words.
    pub evidence: String,
    /// What would be better.
    pub better: Option<String>,
}

/// What cannot be given back after all.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A value that no flag would take.
    #[error("cannot give back `{0}`: {1}")]
    Setting(String, SettingError),
    /// The preset's filter is not what it should be.
    #[error("cannot add a call to the seccomp profile {0}: it is not one in docker's form")]
    Seccomp(String),
}

/// Several that are given together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set(Vec<Given>);

impl Set {
    /// What is in it, the smallest risk first.
    pub fn given(&self) -> &[Given] {
        &self.0
    }

    /// Without the reasons: two sets with the same are the same.
    pub fn key(&self) -> Vec<Relaxation> {
        self.0.iter().map(|given| given.what.clone()).collect()
    }

    /// Whether nothing is given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this is given.
    pub fn has(&self, what: &Relaxation) -> bool {
        self.0.iter().any(|given| given.what == *what)
    }

    /// The same and one more. A tmpfs takes in those below it, a user takes another's place.
    #[must_use]
    pub fn with(&self, what: Relaxation, why: &Why) -> Self {
        let mut all = self.0.clone();
        let mut what = what;
        let mut reasons = vec![why.evidence.clone()];
        if let Relaxation::Tmpfs(new) = &mut what {
            all.retain(|given| match &given.what {
                Relaxation::Tmpfs(old) if is_below(&old.path, &new.path) => {
                    new.exec |= old.exec;
                    new.owned |= old.owned && old.path == new.path;
                    reasons.push(given.evidence.clone());
                    false
                }
                Relaxation::Volume(old) => !is_below(old, &new.path),
                _ => true,
            });
        }
        match &what {
            Relaxation::Volume(path) => all.retain(|given| match &given.what {
                Relaxation::Tmpfs(old) => !is_below(&old.path, path),
                _ => true,
            }),
            Relaxation::User(_) | Relaxation::Root => {
                all.retain(|given| {
                    !matches!(given.what, Relaxation::User(_) | Relaxation::Root | Relaxation::Group(_))
                });
            }
            _ => {}
        }
        if !all.iter().any(|given| given.what == what) {
            reasons.reverse();
            reasons.dedup();
            all.push(Given { what, evidence: reasons.join("; "), better: why.better.clone() });
        }
        all.sort_by(|a, b| a.what.cmp(&b.what));
        Set(all)
    }

    /// The same without some.
    #[must_use]
    pub fn without(&self, leave: &[&Relaxation]) -> Self {
        Set(self.0.iter().filter(|given| !leave.contains(&&given.what)).cloned().collect())
    }

    /// The same with every tmpfs bounded.
    #[must_use]
    pub fn sized(&self, size: u64) -> Self {
        let mut all = self.0.clone();
        for given in &mut all {
            if let Relaxation::Tmpfs(scratch) = &mut given.what {
                scratch.size = Some(size);
            }
        }
        Set(all)
    }

    /// The tmpfs that a path lies in.
    pub fn tmpfs_over(&self, path: &str) -> Option<&Scratch> {
        self.scratches().filter(|scratch| is_below(path, &scratch.path)).max_by_key(|scratch| scratch.path.len())
    }

    /// Every tmpfs.
    pub fn scratches(&self) -> impl Iterator<Item = &Scratch> {
        self.0.iter().filter_map(|given| match &given.what {
            Relaxation::Tmpfs(scratch) => Some(scratch),
            _ => None,
        })
    }

    /// The user in place of the one that was asked for.
    pub fn user(&self) -> Option<&str> {
        self.0.iter().find_map(|given| match &given.what {
            Relaxation::Root => Some("0"),
            Relaxation::User(user) => Some(user.as_str()),
            _ => None,
        })
    }

    /// Further groups.
    pub fn groups(&self) -> Vec<String> {
        let group = |given: &Given| match given.what {
            Relaxation::Group(gid) => Some(gid.to_string()),
            _ => None,
        };
        self.0.iter().filter_map(group).collect()
    }

    /// `base` with all of it, for an app that is user `uid`. Users and groups are another matter: see [`Set::user`].
    ///
    /// # Errors
    ///
    /// [`ApplyError`].
    pub fn applied(&self, base: &Profile, uid: u32) -> Result<Profile, ApplyError> {
        let mut profile = base.clone();
        let setting = |what: &Relaxation| {
            let text = what.to_string();
            move |error| ApplyError::Setting(text, error)
        };
        for Given { what, .. } in &self.0 {
            match what {
                Relaxation::Tmpfs(scratch) => {
                    let tmpfs = scratch.tmpfs(profile.preset.tmpfs, uid);
                    profile.tmpfs.retain(|old| old.path != tmpfs.path);
                    profile.tmpfs.push(tmpfs);
                }
                Relaxation::Volume(path) => profile.volumes.push(path.clone()),
                Relaxation::Env(pair) => profile.env.push(pair.clone()),
                Relaxation::PasswdLine => profile.preset.passwd_line = true,
                Relaxation::LowPorts => {
                    profile.sysctls.push(Sysctl { name: PORT_START.to_owned(), value: "0".to_owned() });
                }
                Relaxation::Ulimit(limit) => {
                    profile.ulimits.push(limit.parse::<Ulimit>().map_err(setting(what))?);
                }
                Relaxation::Syscall(call) => {
                    let (name, text) = match &profile.seccomp {
                        Seccomp::Unconfined => continue,
                        Seccomp::Preset => {
                            let name = profile.preset.seccomp.clone();
                            let text = seccomp::shipped(&name).unwrap_or_default().to_owned();
                            (name, text)
                        }
                        Seccomp::Profile(name, text) => (name.clone(), text.clone()),
                    };
                    let text = allowing(&text, call).ok_or_else(|| ApplyError::Seccomp(name.clone()))?;
                    profile.seccomp = Seccomp::Profile(format!("{name} and {call}"), text);
                }
                Relaxation::Capability(name) => {
                    profile.capabilities.extend(capabilities(name).map_err(setting(what))?);
                }
                Relaxation::WritableRoot => profile.read_only = false,
                Relaxation::User(_) | Relaxation::Group(_) | Relaxation::Root => {}
            }
        }
        Ok(profile)
    }
}

impl Scratch {
    /// Bounded by nothing, and for everybody.
    pub fn at(path: &str) -> Self {
        Scratch { path: path.to_owned(), exec: false, owned: false, size: None }
    }

    /// As the engine has to be told.
    fn tmpfs(&self, style: TmpfsStyle, uid: u32) -> Tmpfs {
        let owner = (self.owned && style == TmpfsStyle::Bare).then_some(uid).filter(|uid| *uid != 0);
        let exec = self.exec.then_some(true);
        Tmpfs { exec, uid: owner, size: self.size, ..Tmpfs::at(self.path.clone().into()) }
    }

    /// `/run:uid=65532,exec`, as docker takes it.
    pub fn flag(&self, uid: u32) -> String {
        let mut options = Vec::new();
        options.extend(self.exec.then(|| "exec".to_owned()));
        options.extend((self.owned && uid != 0).then(|| format!("uid={uid}")));
        options.extend(self.size.map(|size| format!("size={}m", size >> 20)));
        if options.is_empty() { self.path.clone() } else { format!("{}:{}", self.path, options.join(",")) }
    }
}

/// A profile in docker's form that lets `call` through, whatever it said of it before.
pub fn allowing(profile: &str, call: &str) -> Option<String> {
    let mut profile: Value = serde_json::from_str(profile).ok()?;
    let rules = profile.get_mut("syscalls")?.as_array_mut()?;
    for rule in rules.iter_mut() {
        if let Some(names) = rule.get_mut("names").and_then(Value::as_array_mut) {
            names.retain(|name| name != call);
        }
    }
    rules.retain(|rule| rule["names"].as_array().is_none_or(|names| !names.is_empty()));
    rules.push(json!({ "names": [call], "action": "SCMP_ACT_ALLOW" }));
    serde_json::to_string_pretty(&profile).ok()
}

impl Relaxation {
    /// What kind of thing it is, for grouping.
    pub fn kind(&self) -> &'static str {
        match self {
            Relaxation::Tmpfs(_) => "tmpfs",
            Relaxation::Volume(_) => "volume",
            Relaxation::Env(_) => "env",
            Relaxation::PasswdLine => "passwd-line",
            Relaxation::LowPorts => "low-ports",
            Relaxation::Ulimit(_) => "ulimit",
            Relaxation::User(_) => "user",
            Relaxation::Group(_) => "group",
            Relaxation::Syscall(_) => "syscall",
            Relaxation::Capability(_) => "capability",
            Relaxation::Root => "root",
            Relaxation::WritableRoot => "writable-root",
        }
    }

    /// As docker's flag, for an app that is user `uid`.
    pub fn flag(&self, uid: u32) -> String {
        match self {
            Relaxation::Tmpfs(scratch) => format!("--tmpfs {}", scratch.flag(uid)),
            Relaxation::Volume(path) => format!("-v {path}"),
            Relaxation::Env(pair) => format!("-e {pair}"),
            Relaxation::PasswdLine => "a line in /etc/passwd".to_owned(),
            Relaxation::LowPorts => format!("--sysctl {PORT_START}=0"),
            Relaxation::Ulimit(limit) => format!("--ulimit {limit}"),
            Relaxation::User(user) => format!("--user {user}"),
            Relaxation::Group(gid) => format!("--group-add {gid}"),
            Relaxation::Syscall(call) => format!("the system call {call}"),
            Relaxation::Capability(name) => format!("--cap-add {name}"),
            Relaxation::Root => "--user 0".to_owned(),
            Relaxation::WritableRoot => "--read-only=false".to_owned(),
        }
    }
}

impl fmt::Display for Relaxation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.flag(65532))
    }
}

/// Whether a path is a folder or lies in it.
pub fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder.trim_end_matches('/')).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(evidence: &str) -> Why {
        Why { evidence: evidence.to_owned(), better: None }
    }

    fn tmpfs(path: &str) -> Relaxation {
        Relaxation::Tmpfs(Scratch { owned: true, ..Scratch::at(path) })
    }

    #[test]
    fn a_set_has_one_of_what_there_can_be_one_of() {
        let set = Set::default()
            .with(tmpfs("/run/a"), &why("one"))
            .with(tmpfs("/run/b"), &why("two"))
            .with(tmpfs("/run"), &why("three"));
        assert_eq!(set.key(), [Relaxation::Tmpfs(Scratch { owned: true, ..Scratch::at("/run") })]);
        assert_eq!(set.given()[0].evidence, "two; one; three");
        let set = set.with(Relaxation::User("app".to_owned()), &why("")).with(Relaxation::Root, &why(""));
        assert_eq!((set.user(), set.given().len()), (Some("0"), 2));
        assert!(set.with(Relaxation::Volume("/run".to_owned()), &why("")).scratches().next().is_none());
    }

    #[test]
    fn a_set_changes_the_profile_and_reads_back_as_flags() {
        let base = Profile::hardened("docker".parse().unwrap());
        let set = Set::default()
            .with(tmpfs("/run"), &why(""))
            .with(Relaxation::LowPorts, &why(""))
            .with(Relaxation::Syscall("clone".to_owned()), &why(""))
            .with(Relaxation::Capability("CHOWN".to_owned()), &why(""))
            .sized(64 << 20);
        let profile = set.applied(&base, 7).unwrap();
        assert_eq!(profile.tmpfs[0].to_string(), "/run:rw,noexec,nosuid,nodev,size=67108864,uid=7");
        assert!(profile.capabilities.contains("CAP_CHOWN") && profile.sysctls.len() == 1);
        let Seccomp::Profile(_, text) = profile.seccomp else { panic!("no profile") };
        let rules: Value = serde_json::from_str(&text).unwrap();
        let naming = |rule: &&Value| rule["names"].as_array().unwrap().iter().any(|name| name == "clone");
        assert_eq!(rules["syscalls"].as_array().unwrap().iter().filter(naming).count(), 1);
        assert_eq!(set.given()[0].what.flag(0), "--tmpfs /run:size=64m");
        // Podman's takes no owner, and needs none.
        let podman = Profile::hardened("podman".parse().unwrap());
        assert_eq!(set.applied(&podman, 7).unwrap().tmpfs[0].uid, None);
    }
}
