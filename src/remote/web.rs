//! Requests to servers that nobody configured: redirects, authorization, retries.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use reqwest::blocking::{Client as HttpClient, Response as HttpResponse};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Method, Url};
use rustls::RootCertStore;

use super::address::unescape;
use super::{RemoteError, RemoteOptions};
use crate::cancel::Cancel;
use crate::http::client::{self, Proxied};
use crate::http::flow::Flow;
use crate::http::redirect::{self, Downgrade, MAX_REDIRECTS};
use crate::http::retry::{self, Verdict};
use crate::http::tls::{self, Verification};
use crate::http::{RefusedRedirect, RequestLine, host_of};
use crate::machine;
use crate::progress::{Event, Progress};
use crate::registry::Timeouts;

/// For a server that is a few microseconds away.
const METADATA_PATIENCE: Duration = Duration::from_secs(2);

/// Connections to servers of any kind.
#[derive(Debug)]
pub(super) struct Web {
    options: RemoteOptions,
    pub(super) progress: Arc<dyn Progress>,
    pub(super) cancel: Cancel,
    /// Whose origin is trusted unseen.
    unverified: Option<Url>,
    /// Reading the machine's authorities takes milliseconds; plain HTTP needs none.
    roots: OnceLock<RootCertStore>,
    /// Guards the HTTP clients made so far.
    clients: Mutex<HashMap<(Proxied, Verification), HttpClient>>,
}

/// A request that can be sent more than once.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// The head of an answer, with a body yet to be read.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) line: RequestLine,
    /// Of the request that was answered, after redirects.
    pub(super) url: Url,
    status: u16,
    headers: HeaderMap,
    body: Flow<HttpResponse>,
}

impl Ask {
    /// A request without body. User and password in the URL become an `Authorization`.
    pub(super) fn new(method: Method, mut url: Url) -> Self {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization(&url) {
            headers.insert(AUTHORIZATION, value);
        }
        // Fails only for URLs that can have neither.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_fragment(None);
        Self {
            method,
            url,
            headers,
            body: Vec::new(),
        }
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}

impl Web {
    pub(super) fn new(options: RemoteOptions, progress: Arc<dyn Progress>, cancel: Cancel) -> Self {
        let unverified = options.unverified.as_ref();
        Self {
            unverified: unverified.and_then(|source| Url::parse(source.remote()).ok()),
            options,
            progress,
            cancel,
            roots: OnceLock::new(),
            clients: Mutex::default(),
        }
    }

    pub(super) const fn timeouts(&self) -> Timeouts {
        self.options.timeouts
    }

    /// Sends `ask` and follows redirects. Its `Authorization` goes to its own origin and nowhere else.
    pub(super) fn send(&self, ask: &Ask) -> Result<Answer, RemoteError> {
        let origin = ask.url.origin();
        let mut url = ask.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut headers = ask.headers.clone();
            if url.origin() != origin {
                headers.remove(AUTHORIZATION);
            }
            let answer = self.send_once(ask, &url, headers)?;
            let location = answer.header(&LOCATION);
            let Some(target) = redirect::target(&url, answer.status(), location, &ask.method) else {
                return Ok(answer);
            };
            redirect::check(&url, &target, Downgrade::Refused)
                .map_err(|reason| RefusedRedirect::new(answer.line.clone(), &target, reason))?;
            url = target;
        }
        let line = RequestLine::new(&ask.method, &ask.url);
        Err(RefusedRedirect::too_many(line, &url).into())
    }

    /// Sends `ask` once and follows nothing: it is signed for where it goes.
    pub(super) fn send_unfollowed(&self, ask: &Ask) -> Result<Answer, RemoteError> {
        self.send_once(ask, &ask.url, ask.headers.clone())
    }

    /// The same for the machine's own metadata service, which is near or not there at all.
    pub(super) fn for_metadata(&self) -> Self {
        let mut options = self.options.clone();
        options.timeouts.connect = METADATA_PATIENCE;
        options.timeouts.idle = METADATA_PATIENCE;
        Self::new(options, Arc::clone(&self.progress), self.cancel.clone())
    }

    /// Does `action` until it works, is not worth another try, or was tried often enough.
    pub(super) fn with_retries<T>(
        &self,
        what: &str,
        mut action: impl FnMut() -> Result<T, RemoteError>,
    ) -> Result<T, RemoteError> {
        let mut attempt = 1;
        loop {
            let error = match action() {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            attempt += 1;
            let random = RandomState::new().hash_one(attempt);
            let Some(wait) = retry::wait_before(
                attempt,
                verdict(&error),
                self.options.retries,
                self.options.backoff,
                random,
            ) else {
                return Err(error);
            };
            self.progress.event(Event::Retry {
                what,
                cause: &retry::describe(&error),
                attempt,
                wait,
            });
            retry::sleep(&self.cancel, wait)?;
        }
    }

    fn send_once(&self, ask: &Ask, url: &Url, headers: HeaderMap) -> Result<Answer, RemoteError> {
        self.cancel.check()?;
        let line = RequestLine::new(&ask.method, url);
        let builder = self
            .client(url)?
            .request(ask.method.clone(), url.clone())
            .headers(headers);
        let builder = match ask.method {
            Method::POST | Method::PUT => builder.body(ask.body.clone()),
            _ => builder,
        };
        match client::wait_for(&self.cancel, move || builder.send())? {
            Ok(http) => Ok(Answer {
                line,
                url: url.clone(),
                status: http.status().as_u16(),
                headers: http.headers().clone(),
                body: Flow::new(http, self.cancel.clone()),
            }),
            Err(error) => Err(RemoteError::transport(line, &error)),
        }
    }

    fn client(&self, url: &Url) -> Result<HttpClient, RemoteError> {
        let (proxied, verification) = (Proxied::of_host(&host_of(url)), self.verification(url));
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&(proxied, verification)) {
            return Ok(client.clone());
        }
        let options = &self.options;
        let roots = match verification {
            Verification::Required => self.machine_roots(),
            Verification::Skipped => RootCertStore::empty(),
        };
        let setup = client::Setup {
            user_agent: &options.user_agent,
            connect_timeout: options.timeouts.connect,
            idle_timeout: options.timeouts.idle,
            proxied,
            versions: client::Versions::All,
        };
        let client = client::build(tls::client_config(roots, verification, None)?, &setup)?;
        clients.insert((proxied, verification), client.clone());
        Ok(client)
    }

