//! Credentials that stand in variables of the environment, as the kaniko executor's built-in helpers find them.
//!
//! | helper | variables | for |
//! |---|---|---|
//! | `env` | `KANIKO_<HOST>_USER` and `KANIKO_<HOST>_PASSWORD` | the host, and hosts below it |
//! | `gitlab` | `CI_REGISTRY`, `CI_REGISTRY_USER`, `CI_REGISTRY_PASSWORD` | the registry of a GitLab job |

use std::collections::BTreeMap;
use std::fmt;

use super::Credential;
use super::key;
use crate::secret::SecretText;

/// What `KANIKO_<HOST>_USER` begins with.
const PREFIX: &str = "KANIKO_";
const GITLAB: [&str; 3] = ["CI_REGISTRY", "CI_REGISTRY_USER", "CI_REGISTRY_PASSWORD"];

/// One of our own ways to credentials.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BuiltinHelper {
    /// Variables named by the host.
    Env,
    /// Variables of a GitLab job.
    Gitlab,
}

impl BuiltinHelper {
    /// All, in the order in which they are asked.
    pub const ALL: [Self; 2] = [Self::Env, Self::Gitlab];

    /// What `--credential-helpers` calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Env => "env",
            Self::Gitlab => "gitlab",
        }
    }

    /// What it knows about `registry`, which is as in a reference.
    pub(super) fn ask(self, variables: &CredentialVariables, registry: &str) -> Option<Credential> {
        let pair = match self {
            Self::Env => variables.of_host(registry),
            Self::Gitlab => variables.of_gitlab(registry),
        };
        pair.map(|(user, password)| Credential::Password { user, password })
    }
}

/// Variables that may hold credentials; all their values count as secret.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct CredentialVariables(BTreeMap<String, SecretText>);

impl CredentialVariables {
    /// Whether a variable of this name belongs here.
    #[must_use]
    pub fn wants(name: &str) -> bool {
        let is_of_host = name.starts_with(PREFIX) && (name.ends_with("_USER") || name.ends_with("_PASSWORD"));
        is_of_host || GITLAB.contains(&name)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(SecretText::reveal)
            .filter(|value| !value.is_empty())
    }

    fn pair(&self, user: &str, password: &str) -> Option<(String, SecretText)> {
        let (user, password) = (self.get(user)?, self.get(password)?);
        Some((user.to_owned(), SecretText::new(password.to_owned())))
    }

    /// The most specific name whose two variables are both set.
    fn of_host(&self, registry: &str) -> Option<(String, SecretText)> {
        let pair = |name: String| self.pair(&format!("{PREFIX}{name}_USER"), &format!("{PREFIX}{name}_PASSWORD"));
        names_of_host(registry).into_iter().find_map(pair)
    }

    /// GitLab's variable may name a port or none; the host is what counts.
    fn of_gitlab(&self, registry: &str) -> Option<(String, SecretText)> {
        let [own, user, password] = GITLAB;
        let own = key::normalise(self.get(own)?);
        let own = own.split('/').next().unwrap_or_default();
        let is_same = without_port(own) == without_port(&registry.to_ascii_lowercase());
        is_same.then(|| self.pair(user, password)).flatten()
    }
}

impl FromIterator<(String, SecretText)> for CredentialVariables {
    fn from_iter<I: IntoIterator<Item = (String, SecretText)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

impl fmt::Debug for CredentialVariables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// `r.example.com:5000` is `R_EXAMPLE_COM_5000`, then `R_EXAMPLE_COM`, `EXAMPLE_COM` and `COM`.
fn names_of_host(registry: &str) -> Vec<String> {
    let host = match registry {
        "docker.io" => "index.docker.io",
        other => other,
    };
    let name = |text: &str| text.to_ascii_uppercase().replace(['-', '.', ':', '[', ']'], "_");
    let bare = without_port(host);
    let with_port = (bare != host).then_some(host);
    let parents = std::iter::successors(Some(bare), |host| host.split_once('.').map(|(_, parent)| parent));
    with_port.into_iter().chain(parents).map(name).collect()
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((bare, port)) if !bare.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => bare,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> CredentialVariables {
        let text = |(name, value): &(&str, &str)| ((*name).to_owned(), SecretText::new((*value).to_owned()));
        pairs.iter().map(text).collect()
    }

    fn user(helper: BuiltinHelper, variables: &CredentialVariables, registry: &str) -> Option<String> {
        match helper.ask(variables, registry)? {
            Credential::Password { user, .. } => Some(user),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn variables_of_a_host_go_from_the_whole_name_to_its_end() {
        assert_eq!(
            names_of_host("my-reg.example.com:5000"),
            ["MY_REG_EXAMPLE_COM_5000", "MY_REG_EXAMPLE_COM", "EXAMPLE_COM", "COM"]
        );
        assert_eq!(names_of_host("docker.io"), ["INDEX_DOCKER_IO", "DOCKER_IO", "IO"]);
        let known = variables(&[
            ("KANIKO_R_EXAMPLE_COM_USER", "whole"),
            ("KANIKO_EXAMPLE_COM_USER", "domain"),
            ("KANIKO_EXAMPLE_COM_PASSWORD", "p"),
            ("KANIKO_LOCALHOST_USER", "local"),
            ("KANIKO_LOCALHOST_PASSWORD", ""),
        ]);
        // Without a password the longer name says nothing.
        assert_eq!(
            user(BuiltinHelper::Env, &known, "r.example.com"),
            Some("domain".to_owned())
        );
        assert_eq!(
            user(BuiltinHelper::Env, &known, "example.com:5000"),
            Some("domain".to_owned())
        );
        assert_eq!(user(BuiltinHelper::Env, &known, "localhost:5000"), None);
        assert_eq!(user(BuiltinHelper::Env, &known, "r.example.org"), None);
        assert!(!format!("{known:?}").contains("whole"));
    }

    #[test]
    fn a_gitlab_job_knows_its_own_registry() {
        let known = variables(&[
            ("CI_REGISTRY", "registry.gitlab.example:5050"),
            ("CI_REGISTRY_USER", "ci"),
            ("CI_REGISTRY_PASSWORD", "p"),
        ]);
        for registry in ["registry.gitlab.example", "registry.gitlab.example:5050"] {
            assert_eq!(user(BuiltinHelper::Gitlab, &known, registry), Some("ci".to_owned()));
        }
        assert_eq!(user(BuiltinHelper::Gitlab, &known, "gitlab.example"), None);
        assert_eq!(user(BuiltinHelper::Gitlab, &variables(&[]), "gitlab.example"), None);
    }

    #[test]
    fn only_variables_with_credentials_are_taken() {
        for name in ["KANIKO_R_USER", "KANIKO_R_PASSWORD", "CI_REGISTRY"] {
            assert!(CredentialVariables::wants(name), "{name}");
        }
        for name in ["KANIKO_DIR", "USER", "CI_REGISTRY_IMAGE"] {
            assert!(!CredentialVariables::wants(name), "{name}");
        }
    }
}
