//! Images into a registry: blobs first, the manifest last.
//!
//! A blob is sent in one request (`PUT` with its digest); where a registry refuses that, as `PATCH` and an empty `PUT`.
//! After a failure nobody knows what the registry has, so it is asked; and a broken upload session is never continued,
//! because bytes would be stored twice.

use std::io::{self, Read};
use std::sync::{Arc, PoisonError};

use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use reqwest::{Method, Url};

use super::auth::Access;
use super::location;
use super::message::{Body, Reopen, Request, Response};
use super::{Client, Inner, Meter, RegistryError, same_registry};
use crate::cancel::Cancel;
use crate::http::retry::describe;
use crate::http::{LocationError, host_of, redirect};
use crate::oci::{Descriptor, Digest, MediaType, Reference};
use crate::progress::{Event, Transfer, TransferEnd};
use crate::store::{Blob, Cause};

/// Upload sessions that may die before the registry is given up.
const MAX_SESSIONS: u32 = 3;

const DIGEST_HEADER: HeaderName = HeaderName::from_static("docker-content-digest");

impl Client {
    /// Brings a blob that lies on disk into the repository of `target`; see [`Client::bring_blob`].
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub fn push_blob(
        &self,
        target: &Reference,
        blob: &Blob,
        mount_from: Option<&Reference>,
    ) -> Result<TransferEnd, RegistryError> {
        self.bring_blob(target, blob.descriptor(), &|| Ok(blob.clone()), mount_from)
    }

    /// Brings a blob into the repository of `target`, unless it is there. If `mount_from` is in the same registry, it is
    /// asked to link the blob from there. `content` is asked for the bytes only if they must travel.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub fn bring_blob(
        &self,
        target: &Reference,
        blob: &Descriptor,
        content: &dyn Fn() -> Result<Blob, Cause>,
        mount_from: Option<&Reference>,
    ) -> Result<TransferEnd, RegistryError> {
        let (transfer, digest, size) = (Transfer::Upload, &blob.digest, blob.size);
        self.0.progress.event(Event::TransferStart { transfer, digest, size });
        let push = Push::new(&self.0, target);
        let pushed = push.blob(blob, content, mount_from);
        let end = *pushed.as_ref().unwrap_or(&TransferEnd::Failed);
        self.0.progress.event(Event::TransferEnd { transfer, digest, end });
        pushed
    }

    /// Puts a manifest or an index under the tag of `target`, or under its digest when it has no tag. One that is there
    /// already is not sent again. All its blobs must be there.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub fn put_manifest(
        &self,
        target: &Reference,
        bytes: &[u8],
        media_type: &MediaType,
    ) -> Result<Digest, RegistryError> {
        Push::new(&self.0, target).manifest(bytes, media_type)
    }

    /// Finds out whether we may push to the repository of `target`, leaving nothing there.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub fn check_push(&self, target: &Reference) -> Result<(), RegistryError> {
        let push = Push::new(&self.0, target);
        let what = format!("checking the right to push to {}", target.name());
        let session = push.with_retries(&what, || push.begin())?;
        // Many registries do not let people delete; an unused session expires.
        let _ = push.call(&push.inner.request(Method::DELETE, session));
        Ok(())
    }
}

/// Requests to one repository.
struct Push<'a> {
    inner: &'a Inner,
    target: &'a Reference,
    access: Access,
}

/// What became of an attempt to upload.
enum Mount {
    Done,
    /// The registry would rather have the bytes, here.
    Session(Url),
    Refused,
}

impl<'a> Push<'a> {
    fn new(inner: &'a Inner, target: &'a Reference) -> Self {
        Self {
            inner,
            target,
            access: Access::push(target.registry(), target.repository()),
        }
    }

    fn blob(
        &self,
        blob: &Descriptor,
        content: &dyn Fn() -> Result<Blob, Cause>,
        mount_from: Option<&Reference>,
    ) -> Result<TransferEnd, RegistryError> {
        if self.is_known(&blob.digest) {
            return Ok(TransferEnd::Exists);
        }
        let end = self.blob_unknown(blob, content, mount_from)?;
        let key = (self.target.name(), blob.digest);
        let mut present = self.inner.present.lock().unwrap_or_else(PoisonError::into_inner);
        present.insert(key);
        Ok(end)
    }

