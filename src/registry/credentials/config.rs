//! One `config.json` or a relative of it: which helpers it names, and the entries it holds itself.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Serialize as _;
use serde_json::{Map, Value};

use super::key::normalise;
use super::{Credential, CredentialError};
use crate::secret::SecretText;

/// What one place says. It holds secrets, so it is never shown.
pub(super) struct Config {
    /// How messages call the place.
    place: String,
    members: Map<String, Value>,
    format: Format,
}

/// `.dockercfg` is only the `auths` of `config.json`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    Config,
    OnlyAuths,
}

impl Config {
    /// A file that is not there yet.
    pub(super) fn empty(place: &str) -> Self {
        Self {
            place: place.to_owned(),
            members: Map::new(),
            format: Format::Config,
        }
    }

    /// Writes an entry with a name and a password, in the place of all that name the same registry.
    pub(super) fn insert(&mut self, key: &str, user: &str, password: &str) -> Result<(), CredentialError> {
        self.remove(key)?;
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        let entry = Value::Object(Map::from_iter([("auth".to_owned(), Value::String(auth))]));
        let auths = self.auths_mut()?;
        auths.insert(key.to_owned(), entry);
        Ok(())
    }

    /// Removes all entries that name the same registry as `key`; whether there was one.
    pub(super) fn remove(&mut self, key: &str) -> Result<bool, CredentialError> {
        let auths = self.auths_mut()?;
        let before = auths.len();
        auths.retain(|known, _| normalise(known) != normalise(key));
        Ok(auths.len() < before)
    }

    fn auths_mut(&mut self) -> Result<&mut Map<String, Value>, CredentialError> {
        const AUTHS: &str = "auths";
        let known = self.members.keys().find(|key| key.eq_ignore_ascii_case(AUTHS));
        let name = known.map_or_else(|| AUTHS.to_owned(), String::clone);
        let auths = self.members.entry(name).or_insert(Value::Null);
        if auths.is_null() {
            *auths = Value::Object(Map::new());
        }
        auths.as_object_mut().ok_or_else(|| CredentialError::Member {
            place: self.place.clone(),
            member: AUTHS,
        })
    }

    /// The file's text, as Docker writes it.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, tabs);
        self.members
            .serialize(&mut serializer)
            .expect("a map with string keys always serialises");
        bytes
    }

    pub(super) fn parse(place: &str, bytes: &[u8], format: Format) -> Result<Self, CredentialError> {
        let place = place.to_owned();
        match serde_json::from_slice(bytes) {
            Ok(members) => Ok(Self { place, members, format }),
            Err(error) => Err(CredentialError::Json {
                place,
                line: error.line(),
                column: error.column(),
            }),
        }
    }

    /// The helpers for `registry`, each after the key that it stands under.
    pub(super) fn helpers(&self, registry: &str) -> impl Iterator<Item = (&str, &str)> {
        let helpers = member(&self.members, "credHelpers").and_then(Value::as_object);
        let of_registry = helpers
            .into_iter()
            .flatten()
            .filter(move |(key, _)| normalise(key) == registry);
        of_registry.filter_map(|(key, helper)| Some((key.as_str(), helper.as_str()?)))
    }

    /// The helper for all registries.
    pub(super) fn store(&self) -> Option<&str> {
        member(&self.members, "credsStore").and_then(Value::as_str)
    }

    /// What the closest entry says. One may only say "ask the store".
    pub(super) fn entry(&self, registry: &str, repository: &str) -> Result<Option<Credential>, CredentialError> {
        let auths = match self.format {
            Format::Config => member(&self.members, "auths").and_then(Value::as_object),
            Format::OnlyAuths => Some(&self.members),
        };
        match auths.and_then(|auths| best_entry(auths, registry, repository)) {
            Some((key, entry)) => self.read(key, entry),
            None => Ok(None),
        }
    }

    fn read(&self, key: &str, entry: &Map<String, Value>) -> Result<Option<Credential>, CredentialError> {
        let text = |name| {
            let value = member(entry, name).and_then(Value::as_str);
            value.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        if let Some(token) = text("registrytoken") {
            return Ok(Some(Credential::Registry(SecretText::new(token))));
        }
        if let Some(token) = text("identitytoken") {
            return Ok(Some(Credential::Identity(SecretText::new(token))));
        }
        let pair = match text("auth") {
            Some(auth) => Some(decode_auth(&auth).ok_or_else(|| CredentialError::Auth {
                place: self.place.clone(),
                key: key.to_owned(),
            })?),
            None => text("username").zip(text("password")),
        };
        Ok(pair.map(|(user, password)| Credential::of(user, password)))
    }
}

/// Go reads JSON member names without regard to case.
pub(super) fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.get(name).or_else(|| {
        let found = object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    })
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
