//! What can be wrong with a repository.

use std::error::Error;
use std::io;

use crate::remote::RemoteError;

/// Why a repository gave no files.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// Neither branch nor tag nor commit.
    #[error("repository does not contain ref {reference}")]
    NoReference {
        /// What was looked for.
        reference: String,
    },
    /// The commit is another one.
    #[error("expected checksum to match {expected}, got {actual}")]
    Checksum {
        /// As asked for.
        expected: String,
        /// What the reference names.
        actual: String,
    },
    /// A tag of something else.
    #[error("{0} names no commit")]
    NotACommit(String),
    /// Not a way to a repository.
    #[error("repositories cannot be reached by {0}")]
    Scheme(String),
    /// There is no client.
    #[error("the program ssh is not there, and ssh repositories need it")]
    NoSsh,
    /// Nobody answers, or breaks off.
    #[error("connect to {host}")]
    Connect {
        /// To whom.
        host: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The server does not show the repository to whoever asks.
    #[error("the server does not give it to {}", if *known { "this user" } else { "somebody without credentials" })]
    Denied {
        /// Whether it was told who asks.
        known: bool,
        /// What it said.
        #[source]
        source: Box<RemoteError>,
    },
    /// The server, or the way to it.
    #[error(transparent)]
    Web(Box<RemoteError>),
    /// The protocol, the objects, or what is in them.
    #[error("git failed")]
    Library(#[source] Box<dyn Error + Send + Sync>),
    /// A file cannot be written.
    #[error("write the files")]
    Files(#[source] io::Error),
    /// Two files that this filesystem cannot tell apart, or that may not be written.
    #[error("cannot write {0}")]
    Unwritable(String),
    /// `.gitmodules` knows nothing of a submodule.
    #[error("the submodule at {0} has no URL in .gitmodules")]
    NoAddress(String),
    /// A submodule that lies on this machine, for instance.
    #[error("the submodule address {0:?} leads to no server")]
    SubmoduleAddress(String),
    /// Submodules in submodules in submodules.
    #[error("submodules are nested more than {0} deep")]
    Nested(u32),
}

impl GitError {
    pub(super) fn library(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Library(error.into())
    }

    /// What to try, when that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoReference { .. } => "a reference is a branch, a tag, a name below refs/, or a whole commit",
            Self::Checksum { .. } => "if the repository was meant to change, change the checksum with it",
            Self::NoSsh => "use an https:// address, or install ssh beside rbuild",
            Self::NoAddress(_) | Self::SubmoduleAddress(_) => "?submodules=false leaves submodules out",
            Self::Denied { known: true, .. } => {
                "check that the token or password is right, has not expired and may read this repository: GIT_TOKEN, GIT_USERNAME \
                 and GIT_PASSWORD for a context, or what is written in the address"
            }
            Self::Denied { known: false, .. } => {
                "check the address; a private context needs GIT_TOKEN, or GIT_USERNAME and GIT_PASSWORD, in the environment"
            }
            Self::Web(error) => return error.hint(),
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
