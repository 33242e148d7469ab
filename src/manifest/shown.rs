//! Merged settings as JSON, for tests and for who wonders.

use serde_json::{Map, Value, json};

use super::{Filter, Settings};
use crate::profile::settings::Network;

impl Settings {
    /// All that is not as in a container of which nothing is said.
    pub fn shown(&self) -> Value {
        let mut all = Map::new();
        let mut put = |name: &str, value: Value| {
            let is_empty = match &value {
                Value::Null | Value::Bool(false) => true,
                Value::Array(list) => list.is_empty(),
                Value::Object(map) => map.is_empty(),
                Value::Bool(true) | Value::Number(_) | Value::String(_) => false,
            };
            if !is_empty {
                all.insert(name.to_owned(), value);
            }
        };
        put("container", json!(self.name));
        put("image", json!(self.image));
        put("entrypoint", json!(self.entrypoint));
        put("args", json!(self.args));
        put("env", json!(self.env));
        put("env_files", self.env_files.iter().map(|file| json!(file.path)).collect());
        put("working_dir", json!(self.working_dir));
        put("user", json!(self.account.user));
        put("group", json!(self.account.group));
        put("groups", json!(self.account.groups));
        put("non_root", json!(self.account.non_root));
        put("read_only", json!(self.read_only));
        put("cap_add", json!(self.cap_add));
        put("cap_drop", json!(self.cap_drop));
        put("no_new_privs", json!(self.no_new_privs));
        put(
            "seccomp",
            match &self.seccomp {
                Filter::Engine => json!("engine"),
                Filter::Unconfined => json!("unconfined"),
                Filter::File(path) => json!(path),
            },
        );
        put("bare_system_paths", json!(!self.covers_system_paths));
        put("mounts", self.mounts.iter().map(|mount| json!(mount.to_string())).collect());
        let file = |file: &crate::profile::file::File| {
            let group = file.gid.map_or_else(String::new, |gid| format!(" group {gid}"));
            let text = format!("{:04o}{group}, {} bytes", file.mode, file.content.len());
            (file.path.clone(), json!(text))
        };
        put("files", Value::Object(self.files.iter().map(file).collect()));
        put("hostname", json!(self.hostname));
        put("hosts", self.hosts.iter().map(|(name, address)| json!(format!("{name}:{address}"))).collect());
        put("sysctls", self.sysctls.iter().map(|sysctl| json!(sysctl.to_string())).collect());
        put("ulimits", self.ulimits.iter().map(|ulimit| json!(ulimit.to_string())).collect());
        put("shm_size", json!(self.shm_size));
        put("host_network", json!(self.network == Network::Host));
        put("init", json!(self.init));
        put("memory", json!(self.memory));
        put("cpus", json!(self.cpus));
        put("pids", json!(self.pids));
        put("stop_signal", json!(self.stop_signal));
        let probe = |probe: &crate::smoke::plan::Probe| json!(format!("{} {}", probe.kind(), probe.target()));
        put("probes", self.probes.iter().map(probe).collect());
        put("health", json!(self.health));
        put("ports", json!(self.ports));
        put("ends", json!(self.ends));
        put("timeout", json!(self.timeout.map(|time| time.as_secs())));
        put("stand_ins", self.stand_ins.iter().map(|stand_in| json!(stand_in.place)).collect());
        let mut codes: Vec<&str> = self.findings.iter().map(|finding| finding.code.as_str()).collect();
        codes.sort_unstable();
        codes.dedup();
        put("findings", json!(codes));
        if let Some(standards) = &self.pod_security {
            let failed = |level: &super::Level| {
                let failed = level.checks.iter().filter(|check| !check.failed_at.is_empty());
                failed.map(|check| json!(check.name)).collect::<Vec<_>>()
            };
            put("baseline_fails", json!(failed(&standards.baseline)));
            put("restricted_fails", json!(failed(&standards.restricted)));
        }
        Value::Object(all)
    }
}
