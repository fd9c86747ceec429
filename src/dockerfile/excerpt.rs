//! Where something stands in a file, and the lines to show for it.

use std::fmt;
use std::sync::Arc;

use super::lines::without_bom;
use super::spelling::Spelling;
use crate::redact;

/// Lines of a Dockerfile, counted from 1, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Span {
    /// First line.
    pub first: u32,
    /// Last line, heredoc bodies included.
    pub last: u32,
}

/// A value, the lines it came from and how they are written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spanned<T> {
    /// What was parsed.
    pub value: T,
    /// Where it stands.
    pub span: Span,
    /// How it is written.
    pub spelling: Spelling,
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
///       6 | COPY . .
///   >>> 7 | RUN mak all
///       8 |
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Excerpt {
    name: Arc<str>,
    span: Span,
    lines: Vec<String>,
    /// The line before the span, if there is one.
    before: Option<String>,
    /// The line behind the span, if there is one.
    after: Option<String>,
}

/// Stands before the lines that are meant.
const MARK: &str = ">>>";

/// An instruction is shown whole; a heredoc may be thousands of lines long, with the mistake nearly always at its head.
const SHOWN_LINES: usize = 30;
const SHOWN_CHARACTERS: usize = 400;

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
        let text = String::from_utf8_lossy(without_bom(text));
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
        let neighbour = |index: Option<usize>| index.and_then(|index| self.lines.get(index)).cloned();
        Excerpt {
            name: Arc::clone(&self.name),
            span,
            lines: shown.cloned().collect(),
            before: neighbour(first.checked_sub(1)),
            after: neighbour(Some(last)),
        }
    }

    /// All lines of the file, for what is wrong with it as a whole.
    #[must_use]
    pub fn whole(&self) -> Excerpt {
        let last = u32::try_from(self.lines.len()).unwrap_or(u32::MAX).max(1);
        self.excerpt(Span { first: 1, last })
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
        let total = self.span.last.saturating_sub(self.span.first) as usize + 1;
        let hidden = total.saturating_sub(self.lines.len());
        if self.lines.is_empty() {
            return Ok(());
        }
        let below = self.after.as_ref().map(|text| (self.span.last.saturating_add(1), text));
        let width = below.map_or(self.span.last, |(number, _)| number).to_string().len();
        let mut line = |mark: &str, number: &dyn fmt::Display, text: &dyn fmt::Display| {
            let whole = format!("  {mark:3} {number:>width$} | {text}");
            write!(f, "\n{}", whole.trim_end())
        };
        if let Some(before) = &self.before {
            line("", &self.span.first.saturating_sub(1), &shown(before))?;
        }
        for (number, text) in (self.span.first..).zip(&self.lines) {
            line(MARK, &number, &shown(text))?;
        }
        match hidden {
            0 => {}
            1 => line(MARK, &"", &"(1 more line)")?,
            more => line(MARK, &"", &format_args!("({more} more lines)"))?,
        }
        if let Some((number, text)) = below {
            line("", &number, &shown(text))?;
        }
        Ok(())
    }
}

/// A line as it is shown.
fn shown(line: &str) -> String {
    Printable(cut(&redact::userinfo(line))).to_string()
}

/// The part of a line that is shown: a line may have 64 KiB.
pub(super) fn cut(line: &str) -> &str {
    match line.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => &line[..end],
        None => line,
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
    fn shows_the_lines_of_the_span_marked_between_their_neighbours() {
        let source = SourceText::new("Dockerfile", b"FROM a\nRUN x \\\n  y\n\nCMD z\n");
        let shown = |first, last| source.excerpt(Span { first, last }).to_string();
        assert_eq!(
            shown(2, 3),
            "  Dockerfile:2\n      1 | FROM a\n  >>> 2 | RUN x \\\n  >>> 3 |   y\n      4 |"
        );
        assert_eq!(shown(1, 1), "  Dockerfile:1\n  >>> 1 | FROM a\n      2 | RUN x \\");
        assert_eq!(shown(5, 5), "  Dockerfile:5\n      4 |\n  >>> 5 | CMD z");
    }

    #[test]
    fn instructions_are_shown_whole_and_long_heredocs_cut() {
        let text: String = (1..=200).map(|n| format!("l{n}\n")).collect();
        let source = SourceText::new("f", text.as_bytes());
        let shown = source.excerpt(Span { first: 8, last: 37 }).to_string();
        assert!(shown.ends_with("  >>> 37 | l37\n      38 | l38"), "{shown}");
        let shown = source.excerpt(Span { first: 8, last: 99 }).to_string();
        assert!(shown.contains("\n        7 | l7\n  >>>   8 | l8\n"), "{shown}");
        assert!(
            shown.ends_with("  >>>  37 | l37\n  >>>     | (62 more lines)\n      100 | l100"),
            "{shown}"
        );
    }

    #[test]
    fn the_whole_of_a_file() {
        let whole = |text: &[u8]| SourceText::new("f", text).whole().to_string();
        assert_eq!(whole(b"# a\n\n"), "  f:1\n  >>> 1 | # a\n  >>> 2 |");
        assert_eq!(whole(b""), "  f:1");
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
