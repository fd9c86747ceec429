//! The words of the log: what each event says, and how important it is.
//!
//! Scripts search logs for some of the kaniko executor's sentences (`Retrieving image manifest …`,
//! `Pushing image to …`, `Pushed …@sha256:…`); these are kept word for word.

use std::path::Path;

use super::units;
use crate::cli::args::Verbosity;
use crate::cli::report;
use crate::cli::sanitize::{self, Escapes};
use crate::oci::{Digest, Reference};
use crate::progress::{Event, StepRef, Stream};

/// How important a message is, most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// The build ends.
    Error,
    /// The user should know.
    Warning,
    /// What happens.
    Info,
    /// Why and how it happens.
    Debug,
}

/// Which messages are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Threshold {
    lowest: Level,
    output: OutputOfRun,
}

/// What RUN prints is data to whoever wrote the RUN, so `--verbosity` leaves it alone, as the kaniko executor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OutputOfRun {
    Shown,
    Hidden,
}

impl Threshold {
    /// What `--verbosity` lets through.
    pub(super) fn of(verbosity: Verbosity) -> Self {
        let lowest = match verbosity {
            Verbosity::Panic | Verbosity::Fatal | Verbosity::Error => Level::Error,
            Verbosity::Warn => Level::Warning,
            Verbosity::Info => Level::Info,
            Verbosity::Debug | Verbosity::Trace => Level::Debug,
        };
        Self {
            lowest,
            output: OutputOfRun::Shown,
        }
    }

    /// What is left with `--quiet`.
    pub(super) fn quiet(verbosity: Verbosity) -> Self {
        Self {
            lowest: Self::of(verbosity).lowest.min(Level::Warning),
            output: OutputOfRun::Hidden,
        }
    }

    /// Whether `message` is shown.
    pub(super) fn admits(self, message: &Message) -> bool {
        match message.kind {
            Kind::Output => self.output == OutputOfRun::Shown,
            Kind::Statement => message.level <= self.lowest,
        }
    }
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// We.
    Statement,
    /// A RUN.
    Output,
}

/// One line of the log before it has a form. Its texts are fit to print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) level: Level,
    pub(super) kind: Kind,
    /// The step it belongs to, as `build 3/7`.
    pub(super) step: Option<String>,
    pub(super) text: String,
}

impl Message {
    /// A message that belongs to no step; `text` is fit to print.
    pub(super) fn bare(level: Level, text: String) -> Self {
        Self {
            level,
            kind: Kind::Statement,
            step: None,
            text,
        }
    }

    fn of_step(step: StepRef<'_>, text: String) -> Self {
        Self {
            step: Some(step_name(step)),
            ..Self::bare(Level::Info, text)
        }
    }

    /// What `event` says. Transfers are not said here: whether they are worth a line depends on how long
    /// they take.
    pub(super) fn of(event: Event<'_>, escapes: Escapes) -> Option<Self> {
        let clean = |text: &str| sanitize::line(text.as_bytes(), Escapes::Drop);
        let info = |text: String| Some(Self::bare(Level::Info, text));
        match event {
            Event::Isolation(text) => info(format!("Isolation: {}", clean(text))),
            Event::Resolving(reference) => info(format!("Retrieving image manifest {reference}")),
            Event::Resolved(reference, digest) => info(format!("Resolved {reference} to {digest}")),
            Event::StageStart { .. } => stage_start(event),
            Event::StepStart { step, text } => Some(Self::of_step(step, headline(text))),
            Event::StepEnd { step, took } => Some(Self::of_step(step, format!("Done in {}", units::duration(took)))),
            Event::Layer { step, digest, size } => {
                Some(Self::of_step(step, format!("Layer {digest} ({})", units::size(size))))
            }
            Event::Output { step, stream, line } => Some(output(step, stream, sanitize::line(line, escapes))),
            Event::Retry { .. } => retry(event),
            Event::Exporting(destination) => info(exporting(&clean(destination))),
            Event::Exported { destination, digest } => info(exported(&clean(destination), digest)),
            Event::Finding(finding) => Some(Self::bare(Level::Warning, report::without_hints(finding))),
            Event::Warning(text) => Some(Self::bare(Level::Warning, clean(text))),
            Event::StepWarning { step, text } => Some(Self {
                level: Level::Warning,
                ..Self::of_step(step, clean(text))
            }),
            Event::Info(text) => info(clean(text)),
            Event::StepInfo { step, text } => Some(Self::of_step(step, clean(text))),
            Event::Debug(text) => Some(Self::bare(Level::Debug, clean(text))),
            Event::Plan(_)
            | Event::TransferStart { .. }
            | Event::TransferProgress { .. }
            | Event::TransferEnd { .. }
            | Event::FetchStart { .. }
            | Event::FetchProgress { .. }
            | Event::FetchEnd { .. } => None,
        }
    }
}

