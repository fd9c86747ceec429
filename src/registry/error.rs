//! What a registry, or the way to it, can answer but success.
//!
//! URLs are shown without their query and user part: signed URLs and tokens live there. Nothing secret is in any field.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use reqwest::Method;

use super::credentials::CredentialError;
use crate::cancel::Cancelled;
use crate::http::{ClientError, Failure, LocationError, RefusedRedirect, RequestLine, Unanswered};
use crate::oci::{ConfigError, Digest, ManifestError, Platform};
use crate::store::{Cause, StoreError};

/// Why something could not be fetched from a registry or pushed to one.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The bytes of a blob that must travel could not be had.
    #[error("the content of {digest} cannot be had")]
    Content {
        /// Which blob.
        digest: Digest,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The registry's answer is an error.
    #[error("{request}: {answer}")]
    Answer {
        /// What was asked.
        request: RequestLine,
        /// What was answered.
        answer: Box<ErrorAnswer>,
    },
    /// The registry does not accept who we are.
    #[error("{request}: {answer}")]
    Unauthorized {
        /// What was asked.
        request: RequestLine,
        /// What was answered.
        answer: Box<ErrorAnswer>,
        /// As whom.
        identity: Identity,
    },
    /// The token service that the registry names gave no token.
    #[error("cannot get a token for {scope}")]
    Token {
        /// What the token was for.
        scope: String,
        /// Why not.
        #[source]
        source: Box<RegistryError>,
    },
    /// The token service's answer or address is unusable.
    #[error("the token service {realm} {problem}")]
    TokenService {
        /// Its address, without query.
        realm: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// There was no answer.
    #[error(transparent)]
    Transport(#[from] Unanswered),
    /// A redirect that must not be followed.
    #[error(transparent)]
    Redirect(#[from] RefusedRedirect),
    /// The place that an upload should continue at is unusable.
    #[error("{request}: the answer names no place to upload to")]
    Location {
        /// What was asked.
        request: RequestLine,
        /// What is wrong with the answer.
        #[source]
        source: LocationError,
    },
    /// A document larger than any legitimate one.
    #[error("{request}: the answer is larger than {limit} bytes")]
    TooLarge {
        /// What was asked.
        request: RequestLine,
        /// What we read at most.
        limit: u64,
    },
    /// What the registry serves as a manifest is none.
    #[error("{request}: unusable manifest")]
    Manifest {
        /// What was asked.
        request: RequestLine,
        /// What is wrong with it.
        #[source]
        source: Box<ManifestError>,
    },
    /// What the registry serves under a digest has another one.
    #[error("{request}: the content does not match the digest {expected}, it has {actual}")]
    WrongDigest {
        /// What was asked.
        request: RequestLine,
        /// The digest asked for, or the one of what was sent.
        expected: Box<Digest>,
        /// The digest of what came, or the one the registry found.
        actual: String,
    },
    /// The image config cannot be used.
    #[error("the config {digest} of {reference} is unusable")]
    Config {
        /// Of which image.
        reference: String,
        /// Which blob.
        digest: Box<Digest>,
        /// What is wrong with it.
        #[source]
        source: ConfigError,
    },
    /// No image for the wanted platform.
    #[error("{reference} has no image for {wanted}; there is {}", list(available))]
    NoPlatform {
        /// Which image.
        reference: String,
        /// What was looked for.
        wanted: Box<Platform>,
        /// What there is instead.
        available: Vec<String>,
    },
    /// An index in an index in an index…
    #[error("{reference}: indexes are nested more than {limit} deep")]
    Nested {
        /// Which image.
        reference: String,
        /// Levels that are followed.
        limit: u32,
    },
    /// An artifact, a chart or a signature, where an image was expected.
    #[error("{reference} is no image: its config is of the type {media_type}")]
    NotAnImage {
        /// Which reference.
        reference: String,
        /// What it is.
        media_type: String,
    },
    /// The blob ended before its size was reached.
    #[error("{request}: the blob ended after {received} of {size} bytes")]
    CutShort {
        /// What was asked.
        request: RequestLine,
        /// Bytes that came.
        received: u64,
        /// Bytes that should have.
        size: u64,
    },
    /// A blob could not be stored, or is not what its descriptor says.
    #[error("{request}: unusable blob")]
    Store {
        /// What was asked.
        request: RequestLine,
        /// What is wrong.
        #[source]
        source: Box<StoreError>,
    },
    /// The credentials for a registry cannot be read.
    #[error("cannot read the credentials for {registry}")]
    Credentials {
        /// Whose.
        registry: String,
        /// Why.
        #[source]
        source: CredentialError,
    },
    /// No HTTP client is to be had.
    #[error(transparent)]
    Client(ClientError),
    /// A host that makes no URL.
    #[error("{host:?} is no host of a registry")]
    Host {
        /// As in the reference.
        host: String,
    },
    /// Somebody asked the build to end.
    #[error("stopped")]
    Cancelled(#[from] Cancelled),
}

/// An error answer of a registry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ErrorAnswer {
    /// HTTP status.
    pub status: u16,
    /// The specification's error code, `MANIFEST_UNKNOWN` for instance.
    pub code: Option<String>,
    /// What the registry says, or the beginning of a body that is not in the specification's form.
    pub message: String,
    /// When it wants to be asked again.
    pub retry_after: Option<Duration>,
}

/// As whom a request was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Identity {
    /// Without credentials; these places were searched for some.
    Anonymous {
        /// Files and variables.
        searched: Vec<String>,
    },
    /// With a user name and a password.
    User(String),
    /// With a token from the credentials.
    Token,
}

impl RegistryError {
    /// What to try, when that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Answer { request, answer } => answer_hint(request, answer),
            Self::Unauthorized { request, identity, .. } => Some(identity_hint(request, identity)),
            Self::Token { source, .. } => source.hint(),
            Self::Transport(unanswered) => failure_hint(&unanswered.request, unanswered.failure),
            Self::Credentials { .. } => Some("log in again, or name another file with REGISTRY_AUTH_FILE".to_owned()),
            Self::NoPlatform { .. } => Some("choose one of them with --custom-platform".to_owned()),
            Self::WrongDigest { .. } | Self::Store { .. } => {
                Some("something between here and the registry changes content; try without proxy or mirror".to_owned())
            }
            _ => None,
        }
    }

    /// HTTP status, if the registry answered.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Answer { answer, .. } | Self::Unauthorized { answer, .. } => Some(answer.status),
            _ => None,
        }
    }

    /// The specification's error code, if the registry gave one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Answer { answer, .. } | Self::Unauthorized { answer, .. } => answer.code.as_deref(),
            _ => None,
        }
    }

    /// Whether the registry refuses to let an existing tag point elsewhere. There is no code for that; these are the
    /// words of ECR, in its variants, and of Harbor.
    #[must_use]
    pub fn is_immutable_tag(&self) -> bool {
        const WORDS: [&str; 4] = [
            "The repository has enabled tag immutability",
            "cannot be overwritten because the tag is immutable",
            "cannot be overwritten because the repository is immutable",
            "configured as immutable",
        ];
        match self {
            Self::Answer { answer, .. } => WORDS.iter().any(|words| answer.message.contains(words)),
            _ => false,
        }
    }

    pub(super) fn transport(request: RequestLine, error: &(dyn Error + 'static)) -> Self {
        Self::Transport(Unanswered::new(request, error))
    }
}

