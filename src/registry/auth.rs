//! Proves to a registry who we are: Basic, or a token from the service that the registry names.
//!
//! Challenges are kept for each origin, tokens for each set of scopes. A credential is sent to the registry it is for and
//! to the token service that this registry names, over HTTPS unless the registry itself is without.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, Url};
use serde::Deserialize;

use super::challenge::{self, Bearer, Challenge};
use super::credentials::{Credential, Credentials};
use super::error::{Identity, RegistryError};
use super::message::{Body, Request, Response};
use super::transport::{Direction, Transport};
use crate::http::client::is_internal;
use crate::http::redact;
use crate::secret::SecretText;

const CLIENT_ID: &str = "rbuild";
const MAX_TOKEN_ANSWER: u64 = 64 << 10;

/// What a token lives at least, and when its service does not say (the distribution project's token specification).
const SHORTEST_LIFE: Duration = Duration::from_secs(60);

/// What a request is for.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) direction: Direction,
    /// The registry as in a reference; the key to the credentials.
    pub(super) registry: String,
    pub(super) repository: String,
    /// The main one first: several token services look at no other.
    pub(super) scopes: Vec<String>,
}

impl Access {
    pub(super) fn pull(registry: &str, repository: &str) -> Self {
        Self::new(Direction::Pull, registry, repository, "pull")
    }

    pub(super) fn push(registry: &str, repository: &str) -> Self {
        Self::new(Direction::Push, registry, repository, "pull,push")
    }

    /// May also read `repository`, to mount from it.
    pub(super) fn and_pull(mut self, repository: &str) -> Self {
        self.scopes.push(format!("repository:{repository}:pull"));
        self
    }

    fn new(direction: Direction, registry: &str, repository: &str, actions: &str) -> Self {
        Self {
            direction,
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            scopes: vec![format!("repository:{repository}:{actions}")],
        }
    }
}

/// Keeps challenges and tokens for the life of the process.
#[derive(Debug)]
pub(super) struct Authenticator {
    credentials: Credentials,
    /// Guards what each origin wants, once it said so.
    challenges: Mutex<HashMap<String, Challenge>>,
    /// Guards the slots; a slot's own lock is held while its token is fetched, so that it is fetched once.
    tokens: Mutex<HashMap<TokenKey, Slot>>,
}

type Slot = Arc<Mutex<Option<Token>>>;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct TokenKey {
    realm: String,
    service: Option<String>,
    user: Option<String>,
    scopes: Vec<String>,
}

#[derive(Clone, Debug)]
struct Token {
    value: SecretText,
    received: Instant,
    life: Duration,
}

