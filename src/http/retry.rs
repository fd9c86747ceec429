//! What is worth another try, and when. Pure: a table and a formula.

use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

use super::failure::Failure;
use crate::cancel::{Cancel, Cancelled};

/// How often a wait looks whether the build was interrupted.
const CANCEL_INTERVAL: Duration = Duration::from_millis(50);

/// A server that wants more patience than this is refused it.
const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// Further tries when nobody listens or the name is unknown: enough for a restart, too few to
/// make people wait for a typing error.
const UNREACHABLE_TRIES: u32 = 2;

/// Exponential back-off: `first`, doubled for each further try up to `longest`, a quarter of jitter either way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    /// Before the second try.
    pub first: Duration,
    /// Never longer than this.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(30),
        }
    }
}

/// What to do about an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It will not get better.
    Final,
    /// Try again, as often as the options allow.
    Retry,
    /// Try again this many times at most.
    RetryAtMost(u32),
    /// Try again, not before this has passed.
    RetryAfter(Duration),
}

/// Judges an answer by its status.
pub(crate) fn status_verdict(status: u16, retry_after: Option<Duration>) -> Verdict {
    match (status, retry_after) {
        (408 | 425 | 429 | 499 | 500 | 502 | 503 | 504 | 522 | 524, after) => match after {
            None => Verdict::Retry,
            Some(wait) if wait <= LONGEST_WAIT => Verdict::RetryAfter(wait),
            Some(_) => Verdict::Final,
        },
        _ => Verdict::Final,
    }
}

/// Judges a failure without an answer.
pub(crate) const fn failure_verdict(failure: Failure) -> Verdict {
    match failure {
        Failure::Refused | Failure::Resolution => Verdict::RetryAtMost(UNREACHABLE_TRIES),
        Failure::TimedOut | Failure::Closed | Failure::Other => Verdict::Retry,
        Failure::Tls => Verdict::RetryAtMost(1),
        Failure::NotTls | Failure::Certificate => Verdict::Final,
    }
}

/// How long to wait before try number `attempt` (the first repetition is 2), or `None` when there is none.
/// `random` is any number; it spreads clients that failed together.
pub(crate) fn wait_before(
    attempt: u32,
    verdict: Verdict,
    retries: u32,
    backoff: Backoff,
    random: u64,
) -> Option<Duration> {
    let (allowed, at_least) = match verdict {
        Verdict::Final => return None,
        Verdict::Retry => (retries, Duration::ZERO),
        Verdict::RetryAtMost(most) => (retries.min(most), Duration::ZERO),
        Verdict::RetryAfter(wait) => (retries, wait),
    };
    if attempt > allowed.saturating_add(1) {
        return None;
    }
    let doubled = backoff.first.saturating_mul(1 << (attempt - 2).min(16));
    Some(jitter(doubled.min(backoff.longest), random).max(at_least))
}

/// Between three and five quarters of `wait`.
fn jitter(wait: Duration, random: u64) -> Duration {
    let thousandths = 750 + u32::try_from(random % 501).unwrap_or_default();
    wait.saturating_mul(thousandths) / 1000
}

/// `Retry-After`: seconds, or a date.
pub(crate) fn parse_retry_after(text: &str, now: jiff::Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = parse_http_date(text)?;
    let wait = date.duration_since(now);
    Some(Duration::try_from(wait).unwrap_or_default())
}

/// Waits, but no longer than the build lasts.
pub(crate) fn sleep(cancel: &Cancel, wait: Duration) -> Result<(), Cancelled> {
    let end = Instant::now() + wait;
    loop {
        cancel.check()?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(CANCEL_INTERVAL));
    }
}

/// The error with its causes in one line.
pub(crate) fn describe(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

/// A date as headers write it.
pub(crate) fn parse_http_date(text: &str) -> Option<jiff::Timestamp> {
    Some(jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses() {
        for status in [408, 425, 429, 499, 500, 502, 503, 504, 522, 524] {
            assert_eq!(status_verdict(status, None), Verdict::Retry, "{status}");
        }
        for status in [400, 401, 403, 404, 405, 406, 409, 411, 412, 413, 415, 416, 451, 501] {
            assert_eq!(status_verdict(status, None), Verdict::Final, "{status}");
        }
    }

    #[test]
    fn a_server_may_ask_for_patience_but_not_for_a_day() {
        let two = Duration::from_secs(2);
        assert_eq!(status_verdict(429, Some(two)), Verdict::RetryAfter(two));
        assert_eq!(status_verdict(429, Some(Duration::from_secs(86_400))), Verdict::Final);
        let wait = wait_before(2, Verdict::RetryAfter(two), 5, Backoff::default(), 0);
        assert_eq!(wait, Some(two));
    }

    #[test]
    fn waits_double_up_to_the_longest_and_end() {
        let backoff = Backoff::default();
        // 250 thousandths in the middle of the jitter make the wait exact.
        let wait = |attempt| wait_before(attempt, Verdict::Retry, 7, backoff, 250).map(|wait| wait.as_secs());
        let waits: Vec<_> = (2..=9).map(wait).collect();
        let expected = [1, 2, 4, 8, 16, 30, 30].map(Some);
        assert_eq!(waits[..7], expected);
        assert_eq!(waits[7], None);
        assert_eq!(wait_before(2, Verdict::Final, 7, backoff, 0), None);
        assert!(wait_before(3, Verdict::RetryAtMost(2), 7, backoff, 0).is_some());
        assert_eq!(wait_before(4, Verdict::RetryAtMost(2), 7, backoff, 0), None);
        assert_eq!(wait_before(2, Verdict::Retry, 0, backoff, 0), None);
        assert!(wait_before(u32::MAX, Verdict::Retry, u32::MAX, backoff, 0).is_some());
    }

    #[test]
    fn jitter_stays_within_a_quarter() {
        let second = Duration::from_secs(1);
        for random in [0, 1, 250, 500, 501, u64::MAX] {
            let wait = jitter(second, random);
            assert!(
                (Duration::from_millis(750)..=Duration::from_millis(1250)).contains(&wait),
                "{wait:?}"
            );
        }
    }

    #[test]
    fn retry_after_has_two_forms() {
        let now: jiff::Timestamp = "2024-01-02T03:04:05Z".parse().unwrap();
        for (text, expected) in [
            ("2", Some(2)),
            (" 120 ", Some(120)),
            ("Tue, 02 Jan 2024 03:04:15 GMT", Some(10)),
            ("Tue, 02 Jan 2024 03:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            let parsed = parse_retry_after(text, now).map(|wait| wait.as_secs());
            assert_eq!(parsed, expected, "{text:?}");
        }
    }
}
