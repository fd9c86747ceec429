//! The library's HTTP client, which is ours: every request goes through [`Web`], on the thread that waits for it.
//!
//! The answer with the object is kept aside with its body unread, and so is what went wrong: the library would wrap both.

use std::future::{Future, ready};
use std::io::Read;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use reqwest::header::HeaderName;
use reqwest::{StatusCode, Url};

use super::error::{Failure, Purpose, Refusal};
use crate::http::client::is_internal;
use crate::remote::web::{Answer, Ask, Web};
use crate::remote::{AddressError, RemoteError};

/// Answers that are no object are small.
const MOST_TEXT: u64 = 1 << 20;

/// Marks the request for the object; all others are for credentials.
#[derive(Clone, Copy, Debug)]
pub(super) struct ForObject;

/// What came of a conversation.
#[derive(Debug)]
pub(super) enum Asked {
    /// The object's head.
    Object(Box<Answer>),
    /// Its last request got nothing, or something else.
    Failed(Failure),
}

/// Where that waits until the library has returned.
#[derive(Debug, Default)]
pub(super) struct Exchange(Mutex<Option<Asked>>);

impl Exchange {
    pub(super) fn take(&self) -> Option<Asked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, asked: Option<Asked>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = asked;
    }
}

/// Sends what the library wants to have sent.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    web: Arc<Web>,
    /// For the machine's own metadata service, which answers at once or is not there.
    metadata: Arc<Web>,
    exchange: Arc<Exchange>,
}

impl Sender {
    pub(super) fn new(web: &Arc<Web>, exchange: &Arc<Exchange>) -> Self {
        Self {
            web: Arc::clone(web),
            metadata: Arc::new(web.for_metadata()),
            exchange: Arc::clone(exchange),
        }
    }

    fn answer(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let purpose = match request.extensions().get::<ForObject>() {
            Some(ForObject) => Purpose::Object,
            None => Purpose::Credentials,
        };
        match self.send(request, purpose) {
            Ok(response) => Ok(response),
            Err(error) => {
                let shown = std::io::Error::other(error.to_string());
                let failure = Failure::Unanswered { purpose, error };
                self.exchange.put(Some(Asked::Failed(failure)));
                // Another try is ours to decide.
                Err(HttpError::new(HttpErrorKind::Unknown, shown))
            }
        }
    }

    fn send(&self, request: HttpRequest, purpose: Purpose) -> Result<HttpResponse, RemoteError> {
        let (parts, body) = request.into_parts();
        let text = parts.uri.to_string();
        let url = Url::parse(&text).map_err(|error| AddressError {
            url: crate::redact::location(&text).into_owned(),
            reason: error.to_string(),
        })?;
        let web = match purpose {
            Purpose::Credentials if is_internal(&url) || url.host_str() == Some("metadata.google.internal") => {
                &self.metadata
            }
            Purpose::Credentials | Purpose::Object => &self.web,
        };
        let mut ask = Ask::new(parts.method, url);
        ask.headers.extend(parts.headers);
        ask.body = body.as_bytes().map(|bytes| bytes.to_vec()).unwrap_or_default();
        let mut answer = web.send_unfollowed(&ask)?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let succeeded = (200..300).contains(&status);
        let content = match (purpose, succeeded) {
            (Purpose::Object, true) => {
                self.exchange.put(Some(Asked::Object(Box::new(answer))));
                Vec::new()
            }
            (Purpose::Credentials, true) => {
                self.exchange.put(None);
                text_of(&mut answer)?
            }
            (_, false) => {
                let content = text_of(&mut answer)?;
                let failure = Failure::Refused {
                    purpose,
                    refusal: refusal(&answer, &content),
                };
                self.exchange.put(Some(Asked::Failed(failure)));
                content
            }
        };
        let mut response = HttpResponse::new(HttpResponseBody::from(content));
        // A status of ours was one of theirs before.
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        *response.headers_mut() = headers;
        Ok(response)
    }
}

fn text_of(answer: &mut Answer) -> Result<Vec<u8>, RemoteError> {
    let mut content = Vec::new();
    let read = answer.by_ref().take(MOST_TEXT).read_to_end(&mut content);
    read.map_err(|error| RemoteError::transport(answer.line.clone(), &error))?;
    Ok(content)
}

fn refusal(answer: &Answer, content: &[u8]) -> Refusal {
    let header = |name: &'static str| answer.header(&HeaderName::from_static(name)).map(str::to_owned);
    let region = header("x-amz-bucket-region");
    Refusal::new(
        answer.line.clone(),
        answer.status(),
        answer.retry_after(),
        region,
        content,
    )
}

impl HttpService for Sender {
    fn call<'life0, 'async_trait>(
        &'life0 self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(ready(self.answer(request)))
    }
}

impl HttpConnector for Sender {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}
