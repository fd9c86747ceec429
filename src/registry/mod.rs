//! The client side of the distribution protocol: images out of registries and into them.
//!
//! ```text
//! Client ── pull: resolve, download      retry: what is worth another try
//!        └─ upload: push_blob, put_manifest, check_push
//!             └─ call: authorization (auth, challenge, credentials), one replay after a 401
//!                  └─ transport: scheme, TLS, redirects, one answer
//! ```
//!
//! Invariants: nothing is handed out whose digest and size were not verified; credentials go to the origin they are for
//! and nowhere else; no error holds a secret or a URL's query; nothing waits for ever.

mod auth;
mod challenge;
mod credentials;
mod error;
mod kept;
mod location;
mod message;
mod mirror;
mod options;
mod pull;
mod retry;
mod transport;
mod upload;

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::WARNING;
use reqwest::{Method, Url};

use self::auth::{Access, Authenticator};
use self::message::{Request, Response};
use self::transport::Transport;
use crate::cancel::Cancel;
use crate::http::{self, retry::describe};
use crate::oci::{Digest, Reference};
use crate::progress::{Event, Progress, Transfer};

pub use self::credentials::{
    BuiltinHelper, Credential, CredentialError, CredentialFile, CredentialSources, CredentialVariables, Credentials,
    Keeper,
};
pub use self::error::{ErrorAnswer, Identity, RegistryError};
pub use self::options::{RegistryOptions, Timeouts, user_agent};
pub use self::pull::ResolvedImage;

/// How often the progress of one blob is told.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Talks to registries. Clones share connections, tokens and what is known about each registry.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: Arc<RegistryOptions>,
    transport: Transport,
    auth: Authenticator,
    progress: Arc<dyn Progress>,
    cancel: Cancel,
    /// Guards what this process has seen in which repository, so that it is not asked for again.
    present: Mutex<HashSet<(String, Digest)>>,
    /// Guards the hosts that refuse an upload in one request.
    refuses_monolithic: Mutex<HashSet<String>>,
    /// Guards the warnings that were passed on; each is told once.
    warnings: Mutex<HashSet<String>>,
}

impl Client {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// None today; certificates are read when their registry is first spoken to.
    pub fn new(
        options: RegistryOptions,
        credentials: Credentials,
        progress: Arc<dyn Progress>,
        cancel: Cancel,
    ) -> Result<Self, RegistryError> {
        let options = Arc::new(options);
        Ok(Self(Arc::new(Inner {
            transport: Transport::new(Arc::clone(&options), cancel.clone()),
            options,
            auth: Authenticator::new(credentials),
            progress,
            cancel,
            present: Mutex::default(),
            refuses_monolithic: Mutex::default(),
            warnings: Mutex::default(),
        })))
    }
}

impl Inner {
    /// The URL of something in a repository.
    fn url(&self, access: &Access, path: &str) -> Result<Url, RegistryError> {
        let base = self.transport.base(access.direction, &access.registry)?;
        let url = base.join(&format!("{}/{path}", access.repository));
        url.map_err(|_| RegistryError::Host {
            host: access.registry.clone(),
        })
    }

    fn request(&self, method: Method, url: Url) -> Request {
        Request::new(method, url)
    }

    /// Sends a request with the authorization it needs, and once more after a 401.
    fn call(&self, access: &Access, request: &Request) -> Result<Response, RegistryError> {
        let base = self.transport.base(access.direction, &access.registry)?;
        let is_ours = |url: &Url| url.origin() == base.origin();
        let mut warn = |text: &str| self.warn(text);
        let sent = match is_ours(&request.url) {
            true => self.auth.authorization(&self.transport, &base, access, &mut warn)?,
            false => None,
        };
        let response = self.transport.send(access.direction, request, sent.as_ref())?;
        if response.status() != 401 || !is_ours(&request.url) || !is_ours(&response.url) {
            return Ok(self.note_warnings(response));
        }
        let renewed = self.auth.renew(
            &self.transport,
            &base,
            access,
            response.headers(),
            sent.as_ref(),
            &mut warn,
        )?;
        let Some(renewed) = renewed else {
            return Err(self.unauthorized(access, response));
        };
        let response = self.transport.send(access.direction, request, Some(&renewed))?;
        match response.status() {
            401 if is_ours(&response.url) => Err(self.unauthorized(access, response)),
            _ => Ok(self.note_warnings(response)),
        }
    }

    fn unauthorized(&self, access: &Access, response: Response) -> RegistryError {
        let (request, answer) = response.into_error_answer();
        RegistryError::Unauthorized {
            request,
            answer,
            identity: self.auth.identity(access),
        }
    }

    /// Registries announce deprecations in `Warning: 299 - "text"`.
    fn note_warnings(&self, response: Response) -> Response {
        for warning in response.headers().get_all(WARNING) {
            let text = warning.to_str().ok().and_then(|text| text.strip_prefix("299 "));
            if let Some(text) = text {
                self.warn(&format!("the registry says: {text}"));
            }
        }
        response
    }

    fn warn(&self, text: &str) {
        let mut told = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert(text.to_owned()) {
            self.progress.event(Event::Warning(text));
        }
    }

    /// Does `action` until it works, is not worth another try, or was tried often enough.
    fn with_retries<T>(
        &self,
        what: &str,
        retries: u32,
        mut action: impl FnMut() -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut attempt = 1;
        loop {
            match action() {
                Ok(value) => return Ok(value),
                Err(error) => {
                    attempt += 1;
                    self.pause(what, attempt, retries, error)?;
                }
            }
        }
    }

    /// Waits before try number `attempt`, or gives `error` back if there shall be none.
    fn pause(&self, what: &str, attempt: u32, retries: u32, error: RegistryError) -> Result<(), RegistryError> {
        let random = RandomState::new().hash_one(attempt);
        let verdict = retry::verdict(&error);
        let Some(wait) = http::retry::wait_before(attempt, verdict, retries, self.options.backoff, random) else {
            return Err(error);
        };
        self.progress.event(Event::Retry {
            what,
            cause: &describe(&error),
            attempt,
            wait,
        });
        self.sleep(wait)
    }

    fn sleep(&self, wait: Duration) -> Result<(), RegistryError> {
        Ok(http::retry::sleep(&self.cancel, wait)?)
    }
}

/// Tells the progress of one blob, but not of every piece.
struct Meter {
    progress: Arc<dyn Progress>,
    transfer: Transfer,
    digest: Digest,
    last: Instant,
}

impl Meter {
    fn new(progress: &Arc<dyn Progress>, transfer: Transfer, digest: Digest) -> Self {
        Self {
            progress: Arc::clone(progress),
            transfer,
            digest,
            last: Instant::now(),
        }
    }

    fn tell(&mut self, bytes: u64) {
        if self.last.elapsed() >= PROGRESS_INTERVAL {
            self.last = Instant::now();
            self.progress.event(Event::TransferProgress {
                transfer: self.transfer,
                digest: &self.digest,
                bytes,
            });
        }
    }
}

/// Whether two references live in one registry, so that blobs can be mounted.
fn same_registry(a: &Reference, b: &Reference) -> bool {
    a.registry() == b.registry()
}
