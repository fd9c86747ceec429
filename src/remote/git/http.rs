//! Git over HTTP(S), by the HTTP stack that all of rbuild uses: its TLS, its redirects, its retries.
//!
//! The library writes a request and then reads the answer, so that nothing need happen before the first read: the
//! request is sent then, on the same thread.

use std::any::Any;
use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use gix::protocol::transport::client::blocking_io::http::{GetResponse, Http, PostBodyDataKind, PostResponse};
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use reqwest::{Method, Url};

use crate::remote::web::{Answer, Ask, Web};
use crate::remote::{AddressError, RemoteError};

/// Who we are, and for whose servers.
#[derive(Clone, Debug, Default)]
pub(super) struct Credentials(Option<(reqwest::Url, HeaderValue)>);

impl Credentials {
    /// Those in an address.
    pub(super) fn of(address: &str) -> Self {
        let parsed = Url::parse(address).ok();
        Self(parsed.and_then(|url| {
            let ask = Ask::new(Method::GET, url);
            let value = ask.headers.get(AUTHORIZATION)?.clone();
            Some((ask.url, value))
        }))
    }

    /// Whether there are any for the server at `address`.
    pub(super) fn are_for(&self, address: &str) -> bool {
        Url::parse(address).is_ok_and(|url| self.for_url(&url).is_some())
    }

    /// The header for `url`, if they are for its server.
    fn for_url(&self, url: &Url) -> Option<HeaderValue> {
        let (own, value) = self.0.as_ref()?;
        (own.origin() == url.origin()).then(|| value.clone())
    }
}

/// An address without user and password.
pub(super) fn without_user(address: &str) -> String {
    match Url::parse(address) {
        Ok(url) => Ask::new(Method::GET, url).url.to_string(),
        Err(_) => address.to_owned(),
    }
}

/// Where an error waits until the library has given up with one of its own.
pub(super) type Failure = Arc<Mutex<Option<RemoteError>>>;

/// The library's HTTP client, which is ours.
#[derive(Debug)]
pub(super) struct GitHttp {
    web: Arc<Web>,
    credentials: Credentials,
    failure: Failure,
    /// Where the repository is after a redirect.
    moved: Option<String>,
}

impl GitHttp {
    pub(super) fn new(web: Arc<Web>, credentials: Credentials, failure: Failure) -> Self {
        Self {
            web,
            credentials,
            failure,
            moved: None,
        }
    }

    fn ask(&self, method: Method, url: &str, headers: impl IntoIterator<Item = impl AsRef<str>>) -> io::Result<Ask> {
        let parsed = Url::parse(url).map_err(|error| {
            self.fail(RemoteError::Address(AddressError {
                url: crate::redact::location(url).into_owned(),
                reason: error.to_string(),
            }))
        })?;
        let mut ask = Ask::new(method, parsed);
        for line in headers {
            let Some((name, value)) = line.as_ref().split_once(':') else {
                continue;
            };
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value.trim())) {
                ask = ask.header(name, value);
            }
        }
        if let Some(value) = self.credentials.for_url(&ask.url) {
            ask = ask.header(AUTHORIZATION, value);
        }
        Ok(ask)
    }

    fn fail(&self, error: RemoteError) -> io::Error {
        keep(&self.failure, error)
    }
}

/// The library gets an error that it cannot mistake for a question for credentials.
fn keep(failure: &Failure, error: RemoteError) -> io::Error {
    let text = error.to_string();
    failure
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert(error);
    io::Error::other(text)
}

impl Http for GitHttp {
    type Headers = Headers;
    type ResponseBody = Body;
    type PostBody = Upload;

