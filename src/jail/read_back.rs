//! Every measure, asked of the kernel: `/proc/PID` of the app, compared with what was asked for and with this process.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::report::Report;
use super::stdio::Pumps;
use super::{Confinement, Spec};
use crate::ids::gained::Gained;
use crate::measure::Measure;
use crate::netns::Room;
use crate::process::{NAMESPACES, Process};
use crate::profile::settings::Network;
use crate::{caps, exec_memory, ids, landlock, limits, netns, rootfs, seal, sysctls};

/// What this process is like while the launcher is a copy of it.
pub(super) struct Before {
    /// By name; a kernel may lack some.
    namespaces: BTreeMap<&'static str, u64>,
    limits: BTreeMap<String, Option<u64>>,
    descriptors: BTreeSet<(u64, u64)>,
    filters: Option<u32>,
    /// What the second wall would be, or why there is none.
    wall: Result<String, String>,
}

/// What the app's process shows at its first instruction.
pub(super) struct Seen {
    /// All measures.
    pub(super) measures: Vec<Measure>,
    /// Where the app may write and execute; unknown where it has no mounts of its own.
    pub(super) writable_executable: Option<Vec<String>>,
    /// Its network.
    pub(super) room: io::Result<Room>,
}

impl Before {
    pub(super) fn take(rules: &landlock::Rules) -> io::Result<Self> {
        let ours = Process::own()?;
        let namespaces = NAMESPACES.into_iter().filter_map(|name| Some((name, ours.namespace(name).ok()?))).collect();
        let limits = ours.hard_limits()?;
        let descriptors =
            ours.descriptors()?.into_iter().filter(|(number, _)| *number > 2).map(|(_, file)| file).collect();
        let wall = landlock::Wall::new(rules).map(|wall| wall.describe()).map_err(|why| why.to_string());
        Ok(Before { namespaces, limits, descriptors, filters: ours.filters(), wall })
    }

    /// Asks the app's process.
    pub(super) fn compare(&self, spec: &Spec, pid: i32, report: &Report, pumps: &Pumps) -> Seen {
        let app = match Process::open(pid) {
            Ok(app) => app,
            Err(error) => {
                let measures = vec![Measure::unverified("jail", "a process to ask", error.to_string())];
                return Seen { measures, writable_executable: None, room: Err(error) };
            }
        };
        let gained = if spec.no_new_privs { Gained::default() } else { Gained::by_program(&app) };
        let mut measures = ids::read_back(&app, spec.ids, &spec.identity, gained);
        measures.push(caps::read_back(&app, spec.bounding, spec.permitted, spec.ambient, gained.capabilities()));
        if spec.no_new_privs {
            measures.push(no_new_privs(&app));
        }
        match &spec.confinement {
            Confinement::Namespaces => {
                measures.extend(rootfs::read_back(&app, &spec.rootfs));
                measures.push(self.namespaces(&app, spec.ids));
                if spec.network == Network::None {
                    measures.push(netns::read_back(&app, self.namespaces.get("net").copied()));
                }
            }
            Confinement::Tree(why) => measures.extend(not_had(why)),
        }
        measures.extend(spec.room.port_start.map(|port| low_ports(port, report)));
        measures.extend(sysctls::read_back(&spec.sysctls, report.sysctls));
        if let Some((_, witness)) = &spec.seccomp {
            measures.push(seccomp(&app, witness.as_ref(), report, self.filters, u32::from(spec.seal.is_some())));
        }
        measures.extend(exec_memory::read_back(spec.exec_memory, report.exec_memory));
        measures.extend(spec.seal.map(|guarding| seal::read_back(guarding, report.seal)));
        if let Some(rules) = &spec.landlock {
            measures.push(self.second_wall(report));
            measures.extend(landlock::narrow_read_back(rules, report.landlock.and_then(|seen| seen.tried)));
        }
        measures.push(self.descriptors(&app));
        measures.push(environment(&app, &spec.env));
        measures.push(limits::read_back(&app, &self.limits, &spec.ulimits));
        measures.push(pumps.read_back(&app, spec.ids, &spec.identity));
        let writable_executable =
            if spec.is_tree() { None } else { rootfs::writable_executable(&app, spec.identity.uid != 0) };
        let room = if spec.has_room() { app.open_namespace("net").map(Room::new) } else { Ok(Room::host()) };
        Seen { measures, writable_executable, room }
    }

    fn namespaces(&self, app: &Process, mode: ids::Mode) -> Measure {
        let own: Vec<&str> = NAMESPACES
            .into_iter()
            .filter(|name| *name != "net" && (*name != "user" || mode == ids::Mode::Single))
            .collect();
        let asked = own.join(" ");
        let mut shared = Vec::new();
        for name in &own {
            match (app.namespace(name), self.namespaces.get(name)) {
                (Ok(theirs), Some(ours)) if theirs == *ours => shared.push(*name),
                (Ok(_), Some(_)) => {}
                (Err(error), _) => return Measure::unverified("namespaces", asked, error.to_string()),
                (_, None) => {
                    return Measure::unverified("namespaces", asked, format!("/proc/self/ns/{name} is not there"));
                }
            }
        }
        let first = app.status().nspid.as_ref().and_then(|pids| pids.last()) == Some(&1);
        let result = match (shared.is_empty(), first) {
            (true, true) => Ok(asked.clone()),
            (true, false) => Err("the app is not PID 1 of its pid namespace".to_owned()),
            (false, _) => Err(format!("shared with the host: {}", shared.join(" "))),
        };
        Measure::judged("namespaces", asked, result)
    }

