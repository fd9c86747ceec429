//! Logical lines to typed instructions: one function for each instruction.

use super::error::ParseError;
use super::excerpt::SourceText;
use super::instruction::{Directives, Dockerfile, Statement};

/// Parses a Dockerfile; `name` is what errors call it.
///
/// # Errors
/// The first mistake, with its lines.
pub fn parse(name: &str, text: &[u8]) -> Result<Dockerfile, ParseError> {
    Ok(Dockerfile {
        source: SourceText::new(name, text),
        directives: Directives::default(),
        global_args: Vec::new(),
        stages: Vec::new(),
    })
}

/// Parses the text of an ONBUILD trigger, with the default escape token as BuildKit does.
///
/// # Errors
/// The mistake; its lines are those of `text`, not of any Dockerfile.
pub fn parse_trigger(text: &str) -> Result<Statement, ParseError> {
    let _ = text;
    Err(ParseError {
        problem: super::error::ParseProblem::Empty,
        excerpt: None,
        hint: None,
    })
}
