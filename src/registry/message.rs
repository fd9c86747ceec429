//! One request, and one answer or what is wrong with it.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use reqwest::blocking::Response as HttpResponse;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Url};

use super::error::{ErrorAnswer, RegistryError};
use crate::cancel::{Cancel, Cancelled};
use crate::http::RequestLine;
use crate::http::flow::Flow;
use crate::http::retry::parse_retry_after;

/// Error bodies are read no further.
const MAX_ERROR_BODY: u64 = 64 << 10;

/// A request that can be sent more than once.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    /// For the whole exchange; without it only silence ends one.
    pub(super) limit: Option<Duration>,
}

/// Opens a body from its start.
pub(super) type Reopen = Arc<dyn Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync>;

#[derive(Clone)]
pub(super) enum Body {
    None,
    Bytes(Vec<u8>),
    Stream { open: Reopen, size: u64 },
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Stream { size, .. } => write!(f, "Stream({size})"),
        }
    }
}

impl Request {
    pub(super) fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: Body::None,
            limit: None,
        }
    }

    pub(super) fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(super) fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }
}

/// The head of an answer, with a body yet to be read.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) line: RequestLine,
    /// Of the request that was answered, after redirects.
    pub(super) url: Url,
    status: u16,
    headers: HeaderMap,
    pub(super) body: Flow<HttpResponse>,
}

impl Response {
    /// The answer `http`, whose body ends with the build.
    pub(super) fn new(line: RequestLine, url: &Url, http: HttpResponse, cancel: &Cancel) -> Self {
        Self {
            line,
            url: url.clone(),
            status: http.status().as_u16(),
            headers: http.headers().clone(),
            body: Flow::new(http, cancel.clone()),
        }
    }

    pub(super) const fn status(&self) -> u16 {
        self.status
    }

    pub(super) const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(super) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers().get(name)?.to_str().ok()
    }

    /// Passes on the statuses in `expected`; any other becomes an error with what the registry says.
    pub(super) fn expect(self, expected: &[u16]) -> Result<Self, RegistryError> {
        match expected.contains(&self.status()) {
            true => Ok(self),
            false => {
                let (request, answer) = self.into_error_answer();
                Err(RegistryError::Answer { request, answer })
            }
        }
    }

    pub(super) fn into_error_answer(mut self) -> (RequestLine, Box<ErrorAnswer>) {
        let mut body = Vec::new();
        // A body that breaks off is still better than none.
        let _ = (&mut self.body).take(MAX_ERROR_BODY).read_to_end(&mut body);
        let (code, message) = describe_error_body(&body);
        let retry_after = self.header(&RETRY_AFTER);
        let answer = ErrorAnswer {
            status: self.status(),
            code,
            message,
            retry_after: retry_after.and_then(|text| parse_retry_after(text, jiff::Timestamp::now())),
        };
        (self.line, Box::new(answer))
    }

    /// The whole body, which must not be larger than `limit`.
    pub(super) fn bytes(mut self, limit: u64) -> Result<Vec<u8>, RegistryError> {
        let mut bytes = Vec::new();
        let read = (&mut self.body).take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|error| self.broken(&error))?;
        match bytes.len() as u64 <= limit {
            true => Ok(bytes),
            false => Err(RegistryError::TooLarge {
                request: self.line,
                limit,
            }),
        }
    }

    /// Reads more of the body.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, RegistryError> {
        loop {
            match self.body.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map_err(|error| self.broken(&error)),
            }
        }
    }

    /// Why there is no more of the body.
    fn broken(&self, error: &io::Error) -> RegistryError {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Cancelled>()) {
            Some(cancelled) => RegistryError::Cancelled(*cancelled),
            None => RegistryError::transport(self.line.clone(), error),
        }
    }
}

/// Code and message of the specification's error body, of its relatives, or the text itself.
fn describe_error_body(body: &[u8]) -> (Option<String>, String) {
    let text = String::from_utf8_lossy(body);
    let excerpt = || {
        let words: Vec<&str> = text.split_whitespace().collect();
        sanitise(&words.join(" "))
    };
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(body) else {
        return (None, excerpt());
    };
    let string =
        |value: &serde_json::Value, names: &[&str]| names.iter().find_map(|name| value[name].as_str()).map(sanitise);
    let first = &json["errors"][0];
    let code = string(first, &["code"]).map(|code| code.to_ascii_uppercase());
    let message = string(first, &["message"])
        .or_else(|| string(&json, &["message", "details", "error_description", "error"]))
        .unwrap_or_else(excerpt);
    let detail = match &first["detail"] {
        serde_json::Value::String(detail) if !detail.is_empty() => format!(" ({})", sanitise(detail)),
        _ => String::new(),
    };
    (code, format!("{message}{detail}"))
}

/// What a registry says goes to a terminal: printable and not too long.
fn sanitise(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_bodies_of_all_kinds() {
        for (body, code, message) in [
            (
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"x"}}]}"#,
                Some("MANIFEST_UNKNOWN"),
                "manifest unknown",
            ),
            (
                r#"{"errors":[{"code":"denied","message":"no","detail":"why"}]}"#,
                Some("DENIED"),
                "no (why)",
            ),
            (
                r#"{"details":"incorrect username or password"}"#,
                None,
                "incorrect username or password",
            ),
            (r#"{"message":"gone"}"#, None, "gone"),
            (
                r#"{"error":"invalid_grant","error_description":"bad token"}"#,
                None,
                "bad token",
            ),
            (
                "<html>\n <b>502</b>\x1b[31m</html>",
                None,
                "<html> <b>502</b>[31m</html>",
            ),
            (r#"{"errors":[]}"#, None, r#"{"errors":[]}"#),
            ("", None, ""),
        ] {
            let found = describe_error_body(body.as_bytes());
            assert_eq!(found, (code.map(str::to_owned), message.to_owned()), "{body}");
        }
        assert_eq!(describe_error_body("x".repeat(9999).as_bytes()).1.len(), 300);
    }
}
