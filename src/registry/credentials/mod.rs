//! Who we are to a registry.
//!
//! ```text
//! lookup ─places─▶ files and variables in order ─config─▶ an entry (whose key [`key`] understands), or the name of a
//!                                                         helper ─helper─▶ its answer
//! ```
//!
//! The first place that has an answer wins; after the last one the helpers of our own are asked ([`builtin`]). Where the
//! places are is an input: nothing here reads the environment.

mod builtin;
mod config;
mod file;
mod helper;
mod key;
mod places;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use self::builtin::{BuiltinHelper, CredentialVariables};
use self::config::Config;
pub use self::file::{CredentialFile, Keeper};
use self::helper::Helpers;
pub use self::places::CredentialSources;
use self::places::Place;
use crate::machine;
use crate::secret::SecretText;

/// What a user is called whose secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// Finds the credentials for a registry and remembers them.
#[derive(Debug)]
pub struct Credentials {
    places: Vec<Place>,
    helpers: Helpers,
    variables: CredentialVariables,
    own_helpers: Vec<BuiltinHelper>,
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
        password: SecretText,
    },
    /// A refresh token, to be exchanged for others.
    Identity(SecretText),
    /// A token that the registry takes as it is.
    Registry(SecretText),
}

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
    /// A file cannot be written.
    #[error("cannot write {place}")]
    Write {
        /// Which file.
        place: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file of credentials has something else where it should have entries.
    #[error("{place}: `{member}` is not an object")]
    Member {
        /// Which file.
        place: String,
        /// What is wrong in it.
        member: &'static str,
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

impl Credentials {
    /// Will search `sources`.
    #[must_use]
    pub fn new(sources: CredentialSources) -> Self {
        let helpers = Helpers::new(sources.path.clone());
        Self {
            variables: sources.variables.clone(),
            own_helpers: sources.helpers.clone(),
            places: places::places(sources),
            helpers,
            found: Mutex::default(),
        }
    }

    /// Knows none.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            places: Vec::new(),
            helpers: Helpers::new(None),
            variables: CredentialVariables::default(),
            own_helpers: Vec::new(),
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
        if let Some(known) = self.found().get(&key) {
            return Ok(known.clone());
        }
        // Those who ask for what is known do not wait for this.
        let _here = machine::own_files();
        let mut found = self.found();
        if let Some(known) = found.get(&key) {
            return Ok(known.clone());
        }
        let credential = self.search(registry, repository, warn)?;
        found.insert(key, credential.clone());
        Ok(credential)
    }

    fn found(&self) -> MutexGuard<'_, HashMap<(String, String), Option<Credential>>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
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
            if let Some(credential) = self.search_config(&config, registry, repository)? {
                return Ok(Some(credential));
            }
        }
        let mut own = self.own_helpers.iter();
        Ok(own.find_map(|helper| helper.ask(&self.variables, registry)))
    }

    /// A helper for this registry, then an entry, then the store for all.
    fn search_config(
        &self,
        config: &Config,
        registry: &str,
        repository: &str,
    ) -> Result<Option<Credential>, CredentialError> {
        let registry = key::normalise(registry);
        for (key, helper) in config.helpers(&registry) {
            if let Some(credential) = self.helpers.ask(helper, key)? {
                return Ok(Some(credential));
            }
        }
        if let Some(credential) = config.entry(&registry, repository)? {
            return Ok(Some(credential));
        }
        let Some(store) = config.store() else {
            return Ok(None);
        };
        for server in key::of_store(&registry) {
            if let Some(credential) = self.helpers.ask(store, &server)? {
                return Ok(Some(credential));
            }
        }
        Ok(None)
    }
}

impl Credential {
    /// What a name and a secret mean together.
    fn of(user: String, secret: String) -> Self {
        let secret = SecretText::new(secret);
        match user.as_str() {
            TOKEN_USER => Self::Identity(secret),
            _ => Self::Password { user, password: secret },
        }
    }
}
