//! `RUN --device`: a request for a device by its CDI name.

use crate::dockerfile::{Hint, closest};

/// `--device=[name=]vendor/class[=device][,required[=bool]]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    /// `vendor/class=device`, `vendor/class=*`, `vendor/class`, or a class that annotations name.
    pub name: String,
    /// Whether the step fails without it.
    pub required: bool,
}

/// What is wrong with a `--device`. The wording is BuildKit's.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DeviceProblem {
    /// No name.
    #[error("device name is required")]
    NoName,
    /// Two names.
    #[error("device name already set to {0}")]
    TwoNames(String),
    /// A key that it does not have.
    #[error("unexpected key '{key}' in '{field}'")]
    Key {
        /// In lower case.
        key: String,
        /// As written.
        field: String,
    },
    /// A value that its key cannot take.
    #[error("invalid value for {key}: {value}")]
    Value {
        /// In lower case.
        key: String,
        /// As written.
        value: String,
    },
}

impl DeviceProblem {
    /// What was probably meant.
    pub(super) fn hint(&self) -> Option<Hint> {
        match self {
            Self::Key { key, .. } => closest(key, ["name", "required"]),
            Self::NoName | Self::TwoNames(_) | Self::Value { .. } => None,
        }
    }
}

impl Device {
    /// Reads the value of the flag.
    pub(super) fn parse(text: &str) -> Result<Self, DeviceProblem> {
        let (mut name, mut required): (Option<String>, bool) = (None, false);
        for field in text.split(',') {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key.to_lowercase(), Some(value)),
                None => (field.to_lowercase(), None),
            };
            match (key.as_str(), value) {
                ("required", None) => required = true,
                ("required", Some(value)) => {
                    required = super::mount::parse_bool(value).ok_or_else(|| DeviceProblem::Value {
                        key: key.clone(),
                        value: value.to_owned(),
                    })?;
                }
                ("name", Some(value)) => set_name(&mut name, value)?,
                // A name holds a slash, and so is no mistyped key.
                (key, _) if key.contains('/') || (value.is_none() && !key.is_empty()) => set_name(&mut name, field)?,
                (_, _) => {
                    let field = field.to_owned();
                    return Err(DeviceProblem::Key { key, field });
                }
            }
        }
        match name.filter(|name| !name.is_empty()) {
            Some(name) => Ok(Self { name, required }),
            None => Err(DeviceProblem::NoName),
        }
    }

    /// `vendor/class`; the whole name where it is an annotated class.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.name.split('=').next().unwrap_or_default()
    }

    /// Whether a grant for `name` covers it: the same name, or the kind of it.
    pub(super) fn is_granted_by(&self, name: &str) -> bool {
        self.name == name || self.kind() == name || name.strip_suffix("=*").is_some_and(|kind| kind == self.kind())
    }
}

fn set_name(name: &mut Option<String>, value: &str) -> Result<(), DeviceProblem> {
    match name {
        Some(name) => Err(DeviceProblem::TwoNames(name.clone())),
        None => {
            *name = Some(value.to_owned());
            Ok(())
        }
    }
}
