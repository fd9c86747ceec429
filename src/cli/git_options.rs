//! `--git`: how a git context is fetched.

use super::value::{Switch, ValueError};
use crate::dockerfile::nearest;

/// Every key, for messages.
const KEYS: [&str; 5] = [
    "branch",
    "single-branch",
    "depth",
    "recurse-submodules",
    "insecure-skip-tls",
];

/// What `--git` says. What it does not say is up to the kind of address.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct GitOptions {
    /// A branch or tag, instead of the address's.
    pub(super) branch: Option<String>,
    /// Whether the past of other branches is left out.
    pub(super) single_branch: Option<bool>,
    /// Commits of the past, the wanted one included; 0 is all of them.
    pub(super) depth: Option<u32>,
    /// Whether submodules are fetched too.
    pub(super) recurse_submodules: Option<bool>,
    /// Whether the server's certificate is not verified.
    pub(super) insecure_skip_tls: bool,
}

/// What is wrong with one option.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum GitOptionError {
    /// No `=`. The kaniko executor's words.
    #[error("invalid git flag, must be in the key=value format: {0}")]
    Form(String),
    /// A key that does not exist, which the kaniko executor passes over in silence.
    #[error("--git has no option {0:?}")]
    Key(String),
    /// A value that the key cannot have.
    #[error("--git {key} has the invalid value {value:?}")]
    Value {
        /// As written.
        key: String,
        /// As written.
        value: String,
        /// Why not.
        #[source]
        source: ValueError,
    },
}

impl GitOptionError {
    /// What to write instead.
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Key(key) if nearest(key, KEYS).is_some() => {
                format!("did you mean {}?", nearest(key, KEYS).unwrap_or_default())
            }
            _ => format!("the options are {}, each with =VALUE", KEYS.join(", ")),
        }
    }
}

impl GitOptions {
    /// Reads `key=value`, one per flag or separated by commas. The last of several values of a key counts.
    pub(super) fn parse(flags: &[String]) -> Result<Self, GitOptionError> {
        let mut options = Self::default();
        for option in flags.iter().flat_map(|flag| flag.split(',')) {
            let Some((key, value)) = option.split_once('=') else {
                return Err(GitOptionError::Form(option.to_owned()));
            };
            options.set(key.trim(), value.trim())?;
        }
        Ok(options)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), GitOptionError> {
        let wrong = |source| GitOptionError::Value {
            key: key.to_owned(),
            value: value.to_owned(),
            source,
        };
        let switch = || value.parse().map(|Switch(on)| on).map_err(wrong);
        match key {
            "branch" => self.branch = Some(value.to_owned()).filter(|name| !name.is_empty()),
            "single-branch" => self.single_branch = Some(switch()?),
            "depth" => self.depth = Some(value.parse().map_err(|_| wrong(ValueError::Int))?),
            "recurse-submodules" => self.recurse_submodules = Some(switch()?),
            "insecure-skip-tls" => self.insecure_skip_tls = switch()?,
            _ => return Err(GitOptionError::Key(key.to_owned())),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(flags: &[&str]) -> Result<GitOptions, GitOptionError> {
        let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        GitOptions::parse(&flags)
    }

    #[test]
    fn both_ways_to_write_several_options() {
        let expected = GitOptions {
            branch: Some("b".to_owned()),
            single_branch: Some(true),
            depth: Some(3),
            recurse_submodules: Some(false),
            insecure_skip_tls: true,
        };
        let together = "branch=b,single-branch=true,depth=3,recurse-submodules=false,insecure-skip-tls=true";
        assert_eq!(parse(&[together]), Ok(expected.clone()));
        assert_eq!(parse(&together.split(',').collect::<Vec<_>>()), Ok(expected));
        // The default as the kaniko executor's help prints it.
        let printed = "branch=,single-branch=false,depth=0,recurse-submodules=false,insecure-skip-tls=false";
        let options = parse(&[printed]).unwrap();
        assert_eq!((options.branch, options.depth), (None, Some(0)));
        assert_eq!(parse(&[]), Ok(GitOptions::default()));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let keys =
            "the options are branch, single-branch, depth, recurse-submodules, insecure-skip-tls, each with =VALUE";
        for (flag, error, hint) in [
            (
                "depth",
                "invalid git flag, must be in the key=value format: depth",
                keys,
            ),
            ("dept=1", "--git has no option \"dept\"", "did you mean depth?"),
            (
                "recurse-submodule=true",
                "--git has no option \"recurse-submodule\"",
                "did you mean recurse-submodules?",
            ),
            ("colour=red", "--git has no option \"colour\"", keys),
            ("depth=-1", "--git depth has the invalid value \"-1\"", keys),
            (
                "single-branch=perhaps",
                "--git single-branch has the invalid value \"perhaps\"",
                keys,
            ),
        ] {
            let found = parse(&["branch=x", flag]).unwrap_err();
            assert_eq!((found.to_string().as_str(), found.hint().as_str()), (error, hint));
        }
    }
}
