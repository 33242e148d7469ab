//! A fit in the words of engines: the same set is not said the same way everywhere, because each mounts, owns and refuses in its own manner.

mod engine;
mod kubernetes;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::fit::{Given, PORT_START, Relaxation, Set, Why};
use engine::{Docker, Engine, Podman, quoted};

/// Whom a fit is handed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A command line of docker.
    Docker,
    /// A command line of podman.
    Podman,
    /// A service of a compose file.
    Compose,
    /// A Deployment.
    Kubernetes,
}

/// All that a target needs to know; a verdict in JSON has it.
#[derive(Clone, Debug, Deserialize)]
pub struct Order {
    /// The image as the engine knows it.
    #[serde(skip, default = "image")]
    pub image: String,
    /// Who the app was in the strictest jail.
    pub ids: Ids,
    /// What it had to do.
    pub plan: Plan,
    /// What is given back.
    pub fit: Fit,
}

/// Who the app is.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Ids {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// The part of a plan that is handed over.
#[derive(Clone, Debug, Deserialize)]
pub struct Plan {
    /// Its probes.
    pub probes: Vec<Probe>,
}

/// One probe, as a verdict has it.
#[derive(Clone, Debug, Deserialize)]
pub struct Probe {
    /// `http`, `tcp`, …
    pub kind: String,
    /// `8080/healthz`, `6379`, …
    pub target: String,
}

/// The part of a fit that is handed over.
#[derive(Clone, Debug, Deserialize)]
pub struct Fit {
    /// `reached` when there is one.
    pub status: String,
    /// The set.
    pub relaxations: Vec<Given>,
    /// The app's own seccomp profile.
    pub seccomp: Option<Own>,
}

/// A seccomp profile of the app's own.
#[derive(Clone, Debug, Deserialize)]
pub struct Own {
    /// `reached` when the app works under it.
    pub status: String,
    /// The profile.
    pub profile: Value,
}

impl Fit {
    /// The text of the app's own seccomp profile, where there is one that was proven.
    pub fn own_profile(&self) -> Option<String> {
        let own = self.seccomp.as_ref().filter(|own| own.status == "reached")?;
        Some(format!("{:#}\n", own.profile))
    }

    /// Calls that are let through beside those of the engine's own profile, where there is none of the app's own.
    fn calls(&self) -> impl Iterator<Item = &str> {
        let has_own = self.own_profile().is_some();
        self.relaxations.iter().filter(move |_| !has_own).filter_map(|given| match &given.what {
            Relaxation::Syscall(call) => Some(call.as_str()),
            _ => None,
        })
    }

    /// The seccomp profile that the engine has to be given: what it is, if there is one.
    fn filter(&self) -> Option<String> {
        if self.own_profile().is_some() {
            let how = "`austere fit --to seccomp` writes it";
            return Some(format!(
                "{how}; it lets through what the app was seen to use and answers ENOSYS for the rest"
            ));
        }
        let calls: Vec<&str> = self.calls().collect();
        (!calls.is_empty())
            .then(|| format!("`austere fit --to seccomp` writes it; it lets {} through", calls.join(", ")))
    }
}

fn image() -> String {
    "IMAGE".to_owned()
}

impl Order {
    fn has(&self, what: &Relaxation) -> bool {
        self.fit.relaxations.iter().any(|given| given.what == *what)
    }

    fn user(&self) -> String {
        let mut set = Set::default();
        for given in &self.fit.relaxations {
            set = set.with(given.what.clone(), &Why::default());
        }
        set.user().map_or_else(|| self.ids.uid.to_string(), str::to_owned)
    }

    /// The same as a number; root's for a name, which no fit has.
    fn uid(&self) -> u32 {
        self.user().parse().unwrap_or(0)
    }