    fn blob_unknown(
        &self,
        blob: &Descriptor,
        content: &dyn Fn() -> Result<Blob, Cause>,
        mount_from: Option<&Reference>,
    ) -> Result<TransferEnd, RegistryError> {
        let what = format!("looking for {} in {}", blob.digest, self.target.name());
        if self.with_retries(&what, || self.exists(blob))? {
            return Ok(TransferEnd::Exists);
        }
        let elsewhere = |from: &&Reference| same_registry(from, self.target) && from.name() != self.target.name();
        let session = match mount_from.filter(elsewhere) {
            None => None,
            Some(from) => match self.mount(&blob.digest, from)? {
                Mount::Done => return Ok(TransferEnd::Mounted),
                Mount::Session(session) => Some(session),
                Mount::Refused => None,
            },
        };
        let content = content().map_err(|source| RegistryError::Content {
            digest: blob.digest,
            source,
        })?;
        self.upload(&content, session)?;
        Ok(TransferEnd::Done)
    }

    fn is_known(&self, digest: &Digest) -> bool {
        let present = self.inner.present.lock().unwrap_or_else(PoisonError::into_inner);
        present.contains(&(self.target.name(), *digest))
    }

    /// Refusals count as "no": the upload that follows tells the reason, which an answer without body cannot.
    fn exists(&self, blob: &Descriptor) -> Result<bool, RegistryError> {
        let url = self.url(&format!("blobs/{}", blob.digest))?;
        let response = match self.call(&self.inner.request(Method::HEAD, url)) {
            Err(RegistryError::Unauthorized { .. }) => return Ok(false),
            other => other?,
        };
        match response.status() {
            200 => Ok(length(&response).is_none_or(|length| length == blob.size)),
            408 | 429 | 500..=599 => response.expect(&[200]).map(|_| true),
            _ => Ok(false),
        }
    }

    /// Any refusal only means that the bytes must travel. The right to read the source may be what is missing.
    fn mount(&self, digest: &Digest, from: &Reference) -> Result<Mount, RegistryError> {
        let mut url = self.url("blobs/uploads/")?;
        url.query_pairs_mut()
            .append_pair("mount", &digest.to_string())
            .append_pair("from", from.repository());
        let access = self.access.clone().and_pull(from.repository());
        let request = self.inner.request(Method::POST, url);
        let response = match self.inner.call(&access, &request) {
            Err(cancelled @ RegistryError::Cancelled(_)) => return Err(cancelled),
            Err(_) => return Ok(Mount::Refused),
            Ok(response) => response,
        };
        match response.status() {
            201 => Ok(Mount::Done),
            202 => Ok(next_location(&response).map_or(Mount::Refused, Mount::Session)),
            _ => Ok(Mount::Refused),
        }
    }

    /// Sends the bytes, in a new session after each failure. `session` is one that is open already.
    fn upload(&self, blob: &Blob, mut session: Option<Url>) -> Result<(), RegistryError> {
        let what = format!("uploading {} to {}", blob.digest(), self.target.name());
        let mut attempt = 1;
        let mut dead_sessions = 0;
        loop {
            let error = match self.upload_once(blob, session.take()) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if is_session_dead(&error) && dead_sessions + 1 < MAX_SESSIONS {
                dead_sessions += 1;
                continue;
            }
            if leaves_doubt(&error) && self.exists(blob.descriptor()).unwrap_or(false) {
                return Ok(());
            }
            attempt += 1;
            self.inner.pause(&what, attempt, self.inner.options.push_retry, error)?;
        }
    }

    fn upload_once(&self, blob: &Blob, session: Option<Url>) -> Result<(), RegistryError> {
        let session = session.map_or_else(|| self.begin(), Ok)?;
        let host = host_of(&session);
        if self.refuses_monolithic(&host) {
            return self.patch_and_put(blob, &session);
        }
        match self.put_whole(blob, &session) {
            Err(error) if is_monolithic_refused(&error) => {
                let mut hosts = self
                    .inner
                    .refuses_monolithic
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                hosts.insert(host);
                drop(hosts);
                self.patch_and_put(blob, &self.begin()?)
            }
            other => other,
        }
    }

