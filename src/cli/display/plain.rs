//! Line after line, for logs.

use std::fmt;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::format::Format;
use super::message::{Message, Threshold};
use super::transfers::Transfers;
use crate::progress::{Event, Progress};

/// Writes a line per message, at once.
pub(super) struct Plain<W> {
    threshold: Threshold,
    format: Format,
    started: Instant,
    /// One lock for both, so that lines appear in the order of their events.
    state: Mutex<State<W>>,
}

struct State<W> {
    out: W,
    transfers: Transfers,
}

impl<W: Write> Plain<W> {
    /// Writes to `out`.
    pub(super) fn new(out: W, threshold: Threshold, format: Format) -> Self {
        let transfers = Transfers::default();
        Self {
            threshold,
            format,
            started: Instant::now(),
            state: Mutex::new(State { out, transfers }),
        }
    }
}

impl<W: Write + Send> Progress for Plain<W> {
    fn event(&self, event: Event<'_>) {
        // Formatting happens before the lock is taken, so that chatty steps do not wait for each other.
        let message = Message::of(event, self.format.escapes());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let message = message.or_else(|| state.transfers.note(event, self.started.elapsed()));
        if let Some(message) = message.filter(|message| self.threshold.admits(message)) {
            // One write per line keeps lines whole where several processes share the log. A log that is
            // gone must not end the build.
            let line = format!("{}\n", self.format.line(&message));
            let _ = state.out.write_all(line.as_bytes());
        }
    }
}

impl<W> fmt::Debug for Plain<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plain")
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::args::Verbosity;
    use crate::cli::display::format::{Palette, Shape};
    use crate::oci::{Digest, Reference};
    use crate::progress::{StepRef, Stream, Transfer, TransferEnd};

    #[test]
    fn a_build_reads_from_top_to_bottom() {
        let reference: Reference = "debian:bookworm".parse().unwrap();
        let (manifest, layer) = (Digest::of(b"manifest"), Digest::of(b"layer"));
        let step = StepRef {
            stage: "build",
            number: 1,
            of: 2,
        };
        let format = Format::new(Shape::Human(Palette::Plain), false);
        let plain = Plain::new(Vec::new(), Threshold::of(Verbosity::Info), format);
        let output = |line| Event::Output {
            step,
            stream: Stream::Stderr,
            line,
        };
        for event in [
            Event::Isolation("namespaces"),
            Event::Resolving(&reference),
            Event::Resolved(&reference, &manifest),
            Event::TransferStart {
                transfer: Transfer::Upload,
                digest: &layer,
                size: 1 << 20,
            },
            Event::StageStart {
                stage: "build",
                base: "debian:bookworm",
                index: 0,
                base_index: None,
            },
            Event::StepStart { step, text: "RUN make" },
            output(b"\x1b[32mcc\x1b[0m main.c"),
            output(b""),
            Event::Debug("not shown"),
            Event::Warning("careful"),
            Event::StepEnd {
                step,
                took: Duration::from_secs(3),
            },
            Event::Layer {
                step,
                digest: &layer,
                size: 3 << 20,
            },
            Event::TransferEnd {
                transfer: Transfer::Upload,
                digest: &layer,
                end: TransferEnd::Exists,
            },
            Event::Exporting("registry.local/app:1"),
            Event::Exported {
                destination: "registry.local/app:1",
                digest: &manifest,
            },
        ] {
            plain.event(event);
        }
        let log = String::from_utf8(plain.state.into_inner().unwrap().out).unwrap();
        let log = log
            .replace(&manifest.to_string(), "MANIFEST")
            .replace(&layer.to_string(), "LAYER");
        let expected = "\
Isolation: namespaces
Retrieving image manifest docker.io/library/debian:bookworm
Resolved docker.io/library/debian:bookworm to MANIFEST
Building stage 'debian:bookworm' [idx: '0', base-idx: '-1'] as build
[build 1/2] RUN make
[build 1/2] cc main.c
[build 1/2] \n\
warning: careful
[build 1/2] Done in 3.0s
[build 1/2] Layer LAYER (3.0 MiB)
Blob LAYER is there already
Pushing image to registry.local/app:1
Pushed registry.local/app@MANIFEST
";
        assert_eq!(log, expected);
    }
}
