//! The one file that `login` writes to: Docker's `config.json`.

use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::config::{Config, Format};
use super::helper::Helpers;
use super::{CredentialError, CredentialSources, key, places};
use crate::secret::SecretText;

/// Docker's `config.json`, to be changed. What it holds besides credentials stays.
#[derive(Debug)]
pub struct CredentialFile {
    path: PathBuf,
    helpers: Helpers,
}

/// Who keeps a credential now, or kept it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Keeper {
    /// The file itself.
    File(PathBuf),
    /// The helper of this name, as the file says.
    Helper(String),
}

impl CredentialFile {
    /// `$DOCKER_CONFIG/config.json`, else that in the home directory. `None` when neither is known.
    #[must_use]
    pub fn of(sources: &CredentialSources) -> Option<Self> {
        let named = sources.docker_config.clone().map(places::docker_config);
        let home = || Some(sources.home.as_ref()?.join(".docker/config.json"));
        Some(Self {
            path: named.or_else(home)?,
            helpers: Helpers::new(sources.path.clone()),
        })
    }

    /// Where it is, or will be.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps a credential for `registry`, a host that may have a path behind it, where the file says: with a helper, or in
    /// the file itself.
    ///
    /// # Errors
    /// [`CredentialError`]; then the file is as it was.
    pub fn keep(&self, registry: &str, user: &str, password: &SecretText) -> Result<Keeper, CredentialError> {
        let mut config = self.read()?;
        let registry = key::normalise(registry);
        let server = key::to_write(&registry);
        if let Some((helper, key)) = helper_of(&config, &registry) {
            self.helpers.store(&helper, &key.unwrap_or(server), user, password)?;
            return Ok(Keeper::Helper(helper));
        }
        config.insert(&server, user, password.reveal())?;
        self.write(&config)?;
        Ok(Keeper::File(self.path.clone()))
    }

    /// Forgets the credentials for `registry`, wherever they are; who had some.
    ///
    /// # Errors
    /// [`CredentialError`].
    pub fn forget(&self, registry: &str) -> Result<Vec<Keeper>, CredentialError> {
        let mut config = self.read()?;
        let registry = key::normalise(registry);
        let server = key::to_write(&registry);
        let mut had = Vec::new();
        if let Some((helper, key)) = helper_of(&config, &registry)
            && self.helpers.erase(&helper, &key.unwrap_or_else(|| server.clone()))?
        {
            had.push(Keeper::Helper(helper));
        }
        if config.remove(&server)? {
            self.write(&config)?;
            had.push(Keeper::File(self.path.clone()));
        }
        Ok(had)
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn read(&self) -> Result<Config, CredentialError> {
        let bytes = match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other.map_err(|source| CredentialError::Read {
                place: self.name(),
                source,
            })?,
        };
        match bytes.trim_ascii().is_empty() {
            true => Ok(Config::empty(&self.name())),
            false => Config::parse(&self.name(), &bytes, Format::Config),
        }
    }

    fn write(&self, config: &Config) -> Result<(), CredentialError> {
        replace(&self.path, &config.to_bytes()).map_err(|source| CredentialError::Write {
            place: self.name(),
            source,
        })
    }
}

/// The helper for `registry`, and the key that it stands under if that is one of its own.
fn helper_of(config: &Config, registry: &str) -> Option<(String, Option<String>)> {
    let own = config.helpers(registry).next();
    let own = own.map(|(key, helper)| (helper.to_owned(), Some(key.to_owned())));
    own.or_else(|| Some((config.store()?.to_owned(), None)))
}

