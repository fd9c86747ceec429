//! What of a registry's errors is worth another try.

use super::error::{ErrorAnswer, RegistryError};
use crate::http::retry::{Verdict, failure_verdict, status_verdict};

/// Judges an error.
pub(super) fn verdict(error: &RegistryError) -> Verdict {
    match error {
        RegistryError::Answer { answer, .. } => answer_verdict(answer),
        RegistryError::Transport(unanswered) => failure_verdict(unanswered.failure),
        RegistryError::Token { source, .. } => verdict(source),
        RegistryError::CutShort { .. } => Verdict::Retry,
        _ => Verdict::Final,
    }
}

fn answer_verdict(answer: &ErrorAnswer) -> Verdict {
    match status_verdict(answer.status, answer.retry_after) {
        Verdict::Final if answer.code.as_deref() == Some("TOOMANYREQUESTS") && answer.retry_after.is_none() => {
            Verdict::Retry
        }
        verdict => verdict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Failure, RequestLine, RootCause, Unanswered};

    #[test]
    fn a_code_may_say_more_than_the_status() {
        let answer = |status, code: &str| ErrorAnswer {
            status,
            code: (!code.is_empty()).then(|| code.to_owned()),
            message: String::new(),
            retry_after: None,
        };
        assert_eq!(answer_verdict(&answer(400, "TOOMANYREQUESTS")), Verdict::Retry);
        assert_eq!(answer_verdict(&answer(403, "DENIED")), Verdict::Final);
        assert_eq!(answer_verdict(&answer(503, "")), Verdict::Retry);
    }

    #[test]
    fn failures() {
        let line = RequestLine::new(
            &reqwest::Method::GET,
            &reqwest::Url::parse("https://h.example/v2/").unwrap(),
        );
        for (failure, expected) in [
            (Failure::Refused, Verdict::RetryAtMost(2)),
            (Failure::Resolution, Verdict::RetryAtMost(2)),
            (Failure::Closed, Verdict::Retry),
            (Failure::TimedOut, Verdict::Retry),
            (Failure::Other, Verdict::Retry),
            (Failure::Tls, Verdict::RetryAtMost(1)),
            (Failure::NotTls, Verdict::Final),
            (Failure::Certificate, Verdict::Final),
        ] {
            let error = RegistryError::Transport(Unanswered {
                request: line.clone(),
                failure,
                source: RootCause::text(""),
            });
            assert_eq!(verdict(&error), expected, "{failure:?}");
        }
    }
}
