//! Why a source could not be fetched. No address in here shows a password.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::{CloudError, GitError};
use crate::cancel::Cancelled;
use crate::http::{ClientError, Failure, RefusedRedirect, RequestLine, Unanswered};
use crate::store::StoreError;

/// Why a source could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// No HTTP client is to be had.
    #[error(transparent)]
    Client(ClientError),
    /// The address is no URL, though the plan found it to be one.
    #[error(transparent)]
    Address(#[from] super::AddressError),
    /// The server refuses.
    #[error("{request}: invalid response status {status}")]
    Status {
        /// What was asked.
        request: RequestLine,
        /// HTTP status.
        status: u16,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// There was no answer.
    #[error(transparent)]
    Transport(#[from] Unanswered),
    /// A redirect that must not be followed.
    #[error(transparent)]
    Redirect(#[from] RefusedRedirect),
    /// The body ended before its length was reached.
    #[error("{request}: the body ended after {received} of {size} bytes")]
    CutShort {
        /// What was asked.
        request: RequestLine,
        /// Bytes that came.
        received: u64,
        /// Bytes that should have.
        size: u64,
    },
    /// The content is not what `--checksum` says.
    #[error("digest mismatch {actual}: {expected}")]
    Checksum {
        /// What was fetched.
        source_name: String,
        /// What was asked for.
        expected: String,
        /// What came.
        actual: String,
    },
    /// A repository gave no files.
    #[error("fetch the repository {source_name}")]
    Git {
        /// Its address, without password.
        source_name: String,
        /// Why.
        #[source]
        source: Box<GitError>,
    },
    /// A cloud gave no object.
    #[error(transparent)]
    Cloud(Box<CloudError>),
    /// A file of our own cannot be written.
    #[error("{what} {}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The state directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Somebody asked the build to end.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl RemoteError {
    pub(super) fn transport(request: RequestLine, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::Transport(Unanswered::new(request, error))
    }

    pub(super) fn io(what: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }

    /// What to try, when that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Status { request, status, .. } => status_hint(request, *status),
            Self::Transport(unanswered) => failure_hint(unanswered.request.host(), unanswered.failure),
            Self::Git { source, .. } => source.hint(),
            Self::Cloud(error) => error.hint(),
            Self::Redirect { .. } => Some("if that is right, write the address that it leads to".to_owned()),
            Self::Checksum { source_name, .. } => Some(format!(
                "if {source_name} was meant to change, change --checksum with it"
            )),
            _ => None,
        }
    }
}

impl From<CloudError> for RemoteError {
    fn from(error: CloudError) -> Self {
        Self::Cloud(Box::new(error))
    }
}

impl From<ClientError> for RemoteError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Cancelled(cancelled) => Self::Cancelled(cancelled),
            error => Self::Client(error),
        }
    }
}

fn status_hint(request: &RequestLine, status: u16) -> Option<String> {
    let host = request.host();
    match status {
        300..=399 => Some(format!(
            "{host} says that it is elsewhere, but not where; check the address"
        )),
        401 | 403 => Some(format!("{host} wants credentials, or does not let these have it")),
        404 | 410 => Some(format!("check the address; {host} is there but has no such file")),
        429 => Some(format!("{host} limits how often it is asked; try again later")),
        _ => None,
    }
}

fn failure_hint(host: &str, failure: Failure) -> Option<String> {
    match failure {
        Failure::Refused => Some(format!("is a server running at {host}?")),
        Failure::Resolution => Some(format!("check the name {host} and the machine's name servers")),
        Failure::NotTls => Some(format!("if {host} has no TLS, write http:// instead of https://")),
        Failure::Certificate => {
            Some("name a file with the authority that signed it in the environment variable SSL_CERT_FILE".to_owned())
        }
        _ => None,
    }
}
