//! What can happen between us and a server, and how requests are shown: without query and user part, where signed
//! URLs and tokens live.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;

use reqwest::{Method, Url};

use crate::cancel::Cancelled;

/// No client could be set up, or the build ended while a request was on its way.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A certificate or key file is unusable.
    #[error("cannot use the certificates in {}", path.display())]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The TLS library refuses its configuration.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
    /// The HTTP client could not be made.
    #[error("cannot set up the HTTP client")]
    Http(#[source] RootCause),
    /// Somebody asked the build to end.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Method and URL of a request, safe to show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestLine(Box<Line>);

/// Apart, so that errors stay small.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Line {
    method: Method,
    url: String,
    host: String,
}

/// Kinds of failure between us and a registry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// Nobody listens.
    Refused,
    /// The name has no address, or no name server answers.
    Resolution,
    /// Something listens that does not speak TLS.
    NotTls,
    /// The server's certificate is not to be trusted.
    Certificate,
    /// TLS failed otherwise.
    Tls,
    /// No answer in time.
    TimedOut,
    /// The connection ended early.
    Closed,
    /// Anything else on the way.
    Other,
}

/// A request that got no answer.
#[derive(Debug, thiserror::Error)]
#[error("{request}: {failure}")]
pub struct Unanswered {
    /// What was asked.
    pub request: RequestLine,
    /// What kind of failure.
    pub failure: Failure,
    /// The innermost error, in its own words.
    #[source]
    pub source: RootCause,
}

/// The innermost error of a chain, in its own words.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct RootCause(String);

impl RequestLine {
    pub(crate) fn new(method: &Method, url: &Url) -> Self {
        Self(Box::new(Line {
            method: method.clone(),
            url: redact(url),
            host: host_of(url),
        }))
    }

    /// The method.
    pub(crate) fn method(&self) -> &Method {
        &self.0.method
    }

    /// Host and, if it is not the scheme's own, port.
    pub(crate) fn host(&self) -> &str {
        &self.0.host
    }
}

/// Scheme, host, port and path.
pub(crate) fn redact(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Fails only for URLs that can have neither.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

/// Host and, if it is not the scheme's own, port.
pub(crate) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

impl Failure {
    /// Looks through the whole chain: HTTP libraries wrap the interesting error several times.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut found = Self::Other;
        let mut next = Some(error);
        while let Some(error) = next {
            found = Self::of_one(error).unwrap_or(found);
            next = source_of(error);
        }
        found
    }

    fn of_one(error: &(dyn Error + 'static)) -> Option<Self> {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(match tls {
                rustls::Error::InvalidCertificate(_) => Self::Certificate,
                rustls::Error::InvalidMessage(_) => Self::NotTls,
                _ => Self::Tls,
            });
        }
        if let Some(http) = error.downcast_ref::<reqwest::Error>() {
            return match http {
                http if http.is_dns() => Some(Self::Resolution),
                http if http.is_timeout() => Some(Self::TimedOut),
                http if http.is_connect() => None,
                http if http.is_body() || http.is_request() => Some(Self::Closed),
                _ => None,
            };
        }
        match error.downcast_ref::<std::io::Error>()?.kind() {
            std::io::ErrorKind::ConnectionRefused => Some(Self::Refused),
            std::io::ErrorKind::TimedOut => Some(Self::TimedOut),
            std::io::ErrorKind::ConnectionReset
            | std::io::ErrorKind::ConnectionAborted
            | std::io::ErrorKind::BrokenPipe
            | std::io::ErrorKind::UnexpectedEof => Some(Self::Closed),
            _ => None,
        }
    }
}

impl Unanswered {
    pub(crate) fn new(request: RequestLine, error: &(dyn Error + 'static)) -> Self {
        Self {
            request,
            failure: Failure::of(error),
            source: RootCause::of(error),
        }
    }
}

impl RootCause {
    pub(crate) fn text(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut innermost = error;
        while let Some(source) = source_of(innermost) {
            innermost = source;
        }
        // reqwest's own messages end in the URL, query and all.
        match innermost.downcast_ref::<reqwest::Error>() {
            Some(http) if http.is_timeout() => Self("operation timed out".to_owned()),
            Some(_) => Self("the request could not be sent".to_owned()),
            None => Self(innermost.to_string()),
        }
    }
}

/// An `io::Error` made of another error hides it from `source`, which skips to the next one.
fn source_of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

impl fmt::Display for RequestLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.method, self.0.url)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "nobody listens there",
            Self::Resolution => "the host name cannot be resolved",
            Self::NotTls => "the server does not speak TLS",
            Self::Certificate => "the server's certificate is not trusted",
            Self::Tls => "the TLS handshake failed",
            Self::TimedOut => "no answer in time",
            Self::Closed => "the connection was closed early",
            Self::Other => "the request failed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_lines_hide_queries_and_users() {
        let url = Url::parse("https://user:pass@h.example:5000/v2/a?X-Amz-Signature=secret#x").unwrap();
        let line = RequestLine::new(&Method::GET, &url);
        assert_eq!(line.to_string(), "GET https://h.example:5000/v2/a");
        assert!(!format!("{line:?}").contains("secret"));
        assert_eq!(line.0.host, "h.example:5000");
    }

    #[test]
    fn failures_are_found_deep_in_the_chain() {
        let tls = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let wrapped = std::io::Error::other(std::io::Error::other(tls));
        assert_eq!(Failure::of(&wrapped), Failure::Certificate);
        assert!(RootCause::of(&wrapped).0.contains("UnknownIssuer"));
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(Failure::of(&refused), Failure::Refused);
    }
}
