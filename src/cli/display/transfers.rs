//! Keeps account of blobs that travel, and says when one is worth a line.

use std::collections::HashMap;
use std::time::Duration;

use super::fetches::Fetches;
use super::message::{Level, Message};
use super::units;
use crate::oci::Digest;
use crate::progress::{Event, Transfer, TransferEnd};

/// How long a transfer may be silent in a log.
const SILENCE: Duration = Duration::from_secs(5);

/// Transfers under way.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    blobs: HashMap<(Transfer, Digest), State>,
    fetches: Fetches,
}

#[derive(Debug, Clone, Copy)]
struct State {
    size: u64,
    started: Duration,
    last_line: Duration,
}

impl Transfers {
    /// Takes note of `event`, `now` after the start of the build, and says what the log should hold.
    pub(super) fn note(&mut self, event: Event<'_>, now: Duration) -> Option<Message> {
        match event {
            Event::TransferStart { transfer, digest, size } => {
                let state = State {
                    size,
                    started: now,
                    last_line: now,
                };
                self.blobs.insert((transfer, *digest), state);
                let text = format!("{} {digest} ({})", doing(transfer), units::size(size));
                Some(Message::bare(Level::Debug, text))
            }
            Event::TransferProgress {
                transfer,
                digest,
                bytes,
            } => {
                let state = self.blobs.get_mut(&(transfer, *digest))?;
                if now.saturating_sub(state.last_line) < SILENCE {
                    return None;
                }
                state.last_line = now;
                Some(Message::bare(
                    Level::Info,
                    under_way(transfer, digest, bytes, state.size),
                ))
            }
            Event::TransferEnd { transfer, digest, end } => {
                let state = self.blobs.remove(&(transfer, *digest));
                ended(
                    transfer,
                    digest,
                    end,
                    state.map(|state| (state.size, now.saturating_sub(state.started))),
                )
            }
            event => self.fetches.note(event, now),
        }
    }
}

fn under_way(transfer: Transfer, digest: &Digest, bytes: u64, size: u64) -> String {
    let percent = (u128::from(bytes) * 100)
        .checked_div(u128::from(size))
        .unwrap_or(100)
        .min(100);
    format!(
        "{} {digest}: {} of {} ({percent} %)",
        doing(transfer),
        units::size(bytes),
        units::size(size)
    )
}

fn ended(transfer: Transfer, digest: &Digest, end: TransferEnd, known: Option<(u64, Duration)>) -> Option<Message> {
    let info = |text| Some(Message::bare(Level::Info, text));
    match end {
        TransferEnd::Done => {
            let how = known.map(|(size, took)| format!(" ({}) in {}", units::size(size), units::duration(took)));
            info(format!("{} {digest}{}", done(transfer), how.unwrap_or_default()))
        }
        TransferEnd::Exists => info(format!("Blob {digest} is there already")),
        TransferEnd::Mounted => info(format!("Mounted {digest} from another repository")),
        TransferEnd::Failed => None,
    }
}

/// What is being done with a blob.
pub(super) fn doing(transfer: Transfer) -> &'static str {
    match transfer {
        Transfer::Download => "Downloading",
        Transfer::Upload => "Uploading",
    }
}

fn done(transfer: Transfer) -> &'static str {
    match transfer {
        Transfer::Download => "Downloaded",
        Transfer::Upload => "Uploaded",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_slow_transfers_say_how_far_they_are() {
        let digest = Digest::of(b"x");
        let transfer = Transfer::Download;
        let mut transfers = Transfers::default();
        let mut at = |seconds, event| {
            let message = transfers.note(event, Duration::from_secs(seconds));
            message.map(|message| (message.level, message.text.replace(&digest.to_string(), "D")))
        };
        let progress = |mib: u64| Event::TransferProgress {
            transfer,
            digest: &digest,
            bytes: mib << 20,
        };
        let info = |text: &str| Some((Level::Info, text.to_owned()));
        let start = Event::TransferStart {
            transfer,
            digest: &digest,
            size: 200 << 20,
        };
        let end = Event::TransferEnd {
            transfer,
            digest: &digest,
            end: TransferEnd::Done,
        };
        assert_eq!(at(10, progress(1)), None, "never started");
        assert_eq!(
            at(10, start),
            Some((Level::Debug, "Downloading D (200.0 MiB)".to_owned()))
        );
        assert_eq!(at(14, progress(20)), None);
        assert_eq!(
            at(15, progress(50)),
            info("Downloading D: 50.0 MiB of 200.0 MiB (25 %)")
        );
        assert_eq!(at(19, progress(60)), None);
        assert_eq!(
            at(20, progress(100)),
            info("Downloading D: 100.0 MiB of 200.0 MiB (50 %)")
        );
        assert_eq!(at(22, end), info("Downloaded D (200.0 MiB) in 12.0s"));
    }

    #[test]
    fn an_end_says_how() {
        let digest = Digest::of(b"x");
        for (end, expected) in [
            (TransferEnd::Done, Some("Uploaded D")),
            (TransferEnd::Exists, Some("Blob D is there already")),
            (TransferEnd::Mounted, Some("Mounted D from another repository")),
            (TransferEnd::Failed, None),
        ] {
            let event = Event::TransferEnd {
                transfer: Transfer::Upload,
                digest: &digest,
                end,
            };
            let message = Transfers::default().note(event, Duration::ZERO);
            let text = message.map(|message| message.text.replace(&digest.to_string(), "D"));
            assert_eq!(text.as_deref(), expected);
        }
    }

    #[test]
    fn an_empty_blob_divides_nothing_by_zero() {
        assert!(under_way(Transfer::Upload, &Digest::of(b""), 0, 0).ends_with("(100 %)"));
    }
}
