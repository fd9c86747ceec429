//! What keeps a Dockerfile from becoming a plan.

use crate::dockerfile::{Diagnostic, Excerpt, ExpandError, Hint, ParseError};
use crate::oci::{PlatformError, ReferenceError};

use super::ImageKey;

/// A Dockerfile that parses but cannot be built.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub struct PlanError {
    /// What is wrong.
    pub problem: PlanProblem,
    /// Where; unset for options of the command line.
    pub excerpt: Option<Box<Excerpt>>,
    /// What to try.
    pub hint: Option<Hint>,
}

impl Diagnostic for PlanError {
    fn excerpt(&self) -> Option<&Excerpt> {
        self.excerpt.as_deref()
    }

    fn hint(&self) -> Option<&Hint> {
        self.hint.as_ref()
    }
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub enum PlanProblem {
    /// Valid Dockerfile, but not executed by this version.
    #[error("{feature} is not supported yet")]
    Unsupported {
        /// What it is.
        feature: String,
    },
    /// An operand cannot be expanded.
    #[error(transparent)]
    Expand(#[from] ExpandError),
    /// An image name that is none.
    #[error("{name:?} is neither a stage nor an image")]
    Reference {
        /// After expansion.
        name: String,
        /// Why.
        #[source]
        source: ReferenceError,
    },
    /// `--platform` of something else.
    #[error("failed to parse platform {platform}")]
    Platform {
        /// After expansion.
        platform: String,
        /// Why.
        #[source]
        source: PlatformError,
    },
    /// A trigger of the base image does not parse.
    #[error("ONBUILD trigger {trigger:?} of the base image")]
    Trigger {
        /// As stored.
        trigger: String,
        /// Why.
        #[source]
        source: ParseError,
    },
    /// The driver did not fetch it.
    #[error("the config of {image} is missing")]
    MissingConfig {
        /// What was needed.
        image: ImageKey,
    },
}
