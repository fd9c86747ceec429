//! The variables that a text names.

use crate::dockerfile::{Escape, Expandable, UsedNames, Word};
use crate::plan::{Variables, expand_with};

/// A text with its variables replaced.
#[derive(Default)]
pub(super) struct Expanded {
    /// `None` if it cannot be expanded, which is an error that the planner reports.
    pub(super) text: Option<String>,
    /// What it named.
    pub(super) names: UsedNames,
}

/// Expands a word.
pub(super) fn expand(word: &Word, variables: &Variables, escape: Escape) -> Expanded {
    of_expandable(&Expandable::Word(word), variables, escape)
}

/// Expands a word or a heredoc.
pub(super) fn of_expandable(text: &Expandable<'_>, variables: &Variables, escape: Escape) -> Expanded {
    let expanded = expand_with(variables, escape, |expander| {
        let text = match text {
            Expandable::Word(word) => expander.word(word).ok(),
            Expandable::Heredoc(body) => expander.heredoc(body).ok(),
        };
        let names = expander.names().clone();
        Ok(Expanded { text, names })
    });
    expanded.unwrap_or_default()
}
