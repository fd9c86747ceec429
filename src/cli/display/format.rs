//! The form of a log line: for people, `key=value`, or JSON.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use super::message::{Kind, Level, Message};
use crate::cli::sanitize::Escapes;

/// Whether colour is used. Colour never carries meaning alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Palette {
    /// No escape sequence at all.
    Plain,
    /// SGR sequences.
    Colour,
}

impl Palette {
    /// Marks `text` as an error.
    pub(in crate::cli) fn error(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// Marks `text` as a hint.
    pub(in crate::cli) fn hint(self, text: &str) -> String {
        self.paint("36", text)
    }

    /// Marks `text` as a warning.
    pub(in crate::cli) fn warning(self, text: &str) -> String {
        self.paint("1;33", text)
    }

    fn faint(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn paint(self, sgr: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Colour => format!("\u{1b}[{sgr}m{text}\u{1b}[0m"),
        }
    }
}

/// What a line is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Shape {
    /// For people.
    Human(Palette),
    /// `time="…" level=info msg="…"`.
    Text,
    /// One JSON object.
    Json,
}

/// Makes lines of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format {
    shape: Shape,
    timestamps: bool,
}

#[derive(Serialize)]
struct Record<'a> {
    level: &'a str,
    msg: &'a str,
    time: &'a str,
}

impl Format {
    /// `timestamps` says whether lines for people start with the time; the others always hold it.
    pub(super) fn new(shape: Shape, timestamps: bool) -> Self {
        Self { shape, timestamps }
    }

    /// What lines are made for.
    pub(super) fn shape(self) -> Shape {
        self.shape
    }

    /// Which escape sequences of others may be shown.
    pub(super) fn escapes(self) -> Escapes {
        match self.shape {
            Shape::Human(Palette::Colour) => Escapes::KeepColour,
            Shape::Human(Palette::Plain) | Shape::Text | Shape::Json => Escapes::Drop,
        }
    }

    /// The line for `message`, without its newline.
    pub(super) fn line(self, message: &Message) -> String {
        self.line_at(message, Timestamp::now())
    }

    fn line_at(self, message: &Message, now: Timestamp) -> String {
        // Without fraction, as the kaniko executor's log library writes it.
        let time = format!("{now:.0}");
        match self.shape {
            Shape::Human(palette) => {
                let line = human(message, palette);
                match self.timestamps {
                    true => format!("{} {line}", palette.faint(&time)),
                    false => line,
                }
            }
            Shape::Text => {
                let text = quote(&unformatted(message));
                format!("time=\"{time}\" level={} msg={text}", level_name(message.level))
            }
            Shape::Json => {
                let record = Record {
                    level: level_name(message.level),
                    msg: &unformatted(message),
                    time: &time,
                };
                // A struct of three strings always serialises.
                serde_json::to_string(&record).unwrap_or_default()
            }
        }
    }
}

fn human(message: &Message, palette: Palette) -> String {
    let mut line = String::new();
    if let Some(step) = &message.step {
        line.push_str(&palette.hint(&format!("[{step}]")));
        line.push(' ');
    }
    match (message.level, message.kind) {
        (Level::Error, _) => line.push_str(&format!("{} {}", palette.error("error:"), message.text)),
        (Level::Warning, _) => line.push_str(&format!("{} {}", palette.warning("warning:"), message.text)),
        (Level::Debug, _) => line.push_str(&palette.faint(&message.text)),
        (Level::Info, Kind::Statement | Kind::Output) => line.push_str(&message.text),
    }
    line
}

fn unformatted(message: &Message) -> String {
    match &message.step {
        Some(step) => format!("[{step}] {}", message.text),
        None => message.text.clone(),
    }
}

/// Names of logrus, which log processors of kaniko's users know.
fn level_name(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Info => "info",
        Level::Debug => "debug",
    }
}

/// A double-quoted string in Go's notation.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => {
                // Writing to a `String` cannot fail.
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(level: Level, step: Option<&str>, text: &str) -> Message {
        Message {
            step: step.map(str::to_owned),
            ..Message::bare(level, text.to_owned())
        }
    }

    #[test]
    fn each_shape_has_its_line() {
        let info = message(Level::Info, Some("build 3/7"), "RUN echo \"a\\b\"");
        let warning = message(Level::Warning, None, "two\nlines");
        let debug = message(Level::Debug, None, "x");
        let error = message(Level::Error, None, "x");
        let plain = Shape::Human(Palette::Plain);
        let colour = Shape::Human(Palette::Colour);
        let now = "2026-01-02T03:04:05.678Z".parse().unwrap();
        for (shape, timestamps, message, expected) in [
            (plain, false, &info, "[build 3/7] RUN echo \"a\\b\""),
            (plain, true, &info, "2026-01-02T03:04:05Z [build 3/7] RUN echo \"a\\b\""),
            (plain, false, &warning, "warning: two\nlines"),
            (plain, false, &error, "error: x"),
            (colour, false, &info, "\x1b[36m[build 3/7]\x1b[0m RUN echo \"a\\b\""),
            (colour, false, &warning, "\x1b[1;33mwarning:\x1b[0m two\nlines"),
            (colour, false, &debug, "\x1b[2mx\x1b[0m"),
            (
                Shape::Text,
                false,
                &info,
                r#"time="2026-01-02T03:04:05Z" level=info msg="[build 3/7] RUN echo \"a\\b\"""#,
            ),
            (
                Shape::Text,
                true,
                &warning,
                r#"time="2026-01-02T03:04:05Z" level=warning msg="two\nlines""#,
            ),
            (
                Shape::Json,
                false,
                &info,
                r#"{"level":"info","msg":"[build 3/7] RUN echo \"a\\b\"","time":"2026-01-02T03:04:05Z"}"#,
            ),
            (
                Shape::Json,
                false,
                &debug,
                r#"{"level":"debug","msg":"x","time":"2026-01-02T03:04:05Z"}"#,
            ),
        ] {
            assert_eq!(Format::new(shape, timestamps).line_at(message, now), expected);
        }
    }
}
