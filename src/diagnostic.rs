//! What an error tells the user beyond its message: where in the Dockerfile, what to try, how to exit.

use std::error::Error;
use std::fmt;
use std::ops::Range;

/// An error that a user reads.
///
/// Its `Display` is the headline and its sources are the causes; neither repeats what the methods
/// here return.
pub trait Diagnostic: Error {
    /// The place in a file that it is about.
    fn excerpt(&self) -> Option<Excerpt> {
        None
    }

    /// What to try, one sentence each, without a prefix.
    fn hints(&self) -> Vec<String> {
        Vec::new()
    }

    /// How the program ends because of it.
    fn exit(&self) -> Exit {
        Exit::Failure
    }
}

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The image is where it should be.
    Success,
    /// Anything that is none of the others.
    Failure,
    /// A RUN exited with this code, and so do we.
    Command(u8),
    /// A RUN was killed by this signal.
    CommandSignal(i32),
    /// We were asked to end by this signal, and die by it after cleaning up.
    Interrupted(i32),
}

impl Exit {
    /// The exit code; for [`Exit::Interrupted`], the one a shell shows for a death by the signal.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            // A failed command never makes a successful build.
            Self::Command(code) => code.max(1),
            Self::CommandSignal(signal) | Self::Interrupted(signal) => {
                u8::try_from(signal).unwrap_or_default().saturating_add(128)
            }
        }
    }
}

/// A piece of a text file, as an error shows it.
///
/// ```text
///   Dockerfile:7 (stage "build")
///     7 | RUN mak all
///       |     ^^^
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The file, as the user named it.
    pub file: String,
    /// Number of the first line of `text`, from 1.
    pub line: usize,
    /// The stage it belongs to.
    pub stage: Option<String>,
    /// The lines, as they are in the file.
    pub text: String,
    /// What to point at: bytes of the first line of `text`.
    pub mark: Option<Range<usize>>,
}

/// Lines shown of an excerpt; an instruction may have thousands.
const MAX_LINES: usize = 10;

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {}:{}", self.file, self.line)?;
        if let Some(stage) = &self.stage {
            write!(f, " (stage \"{stage}\")")?;
        }
        let lines: Vec<&str> = self.text.lines().collect();
        let shown = lines.len().min(MAX_LINES);
        let width = (self.line + shown).saturating_sub(1).to_string().len();
        for (index, line) in lines.iter().take(shown).enumerate() {
            write!(f, "\n    {:>width$} | {line}", self.line + index)?;
            if let (0, Some(mark)) = (index, &self.mark) {
                let (blank, carets) = underline(line, mark);
                write!(f, "\n    {:>width$} | {blank}{carets}", "")?;
            }
        }
        if lines.len() > shown {
            write!(f, "\n    {:>width$} | … ({} more lines)", "", lines.len() - shown)?;
        }
        Ok(())
    }
}

/// What to print below `line` so that carets stand under `mark`: tabs stay tabs, so that they line up.
fn underline(line: &str, mark: &Range<usize>) -> (String, String) {
    let chars_in = |range: Range<usize>| {
        line.char_indices()
            .filter(move |(at, _)| range.contains(at))
            .map(|(_, c)| c)
    };
    let blank = chars_in(0..mark.start)
        .map(|c| if c == '\t' { '\t' } else { ' ' })
        .collect();
    let carets = "^".repeat(chars_in(mark.clone()).count().max(1));
    (blank, carets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        for (exit, code) in [
            (Exit::Success, 0),
            (Exit::Failure, 1),
            (Exit::Command(42), 42),
            (Exit::Command(0), 1),
            (Exit::CommandSignal(9), 137),
            (Exit::Interrupted(2), 130),
            (Exit::Interrupted(15), 143),
            (Exit::CommandSignal(1000), 128),
        ] {
            assert_eq!(exit.code(), code, "{exit:?}");
        }
    }

    #[test]
    fn excerpts_number_and_mark_their_lines() {
        let excerpt = |line, text: &str, mark| Excerpt {
            file: "Dockerfile".to_owned(),
            line,
            stage: None,
            text: text.to_owned(),
            mark,
        };
        for (excerpt, expected) in [
            (excerpt(7, "RUN mak", None), "  Dockerfile:7\n    7 | RUN mak"),
            (
                excerpt(9, "RUN a \\\n  b", None),
                "  Dockerfile:9\n     9 | RUN a \\\n    10 |   b",
            ),
            (
                excerpt(1, "\tFRUM x", Some(1..5)),
                "  Dockerfile:1\n    1 | \tFRUM x\n      | \t^^^^",
            ),
            (
                excerpt(1, "é x", Some(3..4)),
                "  Dockerfile:1\n    1 | é x\n      |   ^",
            ),
            (excerpt(1, "x", Some(9..12)), "  Dockerfile:1\n    1 | x\n      |  ^"),
            (excerpt(3, "", None), "  Dockerfile:3"),
        ] {
            assert_eq!(excerpt.to_string(), expected);
        }
        let staged = Excerpt {
            stage: Some("build".to_owned()),
            ..excerpt(2, &"x\n".repeat(12), None)
        };
        assert!(
            staged
                .to_string()
                .starts_with("  Dockerfile:2 (stage \"build\")\n     2 | x\n")
        );
        assert!(staged.to_string().ends_with("\n    11 | x\n       | … (2 more lines)"));
    }
}