impl Authenticator {
    pub(super) fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            challenges: Mutex::default(),
            tokens: Mutex::default(),
        }
    }

    /// The header for a request to `base`'s origin: none until a challenge was seen.
    pub(super) fn authorization(
        &self,
        transport: &Transport,
        base: &Url,
        access: &Access,
        warn: &mut dyn FnMut(&str),
    ) -> Result<Option<HeaderValue>, RegistryError> {
        let challenge = lock(&self.challenges)
            .get(&base.origin().ascii_serialization())
            .cloned();
        match challenge {
            None => Ok(None),
            Some(challenge) => self.answer(transport, base, access, &challenge, None, warn),
        }
    }

    /// The header for another try after the 401 in `headers`; `refused` is the header that was sent. `None` when there is nothing
    /// better to send.
    pub(super) fn renew(
        &self,
        transport: &Transport,
        base: &Url,
        access: &Access,
        headers: &HeaderMap,
        refused: Option<&HeaderValue>,
        warn: &mut dyn FnMut(&str),
    ) -> Result<Option<HeaderValue>, RegistryError> {
        let values = headers.get_all(WWW_AUTHENTICATE).into_iter();
        let offered = challenge::choose(values.filter_map(|value| value.to_str().ok()));
        let origin = base.origin().ascii_serialization();
        let known = lock(&self.challenges).get(&origin).cloned();
        let Some(challenge) = offered.or(known) else {
            return Ok(None);
        };
        let mut access = access.clone();
        if let Challenge::Bearer(bearer) = &challenge {
            add_scopes(&mut access.scopes, bearer.scope.as_deref().unwrap_or_default());
        }
        lock(&self.challenges).insert(origin, challenge.clone());
        let header = self.answer(transport, base, &access, &challenge, refused, warn)?;
        Ok(header.filter(|header| Some(header) != refused))
    }

    /// As whom requests for `access` are made.
    pub(super) fn identity(&self, access: &Access) -> Identity {
        match self
            .credentials
            .lookup(&access.registry, &access.repository, &mut |_| ())
        {
            Ok(Some(Credential::Password { user, .. })) => Identity::User(user),
            Ok(Some(_)) => Identity::Token,
            Ok(None) | Err(_) => Identity::Anonymous {
                searched: self.credentials.searched(),
            },
        }
    }

    fn answer(
        &self,
        transport: &Transport,
        base: &Url,
        access: &Access,
        challenge: &Challenge,
        refused: Option<&HeaderValue>,
        warn: &mut dyn FnMut(&str),
    ) -> Result<Option<HeaderValue>, RegistryError> {
        let credential = self.credential(access, warn)?;
        match (challenge, credential) {
            (_, Some(Credential::Registry(token))) => Ok(secret_header("Bearer", token.reveal())),
            (Challenge::Basic, Some(Credential::Password { user, password })) => Ok(basic(&user, &password)),
            (Challenge::Basic, _) => Ok(None),
            (Challenge::Bearer(bearer), credential) => {
                let request = TokenRequest {
                    transport,
                    direction: access.direction,
                    realm: check_realm(transport, access, base, &bearer.realm)?,
                    bearer,
                    scopes: &access.scopes,
                    credential,
                };
                let token = self.token(&request, refused);
                token.map_err(|error| match error {
                    cancelled @ RegistryError::Cancelled(_) => cancelled,
                    error => RegistryError::Token {
                        scope: access.scopes.join(" "),
                        source: Box::new(self.name_identity(error, access)),
                    },
                })
            }
        }
    }

    /// A refusal by the token service is one of our credentials.
    fn name_identity(&self, error: RegistryError, access: &Access) -> RegistryError {
        match error {
            RegistryError::Answer { request, answer } if matches!(answer.status, 400 | 401 | 403) => {
                RegistryError::Unauthorized {
                    request,
                    answer,
                    identity: self.identity(access),
                }
            }
            other => other,
        }
    }

    /// A broken helper must not stop the pull of a public image, but nobody pushes anonymously.
    fn credential(&self, access: &Access, warn: &mut dyn FnMut(&str)) -> Result<Option<Credential>, RegistryError> {
        let found = self.credentials.lookup(&access.registry, &access.repository, warn);
        match (found, access.direction) {
            (Ok(found), _) => Ok(found),
            (Err(error @ super::CredentialError::Helper { .. }), Direction::Pull) => {
                warn(&error.to_string());
                Ok(None)
            }
            (Err(source), _) => Err(RegistryError::Credentials {
                registry: access.registry.clone(),
                source,
            }),
        }
    }

    fn token(
        &self,
        request: &TokenRequest<'_>,
        refused: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, RegistryError> {
        let slot = Arc::clone(lock(&self.tokens).entry(request.key()).or_default());
        let mut slot = lock(&slot);
        let now = Instant::now();
        let header = |token: &Token| secret_header("Bearer", token.value.reveal());
        let usable = slot.as_ref().filter(|token| token.is_fresh(now)).map(header);
        if let Some(known) = usable.filter(|known| known.as_ref() != refused) {
            return Ok(known);
        }
        let token = request.fetch()?;
        let fetched = header(&token);
        *slot = Some(token);
        Ok(fetched)
    }
}

impl Token {
    /// A long-lived token is renewed before it ends, a short-lived one only when it is refused: it would be renewed all the
    /// time.
    fn is_fresh(&self, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.received);
        let margin = (self.life / 10).max(Duration::from_secs(30));
        self.life <= SHORTEST_LIFE || age + margin < self.life
    }
}

