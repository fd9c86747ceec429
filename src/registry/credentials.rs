//! Who we are to a registry: Docker's `config.json` and its relatives, and credential helpers.
//!
//! The places are searched in order and the first that has an answer wins. Where they are is an input: nothing here
//! reads the environment. Secrets have a type that does not print them.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

use super::helper;

/// Docker Hub's key in `config.json`, older than registries with names.
const HUB_KEY: &str = "https://index.docker.io/v1/";
const HUB_NAMES: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// What a helper calls the user when its secret is an identity token.
const TOKEN_USER: &str = "<token>";

const HELPER_TIMEOUT: Duration = Duration::from_secs(30);

/// Where credentials may be, as the environment says.
#[derive(Clone, Default)]
pub struct CredentialSources {
    /// `DOCKER_AUTH_CONFIG`: the whole JSON.
    pub docker_auth_config: Option<String>,
    /// `REGISTRY_AUTH_FILE`: a file.
    pub registry_auth_file: Option<PathBuf>,
    /// `DOCKER_CONFIG`: a directory with a `config.json`.
    pub docker_config: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`: has `containers/auth.json`.
    pub xdg_runtime_dir: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`: has `containers/auth.json`.
    pub xdg_config_home: Option<PathBuf>,
    /// `HOME`: has `.docker/config.json` or `.dockercfg`.
    pub home: Option<PathBuf>,
    /// User ID, for `/run/containers/<uid>/auth.json`.
    pub uid: u32,
    /// `PATH`, for credential helpers. A helper is never looked for anywhere else.
    pub path: Option<OsString>,
}

/// Finds the credentials for a registry and remembers them.
#[derive(Debug)]
pub struct Credentials {
    places: Vec<Place>,
    path: Option<OsString>,
    helper_timeout: Duration,
    /// Guards answers found before: helpers are slow.
    found: Mutex<HashMap<(String, String), Option<Credential>>>,
}

/// Who we are to one registry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Credential {
    /// A user name and a password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A refresh token, to be exchanged for others.
    Identity(Secret),
    /// A token that the registry takes as it is.
    Registry(Secret),
}

/// A text that must not be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Why credentials cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// A named place cannot be read.
    #[error("cannot read {place}")]
    Read {
        /// Which file.
        place: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Not JSON, or not an object. The JSON error's text could quote a secret, so only its position is shown.
    #[error("{place} is not valid JSON (line {line}, column {column})")]
    Json {
        /// Which file or variable.
        place: String,
        /// Where in it.
        line: usize,
        /// Where in the line.
        column: usize,
    },
    /// An `auth` that is not base64 of `user:password`.
    #[error("{place}: the entry {key:?} has an `auth` that is not base64 of user:password")]
    Auth {
        /// Which file or variable.
        place: String,
        /// Which entry.
        key: String,
    },
    /// The configured helper is not there, or did not work.
    #[error("credential helper docker-credential-{name} {problem}")]
    Helper {
        /// The helper's name.
        name: String,
        /// What went wrong.
        problem: String,
    },
}

#[derive(Debug)]
struct Place {
    /// How messages call it.
    name: String,
    content: Content,
    format: Format,
    /// The user named it, so it must be readable.
    explicit: bool,
}

enum Content {
    Text(Secret),
    File(PathBuf),
}

/// `.dockercfg` is only the `auths` of `config.json`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Format {
    Config,
    OnlyAuths,
}

impl Credentials {
    /// Will search `sources`.
    #[must_use]
    pub fn new(sources: CredentialSources) -> Self {
        let path = sources.path.clone();
        Self {
            places: places(sources),
            path,
            helper_timeout: HELPER_TIMEOUT,
            found: Mutex::default(),
        }
    }