    fn refuses_monolithic(&self, host: &str) -> bool {
        let hosts = self
            .inner
            .refuses_monolithic
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        hosts.contains(host)
    }

    /// Opens an upload session.
    fn begin(&self) -> Result<Url, RegistryError> {
        let request = self.inner.request(Method::POST, self.url("blobs/uploads/")?);
        let response = self.call(&request)?.expect(&[202, 200, 201])?;
        next_location(&response).map_err(|source| RegistryError::Location {
            request: response.line.clone(),
            source,
        })
    }

    fn put_whole(&self, blob: &Blob, session: &Url) -> Result<(), RegistryError> {
        let url = location::with_digest(session, blob.digest());
        let request = self.data(Method::PUT, url, blob);
        self.call(&request)?.expect(&[201, 200, 202, 204])?;
        Ok(())
    }

    fn patch_and_put(&self, blob: &Blob, session: &Url) -> Result<(), RegistryError> {
        let request = self.data(Method::PATCH, session.clone(), blob);
        let response = self.call(&request)?.expect(&[202, 200, 201, 204])?;
        let session = match next_location(&response) {
            Err(LocationError::Missing) => session.clone(),
            other => other.map_err(|source| RegistryError::Location {
                request: response.line.clone(),
                source,
            })?,
        };
        let url = location::with_digest(&session, blob.digest());
        let request = Request::new(Method::PUT, url).limit(self.inner.options.timeouts.commit);
        self.call(&request)?.expect(&[201, 200, 202, 204])?;
        Ok(())
    }

    fn data(&self, method: Method, url: Url, blob: &Blob) -> Request {
        let timeouts = self.inner.options.timeouts;
        // The time limit of a request with a body covers the body: a slow line must not end it.
        let sending = std::time::Duration::from_secs(blob.size() / SLOWEST_LINE);
        Request::new(method, url)
            .limit(timeouts.commit + sending)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))
            .body(Body::Stream {
                open: self.reopen(blob),
                size: blob.size(),
            })
    }

    fn reopen(&self, blob: &Blob) -> Reopen {
        let blob = blob.clone();
        let progress = Arc::clone(&self.inner.progress);
        let cancel = self.inner.cancel.clone();
        Arc::new(move || {
            let file = blob.open().map_err(io::Error::other)?;
            Ok(Box::new(Metered {
                file,
                sent: 0,
                meter: Meter::new(&progress, Transfer::Upload, *blob.digest()),
                cancel: cancel.clone(),
            }))
        })
    }

    fn manifest(&self, bytes: &[u8], media_type: &MediaType) -> Result<Digest, RegistryError> {
        let digest = Digest::of(bytes);
        let identifier = self.target.tag().map_or_else(|| digest.to_string(), str::to_owned);
        let url = self.url(&format!("manifests/{identifier}"))?;
        // Registries with immutable tags refuse even what they have.
        if self.has_manifest(&url, &digest, media_type)? {
            return Ok(digest);
        }
        let what = format!("pushing the manifest of {}", self.target);
        let mut attempt = 1;
        loop {
            let error = match self.put_manifest_once(&url, bytes, media_type, &digest) {
                Ok(()) => return Ok(digest),
                Err(error) if self.inner.options.ignore_immutable_tags && error.is_immutable_tag() => {
                    self.inner.warn(&format!(
                        "{} exists, is immutable, and stays what it is: {}",
                        self.target,
                        describe(&error)
                    ));
                    return Ok(digest);
                }
                Err(error) => error,
            };
            if leaves_doubt(&error) && self.has_manifest(&url, &digest, media_type).unwrap_or(false) {
                return Ok(digest);
            }
            attempt += 1;
            self.inner.pause(&what, attempt, self.inner.options.push_retry, error)?;
        }
    }

    fn put_manifest_once(
        &self,
        url: &Url,
        bytes: &[u8],
        media_type: &MediaType,
        digest: &Digest,
    ) -> Result<(), RegistryError> {
        let content_type = HeaderValue::try_from(media_type.to_string());
        let content_type = content_type.unwrap_or_else(|_| HeaderValue::from_static("application/json"));
        let request = Request::new(Method::PUT, url.clone())
            .limit(self.inner.options.timeouts.commit)
            .header(CONTENT_TYPE, content_type)
            .body(Body::Bytes(bytes.to_vec()));
        let response = self.call(&request)?.expect(&[201, 200, 202])?;
        match claimed_digest(&response) {
            Some(stored) if stored != *digest => Err(RegistryError::WrongDigest {
                request: response.line.clone(),
                expected: Box::new(*digest),
                actual: stored.to_string(),
            }),
            _ => Ok(()),
        }
    }

    /// Whether the registry has exactly this manifest there. Refusals count as "no".
    fn has_manifest(&self, url: &Url, digest: &Digest, media_type: &MediaType) -> Result<bool, RegistryError> {
        let accept = HeaderValue::try_from(media_type.to_string());
        let accept = accept.unwrap_or_else(|_| HeaderValue::from_static("*/*"));
        let request = self.inner.request(Method::HEAD, url.clone());
        match self.call(&request.header(reqwest::header::ACCEPT, accept)) {
            Ok(response) => Ok(response.status() == 200 && claimed_digest(&response) == Some(*digest)),
            Err(cancelled @ RegistryError::Cancelled(_)) => Err(cancelled),
            Err(_) => Ok(false),
        }
    }

    fn call(&self, request: &Request) -> Result<Response, RegistryError> {
        self.inner.call(&self.access, request)
    }

    fn url(&self, path: &str) -> Result<Url, RegistryError> {
        self.inner.url(&self.access, path)
    }

    fn with_retries<T>(
        &self,
        what: &str,
        action: impl FnMut() -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        self.inner.with_retries(what, self.inner.options.push_retry, action)
    }
}

