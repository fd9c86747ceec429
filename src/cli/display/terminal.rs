//! Live lines: one per blob that travels and per step that runs, below the log that scrolls.
//!
//! Events only change a small state under a lock. One thread draws, ten times a second, so that neither a
//! slow terminal nor a chatty RUN holds up a worker.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write as _};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::fetches;
use super::format::Format;
use super::message::{Message, Threshold, headline, step_name};
use super::transfers::{Transfers, doing};
use super::units;
use crate::progress::{Event, Progress, StepRef, Transfer};

const FRAMES_PER_SECOND: u8 = 10;
const FRAME: Duration = Duration::from_millis(1000 / FRAMES_PER_SECOND as u64);

/// How old something must be to get a live line; what ends sooner would only flicker.
const PATIENCE: Duration = Duration::from_millis(500);

/// Log text that may wait to be drawn. Beyond it a worker waits for the terminal, so that a RUN that prints
/// faster than the terminal scrolls cannot fill the memory.
const BACKLOG: usize = 1 << 20;

/// Draws on a thread of its own until finished.
pub(super) struct Terminal {
    threshold: Threshold,
    format: Format,
    started: Instant,
    state: Mutex<State>,
    /// Tells workers that the backlog is drawn.
    drained: Condvar,
    /// The drawing thread, and how to end it; `None` once it has ended.
    painter: Mutex<Option<(SyncSender<()>, JoinHandle<()>)>>,
}

#[derive(Default)]
struct State {
    log: String,
    transfers: Transfers,
    /// In the order in which they began.
    live: BTreeMap<u64, Live>,
    next: u64,
    closed: bool,
}

/// Something under way.
#[derive(Clone)]
struct Live {
    key: Key,
    began: Instant,
    label: String,
    /// Bytes so far and in all, of a transfer.
    bytes: Option<(u64, u64)>,
}

#[derive(Clone, PartialEq, Eq)]
enum Key {
    Step(String),
    Transfer(Transfer, crate::oci::Digest),
    Fetch(String),
}

impl Terminal {
    /// Begins to draw on standard error.
    pub(super) fn start(threshold: Threshold, format: Format) -> Arc<Self> {
        let terminal = Arc::new(Self {
            threshold,
            format,
            started: Instant::now(),
            state: Mutex::default(),
            drained: Condvar::new(),
            painter: Mutex::default(),
        });
        let (stop, stopped) = mpsc::sync_channel(0);
        let painted = Arc::clone(&terminal);
        let paint = move || {
            let mut screen = Screen::new();
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(FRAME) {
                painted.draw(&mut screen);
            }
            painted.close();
            painted.draw(&mut screen);
        };
        match thread::Builder::new().name("display".to_owned()).spawn(paint) {
            Ok(thread) => *lock(&terminal.painter) = Some((stop, thread)),
            // No thread to be had: lines are written at once, and none is live.
            Err(_) => lock(&terminal.state).closed = true,
        }
        terminal
    }

    /// Draws what is left of the log, clears the live lines and ends the thread. Events that come later are
    /// written at once.
    pub(super) fn finish(&self) {
        let painter = lock(&self.painter).take();
        if let Some((stop, thread)) = painter {
            drop(stop);
            // A panic of the thread has been printed; the build's own result matters more.
            let _ = thread.join();
        }
    }

    fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        state.live.clear();
    }

    fn draw(&self, screen: &mut Screen) {
        let (log, live) = {
            let mut state = lock(&self.state);
            let live = state.live.iter().map(|(id, live)| (*id, live.clone())).collect();
            (std::mem::take(&mut state.log), live)
        };
        self.drained.notify_all();
        screen.show(&log, &live, Instant::now());
    }

    fn append(&self, state: MutexGuard<'_, State>, message: &Message) {
        let line = self.format.line(message) + "\n";
        let mut state = self
            .drained
            .wait_while(state, |state| state.log.len() > BACKLOG && !state.closed)
            .unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            let _ = io::stderr().lock().write_all(line.as_bytes());
        } else {
            state.log.push_str(&line);
        }
    }
}

impl Progress for Terminal {
    fn event(&self, event: Event<'_>) {
        let message = Message::of(event, self.format.escapes());
        let mut state = lock(&self.state);
        state.track(event, Instant::now());
        let message = message.or_else(|| state.transfers.note(event, self.started.elapsed()));
        // How far a transfer is, its live line shows.
        let redundant = matches!(event, Event::TransferProgress { .. } | Event::FetchProgress { .. });
        if let Some(message) = message.filter(|message| !redundant && self.threshold.admits(message)) {
            self.append(state, &message);
        }
    }
}

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal")
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

impl State {
    fn track(&mut self, event: Event<'_>, now: Instant) {
        if self.closed {
            return;
        }
        match event {
            Event::StepStart { step, text } => {
                let label = format!("[{}] {}", step_name(step), headline(text));
                self.begin(step_key(step), label, None, now);
            }
            Event::StepEnd { step, .. } => self.end(&step_key(step)),
            Event::TransferStart { transfer, digest, size } => {
                let label = format!("{} {}", doing(transfer), digest.short());
                self.begin(Key::Transfer(transfer, *digest), label, Some((0, size)), now);
            }
            Event::TransferProgress {
                transfer,
                digest,
                bytes,
            } => {
                let key = Key::Transfer(transfer, *digest);
                if let Some(live) = self.live.values_mut().find(|live| live.key == key) {
                    live.bytes = live.bytes.map(|(_, size)| (bytes, size));
                }
            }
            Event::TransferEnd { transfer, digest, .. } => self.end(&Key::Transfer(transfer, *digest)),
            Event::FetchStart { source, size } => {
                let bytes = size.map(|size| (0, size));
                self.begin(Key::Fetch(source.to_owned()), fetches::label(source), bytes, now);
            }
            Event::FetchProgress { source, bytes } => {
                let is_it = |live: &&mut Live| matches!(&live.key, Key::Fetch(name) if name == source);
                if let Some(live) = self.live.values_mut().find(is_it) {
                    live.bytes = live.bytes.map(|(_, size)| (bytes, size));
                }
            }
            Event::FetchEnd { source, .. } => self.end(&Key::Fetch(source.to_owned())),
            _ => {}
        }
    }

