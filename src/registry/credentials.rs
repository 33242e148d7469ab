//! Whose name a registry is shown: what `docker login` and `podman login` left behind.
//!
//! Sources: docker's `config.json` (`auths`, `credHelpers`, `credsStore`), containers-auth.json(5).

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};

/// What a registry can be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Credentials {
    Password {
        user: String,
        password: String,
    },
    /// What a token server takes in place of a password.
    Identity(String),
}

/// What was found, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) credentials: Option<Credentials>,
    /// The file, for a person.
    pub(super) origin: String,
    /// Why a file or helper that may have them gave none.
    pub(super) trouble: Option<String>,
}

/// Looks for the credentials of a registry, first in docker's file, then in podman's.
pub(super) fn find(registry: &str, repository: &str, lookup: impl Fn(&str) -> Option<PathBuf>) -> Found {
    let docker = docker_file(&lookup).map(|path| (path, docker_keys(registry)));
    let podman = podman_files(&lookup).into_iter().map(|path| (path, podman_keys(registry, repository)));
    let mut trouble = None;
    for (path, keys) in docker.into_iter().chain(podman) {
        for key in keys {
            match in_file(&path, &key) {
                Ok(Some(credentials)) => {
                    let origin = format!("from {}", path.display());
                    return Found { credentials: Some(credentials), origin, trouble: None };
                }
                Ok(None) => {}
                Err(why) => {
                    trouble.get_or_insert(format!("{}: {why}", path.display()));
                }
            }
        }
    }
    Found { credentials: None, origin: String::new(), trouble }
}

fn docker_file(lookup: &impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let folder = lookup("DOCKER_CONFIG").or_else(|| lookup("HOME").map(|home| home.join(".docker")))?;
    Some(folder.join("config.json"))
}

fn podman_files(lookup: &impl Fn(&str) -> Option<PathBuf>) -> Vec<PathBuf> {
    if let Some(file) = lookup("REGISTRY_AUTH_FILE") {
        return vec![file];
    }
    let runtime = lookup("XDG_RUNTIME_DIR").map(|folder| folder.join("containers"));
    let runtime = runtime.unwrap_or_else(|| format!("/run/containers/{}", nix::unistd::geteuid()).into());
    let config = lookup("XDG_CONFIG_HOME").or_else(|| lookup("HOME").map(|home| home.join(".config")));
    let config = config.map(|folder| folder.join("containers"));
    [Some(runtime), config].into_iter().flatten().map(|folder| folder.join("auth.json")).collect()
}

/// The name that docker keeps a registry's credentials under.
fn docker_keys(registry: &str) -> Vec<String> {
    vec![if registry == "docker.io" { "https://index.docker.io/v1/".to_owned() } else { registry.to_owned() }]
}

/// Podman's credentials may be for a part of a registry; the most exact ones count.
fn podman_keys(registry: &str, repository: &str) -> Vec<String> {
    let mut key = format!("{registry}/{repository}");
    let mut keys = vec![key.clone()];
    while let Some((shorter, _)) = key.rsplit_once('/') {
        key = shorter.to_owned();
        keys.push(key.clone());
    }
    keys
}

fn in_file(path: &Path, key: &str) -> Result<Option<Credentials>, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error.to_string()),
    };
    match get_credential_from_reader(BufReader::new(file), key) {
        Ok(DockerCredential::IdentityToken(token)) => Ok(Some(Credentials::Identity(token))),
        Ok(DockerCredential::UsernamePassword(user, password)) if user.is_empty() && password.is_empty() => Ok(None),
        Ok(DockerCredential::UsernamePassword(user, password)) => Ok(Some(Credentials::Password { user, password })),
        Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(None),
        // What every helper says of a registry that nobody logged in to.
        Err(CredentialRetrievalError::HelperFailure { stdout, stderr, .. })
            if format!("{stdout}{stderr}").contains("credentials not found") =>
        {
            Ok(None)
        }
        Err(CredentialRetrievalError::HelperFailure { helper, stdout, stderr }) => {
            Err(format!("{helper} failed: {}", super::line(&format!("{stdout} {stderr}"))))
        }
        Err(CredentialRetrievalError::HelperCommunicationError) => {
            Err("its credential helper (docker-credential-NAME) cannot be started".to_owned())
        }
        Err(error) => Err(super::line(&error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn found(files: &[(&str, &str)], registry: &str, repository: &str) -> Found {
        let home = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = home.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let lookup = |name: &str| (name == "HOME").then(|| home.path().to_owned());
        let found = find(registry, repository, lookup);
        Found { origin: found.origin.replace(home.path().to_str().unwrap(), "~"), ..found }
    }

    fn user(found: &Found) -> Option<&str> {
        match found.credentials.as_ref()? {
            Credentials::Password { user, .. } => Some(user),
            Credentials::Identity(_) => Some("<token>"),
        }
    }

    const DOCKER: &str = ".docker/config.json";
    const PODMAN: &str = ".config/containers/auth.json";

    #[test]
    fn docker_s_file_comes_first_and_hub_has_an_old_name() {
        let docker = r#"{"auths":{"r.example:5000":{"auth":"YTpi"},"https://index.docker.io/v1/":{"auth":"aHViOng="},
            "id.example":{"auth":"YTpi","identitytoken":"t"}}}"#;
        let podman = r#"{"auths":{"r.example:5000":{"auth":"cDpw"},"only.example":{"auth":"cDpw"}}}"#;
        let files = [(DOCKER, docker), (PODMAN, podman)];
        let at = |registry| found(&files, registry, "x/y");
        assert_eq!(
            (user(&at("r.example:5000")), at("r.example:5000").origin.as_str()),
            (Some("a"), "from ~/.docker/config.json")
        );
        assert_eq!(user(&at("docker.io")), Some("hub"));
        assert_eq!(user(&at("id.example")), Some("<token>"));
        assert_eq!(user(&at("only.example")), Some("p"));
        assert_eq!(at("other.example"), Found::default());
    }

    #[test]
    fn podman_s_credentials_may_be_for_a_part_of_a_registry() {
        let file = r#"{"auths":{"r.example":{"auth":"YTpi"},"r.example/team":{"auth":"dDp0"},"r.example/team/app":{"auth":"ejp6"}}}"#;
        let at = |repository| found(&[(PODMAN, file)], "r.example", repository);
        assert_eq!(user(&at("team/app")), Some("z"));
        assert_eq!(user(&at("team/other")), Some("t"));
        assert_eq!(user(&at("app")), Some("a"));
    }

    #[test]
    fn a_file_that_makes_no_sense_is_said() {
        let broken = found(&[(DOCKER, "{")], "r.example", "x");
        assert!(broken.credentials.is_none() && broken.trouble.unwrap().contains("config.json"));
        let helper = found(&[(DOCKER, r#"{"credsStore":"austere-has-none"}"#)], "r.example", "x");
        assert!(helper.trouble.unwrap().contains("docker-credential-"));
    }
}
