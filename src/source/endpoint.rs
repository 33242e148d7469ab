//! Where the Docker Engine is: `DOCKER_HOST`, else docker's current context, else its usual socket.
//!
//! Source: docker's manual, "Docker contexts" and `docker context`, environment variables.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::digest::Digest;

const USUAL: &str = "unix:///var/run/docker.sock";

/// How an engine is reached.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Unix(PathBuf),
    /// `host:port`, in plain HTTP.
    Tcp(String),
}

/// Reads the environment through `lookup`.
pub(super) fn find(lookup: impl Fn(&str) -> Option<String>) -> Result<Endpoint, String> {
    let lookup = |name: &str| lookup(name).filter(|value| !value.is_empty());
    if let Some(host) = lookup("DOCKER_HOST") {
        return parse(&host).map_err(|why| format!("DOCKER_HOST: {why}"));
    }
    let folder = lookup("DOCKER_CONFIG").map(PathBuf::from);
    let folder = folder.or_else(|| lookup("HOME").map(|home| Path::new(&home).join(".docker")));
    let context = lookup("DOCKER_CONTEXT").or_else(|| current(folder.as_deref()?));
    match (context.filter(|name| name != "default"), folder) {
        (Some(name), Some(folder)) => {
            let host = host_of(&folder, &name).map_err(|why| format!("docker's context `{name}`: {why}"))?;
            parse(&host).map_err(|why| format!("docker's context `{name}`: {why}"))
        }
        _ => parse(USUAL),
    }
}

/// The context that `docker context use` chose.
fn current(folder: &Path) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Config {
        current_context: Option<String>,
    }
    let bytes = std::fs::read(folder.join("config.json")).ok()?;
    serde_json::from_slice::<Config>(&bytes).ok()?.current_context.filter(|name| !name.is_empty())
}

fn host_of(folder: &Path, name: &str) -> Result<String, String> {
    let file = folder.join("contexts/meta").join(Digest::sha256(name.as_bytes()).hex()).join("meta.json");
    let bytes = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let meta: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", file.display()))?;
    let host = meta["Endpoints"]["docker"]["Host"].as_str();
    host.map(str::to_owned).ok_or_else(|| format!("{} names no host", file.display()))
}

fn parse(host: &str) -> Result<Endpoint, String> {
    match host.split_once("://") {
        Some(("unix", path)) if path.starts_with('/') => Ok(Endpoint::Unix(path.into())),
        Some(("tcp" | "http", rest)) if !rest.is_empty() => Ok(Endpoint::Tcp(rest.trim_end_matches('/').to_owned())),
        _ => Err(format!("`{}` is neither unix:///PATH nor tcp://HOST:PORT", host.escape_debug())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_variable_counts_more_than_a_context_and_that_more_than_the_usual_socket() {
        let home = tempfile::tempdir().unwrap();
        let docker = home.path().join(".docker");
        let at = |pairs: &[(&str, &str)]| {
            find(|name| match name {
                "HOME" => home.path().to_str().map(str::to_owned),
                _ => pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()),
            })
        };
        assert_eq!(at(&[]), Ok(Endpoint::Unix("/var/run/docker.sock".into())));
        let meta = docker.join("contexts/meta").join(Digest::sha256(b"mine").hex());
        fs::create_dir_all(&meta).unwrap();
        fs::write(meta.join("meta.json"), r#"{"Name":"mine","Endpoints":{"docker":{"Host":"unix:///mine.sock"}}}"#)
            .unwrap();
        assert_eq!(at(&[("DOCKER_CONTEXT", "mine")]), Ok(Endpoint::Unix("/mine.sock".into())));
        fs::write(docker.join("config.json"), r#"{"currentContext":"mine"}"#).unwrap();
        assert_eq!(at(&[]), Ok(Endpoint::Unix("/mine.sock".into())));
        assert_eq!(at(&[("DOCKER_CONTEXT", "default")]), Ok(Endpoint::Unix("/var/run/docker.sock".into())));
        assert_eq!(at(&[("DOCKER_HOST", "tcp://h:2375")]), Ok(Endpoint::Tcp("h:2375".to_owned())));
        assert!(at(&[("DOCKER_HOST", "ssh://h")]).unwrap_err().contains("DOCKER_HOST"));
        assert!(at(&[("DOCKER_CONTEXT", "gone")]).unwrap_err().contains("gone"));
    }
}