    fn begin(&mut self, key: Key, label: String, bytes: Option<(u64, u64)>, now: Instant) {
        self.end(&key);
        let live = Live {
            key,
            began: now,
            label,
            bytes,
        };
        self.live.insert(self.next, live);
        self.next += 1;
    }

    fn end(&mut self, key: &Key) {
        self.live.retain(|_, live| live.key != *key);
    }
}

fn step_key(step: StepRef<'_>) -> Key {
    Key::Step(step_name(step))
}

/// What is on the terminal now. Belongs to the drawing thread.
struct Screen {
    multi: MultiProgress,
    bars: BTreeMap<u64, ProgressBar>,
}

impl Screen {
    fn new() -> Self {
        Self {
            multi: MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(FRAMES_PER_SECOND)),
            bars: BTreeMap::new(),
        }
    }

    fn show(&mut self, log: &str, live: &BTreeMap<u64, Live>, now: Instant) {
        self.remove_all_but(live);
        if !log.is_empty() {
            // Errors mean that the terminal is gone, which must not end the build.
            let _ = self.multi.clear();
            let _ = io::stderr().lock().write_all(log.as_bytes());
        }
        for (id, live) in live {
            let age = now.saturating_duration_since(live.began);
            if age >= PATIENCE || self.bars.contains_key(id) {
                self.show_live(*id, live, age);
            }
        }
        // The log took the place of the live lines; the draws above may fall to the rate limit.
        if let Some(bar) = self.bars.values().next_back().filter(|_| !log.is_empty()) {
            bar.force_draw();
        }
    }

    fn remove_all_but(&mut self, live: &BTreeMap<u64, Live>) {
        let multi = &self.multi;
        self.bars.retain(|id, bar| {
            let stays = live.contains_key(id);
            if !stays {
                bar.finish_and_clear();
                multi.remove(bar);
            }
            stays
        });
    }

    fn show_live(&mut self, id: u64, live: &Live, age: Duration) {
        match self.bars.get(&id) {
            Some(bar) => update(bar, live, age),
            None => {
                // Filled in before it is shown, or its first frames would be empty.
                let bar = ProgressBar::hidden()
                    .with_style(style(live))
                    .with_message(live.label.clone());
                bar.set_length(live.bytes.map_or(0, |(_, size)| size));
                update(&bar, live, age);
                let bar = self.multi.add(bar);
                bar.tick();
                self.bars.insert(id, bar);
            }
        }
    }
}

fn update(bar: &ProgressBar, live: &Live, age: Duration) {
    match live.bytes {
        Some((bytes, size)) => {
            bar.set_position(bytes);
            bar.set_prefix(format!("{} / {}", units::size(bytes), units::size(size)));
        }
        None => bar.set_prefix(units::duration(age)),
    }
}

/// The label is cut to what the width leaves; a line that wraps could not be redrawn.
fn style(live: &Live) -> ProgressStyle {
    let template = match live.bytes {
        Some(_) => "{wide_msg} [{bar:24}] {prefix:>25}",
        None => "{wide_msg} {prefix:>8}",
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("=> ")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;
    use crate::progress::TransferEnd;

    #[test]
    fn live_lines_follow_what_is_under_way() {
        let digest = Digest::of(b"x");
        let step = StepRef {
            stage: "build",
            number: 1,
            of: 2,
        };
        let (transfer, now) = (Transfer::Upload, Instant::now());
        let mut state = State::default();
        let mut labels_after = |event| {
            state.track(event, now);
            let live = state.live.values();
            live.map(|live| (live.label.clone(), live.bytes)).collect::<Vec<_>>()
        };
        let run = ("[build 1/2] RUN make".to_owned(), None);
        let upload = |bytes| (format!("Uploading {}", digest.short()), Some((bytes, 9)));
        let text = "RUN \x1b[2Jmake";
        assert_eq!(
            labels_after(Event::StepStart { step, text }),
            std::slice::from_ref(&run)
        );
        let start = Event::TransferStart {
            transfer,
            digest: &digest,
            size: 9,
        };
        assert_eq!(labels_after(start), [run.clone(), upload(0)]);
        let progress = Event::TransferProgress {
            transfer,
            digest: &digest,
            bytes: 5,
        };
        assert_eq!(labels_after(progress), [run.clone(), upload(5)]);
        let other_way = Event::TransferEnd {
            transfer: Transfer::Download,
            digest: &digest,
            end: TransferEnd::Done,
        };
        assert_eq!(labels_after(other_way), [run, upload(5)]);
        let took = Duration::ZERO;
        assert_eq!(labels_after(Event::StepEnd { step, took }), [upload(5)]);
        assert_eq!(labels_after(start), [upload(0)], "a second try begins anew");
        let end = Event::TransferEnd {
            transfer,
            digest: &digest,
            end: TransferEnd::Failed,
        };
        assert_eq!(labels_after(end), []);
    }
}
