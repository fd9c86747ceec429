//! How an error looks.
//!
//! ```text
//! error: RUN exited with code 127
//!   Dockerfile:7 (stage "build")
//!     7 | RUN mak all
//!   = /bin/sh: mak: not found
//! hint: the base image has no `mak`; install it in an earlier RUN
//! ```

use std::error::Error;

use super::display::Palette;
use super::sanitize;
use crate::diagnostic::Diagnostic;

/// The whole report, without a newline at its end.
pub(super) fn render(diagnostic: &(impl Diagnostic + ?Sized), palette: Palette) -> String {
    let headline = sanitize::text(&diagnostic.to_string());
    let mut report = format!("{} {headline}", palette.error("error:"));
    report.push_str(&details(diagnostic, palette));
    report
}

/// What comes below the headline, each line led by a newline.
pub(super) fn details(diagnostic: &(impl Diagnostic + ?Sized), palette: Palette) -> String {
    let mut details = String::new();
    if let Some(excerpt) = diagnostic.excerpt() {
        details.push('\n');
        details.push_str(&sanitize::text(&excerpt.to_string()));
    }
    for cause in causes(diagnostic) {
        // Further lines of a cause stand under its first.
        let cause = sanitize::text(&cause).trim_end().replace('\n', "\n    ");
        details.push_str(&format!("\n  = {cause}"));
    }
    for hint in diagnostic.hints() {
        details.push_str(&format!("\n{} {}", palette.hint("hint:"), sanitize::text(&hint)));
    }
    details
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
    use crate::diagnostic::{Excerpt, Exit};

    #[derive(Debug, thiserror::Error)]
    #[error("RUN exited with code 127")]
    struct Failed {
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
        excerpt: Option<Excerpt>,
        hints: Vec<String>,
    }

    impl Diagnostic for Failed {
        fn excerpt(&self) -> Option<Excerpt> {
            self.excerpt.clone()
        }

        fn hints(&self) -> Vec<String> {
            self.hints.clone()
        }

        fn exit(&self) -> Exit {
            Exit::Command(127)
        }
    }

    #[derive(Debug, thiserror::Error)]
    #[error(transparent)]
    struct Wrapper(Middle);

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read /x")]
    struct Middle(#[source] std::io::Error);

    fn bare() -> Failed {
        Failed {
            source: None,
            excerpt: None,
            hints: Vec::new(),
        }
    }

    fn excerpt() -> Excerpt {
        Excerpt {
            file: "Dockerfile".to_owned(),
            line: 7,
            stage: Some("build".to_owned()),
            text: "RUN mak all".to_owned(),
            mark: None,
        }
    }

    #[test]
    fn shows_what_where_why_and_what_to_try() {
        let error = Failed {
            source: Some("/bin/sh: mak: not found".into()),
            excerpt: Some(excerpt()),
            hints: vec!["the base image has no `mak`; install it in an earlier RUN".to_owned()],
        };
        let expected = "\
error: RUN exited with code 127
  Dockerfile:7 (stage \"build\")
    7 | RUN mak all
  = /bin/sh: mak: not found
hint: the base image has no `mak`; install it in an earlier RUN";
        assert_eq!(render(&error, Palette::Plain), expected);
        let coloured = render(&error, Palette::Colour);
        assert!(coloured.starts_with("\x1b[1;31merror:\x1b[0m RUN"), "{coloured}");
        assert!(coloured.contains("\n\x1b[36mhint:\x1b[0m the base"), "{coloured}");
    }

    #[test]
    fn walks_all_sources_once() {
        let io = std::io::Error::other("disk gone\nbadly");
        let error = Failed {
            source: Some(Box::new(Wrapper(Middle(io)))),
            ..bare()
        };
        let expected = "error: RUN exited with code 127\n  = cannot read /x\n  = disk gone\n    badly";
        assert_eq!(render(&error, Palette::Plain), expected);
    }

    #[test]
    fn prints_no_escape_sequence_of_others() {
        let error = Failed {
            source: Some("\x1b]0;owned\x07denied\x1b[2J".into()),
            excerpt: Some(Excerpt {
                text: "RUN echo \x1b[31m".to_owned(),
                ..excerpt()
            }),
            hints: vec!["\x1b[8mtry".to_owned()],
        };
        let report = render(&error, Palette::Plain);
        assert!(!report.contains('\x1b'), "{report:?}");
        assert!(report.contains("= denied\nhint: try"), "{report:?}");
    }
}
