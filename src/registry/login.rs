//! Showing a registry who asks.

use super::auth::{self, Challenge, Token, basic, challenge};
use super::client::lock_of;
use super::credentials::{Credentials, Found, find};
use super::http::Response;
use super::proxy::is_loopback;
use super::url::Url;
use super::{Registry, RegistryError, line};

/// More than any token takes.
const TOKEN_MAX: u64 = 1 << 20;

/// What is known of how to be let in.
#[derive(Default)]
pub(super) struct Login {
    challenge: Option<Challenge>,
    token: Option<Token>,
    found: Option<Found>,
}

impl Registry {
    /// The `Authorization` field for the next request; nothing before the registry asked for one.
    pub(super) fn authorization(&self) -> Result<Option<String>, RegistryError> {
        // Held while a token is fetched: the other threads want the same one.
        let mut login = lock_of(&self.login);
        match login.challenge.clone() {
            None => Ok(None),
            Some(Challenge::Basic) => match self.found(&mut login).credentials {
                Some(Credentials::Password { user, password }) => Ok(Some(basic(&format!("{user}:{password}")))),
                Some(Credentials::Identity(_)) | None => {
                    Err(self.refused(&mut login, "it wants a user and a password"))
                }
            },
            Some(Challenge::Bearer { realm, service, scope }) => {
                if login.token.as_ref().is_none_or(|token| !token.is_good()) {
                    let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", self.name().repository));
                    login.token = Some(self.token(&mut login, &realm, service.as_deref(), &scope)?);
                }
                Ok(login.token.as_ref().map(|token| format!("Bearer {}", token.value)))
            }
        }
    }

    /// Learns from a 401 what to show. A token that was shown has ended.
    pub(super) fn challenged(&self, url: &Url, response: &Response) -> Result<(), RegistryError> {
        let found = challenge(response.fields("www-authenticate"));
        let mut login = lock_of(&self.login);
        login.challenge = Some(found.map_err(|why| RegistryError::Useless { url: url.to_string(), why })?);
        login.token = None;
        Ok(())
    }

    /// Why nothing was given, with what can be done about it.
    pub(super) fn not_let_in(&self, why: &str) -> RegistryError {
        self.refused(&mut lock_of(&self.login), why)
    }

    fn refused(&self, login: &mut Login, why: &str) -> RegistryError {
        let registry = &self.name().registry;
        let found = self.found(login);
        let (who, hint) = match (&found.credentials, &found.trouble) {
            (Some(Credentials::Password { user, .. }), _) => (
                format!("`{}` ({})", line(user), found.origin),
                "--username NAME --password-stdin, or a new docker login".to_owned(),
            ),
            (Some(Credentials::Identity(_)), _) => {
                (format!("the identity token ({})", found.origin), "a new docker login".to_owned())
            }
            (None, Some(trouble)) => ("anyone".to_owned(), format!("there may be credentials, but {trouble}")),
            (None, None) => (
                "anyone".to_owned(),
                format!("docker login {registry}, podman login {registry}, or --username NAME --password-stdin"),
            ),
        };
        let repository = self.name().repository.clone();
        RegistryError::Refused { registry: registry.clone(), who, repository, why: why.to_owned(), hint }
    }

    /// Files are looked at and helpers started only when somebody wants to know.
    fn found(&self, login: &mut Login) -> Found {
        let find = || match &self.access().credentials {
            Some((user, password)) => Found {
                credentials: Some(Credentials::Password { user: user.clone(), password: password.clone() }),
                origin: "from --username".to_owned(),
                trouble: None,
            },
            None => find(&self.name().registry, &self.name().repository, |name| {
                std::env::var_os(name).filter(|value| !value.is_empty()).map(Into::into)
            }),
        };
        login.found.get_or_insert_with(find).clone()
    }

    /// Asks a token server.
    fn token(
        &self,
        login: &mut Login,
        realm: &str,
        service: Option<&str>,
        scope: &str,
    ) -> Result<Token, RegistryError> {
        let useless = |why: String| RegistryError::Useless { url: line(realm), why };
        let realm = Url::parse(realm)
            .ok_or_else(|| useless("the registry names it as a token server, and it is no URL".to_owned()))?;
        let credentials = self.found(login).credentials;
        if credentials.is_some() && !realm.tls && self.access().tls_verify && !is_loopback(&realm.host) {
            return Err(useless(
                "credentials are not sent to a token server in plain HTTP\n  hint: --tls-verify=false allows it"
                    .to_owned(),
            ));
        }
        let asked = auth::token_url(&realm, service, scope);
        let (response, url) = match credentials {
            Some(Credentials::Identity(identity)) => {
                let form = auth::token_form(&identity, service, scope);
                let fields = [("Content-Type", "application/x-www-form-urlencoded".to_owned())];
                (self.patiently(&realm, || Ok(self.exchange(&realm, "POST", &fields, form.as_bytes())?))?, realm)
            }
            Some(Credentials::Password { user, password }) => {
                let fields = [("Authorization", basic(&format!("{user}:{password}")))];
                (self.patiently(&asked, || Ok(self.exchange(&asked, "GET", &fields, b"")?))?, asked)
            }
            None => (self.patiently(&asked, || Ok(self.exchange(&asked, "GET", &[], b"")?))?, asked),
        };
        match response.status {
            200 => {}
            400 | 401 | 403 => {
                let why = format!("{url} answered {}", self.answer(&url, response));
                return Err(self.refused(login, &why));
            }
            _ => return Err(RegistryError::Answer { url: url.to_string(), answer: self.answer(&url, response) }),
        }
        let bytes = self.body(&url, response, TOKEN_MAX)?;
        Token::parse(&bytes).map_err(|why| RegistryError::Useless { url: url.to_string(), why })
    }
}
