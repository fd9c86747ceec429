//! Draws a build: turns events into lines, and on a terminal into live ones.
//!
//! Everything goes to standard error; standard output carries data only.
//!
//! ```text
//! Event ─message─▶ Message (level, step, text) ─format─▶ a line of text
//!                    plain:    line after line
//!                    terminal: lines scroll above the live ones
//! ```

mod fetches;
mod format;
mod message;
mod plain;
mod terminal;
mod transfers;
mod units;

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;

use self::format::Format;
pub(super) use self::format::{Palette, Shape};
pub(super) use self::message::Threshold;
use self::message::{Level, Message};
use self::plain::Plain;
use self::terminal::Terminal;
use super::args::{LogFormat, Logging, PROGRAM, ProgressStyle, USAGE};
use super::environment::{Environment, NO_COLOR, TERM};
use super::report;
use super::value::Switch;
use crate::diagnostic::Diagnostic;
use crate::progress::Progress;

/// How to draw. Decided once, from flags, environment and what standard error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    threshold: Threshold,
    format: Format,
    live: Liveness,
}

/// Whether lines may be redrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Liveness {
    Live,
    Still,
}

/// What a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sink {
    /// Somebody looks at it.
    Terminal,
    /// A file or a pipe.
    File,
}

impl Sink {
    /// Asks the kernel.
    pub(super) fn of_stderr() -> Self {
        Self::of(io::stderr().is_terminal())
    }

    /// The same for standard output.
    pub(super) fn of_stdout() -> Self {
        Self::of(io::stdout().is_terminal())
    }

    fn of(is_terminal: bool) -> Self {
        match is_terminal {
            true => Self::Terminal,
            false => Self::File,
        }
    }
}

impl Settings {
    /// Live lines need a terminal that takes escape sequences, whatever was asked for: a log file full of them helps
    /// nobody. So does colour, unless the format was asked for by its name.
    pub(super) fn new(logging: &Logging, environment: &Environment, sink: Sink) -> Self {
        let on = |flag: Option<Switch>| flag.is_some_and(|Switch(on)| on);
        let capable = sink == Sink::Terminal && environment.get(TERM).is_none_or(|term| term != "dumb");
        let colourless = match logging.no_color {
            Some(Switch(off)) => off,
            None => environment.filled(NO_COLOR).is_some(),
        };
        // Some logs are shown with their colours; who says so by name means it.
        let asked = logging.log_format == Some(LogFormat::Color);
        let palette = match (capable || asked) && !colourless {
            true => Palette::Colour,
            false => Palette::Plain,
        };
        let shape = match logging.log_format.unwrap_or_default() {
            LogFormat::Color => Shape::Human(palette),
            LogFormat::Text => Shape::Text,
            LogFormat::Json => Shape::Json,
        };
        let live = match (logging.progress.unwrap_or_default(), shape) {
            (ProgressStyle::Auto | ProgressStyle::Tty, Shape::Human(_)) if capable && !on(logging.quiet) => {
                Liveness::Live
            }
            _ => Liveness::Still,
        };
        let verbosity = logging.verbosity.unwrap_or_default();
        Self {
            threshold: match on(logging.quiet) {
                true => Threshold::quiet(verbosity),
                false => Threshold::of(verbosity),
            },
            format: Format::new(shape, on(logging.log_timestamp)),
            live,
        }
    }
}

impl Settings {
    /// Whether text for people is coloured.
    pub(super) fn palette(self) -> Palette {
        match self.format.shape() {
            Shape::Human(palette) => palette,
            Shape::Text | Shape::Json => Palette::Plain,
        }
    }
}

/// Draws until it is finished.
#[derive(Debug)]
pub(super) struct Display(Drawing);

#[derive(Debug)]
enum Drawing {
    Plain(Arc<Plain<io::Stderr>>),
    Terminal(Arc<Terminal>),
}

impl Display {
    /// Begins to draw.
    pub(super) fn start(settings: Settings) -> Self {
        Self(match settings.live {
            Liveness::Live => Drawing::Terminal(Terminal::start(settings.threshold, settings.format)),
            Liveness::Still => Drawing::Plain(Arc::new(Plain::new(io::stderr(), settings.threshold, settings.format))),
        })
    }

