//! What a registry wants to see before it gives anything, and the tokens that satisfy it.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http_auth::parser::ChallengeParser;
use serde::Deserialize;

use super::url::{Url, encoded};

/// What a token is worth when nobody says for how long.
const DEFAULT_LIFE: u64 = 60;
/// A token that is about to end is not shown any more.
const MARGIN: u64 = 5;

/// What a 401 asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password with each request.
    Basic,
    /// A token from somewhere else.
    Bearer {
        /// Where.
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

/// A token, and when it ends.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) value: String,
    until: Instant,
}

/// The value of an `Authorization` field, from `user:password`.
pub(super) fn basic(pair: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(pair))
}

/// What the `WWW-Authenticate` fields of an answer ask for; a token rather than the password itself.
pub(super) fn challenge<'a>(fields: impl Iterator<Item = &'a str>) -> Result<Challenge, String> {
    let mut found = Err("it asks for no credentials that austere knows".to_owned());
    for field in fields {
        for challenge in ChallengeParser::new(field) {
            let Ok(challenge) = challenge else { break };
            let parameter = |name: &str| {
                let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.to_unescaped()).filter(|value| !value.is_empty())
            };
            if challenge.scheme.eq_ignore_ascii_case("bearer") {
                let realm = parameter("realm").ok_or("it wants a token, and does not say from where")?;
                return Ok(Challenge::Bearer { realm, service: parameter("service"), scope: parameter("scope") });
            }
            if challenge.scheme.eq_ignore_ascii_case("basic") {
                found = Ok(Challenge::Basic);
            }
        }
    }
    found
}

/// The realm with the question for a token.
pub(super) fn token_url(realm: &Url, service: Option<&str>, scope: &str) -> Url {
    let path = &realm.path;
    let and = if path.contains('?') { '&' } else { '?' };
    let service = service.map_or_else(String::new, |service| format!("service={}&", encoded(service)));
    Url { path: format!("{path}{and}{service}scope={}", encoded(scope)), ..realm.clone() }
}

/// The form that exchanges an identity token for a token.
pub(super) fn token_form(identity: &str, service: Option<&str>, scope: &str) -> String {
    format!(
        "grant_type=refresh_token&client_id=austere&service={}&scope={}&refresh_token={}",
        encoded(service.unwrap_or_default()),
        encoded(scope),
        encoded(identity)
    )
}

impl Token {
    /// From a token server's answer.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
            expires_in: Option<u64>,
        }
        let answer: Answer =
            serde_json::from_slice(bytes).map_err(|error| format!("it gave no token in JSON ({error})"))?;
        let given = [answer.token, answer.access_token].into_iter().flatten().find(|token| !token.is_empty());
        let value = given.ok_or("it gave no token")?;
        if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("it gave a token that cannot be sent".to_owned());
        }
        let life = answer.expires_in.unwrap_or(DEFAULT_LIFE).min(86_400).saturating_sub(MARGIN);
        Ok(Token { value, until: Instant::now() + Duration::from_secs(life) })
    }

    pub(super) fn is_good(&self) -> bool {
        Instant::now() < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_preferred_to_the_password() {
        let bearer = r#"Bearer realm="https://auth.example/token?x=1",service="reg",scope="repository:a/b:pull,push""#;
        let expected = Challenge::Bearer {
            realm: "https://auth.example/token?x=1".to_owned(),
            service: Some("reg".to_owned()),
            scope: Some("repository:a/b:pull,push".to_owned()),
        };
        assert_eq!(challenge([bearer].into_iter()), Ok(expected.clone()));
        assert_eq!(challenge([r#"Basic realm="x""#, bearer].into_iter()), Ok(expected));
        assert_eq!(challenge([r#"BASIC realm="x", charset="UTF-8""#].into_iter()), Ok(Challenge::Basic));
        for field in ["Negotiate", "", "Bearer service=x", "\"", "Bearer realm="] {
            assert!(challenge([field].into_iter()).is_err(), "{field}");
        }
    }

    #[test]
    fn questions_for_tokens_are_encoded() {
        let realm = Url::parse("https://a/t?x=1").unwrap();
        let url = token_url(&realm, Some("a b"), "repository:c/d:pull");
        assert_eq!(url.path, "/t?x=1&service=a%20b&scope=repository%3Ac%2Fd%3Apull");
        assert!(token_form("a&b", None, "s").ends_with("&refresh_token=a%26b"));
    }

    #[test]
    fn a_token_has_an_end() {
        assert!(Token::parse(br#"{"token":"a"}"#).unwrap().is_good());
        assert_eq!(Token::parse(br#"{"token":"","access_token":"b","expires_in":300}"#).unwrap().value, "b");
        assert!(!Token::parse(br#"{"token":"a","expires_in":1}"#).unwrap().is_good());
        for answer in [&b"{}"[..], b"[]", b"", br#"{"token":"a\r\nX: y"}"#] {
            assert!(Token::parse(answer).is_err(), "{}", answer.escape_ascii());
        }
    }
}
