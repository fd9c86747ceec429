//! Heredoc markers and bodies.

/// A file written within the Dockerfile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heredoc {
    /// The delimiter without its quotes; for COPY and ADD the file's name.
    pub name: String,
    /// The number before `<<`.
    pub descriptor: Option<u32>,
    /// Whether the delimiter was quoted.
    pub quoting: Quoting,
    /// `<<` or `<<-`.
    pub indent: Indent,
    /// The lines between marker and terminator as they stand, each with its line end.
    pub body: String,
}

/// What the quotes around a delimiter decide.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quoting {
    /// No part is quoted: COPY and ADD expand the body.
    Expand,
    /// Some part is quoted: the body is literal.
    Raw,
}

/// What the dash behind `<<` decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Indent {
    /// `<<`
    Keep,
    /// `<<-`: leading tabs are removed from every line.
    StripTabs,
}

impl Heredoc {
    /// The body with `<<-` applied.
    #[must_use]
    pub fn content(&self) -> String {
        match self.indent {
            Indent::Keep => self.body.clone(),
            Indent::StripTabs => self
                .body
                .split_inclusive('\n')
                .map(|line| line.trim_start_matches('\t'))
                .collect(),
        }
    }

    /// Whether `line` ends this heredoc. Trailing CR is a line end; trailing blanks are not.
    pub(super) fn is_terminator(&self, line: &str) -> bool {
        let line = line.trim_end_matches(['\r', '\n']);
        match self.indent {
            Indent::Keep => line == self.name,
            Indent::StripTabs => line.trim_start_matches('\t') == self.name,
        }
    }
}
