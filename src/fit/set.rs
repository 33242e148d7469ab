//! Relaxations that are given together, each with its reason.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::relaxation::{PORT_START, Relaxation, Scratch};
use crate::profile::seccomp;
use crate::profile::settings::{SettingError, Sysctl, Ulimit, capabilities};
use crate::profile::{Profile, Seccomp};

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
                    let found = allowing_call(&profile, call);
                    profile.seccomp = found.ok_or_else(|| ApplyError::Seccomp(profile.preset.seccomp.clone()))?;
                }
                Relaxation::Capability(name) => {
                    profile.capabilities.extend(capabilities(name).map_err(setting(what))?);
                }
                Relaxation::WritableRoot => profile.read_only = false,
                Relaxation::AllowExec(path) => profile.allow_exec.push(path.clone()),
                // The session's account, and a room that stays closed.
                Relaxation::User(_) | Relaxation::Group(_) | Relaxation::Root | Relaxation::Network(_) => {}
            }
        }
        Ok(profile)
    }
}

/// The filter of `profile` with `call` let through; nothing where it is not of docker's form.
pub fn allowing_call(profile: &Profile, call: &str) -> Option<Seccomp> {
    let (name, text) = match &profile.seccomp {
        Seccomp::Unconfined => return Some(Seccomp::Unconfined),
        Seccomp::Preset => (&profile.preset.seccomp, seccomp::shipped(&profile.preset.seccomp).unwrap_or_default()),
        Seccomp::Profile(name, text) => (name, text.as_str()),
    };
    Some(Seccomp::Profile(format!("{name} and {call}"), allowing(text, call)?))
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