    /// TCP ports that the plan asks.
    fn ports(&self) -> Vec<u16> {
        let mut ports: Vec<u16> = self.plan.probes.iter().filter_map(Probe::port).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// Whether ports below 1024 have to be opened where the engine does not do it of itself.
    fn wants_low_ports(&self) -> bool {
        let may = self.has(&Relaxation::Capability("NET_BIND_SERVICE".to_owned())) && self.uid() == 0;
        self.has(&Relaxation::LowPorts) || (!may && self.ports().iter().any(|port| *port < 1024))
    }

    /// As `target` takes it. Lines that start with `#` are notes.
    pub fn handed_to(&self, target: Target) -> String {
        match target {
            Target::Docker => self.command(&Docker),
            Target::Podman => self.command(&Podman),
            Target::Compose => self.compose(),
            Target::Kubernetes => kubernetes::deployment(self),
        }
    }

    fn command(&self, engine: &dyn Engine) -> String {
        let mut words = vec![format!("{} run --read-only --cap-drop ALL", engine.name())];
        if self.has(&Relaxation::WritableRoot) {
            words[0] = format!("{} run --cap-drop ALL", engine.name());
        }
        words.push("--security-opt no-new-privileges".to_owned());
        words.push(format!("--user {}", self.user()));
        if engine.closes_low_ports() && self.wants_low_ports() && !self.has(&Relaxation::LowPorts) {
            words.push(format!("--sysctl {PORT_START}=0"));
        }
        for given in &self.fit.relaxations {
            words.extend(engine.flag(&given.what, self.uid()));
        }
        words.extend(self.fit.filter().map(|_| "--security-opt seccomp=seccomp.json".to_owned()));
        words.extend(self.ports().iter().map(|port| format!("-p {port}:{port}")));
        words.push(quoted(&self.image));
        let mut text: String = self.notes(engine.adds_passwd_line()).iter().map(|note| comment(note)).collect();
        text.push_str(&words.join(" "));
        text.push('\n');
        text
    }

    /// What cannot stand in a command line or a file of one's own.
    fn notes(&self, adds_passwd_line: bool) -> Vec<String> {
        let mut notes = Vec::new();
        notes.extend(self.unproven());
        for Given { what, .. } in &self.fit.relaxations {
            notes.extend(match what {
                Relaxation::PasswdLine if !adds_passwd_line => Some(format!(
                    "passwd: the image's /etc/passwd with the line `app:x:{}:{}::/:/sbin/nologin`; a line in the image itself is better",
                    self.ids.uid, self.ids.gid
                )),
                Relaxation::AllowExec(path) => {
                    Some(format!("{path}: an engine lets every program be started; what may not be should not be in the image"))
                }
                Relaxation::Network(address) => Some(reaches(address, "a network with a way out, as the engine's default has")),
                Relaxation::Volume(path) => {
                    Some(format!("{path}: a fresh volume with the image's own files and owners; it goes with the container"))
                }
                _ => None,
            });
        }
        notes.extend(self.fit.filter().map(|what| format!("seccomp.json: {what}")));
        notes.extend(self.better());
        notes.dedup();
        notes
    }

    /// What has to be known of a form that was not seen to work.
    fn unproven(&self) -> Option<String> {
        let wants_out = self.fit.relaxations.iter().any(|given| matches!(given.what, Relaxation::Network(_)));
        let why = match (self.fit.status.as_str(), wants_out) {
            ("reached", _) => return None,
            (_, true) => "not proven: austere's room is closed, and the app wants to reach something outside",
            (_, false) => "austere has found no set that works: this is the strictest form",
        };
        Some(why.to_owned())
    }

    /// What would be better than each relaxation, said once.
    fn better(&self) -> Vec<String> {
        let mut all: Vec<(String, &str)> = Vec::new();
        for Given { what, better, .. } in &self.fit.relaxations {
            let Some(better) = better else { continue };
            match all.iter_mut().find(|(_, said)| said == better) {
                Some((flags, _)) => *flags = format!("{flags} {}", what.flag(self.uid())),
                None => all.push((what.flag(self.uid()), better)),
            }
        }
        all.into_iter().map(|(flags, better)| format!("better than {flags}: {better}")).collect()
    }

    fn compose(&self) -> String {
        let mut service = Map::new();
        let mut set = |name: &str, value: Value| service.insert(name.to_owned(), value);
        set("image", json!(self.image));
        set("user", json!(self.user()));
        set("read_only", json!(!self.has(&Relaxation::WritableRoot)));
        set("cap_drop", json!(["ALL"]));
        let mut security = vec!["no-new-privileges:true".to_owned()];
        let (mut lists, mut sysctls, mut limits) = (Map::new(), Map::new(), Map::new());
        let mut add = |list: &str, value: String| {
            if let Some(list) = lists.entry(list).or_insert_with(|| json!([])).as_array_mut() {
                list.push(Value::String(value));
            }
        };
        for Given { what, .. } in &self.fit.relaxations {
            match what {
                Relaxation::Tmpfs(scratch) => add("tmpfs", scratch.flag(self.uid())),
                Relaxation::Volume(path) => add("volumes", path.clone()),
                Relaxation::Env(pair) => add("environment", pair.clone()),
                Relaxation::PasswdLine => add("volumes", "./passwd:/etc/passwd:ro".to_owned()),
                Relaxation::Group(gid) => add("group_add", gid.to_string()),
                Relaxation::Capability(name) => add("cap_add", name.clone()),
                Relaxation::Ulimit(limit) => {
                    let (name, value) = limit.split_once('=').unwrap_or((limit, ""));
                    limits.insert(name.to_owned(), json!(value.parse::<i64>().unwrap_or(-1)));
                }
                Relaxation::Syscall(_)
                | Relaxation::AllowExec(_)
                | Relaxation::Network(_)
                | Relaxation::LowPorts
                | Relaxation::User(_)
                | Relaxation::Root
                | Relaxation::WritableRoot => {}
            }
        }
        self.ports().iter().for_each(|port| add("ports", format!("{port}:{port}")));
        if self.has(&Relaxation::LowPorts) {
            sysctls.insert(PORT_START.to_owned(), json!(0));
        }
        security.extend(self.fit.filter().map(|_| "seccomp:./seccomp.json".to_owned()));
        service.insert("security_opt".to_owned(), json!(security));
        service.append(&mut lists);
        for (name, map) in [("sysctls", sysctls), ("ulimits", limits)] {
            if !map.is_empty() {
                service.insert(name.to_owned(), Value::Object(map));
            }
        }
        yaml(&self.notes(false), &json!({ "services": { "app": service } }))
    }
}

impl Probe {
    /// The TCP port that it asks.
    fn port(&self) -> Option<u16> {
        let tcp = matches!(self.kind.as_str(), "port" | "tcp" | "http" | "https");
        let digits = self.target.split('/').next().unwrap_or_default();
        digits.parse().ok().filter(|_| tcp)
    }
}

/// What an app that wants out needs.
fn reaches(address: &str, network: &str) -> String {
    let whom = if address.is_empty() { "something outside" } else { address };
    format!("it wants to reach {whom}: it needs {network}")
}

/// A note on one line, whatever an image's paths are.
fn comment(note: &str) -> String {
    format!("# {}\n", super::clean(note))
}

fn yaml(notes: &[String], value: &Value) -> String {
    let mut text: String = notes.iter().map(|note| comment(note)).collect();
    // JSON values can all be said in YAML.
    text.push_str(&serde_saphyr::to_string(value).unwrap_or_default());
    text
}

#[cfg(test)]
mod tests;
