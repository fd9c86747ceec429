//! `~/.aws/credentials` and `~/.aws/config`: a profile's keys and region.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use super::{CloudError, CloudSettings};

/// The profile that is used when none is named.
const DEFAULT: &str = "default";

/// Ways to credentials that a profile may name and that nobody here can go.
const UNSUPPORTED: [&str; 5] = [
    "role_arn",
    "credential_process",
    "sso_session",
    "sso_start_url",
    "credential_source",
];

/// What the files say of one profile.
pub(super) struct Profile {
    /// Its name.
    pub(super) name: String,
    values: BTreeMap<String, String>,
}

/// What requests are signed with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Keys<'s> {
    pub(super) key: &'s str,
    pub(super) secret: &'s str,
    /// Of a session.
    pub(super) token: Option<&'s str>,
}

impl Profile {
    /// The profile that `AWS_PROFILE` names, or the default one, which need not exist.
    ///
    /// # Errors
    /// A file cannot be read, or has no profile of that name.
    pub(super) fn of(settings: &CloudSettings) -> Result<Self, CloudError> {
        let asked = settings.get("AWS_PROFILE");
        let name = asked.unwrap_or(DEFAULT);
        let mut values = BTreeMap::new();
        let mut found = false;
        let files = [
            ("AWS_CONFIG_FILE", ".aws/config", format!("profile {name}")),
            ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials", name.to_owned()),
        ];
        let mut looked_in = Vec::new();
        // What the second file says wins.
        for (variable, usual, section) in files {
            let Some(path) = file(settings, variable, usual) else {
                continue;
            };
            match fs::read_to_string(&path) {
                Ok(text) => {
                    for wanted in [section.as_str(), name] {
                        found |= read_section(&text, wanted, &mut values);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound && settings.get(variable).is_none() => {}
                Err(error) => {
                    let problem = format!("cannot read {}", path.display());
                    return Err(CloudError::setting(variable, problem, error));
                }
            }
            looked_in.push(path.display().to_string());
        }
        match (asked, found) {
            (Some(name), false) => Err(CloudError::bad_setting(
                "AWS_PROFILE",
                format!("there is no profile {name:?} (looked in {})", looked_in.join(", ")),
            )),
            _ => Ok(Self {
                name: name.to_owned(),
                values,
            }),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// Key, secret and perhaps a token; `None` when the profile says nothing of credentials.
    ///
    /// # Errors
    /// It does so in a way that is not supported.
    pub(super) fn keys(&self) -> Result<Option<Keys<'_>>, CloudError> {
        if let (Some(key), Some(secret)) = (self.get("aws_access_key_id"), self.get("aws_secret_access_key")) {
            return Ok(Some(Keys {
                key,
                secret,
                token: self.get("aws_session_token"),
            }));
        }
        match UNSUPPORTED.into_iter().find(|key| self.get(key).is_some()) {
            Some(key) => Err(CloudError::bad_setting(
                "AWS_PROFILE",
                format!(
                    "the profile {:?} gets its credentials by {key}, which is not supported; set AWS_ACCESS_KEY_ID, \
                     AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE",
                    self.name
                ),
            )),
            None => Ok(None),
        }
    }
}

fn file(settings: &CloudSettings, variable: &str, usual: &str) -> Option<PathBuf> {
    match settings.get(variable) {
        Some(path) => Some(PathBuf::from(path)),
        None => Some(settings.home()?.join(usual)),
    }
}

/// Adds the values of a section; says whether it is there.
fn read_section(text: &str, wanted: &str, values: &mut BTreeMap<String, String>) -> bool {
    let (mut inside, mut found) = (false, false);
    for line in text.lines() {
        let trimmed = line.trim();
        if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            inside = name.split_whitespace().eq(wanted.split_whitespace());
            found |= inside;
        } else if inside && !trimmed.starts_with(['#', ';']) && !line.starts_with(char::is_whitespace) {
            // Indented lines belong to the settings of a single service.
            if let Some((key, value)) = trimmed.split_once('=') {
                values.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(name: Option<&str>, credentials: &str, config: &str) -> Result<Profile, String> {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".aws")).unwrap();
        fs::write(home.path().join(".aws/credentials"), credentials).unwrap();
        fs::write(home.path().join(".aws/config"), config).unwrap();
        let variable = |variable: &str| name.filter(|_| variable == "AWS_PROFILE").map(str::to_owned);
        Profile::of(&CloudSettings::new(variable, Some(home.path().to_owned()))).map_err(|error| error.to_string())
    }

    #[test]
    fn profiles_are_put_together_from_both_files() {
        let credentials = "[default]\naws_access_key_id = A\naws_secret_access_key=S=\n# x\n[other]\naws_access_key_id=B\n\
                           aws_secret_access_key=T\naws_session_token=U\n";
        let config =
            "[default]\nregion=r1\n[profile other]\nregion = r2\ns3 =\n  region = no\n[profile role]\nrole_arn=x\n";
        let default = profile(None, credentials, config).unwrap();
        let keys = |profile: &Profile| {
            let keys = profile.keys().unwrap();
            keys.map(|keys| format!("{} {} {:?}", keys.key, keys.secret, keys.token))
        };
        assert_eq!(keys(&default).as_deref(), Some("A S= None"));
        assert_eq!(default.get("region"), Some("r1"));
        let other = profile(Some("other"), credentials, config).unwrap();
        assert_eq!(keys(&other).as_deref(), Some("B T Some(\"U\")"));
        assert_eq!(other.get("region"), Some("r2"));
        let role = profile(Some("role"), credentials, config).unwrap();
        assert!(
            role.keys()
                .err()
                .unwrap()
                .to_string()
                .contains("by role_arn, which is not supported")
        );
        let absent = profile(Some("absent"), credentials, config).err().unwrap();
        assert!(
            absent.starts_with("AWS_PROFILE: there is no profile \"absent\" (looked in "),
            "{absent}"
        );
        assert_eq!(keys(&profile(None, "", "").unwrap()), None);
    }
}
