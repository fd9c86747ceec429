//! What an error tells the user beyond its message: where in the Dockerfile, what to try, how to exit.
//!
//! ```text
//! error: RUN exited with code 127
//!   Dockerfile:7 (stage "build")
//!       6 | COPY . .
//!   >>> 7 | RUN mak all
//!   = /bin/sh: mak: not found
//! hint: the base image has no `mak`; install it in an earlier RUN
//! ```

use std::error::Error;

use crate::dockerfile::{Excerpt, Printable};

/// An error that a user reads.
///
/// Its `Display` is the headline and its sources are the causes; neither repeats what the methods
/// here return.
pub trait Diagnostic: Error {
    /// The instruction that it is about.
    fn excerpt(&self) -> Option<&Excerpt> {
        None
    }

    /// The stage of that instruction.
    fn stage(&self) -> Option<&str> {
        None
    }

    /// Lines that led to it, the last output of a RUN for instance. Untrusted text.
    fn details(&self) -> &[String] {
        &[]
    }

    /// What to try, one sentence each, without a prefix.
    fn hints(&self) -> Vec<String> {
        Vec::new()
    }

    /// What was being done, in the words of the kaniko executor, which scripts look for in logs.
    fn task(&self) -> Option<&'static str> {
        None
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
    /// The kaniko executor's, whatever the signal was. A shell's would be taken for a death of the builder itself.
    const KANIKO_SIGNAL: u8 = 255;

    /// The exit code; for [`Exit::Interrupted`], the one a shell shows for a death by the signal.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            // A failed command never makes a successful build.
            Self::Command(code) => code.max(1),
            Self::CommandSignal(_) => Self::KANIKO_SIGNAL,
            Self::Interrupted(signal) => u8::try_from(signal).unwrap_or_default().saturating_add(128),
        }
    }
}

/// The report for `diagnostic` without colours: headline, instruction, causes, hints. Ends with a newline.
/// Control characters are shown, not passed on.
#[must_use]
pub fn render(diagnostic: &dyn Diagnostic) -> String {
    let headline = std::iter::once(format!("error: {diagnostic}"));
    let hints = diagnostic.hints().into_iter().map(|hint| format!("hint: {hint}"));
    let lines = headline.chain(body(diagnostic)).chain(hints);
    lines.map(|line| format!("{}\n", Printable(&line))).collect()
}

/// What comes between the headline and the hints, as lines. Holds untrusted text as it is.
#[must_use]
pub fn body(diagnostic: &(impl Diagnostic + ?Sized)) -> Vec<String> {
    let place = diagnostic.excerpt().map(|excerpt| excerpt.in_stage(diagnostic.stage()));
    // Further lines of a cause stand under its first.
    let cause = |text: &str| format!("  = {}", text.trim_end().replace('\n', "\n    "));
    let details = diagnostic.details().iter().map(|line| cause(line));
    let causes = causes(diagnostic);
    place
        .into_iter()
        .chain(details)
        .chain(causes.iter().map(|text| cause(text)))
        .collect()
}

/// The messages of the sources, outermost first. One that merely repeats the message above it (a
/// transparent wrapper) is left out.
fn causes(diagnostic: &(impl Diagnostic + ?Sized)) -> Vec<String> {
    let mut above = diagnostic.to_string();
    let mut causes = Vec::new();
    let mut source = diagnostic.source();
    while let Some(error) = source {
        let text = error.to_string();
        if text != above {
            causes.push(text.clone());
            above = text;
        }
        source = Error::source(error);
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::{SourceText, Span};

    #[derive(Debug, thiserror::Error)]
    #[error("RUN exited with code 127")]
    struct Failed {
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
        excerpt: Option<Excerpt>,
        details: Vec<String>,
    }

    impl Diagnostic for Failed {
        fn excerpt(&self) -> Option<&Excerpt> {
            self.excerpt.as_ref()
        }

        fn stage(&self) -> Option<&str> {
            Some("build")
        }

        fn details(&self) -> &[String] {
            &self.details
        }

        fn hints(&self) -> Vec<String> {
            vec!["try".to_owned()]
        }
    }

    #[derive(Debug, thiserror::Error)]
    #[error(transparent)]
    struct Wrapper(Middle);

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read /x")]
    struct Middle(#[source] std::io::Error);

    #[test]
    fn shows_what_where_why_and_what_to_try() {
        let excerpt = SourceText::new("Dockerfile", b"RUN mak all").excerpt(Span::line(1));
        let details = vec!["/bin/sh: mak: not found".to_owned()];
        let error = Failed {
            source: None,
            excerpt: Some(excerpt),
            details,
        };
        let expected = "error: RUN exited with code 127\n  Dockerfile:1 (stage \"build\")\n  >>> 1 | RUN mak all\n  \
                        = /bin/sh: mak: not found\nhint: try\n";
        assert_eq!(render(&error), expected);
    }

    #[test]
    fn walks_all_sources_once() {
        let io = std::io::Error::other("disk gone\nbadly");
        let error = Failed {
            source: Some(Box::new(Wrapper(Middle(io)))),
            excerpt: None,
            details: Vec::new(),
        };
        assert_eq!(body(&error), ["  = cannot read /x", "  = disk gone\n    badly"]);
    }

    #[test]
    fn exit_codes_are_those_of_a_shell_and_of_the_executor() {
        for (exit, code) in [
            (Exit::Success, 0),
            (Exit::Failure, 1),
            (Exit::Command(42), 42),
            (Exit::Command(0), 1),
            (Exit::CommandSignal(9), 255),
            (Exit::Interrupted(2), 130),
            (Exit::Interrupted(15), 143),
            (Exit::Interrupted(1000), 128),
        ] {
            assert_eq!(exit.code(), code, "{exit:?}");
        }
    }
}