fn list(available: &[String]) -> String {
    match available {
        [] => "none for any platform".to_owned(),
        platforms => platforms.join(", "),
    }
}

fn answer_hint(request: &RequestLine, answer: &ErrorAnswer) -> Option<String> {
    let hint = match (answer.code.as_deref(), answer.status) {
        (Some("MANIFEST_UNKNOWN"), _) => "check the name and the tag; the registry is there but has no such image",
        (Some("NAME_UNKNOWN"), _) => "check the name of the repository; some registries want it created before a push",
        (Some("BLOB_UPLOAD_UNKNOWN"), _) => {
            "if several replicas serve this registry they must share their storage and their http.secret"
        }
        (Some("DENIED" | "FORBIDDEN"), _) | (None, 403) => {
            "the credentials may not do this to the repository, or the project does not exist"
        }
        (Some("TOOMANYREQUESTS"), _) | (_, 429) => "log in for a higher limit, or use --registry-mirror",
        (_, 413) => "a proxy in front of the registry limits the size of uploads",
        (_, 404) => return Some(format!("check the name; is {} a container registry?", request.host())),
        _ => return None,
    };
    Some(hint.to_owned())
}

fn identity_hint(request: &RequestLine, identity: &Identity) -> String {
    let host = request.host();
    match identity {
        Identity::Anonymous { searched } if searched.is_empty() => {
            format!("there are no credentials for {host}; log in with `docker login {host}`")
        }
        Identity::Anonymous { searched } => format!(
            "there are no credentials for {host} in {}; log in with `docker login {host}`",
            searched.join(", ")
        ),
        Identity::User(user) => {
            format!("{host} did not accept the user {user:?}: wrong password, or no right to this repository")
        }
        Identity::Token => format!("{host} did not accept the token in the credentials; log in again"),
    }
}

fn failure_hint(request: &RequestLine, failure: Failure) -> Option<String> {
    let host = request.host();
    match failure {
        Failure::Refused => Some(format!("is a registry running at {host}?")),
        Failure::Resolution => Some(format!("check the name {host} and the machine's name servers")),
        Failure::NotTls => Some(format!("if the registry has no TLS, use --insecure-registry {host}")),
        Failure::Certificate => Some(format!(
            "name the authority that signed it with --registry-certificate {host}=<file>, or trust it blindly with \
             --skip-tls-verify-registry {host}"
        )),
        // What the server said before it hung up is lost while a body is on its way.
        Failure::Closed if matches!(*request.method(), Method::PUT | Method::PATCH) => Some(format!(
            "{host}, or a proxy in front of it, may limit the size of uploads"
        )),
        _ => None,
    }
}

impl fmt::Display for ErrorAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = reqwest::StatusCode::from_u16(self.status).ok();
        let reason = status.and_then(|status| status.canonical_reason());
        match reason {
            Some(reason) => write!(f, "{} {reason}", self.status)?,
            None => write!(f, "status {}", self.status)?,
        }
        if let Some(code) = &self.code {
            write!(f, ", {code}")?;
        }
        match self.message.as_str() {
            "" => Ok(()),
            message => write!(f, ": {message}"),
        }
    }
}

impl From<ClientError> for RegistryError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Cancelled(cancelled) => Self::Cancelled(cancelled),
            error => Self::Client(error),
        }
    }
}
