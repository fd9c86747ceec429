//! Keeps account of sources that are being fetched, and says when one is worth a line.

use std::collections::HashMap;
use std::time::Duration;

use super::message::{Level, Message};
use super::units;
use crate::cli::sanitize::{self, Escapes};
use crate::progress::Event;

/// How long a download may be silent in a log.
const SILENCE: Duration = Duration::from_secs(5);

/// Sources under way, by what they are called.
#[derive(Debug, Default)]
pub(super) struct Fetches(HashMap<String, State>);

#[derive(Debug, Clone, Copy)]
struct State {
    size: Option<u64>,
    bytes: u64,
    started: Duration,
    last_line: Duration,
}

impl Fetches {
    /// Takes note of `event`, `now` after the start of the build, and says what the log should hold.
    pub(super) fn note(&mut self, event: Event<'_>, now: Duration) -> Option<Message> {
        match event {
            Event::FetchStart { source, size } => {
                let state = State {
                    size,
                    bytes: 0,
                    started: now,
                    last_line: now,
                };
                self.0.insert(source.to_owned(), state);
                Some(Message::bare(Level::Debug, label(source)))
            }
            Event::FetchProgress { source, bytes } => {
                let state = self.0.get_mut(source)?;
                state.bytes = bytes;
                if now.saturating_sub(state.last_line) < SILENCE {
                    return None;
                }
                state.last_line = now;
                let of = state.size.map(|size| format!(" of {}", units::size(size)));
                let text = format!("{}: {}{}", label(source), units::size(bytes), of.unwrap_or_default());
                Some(Message::bare(Level::Info, text))
            }
            Event::FetchEnd { source, done } => {
                let state = self.0.remove(source).filter(|_| done)?;
                let took = units::duration(now.saturating_sub(state.started));
                let text = format!("Fetched {} in {took}", clean(source));
                Some(Message::bare(Level::Info, text))
            }
            _ => None,
        }
    }
}

/// What is being done with a source.
pub(super) fn label(source: &str) -> String {
    format!("Fetching {}", clean(source))
}

fn clean(source: &str) -> String {
    sanitize::line(source.as_bytes(), Escapes::Drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_slow_downloads_say_how_far_they_are() {
        let mut fetches = Fetches::default();
        let mut at = |seconds, event| {
            let message = fetches.note(event, Duration::from_secs(seconds));
            message.map(|message| (message.level, message.text))
        };
        let source = "http://h/\x1bf";
        let progress = |mib: u64| Event::FetchProgress {
            source,
            bytes: mib << 20,
        };
        let start = |size| Event::FetchStart { source, size };
        let info = |text: &str| Some((Level::Info, text.to_owned()));
        assert_eq!(at(1, progress(1)), None, "never started");
        let started = at(10, start(Some(200 << 20))).unwrap();
        assert_eq!(started.0, Level::Debug);
        assert!(!started.1.contains('\x1b'));
        assert_eq!(at(14, progress(20)), None);
        let line = at(15, progress(50)).unwrap();
        assert!(line.1.ends_with(": 50.0 MiB of 200.0 MiB"), "{line:?}");
        let end = at(22, Event::FetchEnd { source, done: true }).unwrap();
        assert!(end.1.ends_with(" in 12.0s"), "{end:?}");
        at(
            30,
            Event::FetchStart {
                source: "g",
                size: None,
            },
        );
        let unknown = Event::FetchProgress {
            source: "g",
            bytes: 1 << 20,
        };
        assert_eq!(at(36, unknown), info("Fetching g: 1.0 MiB"));
        let failed = Event::FetchEnd {
            source: "g",
            done: false,
        };
        assert_eq!(at(37, failed), None);
    }
}