    /// Knows none.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            places: Vec::new(),
            path: None,
            helper_timeout: HELPER_TIMEOUT,
            found: Mutex::default(),
        }
    }

    /// The places that are searched, for people to read.
    #[must_use]
    pub fn searched(&self) -> Vec<String> {
        self.places.iter().map(|place| place.name.clone()).collect()
    }

    /// The credential for `repository` on `registry`, both as in a reference. `warn` hears of places that are
    /// passed over because they are damaged.
    ///
    /// # Errors
    /// [`CredentialError`] for a place that the user named, a damaged entry, or a helper that does not work.
    pub fn lookup(
        &self,
        registry: &str,
        repository: &str,
        warn: &mut dyn FnMut(&str),
    ) -> Result<Option<Credential>, CredentialError> {
        let key = (registry.to_owned(), repository.to_owned());
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = found.get(&key) {
            return Ok(known.clone());
        }
        let credential = self.search(registry, repository, warn)?;
        found.insert(key, credential.clone());
        Ok(credential)
    }

    fn search(
        &self,
        registry: &str,
        repository: &str,
        warn: &mut dyn FnMut(&str),
    ) -> Result<Option<Credential>, CredentialError> {
        for place in &self.places {
            let config = match place.read() {
                Ok(None) => continue,
                Ok(Some(config)) => config,
                Err(error) if place.explicit => return Err(error),
                Err(error) => {
                    warn(&error.to_string());
                    continue;
                }
            };
            if let Some(credential) = self.search_config(place, &config, registry, repository)? {
                return Ok(Some(credential));
            }
        }
        Ok(None)
    }

    /// A helper for this registry, then an entry, then the store for all.
    fn search_config(
        &self,
        place: &Place,
        config: &Map<String, Value>,
        registry: &str,
        repository: &str,
    ) -> Result<Option<Credential>, CredentialError> {
        let registry = normalise(registry);
        let helpers = member(config, "credHelpers").and_then(Value::as_object);
        for (key, helper) in helpers.into_iter().flatten() {
            if normalise(key) != registry {
                continue;
            }
            if let Some(credential) = helper.as_str().map(|name| self.ask(name, key)).transpose()?.flatten() {
                return Ok(Some(credential));
            }
        }
        let auths = match place.format {
            Format::Config => member(config, "auths").and_then(Value::as_object),
            Format::OnlyAuths => Some(config),
        };
        let entry = auths.and_then(|auths| best_entry(auths, &registry, repository));
        if let Some((key, entry)) = entry
            && let Some(credential) = read_entry(place, key, entry)?
        {
            return Ok(Some(credential));
        }
        let Some(store) = member(config, "credsStore").and_then(Value::as_str) else {
            return Ok(None);
        };
        for server in store_servers(&registry) {
            if let Some(credential) = self.ask(store, &server)? {
                return Ok(Some(credential));
            }
        }
        Ok(None)
    }

    /// Runs `docker-credential-<name> get`.
    fn ask(&self, name: &str, server: &str) -> Result<Option<Credential>, CredentialError> {
        let problem = |problem: String| CredentialError::Helper {
            name: name.escape_default().to_string(),
            problem,
        };
        let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if name.is_empty() || !name.bytes().all(valid) {
            return Err(problem("has a name that is none".to_owned()));
        }
        let program = self
            .find_helper(name)
            .ok_or_else(|| problem("is not in PATH".to_owned()))?;
        let output = helper::run(&program, server, self.helper_timeout).map_err(problem)?;
        match output.succeeded {
            true => parse_helper_answer(&output.text).map_err(|text| problem(text.to_owned())),
            false if is_not_found(&output.text) => Ok(None),
            // Its text is not ours to show: it may hold anything.
            false => Err(problem("ended with an error".to_owned())),
        }
    }

    fn find_helper(&self, name: &str) -> Option<PathBuf> {
        let file = format!("docker-credential-{name}");
        std::env::split_paths(self.path.as_ref()?)
            .filter(|directory| directory.is_absolute())
            .map(|directory| directory.join(&file))
            .find(|path| path.is_file())
    }
}

