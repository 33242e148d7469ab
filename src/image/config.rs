//! Image configurations as Docker and OCI builders write them.
//!
//! `oci-spec` drops what Docker adds (`Healthcheck`, `Shell`), so the fields that austere uses are read here. Docker writes
//! `null` for what is absent; every field may be null.
//!
//! Source: OCI image-spec v1.1, `config.md`; Docker Image Specification v1.3.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Config, ExposedPort, Healthcheck, ImageError, Protocol};
use crate::digest::Digest;
use crate::platform::Platform;

/// A parsed configuration file.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// What the image was built for; absent in very old images.
    pub platform: Option<Platform>,
    /// How to run it.
    pub config: Config,
    /// The digests of the uncompressed layers, base first.
    pub diff_ids: Vec<Digest>,
    /// The build step of each layer, base first; empty when the history does not fit the layers.
    pub created_by: Vec<Option<String>>,
}

#[derive(Deserialize)]
struct Document {
    architecture: Option<String>,
    os: Option<String>,
    variant: Option<String>,
    config: Option<Section>,
    rootfs: RootFs,
    history: Option<Vec<Step>>,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Step {
    created_by: Option<String>,
    empty_layer: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Section {
    user: Option<String>,
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    working_dir: Option<String>,
    exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
    volumes: Option<BTreeMap<String, serde_json::Value>>,
    stop_signal: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    healthcheck: Option<Check>,
    shell: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    test: Option<Vec<String>>,
    interval: Option<u64>,
    timeout: Option<u64>,
    start_period: Option<u64>,
    retries: Option<u32>,
}

impl ConfigFile {
    /// Reads a configuration file.
    ///
    /// # Errors
    ///
    /// When the bytes are not such a file, or a digest or an exposed port in it cannot be understood.
    pub fn parse(bytes: &[u8]) -> Result<Self, ImageError> {
        let document: Document = serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))?;
        let diff_ids = document.rootfs.diff_ids.unwrap_or_default();
        let diff_ids: Vec<Digest> = diff_ids
            .iter()
            .map(|text| text.parse().map_err(|error| invalid(format!("rootfs.diff_ids: {error}"))))
            .collect::<Result<_, _>>()?;
        let steps = document.history.unwrap_or_default();
        let made_layers = steps.into_iter().filter(|step| step.empty_layer != Some(true));
        let mut created_by: Vec<_> = made_layers.map(|step| step.created_by.filter(|text| !text.is_empty())).collect();
        if created_by.len() != diff_ids.len() {
            created_by.clear();
        }
        let named = |text: Option<String>| text.filter(|text| !text.is_empty());
        let platform = named(document.architecture).map(|architecture| Platform {
            os: named(document.os).unwrap_or_else(|| "linux".to_owned()),
            architecture,
            variant: named(document.variant),
        });
        Ok(ConfigFile { platform, config: section(document.config.unwrap_or_default())?, diff_ids, created_by })
    }
}

fn section(raw: Section) -> Result<Config, ImageError> {
    let mut exposed_ports = Vec::new();
    for text in raw.exposed_ports.unwrap_or_default().keys() {
        exposed_ports.extend(ports(text)?);
    }
    exposed_ports.sort_unstable();
    exposed_ports.dedup();
    Ok(Config {
        user: raw.user.unwrap_or_default(),
        env: raw.env.unwrap_or_default(),
        entrypoint: raw.entrypoint.unwrap_or_default(),
        cmd: raw.cmd.unwrap_or_default(),
        working_dir: raw.working_dir.unwrap_or_default(),
        exposed_ports,
        volumes: raw.volumes.unwrap_or_default().into_keys().collect(),
        stop_signal: raw.stop_signal.unwrap_or_default(),
        labels: raw.labels.unwrap_or_default(),
        healthcheck: raw.healthcheck.map(|check| Healthcheck {
            test: check.test.unwrap_or_default(),
            interval: check.interval.unwrap_or_default(),
            timeout: check.timeout.unwrap_or_default(),
            start_period: check.start_period.unwrap_or_default(),
            retries: check.retries.unwrap_or_default(),
        }),
        shell: raw.shell.unwrap_or_default(),
    })
}

/// `80`, `80/tcp` or `8000-8010/udp`.
fn ports(text: &str) -> Result<impl Iterator<Item = ExposedPort>, ImageError> {
    let bad = || invalid(format!("ExposedPorts: `{text}` is not PORT[/tcp|udp|sctp]"));
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return Err(bad()),
    };
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last): (u16, u16) = (first.parse().map_err(|_| bad())?, last.parse().map_err(|_| bad())?);
    if first > last {
        return Err(bad());
    }
    Ok((first..=last).map(move |port| ExposedPort { port, protocol }))
}

fn invalid(why: String) -> ImageError {
    ImageError::Invalid { document: "image configuration", why }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIFF: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn parse(config: &str) -> Result<ConfigFile, ImageError> {
        let text = format!(
            r#"{{"architecture":"arm64","variant":"v8","os":"linux","config":{config},
                "rootfs":{{"type":"layers","diff_ids":["{DIFF}"]}},
                "history":[{{"created_by":"COPY app /"}},{{"created_by":"CMD app","empty_layer":true}}]}}"#
        );
        ConfigFile::parse(text.as_bytes())
    }

    #[test]
    fn dockers_own_fields_are_kept() {
        let file = parse(
            r#"{"User":"65532:65532","Env":null,"Cmd":["-v"],"Entrypoint":["/app"],"ExposedPorts":{"80/tcp":{},"53/UDP":{},"8000-8001":{}},
                "Volumes":{"/data":{}},"Healthcheck":{"Test":["CMD","/app"],"Interval":5000000000},"Shell":["/bin/bash","-c"]}"#,
        )
        .unwrap();
        assert_eq!(file.config.argv(), ["/app", "-v"]);
        assert_eq!(file.config.exposed_ports.iter().map(|p| p.port).collect::<Vec<_>>(), [53, 80, 8000, 8001]);
        assert_eq!(file.config.healthcheck.unwrap().interval, 5_000_000_000);
        assert_eq!(file.config.shell, ["/bin/bash", "-c"]);
        assert_eq!(file.created_by, [Some("COPY app /".to_owned())]);
        assert_eq!(file.platform.unwrap().to_string(), "linux/arm64/v8");
    }

    #[test]
    fn null_is_absent_and_nonsense_is_refused() {
        assert_eq!(parse("null").unwrap().config, Config::default());
        for config in [r#"{"ExposedPorts":{"http":{}}}"#, r#"{"ExposedPorts":{"9-8":{}}}"#, r#"{"Env":1}"#] {
            assert!(parse(config).is_err(), "{config}");
        }
        assert!(ConfigFile::parse(b"{}").is_err());
        assert!(ConfigFile::parse(br#"{"rootfs":{"diff_ids":["md5:1"]}}"#).is_err());
    }
}