    /// Where events go.
    pub(super) fn progress(&self) -> Arc<dyn Progress> {
        match &self.0 {
            Drawing::Plain(plain) => plain.clone(),
            Drawing::Terminal(terminal) => terminal.clone(),
        }
    }

    /// Ends the live lines, so that what is printed next stays.
    pub(super) fn finish(&self) {
        if let Drawing::Terminal(terminal) = &self.0 {
            terminal.finish();
        }
    }
}

/// Prints an error. No live line may be left.
pub(super) fn print_error(settings: Settings, diagnostic: &(impl Diagnostic + ?Sized)) {
    let rendered = match settings.format.shape() {
        Shape::Human(palette) => report::render(diagnostic, palette),
        Shape::Text | Shape::Json => record(settings, "", diagnostic),
    };
    print_report(&rendered);
}

/// Prints why a build failed, led by what was being done.
pub(super) fn print_failure(settings: Settings, error: &(impl Diagnostic + ?Sized)) {
    let Some(task) = error.task() else {
        return print_error(settings, error);
    };
    let rendered = match settings.format.shape() {
        Shape::Human(palette) => report::render_of_task(task, error, palette),
        Shape::Text | Shape::Json => record(settings, &format!("error {task}: "), error),
    };
    print_report(&rendered);
}

fn record(settings: Settings, label: &str, diagnostic: &(impl Diagnostic + ?Sized)) -> String {
    let text = format!("{label}{diagnostic}{}", report::details(diagnostic, Palette::Plain));
    settings.format.line(&Message::bare(Level::Error, text))
}

fn print_report(rendered: &str) {
    // There is nobody left to tell that standard error is gone.
    let _ = writeln!(io::stderr().lock(), "{rendered}");
}

/// Prints how a line is written, unless a command has its own help for that, and the pointer to the help; for errors in
/// the command line.
pub(super) fn print_help_pointer(settings: Settings, command: &str) {
    if let Shape::Human(_) = settings.format.shape() {
        let usage = match command == PROGRAM {
            true => format!("Usage: {USAGE}\n"),
            false => String::new(),
        };
        let _ = writeln!(
            io::stderr().lock(),
            "{usage}For more information, try '{command} --help'."
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args;

    fn settings(line: &[&str], environment: &Environment, sink: Sink) -> Settings {
        let line = ["rbuild"].iter().chain(line);
        Settings::new(&args::parse(line).unwrap().logging, environment, sink)
    }

    #[test]
    fn colour_and_live_lines_need_a_terminal() {
        let bare = Environment::default();
        let no_color = Environment::default().with(NO_COLOR, "1");
        let empty_no_color = Environment::default().with(NO_COLOR, "");
        let dumb = Environment::default().with(TERM, "dumb");
        let plain = Shape::Human(Palette::Plain);
        let colour = Shape::Human(Palette::Colour);
        for (line, environment, sink, shape, live) in [
            (&[][..], &bare, Sink::File, plain, Liveness::Still),
            (&[], &bare, Sink::Terminal, colour, Liveness::Live),
            (&["--progress=plain"], &bare, Sink::Terminal, colour, Liveness::Still),
            (&["--progress=tty"], &bare, Sink::File, plain, Liveness::Still),
            (&["--log-format=color"], &bare, Sink::File, colour, Liveness::Still),
            (&["--log-format=color"], &no_color, Sink::File, plain, Liveness::Still),
            (
                &["--log-format=json"],
                &bare,
                Sink::Terminal,
                Shape::Json,
                Liveness::Still,
            ),
            (
                &["--log-format=text", "--progress=tty"],
                &bare,
                Sink::Terminal,
                Shape::Text,
                Liveness::Still,
            ),
            (&["--no-color"], &bare, Sink::Terminal, plain, Liveness::Live),
            (&[], &no_color, Sink::Terminal, plain, Liveness::Live),
            (&["--no-color=false"], &no_color, Sink::Terminal, colour, Liveness::Live),
            (&[], &empty_no_color, Sink::Terminal, colour, Liveness::Live),
            (&[], &dumb, Sink::Terminal, plain, Liveness::Still),
            (&["--quiet"], &bare, Sink::Terminal, colour, Liveness::Still),
        ] {
            let settings = settings(line, environment, sink);
            assert_eq!(
                (settings.format.shape(), settings.live),
                (shape, live),
                "{line:?} {sink:?}"
            );
        }
    }
}
