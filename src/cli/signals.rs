//! Turns signals into the end of the build, and the end of the build into a death by the signal.

use std::io;
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::cancel::Cancel;
use crate::diagnostic::Exit;

/// How long the end of a build may take. A RUN gets two seconds of it, and the rest is for taking away what was made; who
/// stops a container kills it after ten seconds or more, and people are less patient.
pub(super) const PATIENCE: Duration = Duration::from_millis(4500);
/// For the last words, which a full pipe may hold up.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Has SIGINT, SIGTERM and SIGHUP end the build. The program ends even if the build does not: after `patience` and a call
/// of `overdue`, and with a second SIGINT at once.
///
/// # Errors
/// No handler or no thread could be had.
pub(super) fn watch(cancel: Cancel, patience: Duration, overdue: impl Fn() + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new(wanted())?;
    let mut overdue = Some(overdue);
    let wait = move || {
        for signal in signals.forever() {
            cancel.by_signal(signal);
            match overdue.take() {
                Some(overdue) => limit_end(signal, patience, overdue),
                None if signal == SIGINT => exit_at_once(SIGINT),
                None => {}
            }
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(wait).map(drop)
}

/// Something may hang that nobody can interrupt, a dead network filesystem for instance, or there is too much to remove.
fn limit_end(signal: i32, patience: Duration, overdue: impl FnOnce() + Send + 'static) {
    let limit = move || {
        thread::sleep(patience);
        let spoken = thread::Builder::new().spawn(overdue);
        if spoken.is_ok() {
            thread::sleep(LAST_WORDS);
        }
        exit_at_once(signal);
    };
    // Without a thread the build ends by itself, as nearly always.
    let _ = thread::Builder::new().name("limit".to_owned()).spawn(limit);
}

/// Dies as if the signal had never been caught, so that a shell that started us sees why we ended and stops its
/// script.
pub(super) fn die_by(signal: i32) {
    // The kernel shields PID 1 from signals without a handler; only an exit code can tell there.
    if !rustix::process::getpid().is_init() {
        // On failure our caller exits with a code that says the same.
        let _ = emulate_default_handler(signal);
    }
}

/// Does not wait for anything, not even as PID 1.
fn exit_at_once(signal: i32) -> ! {
    die_by(signal);
    std::process::exit(Exit::Interrupted(signal).code().into())
}

/// `nohup` starts programs with SIGHUP ignored, and so it has to stay.
pub(super) fn wanted() -> Vec<i32> {
    let hangup = (!is_ignored(SIGHUP)).then_some(SIGHUP);
    [SIGINT, SIGTERM].into_iter().chain(hangup).collect()
}

/// Reads the mask of ignored signals; proc(5), `SigIgn`.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_cancels_the_build() {
        let cancel = Cancel::default();
        // These tests go on when the build has ended.
        watch(cancel.clone(), Duration::MAX, || ()).unwrap();
        assert_eq!(cancel.signal(), None);
        signal_hook::low_level::raise(SIGTERM).unwrap();
        // The handler has run when `raise` returns; the thread it wakes may not have.
        while cancel.signal().is_none() {
            thread::yield_now();
        }
        assert_eq!(cancel.signal(), Some(SIGTERM));
    }

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        // Rust's runtime ignores SIGPIPE before `main`.
        assert!(is_ignored(signal_hook::consts::SIGPIPE));
        assert!(!is_ignored(signal_hook::consts::SIGSEGV));
    }
}