/// `build 3/7`.
pub(super) fn step_name(step: StepRef<'_>) -> String {
    let stage = sanitize::line(step.stage.as_bytes(), Escapes::Drop);
    format!("{stage} {}/{}", step.number, step.of)
}

/// The first line of an instruction; a heredoc may have thousands.
pub(super) fn headline(text: &str) -> String {
    let mut lines = text.lines();
    let first = sanitize::line(lines.next().unwrap_or_default().as_bytes(), Escapes::Drop);
    match lines.next() {
        Some(_) => format!("{first} …"),
        None => first,
    }
}

fn output(step: StepRef<'_>, stream: Stream, text: String) -> Message {
    // Both streams look the same: many programs write their progress to standard error.
    let (Stream::Stdout | Stream::Stderr) = stream;
    Message {
        kind: Kind::Output,
        ..Message::of_step(step, text)
    }
}

/// The kaniko executor's words, and behind them the name of the stage.
fn stage_start(event: Event<'_>) -> Option<Message> {
    let Event::StageStart {
        stage,
        base,
        index,
        base_index,
    } = event
    else {
        return None;
    };
    let base_index = base_index.map_or_else(|| "-1".to_owned(), |index| index.to_string());
    let mut text = format!("Building stage '{base}' [idx: '{index}', base-idx: '{base_index}']");
    if stage != index.to_string() {
        text.push_str(&format!(" as {stage}"));
    }
    Some(Message::bare(
        Level::Info,
        sanitize::line(text.as_bytes(), Escapes::Drop),
    ))
}

fn retry(event: Event<'_>) -> Option<Message> {
    let Event::Retry {
        what,
        cause,
        attempt,
        wait,
    } = event
    else {
        return None;
    };
    let text = format!("{what}: {cause}; try {attempt} in {}", units::duration(wait));
    Some(Message::bare(
        Level::Warning,
        sanitize::line(text.as_bytes(), Escapes::Drop),
    ))
}

fn exporting(destination: &str) -> String {
    match is_path(destination) {
        true => format!("Writing image to {destination}"),
        false => format!("Pushing image to {destination}"),
    }
}

fn exported(destination: &str, digest: &Digest) -> String {
    match (is_path(destination), destination.parse::<Reference>()) {
        (false, Ok(reference)) => format!("Pushed {}@{digest}", reference.kaniko_name()),
        _ => format!("Wrote {destination} ({digest})"),
    }
}