impl Secret {
    /// Hides `text`.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for the one place that sends it.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(secret) => secret.fmt(f),
            Self::File(path) => path.fmt(f),
        }
    }
}

impl fmt::Debug for CredentialSources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialSources").finish_non_exhaustive()
    }
}

impl Place {
    fn file(path: PathBuf, explicit: bool) -> Self {
        Self {
            name: path.display().to_string(),
            content: Content::File(path),
            format: Format::Config,
            explicit,
        }
    }

    /// `None` when there is no such file, or it is empty.
    fn read(&self) -> Result<Option<Map<String, Value>>, CredentialError> {
        let bytes = match &self.content {
            Content::Text(text) => text.0.clone().into_bytes(),
            Content::File(path) => match std::fs::read(path) {
                Ok(bytes) => bytes,
                Err(error) if is_absent(&error) => return Ok(None),
                Err(source) => {
                    let place = self.name.clone();
                    return Err(CredentialError::Read { place, source });
                }
            },
        };
        if bytes.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0) {
            return Ok(None);
        }
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| CredentialError::Json {
                place: self.name.clone(),
                line: error.line(),
                column: error.column(),
            })
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn places(sources: CredentialSources) -> Vec<Place> {
    let variable = sources.docker_auth_config.filter(|text| !text.trim().is_empty());
    let variable = variable.map(|text| Place {
        name: "$DOCKER_AUTH_CONFIG".to_owned(),
        content: Content::Text(Secret(text)),
        format: Format::Config,
        explicit: true,
    });
    let explicit = [
        sources.registry_auth_file,
        sources.docker_config.map(|directory| directory.join("config.json")),
    ];
    let containers = |directory: PathBuf| directory.join("containers/auth.json");
    let implicit = [
        sources.xdg_runtime_dir.map(containers),
        Some(PathBuf::from(format!("/run/containers/{}/auth.json", sources.uid))),
        sources.xdg_config_home.map(containers),
        sources.home.as_ref().map(|home| home.join(".docker/config.json")),
    ];
    let old = sources.home.map(|home| Place {
        format: Format::OnlyAuths,
        ..Place::file(home.join(".dockercfg"), false)
    });
    let explicit = explicit.into_iter().flatten().map(|path| Place::file(path, true));
    let implicit = implicit.into_iter().flatten().map(|path| Place::file(path, false));
    variable
        .into_iter()
        .chain(explicit)
        .chain(implicit)
        .chain(old)
        .collect()
}

/// Go reads JSON member names without regard to case.
fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.get(name).or_else(|| {
        let found = object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    })
}

/// A key without what people and programs add to a host: scheme, API version, default port, case of the host.
fn normalise(key: &str) -> String {
    let key = key.trim().trim_end_matches('/');
    let (default_port, key) = match (key.strip_prefix("https://"), key.strip_prefix("http://")) {
        (Some(rest), _) => (":443", rest),
        (_, Some(rest)) => (":80", rest),
        _ => (":443", key),
    };
    let key = key
        .strip_suffix("/v1")
        .or_else(|| key.strip_suffix("/v2"))
        .unwrap_or(key);
    let (host, path) = match key.split_once('/') {
        Some((host, path)) => (host, Some(path)),
        None => (key, None),
    };
    let host = host.to_ascii_lowercase();
    let host = host.strip_suffix(default_port).unwrap_or(&host);
    let host = if HUB_NAMES.contains(&host) { HUB_NAMES[0] } else { host };
    match path.filter(|path| !path.is_empty()) {
        Some(path) => format!("{host}/{path}"),
        None => host.to_owned(),
    }
}

