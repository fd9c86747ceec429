//! Where files of credentials are, and what is in them.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::PathBuf;

use super::CredentialError;
use super::builtin::{BuiltinHelper, CredentialVariables};
use super::config::{Config, Format};
use crate::secret::SecretText;

/// Where credentials may be, as the environment says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CredentialSources {
    /// `DOCKER_AUTH_CONFIG`: the whole JSON.
    pub docker_auth_config: Option<SecretText>,
    /// `REGISTRY_AUTH_FILE`: a file.
    pub registry_auth_file: Option<PathBuf>,
    /// `DOCKER_CONFIG`: a directory with a `config.json`, or such a file itself.
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
    /// Variables that hold credentials themselves; see [`BuiltinHelper`](super::BuiltinHelper).
    pub variables: CredentialVariables,
    /// The helpers of our own that are asked after all files, in this order.
    pub helpers: Vec<BuiltinHelper>,
}

/// A file or a variable.
#[derive(Debug)]
pub(super) struct Place {
    /// How messages call it.
    pub(super) name: String,
    content: Content,
    format: Format,
    /// The user named it, so it must be readable.
    pub(super) explicit: bool,
}

#[derive(Debug)]
enum Content {
    Text(SecretText),
    File(PathBuf),
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
    pub(super) fn read(&self) -> Result<Option<Config>, CredentialError> {
        let bytes = match &self.content {
            Content::Text(text) => text.reveal().as_bytes().to_vec(),
            Content::File(path) => match fs::read(path) {
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
        Config::parse(&self.name, &bytes, self.format).map(Some)
    }
}

/// The file that `DOCKER_CONFIG` means.
pub(super) fn docker_config(path: PathBuf) -> PathBuf {
    match path.is_file() {
        true => path,
        false => path.join("config.json"),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// All places of `sources` in the order in which they are searched.
pub(super) fn places(sources: CredentialSources) -> Vec<Place> {
    let variable = sources
        .docker_auth_config
        .filter(|text| !text.reveal().trim().is_empty());
    let variable = variable.map(|text| Place {
        name: "$DOCKER_AUTH_CONFIG".to_owned(),
        content: Content::Text(text),
        format: Format::Config,
        explicit: true,
    });
    let explicit = [sources.registry_auth_file, sources.docker_config.map(docker_config)];
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
