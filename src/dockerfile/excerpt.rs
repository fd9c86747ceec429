//! Where something stands in a file, and the lines to show for it.

use std::fmt;
use std::sync::Arc;

/// Lines of a Dockerfile, counted from 1, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Span {
    /// First line.
    pub first: u32,
    /// Last line, heredoc bodies included.
    pub last: u32,
}

/// A value and the lines it came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spanned<T> {
    /// What was parsed.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

/// A file's name and lines, kept for excerpts. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceText {
    name: Arc<str>,
    lines: Arc<[String]>,
}

/// A span with the lines themselves, for people to read.
///
/// Shown as
///
/// ```text
///   Dockerfile:7
///     7 | RUN mak all
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Excerpt {
    name: Arc<str>,
    span: Span,
    lines: Vec<String>,
}

/// A heredoc may be thousands of lines long; the mistake is nearly always at its head.
const SHOWN_LINES: usize = 8;

impl Span {
    /// A single line.
    #[must_use]
    pub const fn line(line: u32) -> Self {
        Self {
            first: line,
            last: line,
        }
    }
}

impl SourceText {
    /// Splits `text` into lines. Bytes that are not UTF-8 are replaced: this copy is only for display.
    #[must_use]
    pub fn new(name: &str, text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text));
        let lines = text.lines().map(str::to_owned).collect();
        Self {
            name: name.into(),
            lines,
        }
    }

    /// The file's name as given by the user.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The lines of `span`, with their place.
    #[must_use]
    pub fn excerpt(&self, span: Span) -> Excerpt {
        let first = (span.first as usize).saturating_sub(1).min(self.lines.len());
        let last = (span.last as usize).clamp(first, self.lines.len());
        let shown = self.lines[first..last].iter().take(SHOWN_LINES);
        Excerpt {
            name: Arc::clone(&self.name),
            span,
            lines: shown.cloned().collect(),
        }
    }
}

impl Excerpt {
    /// The file's name as given by the user.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The lines meant; [`Self::lines`] may hold fewer.
    #[must_use]
    pub const fn span(&self) -> Span {
        self.span
    }

    /// The first lines of the span, as they stand in the file.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}

impl Excerpt {
    /// As it is displayed, with the stage behind the place.
    #[must_use]
    pub fn in_stage(&self, stage: Option<&str>) -> String {
        struct Shown<'a>(&'a Excerpt, Option<&'a str>);
        impl fmt::Display for Shown<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.write(f, self.1)
            }
        }
        Shown(self, stage).to_string()
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, stage: Option<&str>) -> fmt::Result {
        write!(f, "  {}:{}", Printable(&self.name), self.span.first)?;
        if let Some(stage) = stage {
            write!(f, " (stage \"{}\")", Printable(stage))?;
        }
        let width = self.span.last.to_string().len();
        for (number, line) in (self.span.first..).zip(&self.lines) {
            write!(f, "\n    {number:width$} | {}", Printable(line))?;
        }
        let total = self.span.last.saturating_sub(self.span.first) as usize + 1;
        let hidden = total.saturating_sub(self.lines.len());
        match hidden {
            0 => Ok(()),
            _ if self.lines.is_empty() => Ok(()),
            1 => write!(f, "\n    {:width$} | (1 more line)", ""),
            more => write!(f, "\n    {:width$} | ({more} more lines)", ""),
        }
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, None)
    }
}

/// Text from outside on its way to a terminal: control characters are shown, not obeyed.
pub(crate) struct Printable<'a>(pub(crate) &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '\t' | '\n' => write!(f, "{c}")?,
                c if c.is_control() => write!(f, "{}", c.escape_default())?,
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_lines_of_the_span() {
        let source = SourceText::new("Dockerfile", b"FROM a\nRUN x \\\n  y\nCMD z\n");
        assert_eq!(
            source.excerpt(Span { first: 2, last: 3 }).to_string(),
            "  Dockerfile:2\n    2 | RUN x \\\n    3 |   y"
        );
    }

    #[test]
    fn long_spans_are_cut_and_numbers_aligned() {
        let text: String = (1..=20).map(|n| format!("l{n}\n")).collect();
        let shown = SourceText::new("f", text.as_bytes())
            .excerpt(Span { first: 8, last: 20 })
            .to_string();
        assert!(shown.contains("\n     8 | l8\n     9 | l9\n    10 | l10\n"), "{shown}");
        assert!(shown.ends_with("(5 more lines)"), "{shown}");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let shown = SourceText::new("f", b"RUN \x1b[2Jx").excerpt(Span::line(1)).to_string();
        assert!(shown.contains("\\u{1b}[2Jx"), "{shown}");
    }

    #[test]
    fn a_span_beyond_the_file_is_no_panic() {
        let source = SourceText::new("f", b"a");
        assert_eq!(source.excerpt(Span { first: 7, last: 9 }).lines().len(), 0);
        assert_eq!(source.excerpt(Span { first: 7, last: 9 }).to_string(), "  f:7");
    }
}