/// The entry with the longest path that `registry/repository` is beneath.
fn best_entry<'a>(
    auths: &'a Map<String, Value>,
    registry: &str,
    repository: &str,
) -> Option<(&'a String, &'a Map<String, Value>)> {
    let name = format!("{registry}/{repository}");
    let covers = |key: &str| name == key || name.strip_prefix(key).is_some_and(|rest| rest.starts_with('/'));
    let entries = auths.iter().filter_map(|(key, entry)| Some((key, entry.as_object()?)));
    let covering = entries.filter(|(key, _)| covers(&normalise(key)));
    // Of equals the plain spelling, which Docker and Podman write, goes before an URL.
    covering.max_by_key(|(key, _)| (normalise(key).len(), !key.contains("://")))
}

/// `None` for an entry that only says "ask the store".
fn read_entry(place: &Place, key: &str, entry: &Map<String, Value>) -> Result<Option<Credential>, CredentialError> {
    let text = |name| {
        let value = member(entry, name).and_then(Value::as_str);
        value.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    if let Some(token) = text("registrytoken") {
        return Ok(Some(Credential::Registry(Secret(token))));
    }
    if let Some(token) = text("identitytoken") {
        return Ok(Some(Credential::Identity(Secret(token))));
    }
    let pair = match text("auth") {
        Some(auth) => Some(decode_auth(&auth).ok_or_else(|| CredentialError::Auth {
            place: place.name.clone(),
            key: key.to_owned(),
        })?),
        None => text("username").zip(text("password")),
    };
    Ok(pair.map(|(user, password)| credential(user, password)))
}

fn credential(user: String, secret: String) -> Credential {
    match user.as_str() {
        TOKEN_USER => Credential::Identity(Secret(secret)),
        _ => Credential::Password {
            user,
            password: Secret(secret),
        },
    }
}

/// Either alphabet, padded or not, with blanks around and NULs behind: all of these are met.
fn decode_auth(auth: &str) -> Option<(String, String)> {
    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engines = [&alphabet::STANDARD, &alphabet::URL_SAFE].map(|alphabet| GeneralPurpose::new(alphabet, LENIENT));
    let auth = auth.trim();
    let bytes = engines.iter().find_map(|engine| engine.decode(auth).ok())?;
    let text = String::from_utf8(bytes).ok()?;
    // A password may hold colons, a user name may not.
    let (user, password) = text.trim_end_matches('\0').split_once(':')?;
    (!user.is_empty()).then(|| (user.to_owned(), password.to_owned()))
}

fn store_servers(registry: &str) -> Vec<String> {
    match HUB_NAMES.contains(&registry) {
        true => vec![HUB_KEY.to_owned()],
        false => vec![registry.to_owned(), format!("https://{registry}")],
    }
}

fn parse_helper_answer(text: &str) -> Result<Option<Credential>, &'static str> {
    let answer: Map<String, Value> = serde_json::from_str(text).map_err(|_| "answered something that is not JSON")?;
    let text = |name| {
        member(&answer, name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    match (text("Username"), text("Secret")) {
        (user, secret) if user.is_empty() && secret.is_empty() => Ok(None),
        (user, secret) => Ok(Some(credential(user, secret))),
    }
}

/// The protocol has no code for "I know none", only these texts.
fn is_not_found(text: &str) -> bool {
    [
        "credentials not found",
        "no credentials server URL",
        "no credentials username",
    ]
    .iter()
    .any(|known| text.contains(known))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    const TOKEN: &str = "TOKEN";

    /// `user:password`, `identity TOKEN`, `registry TOKEN`, `none` or `error`.
    fn describe(found: Result<Option<Credential>, CredentialError>) -> String {
        match found {
            Ok(None) => "none".to_owned(),
            Ok(Some(Credential::Password { user, password })) => format!("{user}:{}", password.reveal()),
            Ok(Some(Credential::Identity(token))) => format!("identity {}", token.reveal()),
            Ok(Some(Credential::Registry(token))) => format!("registry {}", token.reveal()),
            Err(_) => "error".to_owned(),
        }
    }

    fn from_text(config: &str) -> Credentials {
        Credentials::new(CredentialSources {
            docker_auth_config: Some(config.to_owned()),
            uid: u32::MAX,
            ..CredentialSources::default()
        })
    }

    fn look(credentials: &Credentials, registry: &str, repository: &str) -> String {
        describe(credentials.lookup(registry, repository, &mut |_| ()))
    }

    /// `dTpw` is `u:p`.
    #[test]
    fn finds_entries() {
        let colons = base64::engine::general_purpose::STANDARD.encode("u:p:q:");
        let colons = format!(r#"{{"auths":{{"h.io":{{"auth":"{colons}"}}}}}}"#);
        let nul = base64::engine::general_purpose::STANDARD.encode("u:p\0\0");
        let nul = format!(r#"{{"auths":{{"h.io":{{"auth":" {nul}\n"}}}}}}"#);
        // Encodes to text with `-` and `_`, and with padding.
        let url_safe = base64::engine::general_purpose::URL_SAFE.encode("u:\u{fb}\u{3ff}>?>");
        let url_safe = format!(r#"{{"auths":{{"h.io":{{"auth":"{url_safe}"}}}}}}"#);
        let scoped = r#"{"auths":{"h.io":{"auth":"dTpw"},"h.io/a":{"username":"a","password":"1"},"h.io/a/b":{"username":"b","password":"2"}}}"#;
        for (config, registry, repository, expected) in [
            (r#"{"auths":{"h.io":{"auth":"dTpw"}}}"#, "h.io", "a", "u:p"),
            (r#"{"auths":{"h.io":{"auth":"dTpw"}}}"#, "other.io", "a", "none"),
            (r#"{"auths":{"h.io":{"auth":"dTpw"}}}"#, "h.io:5000", "a", "none"),
            (r#"{"auths":{"h.io:5000":{"auth":"dTpw"}}}"#, "h.io:5000", "a", "u:p"),
            (r#"{"auths":{"h.io:5000":{"auth":"dTpw"}}}"#, "h.io", "a", "none"),
            (r#"{"auths":{"https://h.io":{"auth":"dTpw"}}}"#, "h.io", "a", "u:p"),
            (r#"{"auths":{"https://h.io/":{"auth":"dTpw"}}}"#, "h.io", "a", "u:p"),
            (r#"{"auths":{"https://h.io/v1/":{"auth":"dTpw"}}}"#, "h.io", "a", "u:p"),
            (r#"{"auths":{"http://h.io/v2":{"auth":"dTpw"}}}"#, "h.io", "a", "u:p"),
            (r#"{"auths":{"h.io:443":{"auth":"dTpw"}}}"#, "h.io", "a", "u:p"),
            (r#"{"auths":{"H.IO":{"auth":"dTpw"}}}"#, "h.io", "a", "u:p"),
            (r#"{"auths":{"h.io":{"auth":"dTpw"}}}"#, "H.io", "a", "u:p"),
            (
                r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"}}}"#,
                "docker.io",
                "library/a",
                "u:p",
            ),
            (
                r#"{"auths":{"docker.io":{"auth":"dTpw"}}}"#,
                "docker.io",
                "library/a",
                "u:p",
            ),
            (
                r#"{"auths":{"registry-1.docker.io":{"auth":"dTpw"}}}"#,
                "docker.io",
                "x/a",
                "u:p",
            ),
            (scoped, "h.io", "x", "u:p"),
            (scoped, "h.io", "a", "a:1"),
            (scoped, "h.io", "ab", "u:p"),
            (scoped, "h.io", "a/c", "a:1"),
            (scoped, "h.io", "a/b/c", "b:2"),
            (&colons, "h.io", "a", "u:p:q:"),
            (&nul, "h.io", "a", "u:p"),
            (&url_safe, "h.io", "a", "u:\u{fb}\u{3ff}>?>"),
            (r#"{"auths":{"h.io":{"auth":"dTpwcQ"}}}"#, "h.io", "a", "u:pq"),
            (r#"{"auths":{"h.io":{"auth":"dTpwcQ=="}}}"#, "h.io", "a", "u:pq"),
            (r#"{"auths":{"h.io":{"auth":"dXA="}}}"#, "h.io", "a", "error"),
            (r#"{"auths":{"h.io":{"auth":"%%"}}}"#, "h.io", "a", "error"),
            (
                r#"{"auths":{"h.io":{"username":"u","password":"p"}}}"#,
                "h.io",
                "a",
                "u:p",
            ),
            (
                r#"{"auths":{"h.io":{"auth":"dTpw","username":"x","password":"y"}}}"#,
                "h.io",
                "a",
                "u:p",
            ),
            (
                r#"{"auths":{"h.io":{"auth":"","username":"x","password":"y"}}}"#,
                "h.io",
                "a",
                "x:y",
            ),
            (
                r#"{"auths":{"h.io":{"identitytoken":"TOKEN","auth":"dTpw"}}}"#,
                "h.io",
                "a",
                "identity TOKEN",
            ),
            (
                r#"{"auths":{"h.io":{"registrytoken":"TOKEN"}}}"#,
                "h.io",
                "a",
                "registry TOKEN",
            ),
            (
                r#"{"auths":{"h.io":{"username":"<token>","password":"TOKEN"}}}"#,
                "h.io",
                "a",
                "identity TOKEN",
            ),
            (r#"{"AUTHS":{"h.io":{"Auth":"dTpw"}}}"#, "h.io", "a", "u:p"),
            (r#"{"auths":{"h.io":{}}}"#, "h.io", "a", "none"),
            (r#"{"auths":{"h.io":null},"HttpHeaders":{"x":1}}"#, "h.io", "a", "none"),
            (r#"{"auths":{"[::1]:5000":{"auth":"dTpw"}}}"#, "[::1]:5000", "a", "u:p"),
            ("", "h.io", "a", "none"),
            ("{}", "h.io", "a", "none"),
            ("[]", "h.io", "a", "error"),
            ("{", "h.io", "a", "error"),
        ] {
            assert_eq!(
                look(&from_text(config), registry, repository),
                expected,
                "{config} for {registry}/{repository}"
            );
        }
    }

    fn write(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn user(name: &str) -> String {
        format!(r#"{{"auths":{{"h.io":{{"username":"{name}","password":"p"}}}}}}"#)
    }

    /// Removes the winner of each round and expects the next in order.
    #[test]
    fn searches_places_in_order() {
        let home = tempfile::tempdir().unwrap();
        let at = |path: &str| home.path().join(path);
        let order = [
            ("auth-file", "auth.json"),
            ("docker-config", "docker/config.json"),
            ("runtime", "run/containers/auth.json"),
            ("config-home", "config/containers/auth.json"),
            ("home", ".docker/config.json"),
        ];
        for (name, path) in order {
            write(&at(path), &user(name));
        }
        write(&at(".dockercfg"), r#"{"h.io":{"username":"dockercfg","password":"p"}}"#);
        let mut sources = CredentialSources {
            docker_auth_config: Some(user("variable")),
            registry_auth_file: Some(at("auth.json")),
            docker_config: Some(at("docker")),
            xdg_runtime_dir: Some(at("run")),
            xdg_config_home: Some(at("config")),
            home: Some(home.path().to_owned()),
            uid: u32::MAX,
            path: None,
        };
        assert_eq!(look(&Credentials::new(sources.clone()), "h.io", "a"), "variable:p");
        sources.docker_auth_config = None;
        for (name, path) in order {
            assert_eq!(
                look(&Credentials::new(sources.clone()), "h.io", "a"),
                format!("{name}:p")
            );
            std::fs::remove_file(at(path)).unwrap();
        }
        assert_eq!(look(&Credentials::new(sources.clone()), "h.io", "a"), "dockercfg:p");
        assert_eq!(Credentials::new(sources).searched().len(), 7);
    }

    #[test]
    fn damage_is_an_error_only_where_the_user_pointed() {
        let home = tempfile::tempdir().unwrap();
        write(&home.path().join(".docker/config.json"), "{");
        let implicit = Credentials::new(CredentialSources {
            home: Some(home.path().to_owned()),
            ..CredentialSources::default()
        });
        let mut warnings = Vec::new();
        let found = implicit.lookup("h.io", "a", &mut |text| warnings.push(text.to_owned()));
        assert_eq!(describe(found), "none");
        assert!(warnings[0].contains("line 1"), "{warnings:?}");
        let explicit = Credentials::new(CredentialSources {
            docker_config: Some(home.path().join(".docker")),
            ..CredentialSources::default()
        });
        assert_eq!(look(&explicit, "h.io", "a"), "error");
    }

    /// A helper named `test` with the given shell script for a body.
    fn with_helper(script: &str, config: &str) -> (tempfile::TempDir, Credentials) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("docker-credential-test");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let credentials = Credentials::new(CredentialSources {
            docker_auth_config: Some(config.to_owned()),
            path: Some(directory.path().as_os_str().to_owned()),
            ..CredentialSources::default()
        });
        (directory, credentials)
    }

    #[test]
    fn asks_helpers() {
        let answer = r#"read server; echo "{\"ServerURL\":\"$server\",\"Username\":\"$server\",\"Secret\":\"s\"}""#;
        let token = format!(r#"echo '{{"Username":"<token>","Secret":"{TOKEN}"}}'"#);
        let for_host = r#"{"credHelpers":{"h.io":"test"},"auths":{"h.io":{"auth":"dTpw"}}}"#;
        let store = r#"{"credsStore":"test","auths":{"h.io":{}}}"#;
        let not_found = "echo 'credentials not found in native keychain'; exit 1";
        for (script, config, registry, expected) in [
            (answer, for_host, "h.io", "h.io:s"),
            (answer, store, "h.io", "h.io:s"),
            (answer, store, "docker.io", "https://index.docker.io/v1/:s"),
            (&token, for_host, "h.io", &format!("identity {TOKEN}")),
            (not_found, for_host, "h.io", "u:p"),
            (not_found, store, "h.io", "none"),
            ("echo boom; exit 1", for_host, "h.io", "error"),
            ("echo not json", for_host, "h.io", "error"),
            (answer, r#"{"credHelpers":{"h.io":"absent"}}"#, "h.io", "error"),
            (answer, r#"{"credHelpers":{"h.io":"../test"}}"#, "h.io", "error"),
            (answer, r#"{"credHelpers":{"other.io":"test"}}"#, "h.io", "none"),
        ] {
            let (_directory, credentials) = with_helper(script, config);
            assert_eq!(look(&credentials, registry, "a"), expected, "{script} with {config}");
        }
    }

    #[test]
    fn a_hanging_helper_is_killed_with_its_children() {
        let (_directory, mut credentials) = with_helper("sleep 600 & sleep 600", r#"{"credsStore":"test"}"#);
        credentials.helper_timeout = Duration::from_millis(50);
        let error = credentials.lookup("h.io", "a", &mut |_| ()).unwrap_err();
        assert!(error.to_string().contains("no answer"), "{error}");
    }

    #[test]
    fn secrets_are_not_shown() {
        let credentials = from_text(r#"{"auths":{"h.io":{"username":"u","password":"hidden"}}}"#);
        let found = credentials.lookup("h.io", "a", &mut |_| ()).unwrap();
        for text in [format!("{credentials:?}"), format!("{found:?}")] {
            assert!(!text.contains("hidden"), "{text}");
        }
        let damaged = from_text(r#"{"auths":{"h.io":{"password":hidden}}}"#);
        let error = damaged.lookup("h.io", "a", &mut |_| ()).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hidden"), "{error:?}");
    }
}
