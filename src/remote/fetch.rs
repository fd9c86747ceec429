//! The door to this module: sources in, directories out.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Url};

use super::cloud;
use super::git;
use super::http;
use super::kept::KeptDownloads;
use super::web::{Ask, Web};
use super::{GitSource, ObjectSource, RemoteError, UrlSource};
use crate::cancel::Cancel;
use crate::http::{Backoff, redact};
use crate::oci::Digest;
use crate::progress::Progress;
use crate::registry::Timeouts;

/// How to reach servers.
#[derive(Clone, Debug)]
pub struct RemoteOptions {
    /// A repository whose server need not prove who it is. All others must.
    pub unverified: Option<GitSource>,
    /// A PEM file of certificate authorities instead of the machine's (`SSL_CERT_FILE`).
    pub certificate_file: Option<PathBuf>,
    /// The same for a directory (`SSL_CERT_DIR`).
    pub certificate_directory: Option<PathBuf>,
    /// Further tries of what is worth them.
    pub retries: u32,
    /// Time between tries.
    pub backoff: Backoff,
    /// How long to wait for whom.
    pub timeouts: Timeouts,
    /// `User-Agent` of every request.
    pub user_agent: String,
}

impl Default for RemoteOptions {
    fn default() -> Self {
        let registry = crate::registry::RegistryOptions::default();
        Self {
            unverified: None,
            certificate_file: None,
            certificate_directory: None,
            retries: 3,
            backoff: Backoff {
                longest: Duration::from_secs(10),
                ..registry.backoff
            },
            timeouts: registry.timeouts,
            user_agent: registry.user_agent,
        }
    }
}

/// Fetches sources.
#[derive(Debug)]
pub struct Remote {
    web: Arc<Web>,
    kept: KeptDownloads,
}

/// What was fetched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetched {
    /// What identifies the content: the digest of a file, or the name of a commit.
    pub identity: String,
    /// When it was last changed, if the server says so.
    pub modified: Option<jiff::Timestamp>,
}

impl Fetched {
    pub(super) fn of_file(digest: &Digest, modified: Option<jiff::Timestamp>) -> Self {
        Self {
            identity: digest.to_string(),
            modified,
        }
    }
}

impl Remote {
    /// Keeps downloads for later builds in the directory `kept`. Connects to nothing yet.
    #[must_use]
    pub fn new(options: RemoteOptions, kept: &Path, progress: Arc<dyn Progress>, cancel: Cancel) -> Self {
        Self {
            web: Arc::new(Web::new(options, progress, cancel)),
            kept: KeptDownloads::at(kept),
        }
    }

    /// Downloads a file into the directory `into`, under the source's name, with mode 0600 and the server's
    /// modification time or that of 1970.
    ///
    /// # Errors
    /// [`RemoteError`]; then the file is not there.
    pub fn download(&self, source: &UrlSource, into: &Path) -> Result<Fetched, RemoteError> {
        http::download(&self.web, &self.kept, source, into)
    }

    /// Sends `text` to an address with PUT, as the kaniko executor sends a digest.
    ///
    /// # Errors
    /// [`RemoteError`]; any status but success is one.
    pub fn put_text(&self, url: &Url, text: &str) -> Result<(), RemoteError> {
        let ask = Ask {
            body: text.into(),
            ..Ask::new(Method::PUT, url.clone())
        };
        let ask = ask.header(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        let what = format!("sending to {}", redact(url));
        self.web.with_retries(&what, || self.web.send(&ask)?.check().map(drop))
    }

    /// Downloads an object of a cloud storage into the new file `into`, with mode 0600; says when it was last changed.
    ///
    /// # Errors
    /// [`RemoteError`]; then part of the file may be there.
    pub fn download_object(&self, source: &ObjectSource, into: &Path) -> Result<Option<jiff::Timestamp>, RemoteError> {
        cloud::download(&self.web, source, into)
    }

    /// Writes the files of a commit into the existing, empty directory `into`, all of them whatever
    /// [`GitSource::subdir`] says: files 0644 or 0755, `.git` only when it is wanted.
    ///
    /// # Errors
    /// [`RemoteError`]; then some files may be there.
    pub fn check_out(&self, source: &GitSource, into: &Path) -> Result<Fetched, RemoteError> {
        git::check_out(&self.web, source, into)
    }
}
