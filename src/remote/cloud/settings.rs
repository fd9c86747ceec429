//! What the environment says about clouds: taken once, outside, like everything else of the environment.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// Every variable that is looked at. The library looks at `GCE_METADATA_HOST`, `GCE_METADATA_IP` and, for gcloud's own
/// credentials, `HOME` by itself.
const NAMES: [&str; 32] = [
    "S3_ENDPOINT",
    "S3_FORCE_PATH_STYLE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONFIG_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_STS",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_SKIP_SIGNATURE",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "STORAGE_EMULATOR_HOST",
    "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_ENDPOINT",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_TENANT_ID",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_AUTHORITY_HOST",
];

/// The variables that are set, and the user's home. `Debug` shows names only.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct CloudSettings {
    variables: BTreeMap<&'static str, String>,
    home: Option<PathBuf>,
}

impl CloudSettings {
    /// Takes what `variable` says of each name; nothing and the empty text are the same.
    pub fn new(variable: impl Fn(&str) -> Option<String>, home: Option<PathBuf>) -> Self {
        let set = NAMES.into_iter().filter_map(|name| Some((name, variable(name)?)));
        Self {
            variables: set.filter(|(_, value)| !value.is_empty()).collect(),
            home,
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        debug_assert!(NAMES.contains(&name), "{name} is not taken from the environment");
        self.variables.get(name).map(String::as_str)
    }

    /// The first of several names that is set, and its value.
    pub(super) fn first(&self, names: &[&'static str]) -> Option<(&'static str, &str)> {
        names.iter().find_map(|name| Some((*name, self.get(name)?)))
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    pub(super) fn home(&self) -> Option<&Path> {
        self.home.as_deref()
    }
}

impl fmt::Debug for CloudSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudSettings")
            .field("variables", &self.variables.keys())
            .field("home", &self.home)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let settings = CloudSettings::new(
            |name| match name {
                "AWS_SECRET_ACCESS_KEY" => Some("hunter2".to_owned()),
                "AWS_REGION" => Some(String::new()),
                _ => None,
            },
            None,
        );
        assert_eq!(settings.get("AWS_REGION"), None);
        let shown = format!("{settings:?}");
        assert!(
            shown.contains("AWS_SECRET_ACCESS_KEY") && !shown.contains("hunter2"),
            "{shown}"
        );
    }
}