    fn second_wall(&self, report: &Report) -> Measure {
        match &self.wall {
            Ok(wall) if report.witnessed => landlock::read_back(wall, report.landlock),
            Ok(wall) => landlock::read_back(wall, None),
            Err(why) => Measure::unavailable("landlock", "a second wall", why).optional(),
        }
    }

    /// A descriptor that came through the exec refers to a file that this process had open too.
    fn descriptors(&self, app: &Process) -> Measure {
        let asked = "0, 1 and 2 only";
        match app.descriptors() {
            Err(error) => Measure::unverified("descriptors", asked, error.to_string()),
            Ok(open) => {
                let inherited: Vec<String> = open
                    .iter()
                    .filter(|(number, file)| **number > 2 && self.descriptors.contains(file))
                    .map(|(number, _)| number.to_string())
                    .collect();
                let result = if inherited.is_empty() {
                    Ok(asked.to_owned())
                } else {
                    Err(format!("also {}", inherited.join(", ")))
                };
                Measure::judged("descriptors", asked, result)
            }
        }
    }
}

/// What takes namespaces. The app lacks /proc, /sys and an address of its own with them, so it may fail for want of those.
fn not_had(why: &str) -> Vec<Measure> {
    let named = [
        ("read-only-root", "the root is a read-only mount"),
        ("writable-mounts", "mounts of the app's own"),
        ("masked-paths", "a /proc of its own, with paths covered"),
        ("read-only-paths", "a /proc of its own, with paths read-only"),
        ("namespaces", "cgroup ipc mnt pid uts"),
        ("network", "a network of its own with lo only"),
    ];
    named.into_iter().map(|(name, asked)| Measure::unavailable(name, asked, why).giving()).collect()
}

fn no_new_privs(app: &Process) -> Measure {
    match app.status().nonewprivs {
        Some(value) => Measure::compared("no-new-privileges", "1", value.to_string()),
        None => Measure::unverified(
            "no-new-privileges",
            "1",
            "this kernel's /proc/PID/status lacks NoNewPrivs (Linux 4.10)",
        ),
    }
}

/// The kernel's own word that there is a filter, and the launcher's that it answers as it should.
fn seccomp(
    app: &Process,
    witness: Option<&crate::seccomp::Witness>,
    report: &Report,
    filters: Option<u32>,
    seals: u32,
) -> Measure {
    let asked = "the profile's filter";
    let result = match (app.status().seccomp, witness, &report.seccomp) {
        (None, ..) => return Measure::unverified("seccomp", asked, "this kernel's /proc/PID/status lacks Seccomp"),
        (Some(2), Some(witness), Some(seen)) => {
            witness.judge(seen).map(|()| "filter mode, and it answers as asked".to_owned())
        }
        // Behind an engine's filter of the same kind every call that could be tried is refused already; a profile may refuse none of them.
        (Some(2), None, _) if filters.zip(app.filters()).is_some_and(|(ours, theirs)| theirs == ours + 1 + seals) => {
            Ok("filter mode, with one filter more than austere is behind itself".to_owned())
        }
        (Some(2), None, _) => {
            return Measure::unverified(
                "seccomp",
                asked,
                "the profile refuses none of the calls that can be tried harmlessly",
            );
        }
        (Some(2), _, None) => {
            return Measure::unverified("seccomp", asked, "the launcher could not report from behind the filter");
        }
        (Some(mode), ..) => Err(format!("/proc/PID/status says Seccomp: {mode}, not 2 (filter)")),
    };
    Measure::judged("seccomp", asked, result)
}

fn low_ports(port_start: u16, report: &Report) -> Measure {
    let asked = port_start.to_string();
    match report.port_start {
        Some(seen) => Measure::compared("unprivileged-port-start", asked, seen.to_string()).giving(),
        None => Measure::unverified("unprivileged-port-start", asked, "the launcher could not report it").giving(),
    }
}

fn environment(app: &Process, asked: &[String]) -> Measure {
    let words = format!("{} variables, of the image and of the command line", asked.len());
    match app.environment() {
        Err(error) => Measure::unverified("environment", words, error.to_string()),
        Ok(seen) => {
            let asked: BTreeSet<&[u8]> = asked.iter().map(String::as_bytes).collect();
            let foreign: Vec<String> = seen
                .iter()
                .filter(|pair| !asked.contains(pair.as_slice()))
                .map(|pair| String::from_utf8_lossy(pair.split(|b| *b == b'=').next().unwrap_or(pair)).into_owned())
                .collect();
            let result = match (foreign.is_empty(), seen.len() == asked.len()) {
                (true, true) => Ok(words.clone()),
                (true, false) => Err(format!("{} variables arrived", seen.len())),
                (false, _) => Err(format!("also {}", foreign.join(" "))),
            };
            Measure::judged("environment", words, result)
        }
    }
}
