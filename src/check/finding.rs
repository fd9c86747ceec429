//! What a rule says about an instruction.

use std::fmt;

use super::options::Options;
use super::rule::Rule;
use crate::diagnostic::Diagnostic;
use crate::dockerfile::{Excerpt, SourceText, Span, Spelling};

/// One thing that could be better.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Which rule.
    pub rule: Rule,
    /// What is found, in BuildKit's words.
    pub message: String,
    /// Where.
    pub excerpt: Excerpt,
}

impl Finding {
    /// The first line.
    #[must_use]
    pub const fn line(&self) -> u32 {
        self.excerpt.span().first
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (line {})", self.rule, self.message, self.line())
    }
}

impl std::error::Error for Finding {}

impl Diagnostic for Finding {
    fn excerpt(&self) -> Option<&Excerpt> {
        Some(&self.excerpt)
    }

    fn hints(&self) -> Vec<String> {
        vec![self.rule.advice().to_owned()]
    }
}

/// Where a finding stands, and the comments that may silence it.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) span: Span,
    pub(super) comments: &'a [String],
}

impl<'a> Place<'a> {
    pub(super) fn of(span: Span, spelling: &'a Spelling) -> Self {
        Self {
            span,
            comments: &spelling.comments,
        }
    }
}

/// Takes findings of rules that are in force.
pub(super) struct Findings<'a> {
    source: &'a SourceText,
    options: &'a Options,
    found: Vec<Finding>,
}

impl<'a> Findings<'a> {
    pub(super) const fn new(source: &'a SourceText, options: &'a Options) -> Self {
        Self {
            source,
            options,
            found: Vec::new(),
        }
    }

    /// Takes what a rule has to say of the instruction at `place`.
    pub(super) fn add(&mut self, place: Place<'_>, rule: Rule, messages: impl IntoIterator<Item = String>) {
        let mut messages = messages.into_iter().peekable();
        if messages.peek().is_none() || !self.options.has(rule, place.comments) {
            return;
        }
        let excerpt = self.source.excerpt(place.span);
        self.found.extend(messages.map(|message| Finding {
            rule,
            message,
            excerpt: excerpt.clone(),
        }));
    }

    /// In the order of the file, each once.
    pub(super) fn into_sorted(mut self) -> Vec<Finding> {
        let key = |finding: &Finding| (finding.line(), finding.rule);
        self.found
            .sort_by(|a, b| key(a).cmp(&key(b)).then_with(|| a.message.cmp(&b.message)));
        self.found.dedup();
        self.found
    }
}
