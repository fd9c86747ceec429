//! Where an answer sends us: the `Location` header in all its forms, and the redirects that may be followed.

use reqwest::{Method, Url};

use super::client::is_internal;
use super::failure::{RequestLine, redact};

/// More of them are a loop.
pub(crate) const MAX_REDIRECTS: usize = 10;

/// Whether a redirect may lead from HTTPS to plain HTTP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Downgrade {
    Allowed,
    Refused,
}

/// Why a `Location` is unusable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// The header is not there.
    #[error("the answer has no Location header")]
    Missing,
    /// It makes no URL.
    #[error("the Location header is no URL")]
    Invalid,
    /// It is neither `http` nor `https`.
    #[error("the Location header has the scheme {0:?}")]
    Scheme(String),
}

/// A redirect that must not be followed.
#[derive(Debug, thiserror::Error)]
#[error("{request}: refused to follow the redirect to {target}: {reason}")]
pub struct RefusedRedirect {
    /// What was asked.
    pub request: RequestLine,
    /// Where it leads.
    pub target: String,
    /// Why not there.
    pub reason: &'static str,
}

impl RefusedRedirect {
    pub(crate) fn new(request: RequestLine, target: &Url, reason: &'static str) -> Self {
        Self {
            request,
            target: redact(target),
            reason,
        }
    }

    /// The request was sent on [`MAX_REDIRECTS`] times, and `target` would be the next.
    pub(crate) fn too_many(request: RequestLine, target: &Url) -> Self {
        Self::new(request, target, "there are too many redirects")
    }
}

/// Resolves `location` against the URL of the request that was answered.
///
/// A registry behind a TLS-terminating proxy often believes to be on HTTP: the same host keeps the scheme of the
/// request. Query and escapes stay byte for byte, they may be signed.
pub(crate) fn resolve(base: &Url, location: &str) -> Result<Url, LocationError> {
    let mut url = base.join(location).map_err(|_| LocationError::Invalid)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(LocationError::Scheme(url.scheme().to_owned()));
    }
    if base.scheme() == "https" && url.scheme() == "http" && url.host() == base.host() && url.port() == base.port() {
        // Between two special schemes this always works.
        let _ = url.set_scheme("https");
    }
    url.set_fragment(None);
    Ok(url)
}

/// Where a redirect leads that may be followed with this method.
pub(crate) fn target(base: &Url, status: u16, location: Option<&str>, method: &Method) -> Option<Url> {
    let follows = match status {
        301..=303 => matches!(*method, Method::GET | Method::HEAD),
        307 | 308 => true,
        _ => false,
    };
    resolve(base, location.filter(|_| follows)?).ok()
}

/// Refuses a redirect that gives up TLS or leads a public server's client to its own machine.
///
/// # Errors
/// The reason.
pub(crate) fn check(from: &Url, target: &Url, downgrade: Downgrade) -> Result<(), &'static str> {
    if !matches!(target.scheme(), "http" | "https") {
        return Err("it is not HTTP");
    }
    if from.scheme() == "https" && target.scheme() == "http" && downgrade == Downgrade::Refused {
        return Err("it leaves HTTPS");
    }
    if is_internal(target) && !is_internal(from) {
        return Err("it leads from a public host to this machine's own network");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_every_form() {
        let https = "https://reg.example/v2/a/blobs/uploads/";
        let port = "https://reg.example:5443/v2/a/blobs/uploads/";
        let http = "http://127.0.0.1:5000/v2/a/blobs/uploads/";
        for (base, location, expected) in [
            (
                https,
                "https://reg.example/v2/a/blobs/uploads/1",
                "https://reg.example/v2/a/blobs/uploads/1",
            ),
            (
                https,
                "/v2/a/blobs/uploads/1?_state=x",
                "https://reg.example/v2/a/blobs/uploads/1?_state=x",
            ),
            (https, "1", "https://reg.example/v2/a/blobs/uploads/1"),
            (https, "//other.example/u/1", "https://other.example/u/1"),
            (https, "?_state=y", "https://reg.example/v2/a/blobs/uploads/?_state=y"),
            (
                https,
                "/u?s=a%2Fb+c%3D&t=%7E~",
                "https://reg.example/u?s=a%2Fb+c%3D&t=%7E~",
            ),
            (https, "/u/a%2Fb", "https://reg.example/u/a%2Fb"),
            (https, "http://reg.example/u/1", "https://reg.example/u/1"),
            (https, "http://other.example/u/1", "http://other.example/u/1"),
            (https, "https://reg.example:444/u/1", "https://reg.example:444/u/1"),
            (port, "http://reg.example:5443/u/1", "https://reg.example:5443/u/1"),
            (port, "http://reg.example/u/1", "http://reg.example/u/1"),
            (http, "http://127.0.0.1:5000/u/1", "http://127.0.0.1:5000/u/1"),
            (http, "/u/1#fragment", "http://127.0.0.1:5000/u/1"),
            (http, "https://127.0.0.1:5000/u/1", "https://127.0.0.1:5000/u/1"),
        ] {
            let base = Url::parse(base).unwrap();
            assert_eq!(resolve(&base, location).unwrap().as_str(), expected, "{location}");
        }
        let base = Url::parse(https).unwrap();
        assert_eq!(
            resolve(&base, "ftp://x/y"),
            Err(LocationError::Scheme("ftp".to_owned()))
        );
        assert_eq!(resolve(&base, "http://[zz"), Err(LocationError::Invalid));
    }
}
