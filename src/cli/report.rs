//! How an error looks: the diagnostic's lines, coloured, and without anybody else's escape sequences.

use super::display::Palette;
use super::sanitize;
use crate::diagnostic::{self, Diagnostic};

/// The whole report, without a newline at its end.
pub(super) fn render(diagnostic: &(impl Diagnostic + ?Sized), palette: Palette) -> String {
    labelled(&palette.error("error:"), diagnostic, palette)
}

/// The same, led by what was being done.
pub(super) fn render_of_task(task: &str, diagnostic: &(impl Diagnostic + ?Sized), palette: Palette) -> String {
    labelled(&palette.error(&format!("error {task}:")), diagnostic, palette)
}

/// The same for what is no error.
pub(super) fn render_warning(diagnostic: &(impl Diagnostic + ?Sized), palette: Palette) -> String {
    labelled(&palette.warning("warning:"), diagnostic, palette)
}

fn labelled(label: &str, diagnostic: &(impl Diagnostic + ?Sized), palette: Palette) -> String {
    let headline = sanitize::text(&diagnostic.to_string());
    format!("{label} {headline}{}", details(diagnostic, palette))
}

/// The report without what to try, for a log that says more than this.
pub(super) fn without_hints(diagnostic: &(impl Diagnostic + ?Sized)) -> String {
    let lines = std::iter::once(diagnostic.to_string()).chain(diagnostic::body(diagnostic));
    let lines: Vec<String> = lines.map(|line| sanitize::text(&line)).collect();
    lines.join("\n")
}

/// What comes below the headline, each line led by a newline.
pub(super) fn details(diagnostic: &(impl Diagnostic + ?Sized), palette: Palette) -> String {
    let body = diagnostic::body(diagnostic);
    let body = body.iter().map(|line| format!("\n{}", sanitize::text(line)));
    let hints = diagnostic.hints();
    let hints = hints
        .iter()
        .map(|hint| format!("\n{} {}", palette.hint("hint:"), sanitize::text(hint)));
    body.chain(hints).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("pull \x1b]0;owned\x07denied\x1b[2J")]
    struct Hostile(#[source] std::io::Error);

    impl Diagnostic for Hostile {
        fn hints(&self) -> Vec<String> {
            vec!["\x1b[8mtry".to_owned()]
        }
    }

    fn hostile() -> Hostile {
        Hostile(std::io::Error::other("\x1b[31mred"))
    }

    #[test]
    fn prints_no_escape_sequence_of_others() {
        assert_eq!(
            render(&hostile(), Palette::Plain),
            "error: pull denied\n  = red\nhint: try"
        );
    }

    #[test]
    fn colours_its_own_words() {
        let report = render(&hostile(), Palette::Colour);
        assert!(report.starts_with("\x1b[1;31merror:\x1b[0m pull denied"), "{report:?}");
        assert!(report.ends_with("\n\x1b[36mhint:\x1b[0m try"), "{report:?}");
    }
}