    fn verification(&self, url: &Url) -> Verification {
        match &self.unverified {
            Some(unverified) if unverified.origin() == url.origin() => Verification::Skipped,
            _ => Verification::Required,
        }
    }

    fn machine_roots(&self) -> RootCertStore {
        let _here = machine::own_files();
        let file = self.options.certificate_file.as_deref();
        let directory = self.options.certificate_directory.as_deref();
        self.roots.get_or_init(|| tls::machine_roots(file, directory)).clone()
    }
}

impl Answer {
    pub(super) const fn status(&self) -> u16 {
        self.status
    }

    pub(super) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(super) const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The length that the server announced.
    pub(super) fn length(&self) -> Option<u64> {
        self.header(&reqwest::header::CONTENT_LENGTH)?.trim().parse().ok()
    }

    /// Any status but success is an error; a redirect that was not followed leads nowhere.
    pub(super) fn check(self) -> Result<Self, RemoteError> {
        let status = self.status();
        if (200..300).contains(&status) {
            return Ok(self);
        }
        Err(RemoteError::Status {
            status,
            retry_after: self.retry_after(),
            request: self.line,
        })
    }

    /// When the server wants to be asked again.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        retry::parse_retry_after(self.header(&RETRY_AFTER)?, jiff::Timestamp::now())
    }
}

impl Read for Answer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.body.read(buffer)
    }
}

/// Basic authorization from the URL's own user part.
fn authorization(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let (user, password) = (unescape(url.username()), unescape(url.password().unwrap_or_default()));
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    let mut value = HeaderValue::try_from(format!("Basic {encoded}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn verdict(error: &RemoteError) -> Verdict {
    match error {
        RemoteError::Status {
            status, retry_after, ..
        } => retry::status_verdict(*status, *retry_after),
        RemoteError::Transport(unanswered) => retry::failure_verdict(unanswered.failure),
        RemoteError::CutShort { .. } => Verdict::Retry,
        RemoteError::Cloud(error) => error.verdict(),
        _ => Verdict::Final,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Failure, drip};
    use crate::progress::Silent;
    use crate::remote::GitSource;

    fn web(options: RemoteOptions) -> Web {
        Web::new(options, Arc::new(Silent), Cancel::default())
    }

    #[test]
    fn a_slow_body_arrives_and_a_silent_one_is_given_up() {
        let mut options = RemoteOptions::default();
        options.timeouts.idle = drip::IDLE;
        let web = web(options);
        let read = |body| {
            let mut answer = web.send(&Ask::new(Method::GET, drip::serve(body))).unwrap();
            let mut text = String::new();
            let read = answer.read_to_string(&mut text);
            read.map_err(|error| RemoteError::transport(answer.line.clone(), &error))
        };
        assert_eq!(read(drip::Body::Drips).unwrap(), drip::SIZE);
        let error = read(drip::Body::Stalls).unwrap_err();
        assert!(
            matches!(&error, RemoteError::Transport(unanswered) if unanswered.failure == Failure::TimedOut),
            "{error:?}"
        );
    }

    #[test]
    fn a_redirect_that_leads_nowhere_is_no_content() {
        let web = web(RemoteOptions::default());
        for head in [
            "302 Found",
            "302 Found\r\nLocation: ftp://h.example/file",
            "300 Multiple Choices",
        ] {
            let answer = web.send(&Ask::new(Method::GET, drip::serve(drip::Body::Moved(head))));
            let error = answer.unwrap().check().unwrap_err();
            assert!(
                matches!(error, RemoteError::Status { status: 300..400, .. }),
                "{head:?} {error:?}"
            );
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn one_repository_may_go_unverified_and_nobody_else() {
        let web = web(RemoteOptions {
            unverified: GitSource::parse("https://user:word@git.example:443/o/r.git#main").ok(),
            ..RemoteOptions::default()
        });
        for (url, expected) in [
            ("https://git.example/o/r.git/info/refs", Verification::Skipped),
            ("https://git.example/o/submodule.git", Verification::Skipped),
            ("https://git.example:8443/o/r.git", Verification::Required),
            ("https://cdn.example/o/r.git", Verification::Required),
        ] {
            assert_eq!(web.verification(&Url::parse(url).unwrap()), expected, "{url}");
        }
        let strict = super::tests::web(RemoteOptions::default());
        let url = Url::parse("https://git.example/o/r.git").unwrap();
        assert_eq!(strict.verification(&url), Verification::Required);
    }
}