/// Everything that a token service is told.
struct TokenRequest<'a> {
    transport: &'a Transport,
    direction: Direction,
    realm: Url,
    bearer: &'a Bearer,
    scopes: &'a [String],
    credential: Option<Credential>,
}

/// What a token service answers.
#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<serde_json::Value>,
}

impl TokenRequest<'_> {
    fn key(&self) -> TokenKey {
        let mut scopes = self.scopes.to_vec();
        scopes.sort();
        TokenKey {
            realm: self.realm.to_string(),
            service: self.bearer.service.clone(),
            user: match &self.credential {
                Some(Credential::Password { user, .. }) => Some(user.clone()),
                Some(_) => Some("<token>".to_owned()),
                None => None,
            },
            scopes,
        }
    }

    /// The way that suits the credential first; the other where the service does not know it.
    fn fetch(&self) -> Result<Token, RegistryError> {
        match &self.credential {
            None | Some(Credential::Registry(_)) => self.get(None),
            Some(Credential::Password { user, password }) => match self.get(basic(user, password)) {
                Err(error) if matches!(error.status(), Some(404 | 405)) => self.post(&[
                    ("grant_type", "password"),
                    ("username", user),
                    ("password", password.reveal()),
                ]),
                other => other,
            },
            Some(Credential::Identity(token)) => {
                let refresh = [("grant_type", "refresh_token"), ("refresh_token", token.reveal())];
                match self.post(&refresh) {
                    Err(error) if matches!(error.status(), Some(400 | 401 | 404 | 405)) => {
                        self.get(basic("<token>", token)).map_err(|_| error)
                    }
                    other => other,
                }
            }
        }
    }

    fn get(&self, authorization: Option<HeaderValue>) -> Result<Token, RegistryError> {
        let mut url = self.realm.clone();
        let mut query = url.query_pairs_mut();
        if let Some(service) = &self.bearer.service {
            query.append_pair("service", service);
        }
        for scope in self.scopes {
            query.append_pair("scope", scope);
        }
        if let Some(Credential::Password { user, .. }) = &self.credential {
            query.append_pair("account", user);
        }
        drop(query);
        let request = Request::new(Method::GET, url);
        let response = self.transport.send(self.direction, &request, authorization.as_ref())?;
        self.parse(response)
    }

    fn post(&self, grant: &[(&str, &str)]) -> Result<Token, RegistryError> {
        // The URL type has the encoder for forms.
        let mut form = self.realm.clone();
        form.set_query(None);
        form.query_pairs_mut()
            .extend_pairs(grant)
            .append_pair("client_id", CLIENT_ID)
            .append_pair("scope", &self.scopes.join(" "))
            .extend_pairs(self.bearer.service.iter().map(|service| ("service", service)));
        let body = Body::Bytes(form.query().unwrap_or_default().as_bytes().to_vec());
        let content_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        let request = Request::new(Method::POST, self.realm.clone())
            .header(CONTENT_TYPE, content_type)
            .body(body);
        let response = self.transport.send(self.direction, &request, None)?;
        self.parse(response)
    }

    fn parse(&self, response: Response) -> Result<Token, RegistryError> {
        let problem = |problem| RegistryError::TokenService {
            realm: redact(&self.realm),
            problem,
        };
        let bytes = response.expect(&[200])?.bytes(MAX_TOKEN_ANSWER)?;
        let answer: TokenAnswer =
            serde_json::from_slice(&bytes).map_err(|_| problem("answers something that is not a token"))?;
        let value = [answer.token, answer.access_token].into_iter().flatten();
        let mut value = value
            .map(|token| token.trim().to_owned())
            .filter(|token| !token.is_empty());
        let value = value.next().ok_or_else(|| problem("answers without a token"))?;
        if value.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(problem("answers with a token that fits no header"));
        }
        Ok(Token {
            value: SecretText::new(value),
            received: Instant::now(),
            life: life(answer.expires_in.as_ref()),
        })
    }
}

