//! Physical lines to logical ones: directives, comments, continuations, heredoc bodies.
//!
//! Every byte is looked at a constant number of times, so the work is linear in the file's size.

use super::directives;
use super::error::ParseProblem;
use super::excerpt::Span;
use super::heredoc::{Heredoc, Marker};
use super::instruction::{Directives, Escape};
use super::visits;

/// BuildKit reads lines into a buffer of 64 KiB, one byte of which is lost.
const MAX_LINE: usize = 65535;

/// An instruction's text: continuations joined, comments and blank lines removed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LogicalLine {
    /// The text, without its leading blanks.
    pub(super) text: String,
    /// The lines it came from.
    pub(super) span: Span,
    /// The comments before it.
    pub(super) comments: Vec<String>,
    /// The line on which its continuation ends, if that has blank lines within.
    pub(super) empty_continuation: Option<u32>,
}

/// A problem and where it stands.
pub(super) type LineError = (ParseProblem, Span);

/// Reads a file line by line. The caller asks for heredoc bodies after each instruction, since only
/// some instructions have them.
pub(super) struct Lines<'a> {
    rest: &'a [u8],
    /// Number of the last line read.
    number: u32,
    escape: Escape,
    /// Comments up to this line are parser directives.
    last_directive: u32,
    /// Comments since the last instruction.
    comments: Vec<String>,
}

impl<'a> Lines<'a> {
    /// Starts at the first line behind the parser directives.
    pub(super) fn new(text: &'a [u8]) -> Result<(Directives, Self), LineError> {
        let (directives, last_directive) = directives::read(text)?;
        let lines = Self {
            rest: without_bom(text),
            number: 0,
            escape: directives.escape,
            last_directive,
            comments: Vec::new(),
        };
        Ok((directives, lines))
    }

    /// The next instruction; `None` at the end of the file.
    pub(super) fn next_instruction(&mut self) -> Result<Option<LogicalLine>, LineError> {
        while let Some(line) = self.next_physical()? {
            let line = line.trim_ascii_start();
            if let Some(comment) = line.strip_prefix(b"#") {
                self.note_comment(comment);
                continue;
            }
            if line.is_empty() {
                continue;
            }
            let first = self.number;
            // All Unicode white space is removed here, as opposed to the bytes above.
            let line = self.utf8(line)?.trim_start();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (start, mut continues) = self.cut_continuation(line);
            let mut text = start.to_owned();
            let mut blank_lines = BlankLines::None;
            while continues {
                let Some(line) = self.next_physical()? else {
                    break;
                };
                if line.trim_ascii_start().starts_with(b"#") {
                    continue;
                }
                let line = self.utf8(line)?;
                match line.trim_start().chars().next() {
                    Some('#') => continue,
                    None => {
                        blank_lines = BlankLines::Some;
                        continue;
                    }
                    Some(_) => {}
                }
                let (part, more) = self.cut_continuation(line);
                text.push_str(part);
                continues = more;
            }
            if text.trim().is_empty() {
                continue;
            }
            let span = Span {
                first,
                last: self.number,
            };
            return Ok(Some(LogicalLine {
                text,
                span,
                comments: std::mem::take(&mut self.comments),
                empty_continuation: (blank_lines == BlankLines::Some).then_some(self.number),
            }));
        }
        Ok(None)
    }

    /// Keeps a comment for the next instruction; an empty one parts those before from it.
    fn note_comment(&mut self, comment: &[u8]) {
        if self.number <= self.last_directive {
            return;
        }
        match comment.trim_ascii() {
            [] => self.comments.clear(),
            comment => self.comments.push(String::from_utf8_lossy(comment).into_owned()),
        }
    }

    /// The bodies of `markers` in order; extends `span` over them.
    pub(super) fn heredocs(&mut self, markers: &[Marker], span: &mut Span) -> Result<Vec<Heredoc>, LineError> {
        let mut heredocs = Vec::new();
        for marker in markers {
            heredocs.push(self.heredoc(marker, *span)?);
            span.last = self.number;
        }
        Ok(heredocs)
    }

    fn heredoc(&mut self, marker: &Marker, opened: Span) -> Result<Heredoc, LineError> {
        let mut body = String::new();
        loop {
            let Some(line) = self.take_line()? else {
                let delimiter = marker.name.clone();
                return Err((ParseProblem::UnterminatedHeredoc { delimiter }, opened));
            };
            let line = self.utf8(line)?;
            if marker.is_terminator(line) {
                return Ok(marker.with_body(body));
            }
            body.push_str(line);
        }
    }

    /// The next line without its line end.
    fn next_physical(&mut self) -> Result<Option<&'a [u8]>, LineError> {
        Ok(self.take_line()?.map(|mut line| {
            while let [start @ .., b'\n' | b'\r'] = line {
                line = start;
            }
            line
        }))
    }

    /// The next line with its line end.
    fn take_line(&mut self) -> Result<Option<&'a [u8]>, LineError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.number = self.number.saturating_add(1);
        let end = self.rest.iter().position(|b| *b == b'\n');
        let (line, rest) = self.rest.split_at(end.map_or(self.rest.len(), |at| at + 1));
        if line.len() > MAX_LINE {
            return Err((ParseProblem::LineTooLong { limit: MAX_LINE }, Span::line(self.number)));
        }
        self.rest = rest;
        visits::count(line.len());
        Ok(Some(line))
    }

    fn utf8(&self, line: &'a [u8]) -> Result<&'a str, LineError> {
        std::str::from_utf8(line).map_err(|_| (ParseProblem::NotUtf8, Span::line(self.number)))
    }

    /// The line without its continuation token, and whether it had one. Two tokens in a row are no
    /// continuation, and neither are three: BuildKit looks at one character before the token only.
    fn cut_continuation<'l>(&self, line: &'l str) -> (&'l str, bool) {
        visits::count(line.len());
        let token = self.escape.token();
        let trimmed = line.trim_end_matches([' ', '\t']);
        match trimmed.strip_suffix(token) {
            Some(start) if !start.ends_with(token) => (start, true),
            Some(_) | None => (line, false),
        }
    }
}