    fn get(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix::Result<GetResponse<Headers, Body>> {
        let exchange = Exchange::new(
            self,
            self.ask(Method::GET, url, headers).map_err(gix::Error::from_error)?,
        );
        let answered = lock(&exchange).answer().map(|answer| answer.url.to_string());
        let answered = answered.map_err(gix::Error::from_error)?;
        let tail = url.strip_prefix(base_url).unwrap_or_default();
        if answered != url && !tail.is_empty() {
            self.moved = answered.strip_suffix(tail).map(str::to_owned);
        }
        Ok(GetResponse {
            headers: Headers::of(&exchange),
            body: Body::of(exchange),
        })
    }

    fn post(
        &mut self,
        url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _body: PostBodyDataKind,
    ) -> gix::Result<PostResponse<Headers, Body, Upload>> {
        let exchange = Exchange::new(
            self,
            self.ask(Method::POST, url, headers).map_err(gix::Error::from_error)?,
        );
        Ok(PostResponse {
            post_body: Upload(Arc::clone(&exchange)),
            headers: Headers::of(&exchange),
            body: Body::of(exchange),
        })
    }

    /// The client is configured already.
    fn configure(&mut self, _config: &dyn Any) -> gix::Result {
        Ok(())
    }

    fn redirected_base_url(&self) -> Option<String> {
        self.moved.clone()
    }
}

/// A request that is sent when its answer is first wanted.
#[derive(Debug)]
pub(super) struct Exchange {
    web: Arc<Web>,
    failure: Failure,
    ask: Ask,
    answer: Option<BufReader<Answer>>,
    /// Whether the body has gone its own way.
    taken: bool,
}

type Shared = Arc<Mutex<Exchange>>;

fn lock(exchange: &Shared) -> std::sync::MutexGuard<'_, Exchange> {
    exchange.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Exchange {
    fn new(http: &GitHttp, ask: Ask) -> Shared {
        Arc::new(Mutex::new(Self {
            web: Arc::clone(&http.web),
            failure: Arc::clone(&http.failure),
            ask,
            answer: None,
            taken: false,
        }))
    }

    fn answer(&mut self) -> io::Result<&Answer> {
        Ok(self.reader()?.get_ref())
    }

    fn reader(&mut self) -> io::Result<&mut BufReader<Answer>> {
        if self.answer.is_none() && !self.taken {
            let what = "asking the git server";
            let sent = self.web.with_retries(what, || self.web.send(&self.ask)?.check());
            let answer = sent.map_err(|error| keep(&self.failure, error))?;
            self.answer = Some(BufReader::new(answer));
        }
        self.answer.as_mut().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl Exchange {
    fn take_answer(&mut self) -> io::Result<BufReader<Answer>> {
        self.reader()?;
        self.taken = true;
        self.answer.take().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// What the library posts.
#[derive(Debug)]
pub(super) struct Upload(Shared);

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).ask.body.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The answer's headers, a line each.
#[derive(Debug)]
pub(super) struct Headers {
    exchange: Shared,
    lines: Option<Cursor<Vec<u8>>>,
}

impl Headers {
    fn of(exchange: &Shared) -> Self {
        Self {
            exchange: Arc::clone(exchange),
            lines: None,
        }
    }

    fn lines(&mut self) -> io::Result<&mut Cursor<Vec<u8>>> {
        if self.lines.is_none() {
            let mut text = Vec::new();
            for (name, value) in lock(&self.exchange).answer()?.headers() {
                text.extend_from_slice(name.as_str().as_bytes());
                text.extend_from_slice(b": ");
                text.extend_from_slice(value.as_bytes());
                text.push(b'\n');
            }
            self.lines = Some(Cursor::new(text));
        }
        self.lines.as_mut().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl Read for Headers {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.lines()?.read(buffer)
    }
}

impl BufRead for Headers {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.lines()?.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if let Some(lines) = &mut self.lines {
            lines.consume(amount);
        }
    }
}

/// The answer's body.
#[derive(Debug)]
pub(super) struct Body {
    exchange: Shared,
    reader: Option<BufReader<Answer>>,
}

impl Body {
    fn of(exchange: Shared) -> Self {
        Self { exchange, reader: None }
    }

    fn reader(&mut self) -> io::Result<&mut BufReader<Answer>> {
        if self.reader.is_none() {
            self.reader = Some(lock(&self.exchange).take_answer()?);
        }
        self.reader.as_mut().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut available = self.fill_buf()?;
        let count = available.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Body {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let (failure, cancel) = {
            let exchange = lock(&self.exchange);
            (Arc::clone(&exchange.failure), exchange.web.cancel.clone())
        };
        cancel.check().map_err(|cancelled| keep(&failure, cancelled.into()))?;
        let reader = self.reader()?;
        let line = reader.get_ref().line.clone();
        let filled = reader.fill_buf();
        filled.map_err(|error| keep(&failure, RemoteError::transport(line, &error)))
    }

    fn consume(&mut self, amount: usize) {
        if let Some(reader) = &mut self.reader {
            reader.consume(amount);
        }
    }
}