/// Paths of a request are absolute, and no reference starts with a slash.
fn is_path(destination: &str) -> bool {
    Path::new(destination).is_absolute()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const STEP: StepRef<'static> = StepRef {
        stage: "build",
        number: 3,
        of: 7,
    };

    #[test]
    fn says_what_happens() {
        let reference: Reference = "debian".parse().unwrap();
        let digest = Digest::of(b"x");
        for (event, step, expected) in [
            (Event::Isolation("namespaces"), None, "Isolation: namespaces".to_owned()),
            (
                Event::Resolving(&reference),
                None,
                "Retrieving image manifest docker.io/library/debian:latest".to_owned(),
            ),
            (
                Event::Resolved(&reference, &digest),
                None,
                format!("Resolved docker.io/library/debian:latest to {digest}"),
            ),
            (
                Event::StageStart {
                    stage: "build",
                    base: "debian",
                    index: 2,
                    base_index: None,
                },
                None,
                "Building stage 'debian' [idx: '2', base-idx: '-1'] as build".to_owned(),
            ),
            (
                Event::StageStart {
                    stage: "1",
                    base: "build",
                    index: 1,
                    base_index: Some(0),
                },
                None,
                "Building stage 'build' [idx: '1', base-idx: '0']".to_owned(),
            ),
            (
                Event::StepStart {
                    step: STEP,
                    text: "RUN <<E\nmake\nE",
                },
                Some("build 3/7"),
                "RUN <<E …".to_owned(),
            ),
            (
                Event::StepEnd {
                    step: STEP,
                    took: Duration::from_millis(1_250),
                },
                Some("build 3/7"),
                "Done in 1.2s".to_owned(),
            ),
            (
                Event::Layer {
                    step: STEP,
                    digest: &digest,
                    size: 5 << 20,
                },
                Some("build 3/7"),
                format!("Layer {digest} (5.0 MiB)"),
            ),
            (
                Event::Retry {
                    what: "GET /v2/\x1b[31m",
                    cause: "status 503",
                    attempt: 2,
                    wait: Duration::from_secs(1),
                },
                None,
                "GET /v2/: status 503; try 2 in 1.0s".to_owned(),
            ),
            (
                Event::Exporting("registry.local:5000/app:1"),
                None,
                "Pushing image to registry.local:5000/app:1".to_owned(),
            ),
            (
                Event::Exporting("/out/image.tar"),
                None,
                "Writing image to /out/image.tar".to_owned(),
            ),
            (
                Event::Exported {
                    destination: "registry.local:5000/app:1",
                    digest: &digest,
                },
                None,
                format!("Pushed registry.local:5000/app@{digest}"),
            ),
            (
                Event::Exported {
                    destination: "docker.io/library/app:1",
                    digest: &digest,
                },
                None,
                format!("Pushed index.docker.io/library/app@{digest}"),
            ),
            (
                Event::Exported {
                    destination: "/out/image.tar",
                    digest: &digest,
                },
                None,
                format!("Wrote /out/image.tar ({digest})"),
            ),
        ] {
            let message = Message::of(event, Escapes::Drop).unwrap();
            assert_eq!((message.step.as_deref(), message.text), (step, expected));
        }
    }

    #[test]
    fn verbosity_filters_statements_and_quiet_filters_output() {
        let output = Message::of(
            Event::Output {
                step: STEP,
                stream: Stream::Stdout,
                line: b"x",
            },
            Escapes::Drop,
        );
        let messages = [
            Message::bare(Level::Error, String::new()),
            Message::bare(Level::Warning, String::new()),
            Message::bare(Level::Info, String::new()),
            Message::bare(Level::Debug, String::new()),
            output.unwrap(),
        ];
        for (threshold, expected) in [
            (Threshold::of(Verbosity::Panic), [true, false, false, false, true]),
            (Threshold::of(Verbosity::Fatal), [true, false, false, false, true]),
            (Threshold::of(Verbosity::Error), [true, false, false, false, true]),
            (Threshold::of(Verbosity::Warn), [true, true, false, false, true]),
            (Threshold::of(Verbosity::Info), [true, true, true, false, true]),
            (Threshold::of(Verbosity::Debug), [true, true, true, true, true]),
            (Threshold::of(Verbosity::Trace), [true, true, true, true, true]),
            (Threshold::quiet(Verbosity::Debug), [true, true, false, false, false]),
            (Threshold::quiet(Verbosity::Error), [true, false, false, false, false]),
        ] {
            assert_eq!(
                messages.each_ref().map(|message| threshold.admits(message)),
                expected,
                "{threshold:?}"
            );
        }
    }
}