/// A number, or a number in a string; never less than the minimum.
fn life(expires_in: Option<&serde_json::Value>) -> Duration {
    let seconds = match expires_in {
        Some(serde_json::Value::Number(number)) => number.as_u64(),
        Some(serde_json::Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    seconds.map_or(SHORTEST_LIFE, Duration::from_secs).max(SHORTEST_LIFE)
}

/// A registry may name any token service, and will be sent our password for it: not in the clear, and not within our own
/// network if the registry is outside it.
fn check_realm(transport: &Transport, access: &Access, base: &Url, realm: &str) -> Result<Url, RegistryError> {
    let unusable = |problem| RegistryError::TokenService {
        realm: Url::parse(realm).map_or_else(|_| "(no URL)".to_owned(), |url| redact(&url)),
        problem,
    };
    let url = Url::parse(realm).map_err(|_| unusable("has an address that is no URL"))?;
    let plain_is_fine = base.scheme() == "http" || transport.may_use_http(access.direction, &access.registry);
    match url.scheme() {
        "https" => {}
        "http" if plain_is_fine => {}
        _ => return Err(unusable("is not on HTTPS though the registry is")),
    }
    match is_internal(&url) && !is_internal(base) {
        true => Err(unusable("is in this machine's own network though the registry is not")),
        false => Ok(url),
    }
}

/// Adds the scopes in `text` that are not there yet.
fn add_scopes(scopes: &mut Vec<String>, text: &str) {
    for scope in text.split_whitespace() {
        if !scopes.iter().any(|known| known == scope) {
            scopes.push(scope.to_owned());
        }
    }
}

fn basic(user: &str, password: &SecretText) -> Option<HeaderValue> {
    secret_header("Basic", &STANDARD.encode(format!("{user}:{}", password.reveal())))
}

/// `None` for a text that fits no header, which no registry can have given out.
fn secret_header(scheme: &str, secret: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("{scheme} {secret}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A panic elsewhere leaves these maps whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::Cancel;
    use crate::registry::RegistryOptions;

    #[test]
    fn lives() {
        for (text, seconds) in [
            ("null", 60),
            ("0", 60),
            ("59", 60),
            ("300", 300),
            ("\"300\"", 300),
            ("-5", 60),
            ("\"soon\"", 60),
            ("[]", 60),
        ] {
            let value: serde_json::Value = serde_json::from_str(text).unwrap();
            assert_eq!(life(Some(&value)).as_secs(), seconds, "{text}");
        }
        assert_eq!(life(None), SHORTEST_LIFE);
    }

    #[test]
    fn long_lived_tokens_are_renewed_in_time() {
        let now = Instant::now();
        let token = |life: u64| Token {
            value: SecretText::new("t".to_owned()),
            received: now,
            life: Duration::from_secs(life),
        };
        let after = |seconds| now + Duration::from_secs(seconds);
        assert!(token(300).is_fresh(after(269)));
        assert!(!token(300).is_fresh(after(270)));
        assert!(!token(3600).is_fresh(after(3241)));
        assert!(token(60).is_fresh(after(59)));
    }

    #[test]
    fn realms() {
        let transport = Transport::new(Arc::new(RegistryOptions::default()), Cancel::default());
        let access = Access::pull("reg.example", "a");
        let check = |base: &str, realm: &str| {
            let base = Url::parse(base).unwrap();
            check_realm(&transport, &access, &base, realm).is_ok()
        };
        assert!(check("https://reg.example/v2/", "https://auth.example/token?x=1"));
        assert!(check("http://reg.example/v2/", "http://auth.example/token"));
        assert!(check("http://127.0.0.1:5000/v2/", "http://127.0.0.1:5001/token"));
        assert!(!check("https://reg.example/v2/", "http://auth.example/token"));
        assert!(!check("https://reg.example/v2/", "https://169.254.169.254/token"));
        assert!(!check("https://reg.example/v2/", "https://localhost/token"));
        assert!(!check("https://reg.example/v2/", "/token"));
        assert!(!check("https://reg.example/v2/", "file:///etc/passwd"));
    }

    #[test]
    fn scopes_are_united() {
        let mut access = Access::push("h.io", "a").and_pull("b");
        add_scopes(&mut access.scopes, "repository:b:pull repository:c:pull");
        let expected = ["repository:a:pull,push", "repository:b:pull", "repository:c:pull"];
        assert_eq!(access.scopes, expected);
    }
}
