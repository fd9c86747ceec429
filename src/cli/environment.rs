//! The outside of a build: environment variables, working directory, user.
//!
//! This is the one place where they are read; everything else gets an [`Environment`]. The variables below are all
//! that rbuild itself looks at, besides those of clouds. TLS and HTTP libraries read `SSL_CERT_FILE`, `SSL_CERT_DIR` and the proxy
//! variables on their own.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::value::Switch;
use crate::remote::CloudSettings;

/// Same as `--no-push`, as a Go boolean; the flag wins.
pub(super) const KANIKO_NO_PUSH: &str = "KANIKO_NO_PUSH";
/// One more `--registry-mirror`, tried after those of the flag.
pub(super) const KANIKO_REGISTRY_MIRROR: &str = "KANIKO_REGISTRY_MIRROR";
/// One more `--registry-map`, tried after those of the flag.
pub(super) const KANIKO_REGISTRY_MAP: &str = "KANIKO_REGISTRY_MAP";
/// Same as `--kaniko-dir`; the flag wins.
pub(super) const KANIKO_DIR: &str = "KANIKO_DIR";
/// Seconds since 1970 to use instead of now; `--build-arg SOURCE_DATE_EPOCH=…` wins.
pub(super) const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";
/// Token for a git context, sent as user name; wins over the next two.
pub(super) const GIT_TOKEN: &str = "GIT_TOKEN";
/// User name for a git context.
pub(super) const GIT_USERNAME: &str = "GIT_USERNAME";
/// Password for a git context.
pub(super) const GIT_PASSWORD: &str = "GIT_PASSWORD";
/// `http` fetches `git://` contexts over plain HTTP instead of HTTPS.
pub(super) const GIT_PULL_METHOD: &str = "GIT_PULL_METHOD";
/// Anything but empty turns colour off (<https://no-color.org>).
pub(super) const NO_COLOR: &str = "NO_COLOR";
/// `dumb` turns live lines and colour off.
pub(super) const TERM: &str = "TERM";
/// Directory of `config.json`, or such a file; passed on.
pub(super) const DOCKER_CONFIG: &str = "DOCKER_CONFIG";
/// Content of a `config.json`; passed on.
pub(super) const DOCKER_AUTH_CONFIG: &str = "DOCKER_AUTH_CONFIG";
/// File with credentials in podman's format; passed on.
pub(super) const REGISTRY_AUTH_FILE: &str = "REGISTRY_AUTH_FILE";
/// Directory that may hold `containers/auth.json`; passed on.
pub(super) const XDG_RUNTIME_DIR: &str = "XDG_RUNTIME_DIR";
/// Directory that may hold `containers/auth.json`; passed on.
pub(super) const XDG_CONFIG_HOME: &str = "XDG_CONFIG_HOME";
/// Where an ordinary user's state directory is, if not in `~/.local/share`.
pub(super) const XDG_DATA_HOME: &str = "XDG_DATA_HOME";
/// The user's home directory.
pub(super) const HOME: &str = "HOME";
/// Where credential helpers are looked for.
pub(super) const PATH: &str = "PATH";
/// Socket of the user's SSH agent.
pub(super) const SSH_AUTH_SOCK: &str = "SSH_AUTH_SOCK";
/// A PEM file of certificate authorities instead of the machine's.
pub(super) const SSL_CERT_FILE: &str = "SSL_CERT_FILE";
/// A directory of certificate authorities instead of the machine's, or several with colons between.
pub(super) const SSL_CERT_DIR: &str = "SSL_CERT_DIR";
/// Directory that Cloud Build looks for the names of pushed images in.
pub(super) const BUILDER_OUTPUT: &str = "BUILDER_OUTPUT";
/// What calls us; told to registries.
pub(super) const UPSTREAM_CLIENT_TYPE: &str = "UPSTREAM_CLIENT_TYPE";
/// Prints the plan before the build, as a Go boolean.
pub(super) const KANIKO_PRINT_PLAN: &str = "KANIKO_PRINT_PLAN";
/// Settings of Go programs with commas between; `http2client=0` is about HTTP/2.
pub(super) const GODEBUG: &str = "GODEBUG";
/// No HTTP/2, as a Go boolean.
pub(super) const FF_KANIKO_DISABLE_HTTP2: &str = "FF_KANIKO_DISABLE_HTTP2";

/// What of the outside may influence a build, taken once.
#[derive(Debug, Clone, Default)]
pub(super) struct Environment {
    variables: BTreeMap<OsString, OsString>,
    /// The working directory; relative paths start here.
    pub(super) working_directory: PathBuf,
    /// Whether root started us.
    pub(super) is_root: bool,
    /// Whether we are root all the same, of a user namespace made for the build.
    pub(super) is_mapped: bool,
    /// Our user ID; some files are named by it.
    pub(super) uid: u32,
}

impl Environment {
    /// Takes this process's environment.
    ///
    /// # Errors
    /// The working directory is gone or may not be read.
    pub(super) fn of_process() -> std::io::Result<Self> {
        let before = crate::run::user_before(std::env::args_os());
        Ok(Self {
            variables: std::env::vars_os().collect(),
            working_directory: std::env::current_dir()?,
            is_root: before.is_none() && rustix::process::geteuid().is_root(),
            is_mapped: before.is_some(),
            uid: before.unwrap_or_else(|| rustix::process::getuid().as_raw()),
        })
    }

    /// A variable's value, `None` when unset.
    pub(super) fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// Every variable whose name and value are text.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        let variables = self.variables.iter();
        variables.filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)))
    }

    /// Whether a variable is a Go boolean that is true.
    pub(super) fn is_on(&self, name: &str) -> bool {
        let text = self.get(name).and_then(OsStr::to_str);
        text.is_some_and(|text| text.parse().is_ok_and(|Switch(on)| on))
    }

    /// A variable's value, `None` when unset or empty.
    pub(super) fn filled(&self, name: &str) -> Option<&OsStr> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// A variable's value as a path, `None` when unset or empty.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.filled(name).map(PathBuf::from)
    }

    /// What is said about clouds; [`CloudSettings`] knows the names.
    pub(super) fn clouds(&self) -> CloudSettings {
        let text = |name: &str| self.filled(name)?.to_str().map(str::to_owned);
        CloudSettings::new(text, self.path(HOME))
    }

    /// `path` from the working directory, without `.` and doubled slashes.
    pub(super) fn absolute(&self, path: &Path) -> PathBuf {
        self.working_directory.join(path).components().collect()
    }

    #[cfg(test)]
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }
}