/// The text behind the mark that some editors write at the start of a file.
pub(super) fn without_bom(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// Whether a continuation has blank lines within.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BlankLines {
    None,
    Some,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<(String, u32, u32)> {
        let (_, mut lines) = Lines::new(text.as_bytes()).unwrap();
        let mut all = Vec::new();
        while let Some(line) = lines.next_instruction().unwrap() {
            all.push((line.text, line.span.first, line.span.last));
        }
        all
    }

    /// What it shows, the file, and text, first and last line of each instruction.
    type Row = (&'static str, &'static str, &'static [(&'static str, u32, u32)]);

    #[test]
    fn joins_physical_lines() {
        let table: &[Row] = &[
            ("BOM at the start", "\u{feff}FROM a\n", &[("FROM a", 1, 1)]),
            (
                "BOM elsewhere is data",
                "FROM a\n\u{feff}RUN",
                &[("FROM a", 1, 1), ("\u{feff}RUN", 2, 2)],
            ),
            ("CRLF", "RUN a \\\r\nb\r\n", &[("RUN a b", 1, 2)]),
            ("several CRs", "RUN a\r\r\n", &[("RUN a", 1, 1)]),
            ("leading blanks", " \t RUN a\n", &[("RUN a", 1, 1)]),
            ("leading Unicode blanks", "\u{2003}RUN a\n", &[("RUN a", 1, 1)]),
            ("comment within text", "RUN a # b\n", &[("RUN a # b", 1, 1)]),
            (
                "comment in a continuation",
                "RUN a \\\n  # c\\\n b\n",
                &[("RUN a  b", 1, 3)],
            ),
            ("comments never continue", "# a \\\nRUN b\n", &[("RUN b", 2, 2)]),
            (
                "blanks of a continuation stay",
                "RUN a \\\n  b\n",
                &[("RUN a   b", 1, 2)],
            ),
            (
                "nothing in between",
                "RUN echo hello\\\nworld\n",
                &[("RUN echo helloworld", 1, 2)],
            ),
            ("blanks behind the token", "RUN a \\ \t\nb\n", &[("RUN a b", 1, 2)]),
            (
                "two tokens",
                "RUN a \\\\\nRUN b\n",
                &[("RUN a \\\\", 1, 1), ("RUN b", 2, 2)],
            ),
            (
                "three tokens",
                "RUN a \\\\\\\nRUN b\n",
                &[("RUN a \\\\\\", 1, 1), ("RUN b", 2, 2)],
            ),
            ("only the token", "RUN a \\\n\\\n  \\ \nb\n", &[("RUN a   b", 1, 4)]),
            ("empty line", "RUN a \\\n\n \t\nb\n", &[("RUN a b", 1, 4)]),
            ("token at the end", "RUN a \\", &[("RUN a ", 1, 1)]),
            ("token at the end, blank lines", "RUN a \\\n\n\n", &[("RUN a ", 1, 3)]),
            (
                "blank lines between",
                "\n\nRUN a\n\n \nRUN b",
                &[("RUN a", 3, 3), ("RUN b", 6, 6)],
            ),
            ("token alone", "\\\nRUN a\n", &[("RUN a", 1, 2)]),
            (
                "backtick",
                "# escape=`\nRUN a\\ `\nb\\\nRUN c",
                &[("RUN a\\ b\\", 2, 3), ("RUN c", 4, 4)],
            ),
        ];
        for (what, text, expected) in table {
            let expected: Vec<_> = expected.iter().map(|(t, a, b)| ((*t).to_owned(), *a, *b)).collect();
            assert_eq!(lines(text), expected, "{what}");
        }
    }

    #[test]
    fn the_longest_line() {
        let line = |len: usize| format!("FROM a\nRUN {}\n", "x".repeat(len - 5));
        assert_eq!(lines(&line(MAX_LINE)).len(), 2);
        let text = line(MAX_LINE + 1);
        let (_, mut lines) = Lines::new(text.as_bytes()).unwrap();
        lines.next_instruction().unwrap();
        let (problem, span) = lines.next_instruction().unwrap_err();
        assert_eq!(
            problem.to_string(),
            "dockerfile line greater than max allowed size of 65535"
        );
        assert_eq!(span, Span::line(2));
    }

    #[test]
    fn bytes_that_are_no_text() {
        let (_, mut lines) = Lines::new(b"# caf\xe9\nRUN a \\\n# \xe9\nb\n").unwrap();
        assert_eq!(lines.next_instruction().unwrap().unwrap().text, "RUN a b");
        let (_, mut lines) = Lines::new(b"RUN caf\xe9").unwrap();
        assert_eq!(lines.next_instruction().unwrap_err().0, ParseProblem::NotUtf8);
    }
}
