//! Identities of steps.

use std::fmt;

use crate::oci::Digest;

/// Identifies a step by everything before it and its own resolved form.
///
/// Contents of copied files are *not* part of it: a layer cache adds them where it knows them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StepId(Digest);

impl StepId {
    /// The digest itself.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.0
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