/// Bytes per second below which a line counts as broken.
const SLOWEST_LINE: u64 = 32 << 10;

/// A file on its way, watched.
struct Metered {
    file: std::fs::File,
    sent: u64,
    meter: Meter,
    cancel: Cancel,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.cancel.check().map_err(io::Error::other)?;
        let count = self.file.read(buffer)?;
        self.sent += count as u64;
        self.meter.tell(self.sent);
        Ok(count)
    }
}

fn next_location(response: &Response) -> Result<Url, LocationError> {
    let text = response.header(&LOCATION).ok_or(LocationError::Missing)?;
    redirect::resolve(&response.url, text)
}

fn length(response: &Response) -> Option<u64> {
    response.header(&CONTENT_LENGTH)?.parse().ok()
}

fn claimed_digest(response: &Response) -> Option<Digest> {
    response.header(&DIGEST_HEADER)?.parse().ok()
}

/// The registry forgot the session or spoiled it; several replicas without a common secret do that.
fn is_session_dead(error: &RegistryError) -> bool {
    let known = [
        "BLOB_UPLOAD_UNKNOWN",
        "BLOB_UPLOAD_INVALID",
        "RANGE_INVALID",
        "DIGEST_INVALID",
        "SIZE_INVALID",
    ];
    error.code().is_some_and(|code| known.contains(&code)) || error.status() == Some(416)
}

/// A request that got no answer, or an answer from a proxy, may have been done all the same.
fn leaves_doubt(error: &RegistryError) -> bool {
    matches!(error, RegistryError::Transport(_)) || error.status().is_some_and(|status| status >= 500)
}

fn is_monolithic_refused(error: &RegistryError) -> bool {
    matches!(error, RegistryError::Answer { .. })
        && matches!(error.status(), Some(400 | 404 | 405 | 411 | 501))
        && !is_session_dead(error)
        && !matches!(
            error.code(),
            Some("NAME_UNKNOWN" | "NAME_INVALID" | "DENIED" | "UNAUTHORIZED")
        )
}