/// Replaces the file at once, readable by nobody else. Where it is a link, what it leads to is replaced; where it is
/// mounted by itself, it can only be written over.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    // Temporary files have the mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    match file.persist(&path) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == io::ErrorKind::ResourceBusy => fs::write(&path, bytes),
        Err(error) => Err(error.error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use serde_json::{Value, json};

    use super::*;

    /// A home directory with a `config.json`.
    struct Home(tempfile::TempDir);

    impl Home {
        fn with(config: Option<&str>) -> Self {
            let home = Self(tempfile::tempdir().unwrap());
            if let Some(config) = config {
                fs::create_dir(home.0.path().join(".docker")).unwrap();
                fs::write(home.path(), config).unwrap();
            }
            home
        }

        fn path(&self) -> PathBuf {
            self.0.path().join(".docker/config.json")
        }

        fn sources(&self) -> CredentialSources {
            CredentialSources {
                home: Some(self.0.path().to_owned()),
                path: Some(self.0.path().into()),
                uid: u32::MAX,
                ..CredentialSources::default()
            }
        }

        fn file(&self) -> CredentialFile {
            CredentialFile::of(&self.sources()).unwrap()
        }

        fn json(&self) -> Value {
            serde_json::from_slice(&fs::read(self.path()).unwrap()).unwrap()
        }

        /// A helper that notes how it was called.
        fn helper(&self, name: &str) {
            let path = self.0.path().join(format!("docker-credential-{name}"));
            let script = format!(
                "#!/bin/sh\n{{ echo \"$1\"; /bin/cat; }} >>{}/called\n",
                self.0.path().display()
            );
            fs::write(&path, script).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }

        fn called(&self) -> String {
            fs::read_to_string(self.0.path().join("called")).unwrap_or_default()
        }
    }

    fn secret() -> SecretText {
        SecretText::new("p:q".to_owned())
    }

    #[test]
    fn an_entry_is_added_and_everything_else_stays() {
        let home = Home::with(Some(
            r#"{"HttpHeaders":{"a":"b"},"auths":{"other.io":{"auth":"eDp5"},"https://h.io/v2/":{"auth":"b2xkOm9sZA=="}},"psFormat":"x"}"#,
        ));
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(
            home.file().keep("H.io:443", "u", &secret()).unwrap(),
            Keeper::File(home.path())
        );
        let expected = json!({
            "HttpHeaders": {"a": "b"}, "psFormat": "x",
            "auths": {"other.io": {"auth": "eDp5"}, "h.io": {"auth": "dTpwOnE="}},
        });
        assert_eq!(home.json(), expected);
        assert_eq!(fs::metadata(home.path()).unwrap().permissions().mode() & 0o777, 0o600);
        let credentials = super::super::Credentials::new(home.sources());
        let found = credentials.lookup("h.io", "a", &mut |_| ()).unwrap();
        let user = "u".to_owned();
        assert_eq!(
            found,
            Some(super::super::Credential::Password {
                user,
                password: secret()
            })
        );
        assert_eq!(home.file().forget("https://h.io").unwrap(), [Keeper::File(home.path())]);
        assert_eq!(home.json()["auths"], json!({"other.io": {"auth": "eDp5"}}));
        assert_eq!(home.file().forget("h.io").unwrap(), []);
    }

    #[test]
    fn the_first_entry_makes_file_and_directory() {
        for (registry, key) in [
            ("docker.io", "https://index.docker.io/v1/"),
            ("https://index.docker.io/v1/", "https://index.docker.io/v1/"),
            ("127.0.0.1:5000", "127.0.0.1:5000"),
            ("h.io/team", "h.io/team"),
        ] {
            let home = Home::with(None);
            home.file().keep(registry, "u", &secret()).unwrap();
            assert_eq!(home.json(), json!({"auths": {key: {"auth": "dTpwOnE="}}}), "{registry}");
        }
        let home = Home::with(Some(" \n"));
        home.file().keep("h.io", "u", &secret()).unwrap();
        assert_eq!(home.json()["auths"]["h.io"]["auth"], "dTpwOnE=");
    }

    #[test]
    fn helpers_keep_and_forget() {
        let own = r#"{"credHelpers":{"h.io":"own"},"credsStore":"all"}"#;
        for (registry, helper, server) in [
            ("h.io", "own", "h.io"),
            ("docker.io", "all", "https://index.docker.io/v1/"),
        ] {
            let home = Home::with(Some(own));
            home.helper("own");
            home.helper("all");
            let keeper = Keeper::Helper(helper.to_owned());
            assert_eq!(home.file().keep(registry, "u", &secret()).unwrap(), keeper);
            let stored = format!(r#"store\n{{"Secret":"p:q","ServerURL":"{server}","Username":"u"}}"#);
            assert_eq!(home.called(), stored.replace("\\n", "\n"));
            assert_eq!(home.file().forget(registry).unwrap(), [keeper]);
            assert!(
                home.called().ends_with(&format!("erase\n{server}")),
                "{}",
                home.called()
            );
            assert_eq!(fs::read_to_string(home.path()).unwrap(), own, "the file has no secret");
        }
        let home = Home::with(Some(own));
        let error = home.file().keep("h.io", "u", &secret()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "credential helper docker-credential-own is not in PATH"
        );
    }

    #[test]
    fn what_cannot_be_read_is_not_written_over() {
        for config in ["{", r#"{"auths":[]}"#] {
            let home = Home::with(Some(config));
            assert!(home.file().keep("h.io", "u", &secret()).is_err(), "{config}");
            assert_eq!(fs::read_to_string(home.path()).unwrap(), config);
        }
    }

    #[test]
    fn what_a_link_leads_to_is_replaced() {
        let home = Home::with(None);
        let real = home.0.path().join("real.json");
        fs::write(&real, "{}").unwrap();
        fs::create_dir(home.0.path().join(".docker")).unwrap();
        std::os::unix::fs::symlink(&real, home.path()).unwrap();
        home.file().keep("h.io", "u", &secret()).unwrap();
        assert!(fs::symlink_metadata(home.path()).unwrap().is_symlink());
        assert!(fs::read_to_string(real).unwrap().contains("h.io"));
    }
}
