//! Images out of a registry: which manifest, its config, its blobs.

use std::sync::Arc;

use base64::Engine as _;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, HeaderValue, RANGE,
};
use reqwest::{Method, Url};

use super::auth::Access;
use super::kept;
use super::message::{Body, Response};
use super::mirror::{self, Place, PlaceKind, Places};
use super::{Client, Inner, Meter, RegistryError};
use crate::http::RequestLine;
use crate::http::retry::describe;
use crate::oci::{
    Descriptor, Digest, Digester, Document, ImageConfig, Index, Manifest, ManifestFormat, Platform, Raw, Reference,
    rank,
};
use crate::progress::{Event, Transfer, TransferEnd};
use crate::store::{Blob, IncomingWriter, StoreError};

/// The specification recommends this limit to registries.
const MAX_MANIFEST: u64 = 4 << 20;
const MAX_CONFIG: u64 = 8 << 20;

/// Indexes within indexes.
const MAX_DEPTH: u32 = 4;

/// A resumed download that got this far starts counting its failures anew.
const PROGRESS: u64 = 1 << 20;

/// No download begins more often than this, however much progress it makes.
const MAX_TRIES: u32 = 50;

/// Replicas of a registry may lag behind for a moment.
const TRIES_FOR_MISSING: u32 = 2;

/// A mirror that does not answer must not hold up what its registry has.
const MIRROR_RETRIES: u32 = 1;

const READ_SIZE: usize = 128 << 10;

const DIGEST_HEADER: HeaderName = HeaderName::from_static("docker-content-digest");

/// What a reference means for one platform.
#[derive(Clone, Debug)]
pub struct ResolvedImage {
    /// As asked for.
    pub reference: Reference,
    /// The platform's manifest, byte for byte.
    pub manifest: Raw<Manifest>,
    /// The image config.
    pub config: ImageConfig,
    /// The config byte for byte.
    pub config_bytes: Vec<u8>,
    /// The index that the manifest was chosen from, if there was one.
    pub index: Option<Raw<Index>>,
}

impl Client {
    /// Finds the manifest and the config that `reference` means on `platform`. Everything is verified.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub fn resolve(&self, reference: &Reference, platform: &Platform) -> Result<ResolvedImage, RegistryError> {
        let inner = &self.0;
        inner.progress.event(Event::Resolving(reference));
        let resolved = inner.at_places(reference, |pull| pull.resolve(platform))?;
        let digest = resolved.manifest.digest();
        inner.progress.event(Event::Resolved(reference, digest));
        Ok(resolved)
    }

    /// Downloads the blob that `writer` waits for, from the repository of `reference`. Readers of the blob follow while it
    /// comes, and get the error if it does not. A download that breaks off is resumed.
    ///
    /// # Errors
    /// See [`RegistryError`]; `writer` was failed with the same error.
    pub fn download(&self, reference: &Reference, mut writer: IncomingWriter) -> Result<Blob, Arc<RegistryError>> {
        let descriptor = writer.descriptor().clone();
        let digest = &descriptor.digest;
        let progress = &self.0.progress;
        let transfer = Transfer::Download;
        progress.event(Event::TransferStart {
            transfer,
            digest,
            size: descriptor.size,
        });
        let kept = kept::take_blob(&self.0, &mut writer);
        let is_kept = kept.is_some();
        let fetched = kept.map_or_else(
            || {
                self.0.at_places(reference, |pull| {
                    pull.fetch(&descriptor, &mut writer)?;
                    writer.finish().map_err(|error| pull.unusable(digest, error))
                })
            },
            Ok,
        );
        let end = match &fetched {
            Ok(_) if is_kept => TransferEnd::Exists,
            Ok(_) => TransferEnd::Done,
            Err(_) => TransferEnd::Failed,
        };
        progress.event(Event::TransferEnd { transfer, digest, end });
        fetched.map_err(|error| {
            let error = Arc::new(error);
            writer.fail(Arc::clone(&error) as crate::store::Cause);
            error
        })
    }
}

/// One platform's image, fetched.
struct Chosen {
    manifest: Raw<Manifest>,
    config: ImageConfig,
    config_bytes: Vec<u8>,
}

/// Requests to one repository.
pub(super) struct Pull<'a> {
    pub(super) inner: &'a Inner,
    pub(super) reference: &'a Reference,
    access: Access,
    retries: u32,
}

impl Inner {
    /// Does `action` at one place after the other until it works. A download goes on elsewhere with what it has.
    fn at_places<T>(
        &self,
        reference: &Reference,
        mut action: impl FnMut(&Pull<'_>) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let Places { first, last } = mirror::places(&self.options, reference);
        for place in first {
            let error = match action(&Pull::new(self, reference, &place)) {
                Err(error) if !matches!(error, RegistryError::Cancelled(_)) => error,
                end => return end,
            };
            let text = format!("no luck at the mirror {}: {}", place.registry, describe(&error));
            self.progress.event(Event::Info(&text));
        }
        action(&Pull::new(self, reference, &last))
    }
}

impl<'a> Pull<'a> {
    fn new(inner: &'a Inner, reference: &'a Reference, place: &Place) -> Self {
        let retries = inner.options.download_retry;
        Self {
            inner,
            reference,
            access: Access::pull(&place.registry, &place.repository),
            retries: match place.kind {
                PlaceKind::Origin => retries,
                PlaceKind::Mirror => retries.min(MIRROR_RETRIES),
            },
        }
    }

    fn resolve(&self, platform: &Platform) -> Result<ResolvedImage, RegistryError> {
        let reference = self.reference;
        let document = self.document(&reference.identifier(), reference.digest())?;
        let mut from = None;
        let chosen = match document {
            Document::Manifest(manifest) => self.take_single(manifest, platform)?,
            Document::Index(index) => {
                let index = from.insert(index);
                let mut available = Vec::new();
                let chosen = self.choose(index.value(), platform, 1, &mut available)?;
                chosen.ok_or_else(|| RegistryError::NoPlatform {
                    reference: reference.to_string(),
                    wanted: Box::new(platform.clone()),
                    available,
                })?
            }
        };
        Ok(ResolvedImage {
            reference: reference.clone(),
            manifest: chosen.manifest,
            config: chosen.config,
            config_bytes: chosen.config_bytes,
            index: from,
        })
    }

    /// A manifest or an index. `expected` is the digest asked for, if it was one.
    fn document(&self, identifier: &str, expected: Option<&Digest>) -> Result<Document, RegistryError> {
        if let Some(kept) = kept::document(self, identifier, expected)? {
            return Ok(kept);
        }
        let what = format!("fetching the manifest of {}", self.reference);
        self.inner
            .with_retries(&what, self.retries, || self.document_once(identifier, expected))
    }

    fn document_once(&self, identifier: &str, expected: Option<&Digest>) -> Result<Document, RegistryError> {
        let url = self.inner.url(&self.access, &format!("manifests/{identifier}"))?;
        let request = self.inner.request(Method::GET, url).header(ACCEPT, acceptable());
        let response = self.inner.call(&self.access, &request)?.expect(&[200])?;
        let line = response.line.clone();
        let content_type = response.header(&CONTENT_TYPE).map(str::to_owned);
        let claimed = response
            .header(&DIGEST_HEADER)
            .and_then(|text| text.parse::<Digest>().ok());
        let bytes = response.bytes(MAX_MANIFEST)?;
        self.check_digest(&line, &bytes, expected, claimed)?;
        Document::parse(bytes, content_type.as_deref()).map_err(|source| RegistryError::Manifest {
            request: line,
            source: Box::new(source),
        })
    }

    /// The digest that the registry has for a tag; `None` when it does not say.
    pub(super) fn digest_of(&self, identifier: &str) -> Result<Option<Digest>, RegistryError> {
        let url = self.inner.url(&self.access, &format!("manifests/{identifier}"))?;
        let request = self.inner.request(Method::HEAD, url).header(ACCEPT, acceptable());
        match self.inner.call(&self.access, &request) {
            Ok(response) if response.status() == 200 => {
                Ok(response.header(&DIGEST_HEADER).and_then(|text| text.parse().ok()))
            }
            Err(cancelled @ RegistryError::Cancelled(_)) => Err(cancelled),
            // What is wrong comes to light when the manifest itself is asked for.
            Ok(_) | Err(_) => Ok(None),
        }
    }

    /// A tag promises no digest, and some proxies rewrite documents without their header: there a difference is a warning.
    fn check_digest(
        &self,
        line: &RequestLine,
        bytes: &[u8],
        expected: Option<&Digest>,
        claimed: Option<Digest>,
    ) -> Result<(), RegistryError> {
        if let Some(expected) = expected {
            let actual = digest_like(expected, bytes);
            if actual != *expected {
                return Err(RegistryError::WrongDigest {
                    request: line.clone(),
                    expected: Box::new(*expected),
                    actual: actual.to_string(),
                });
            }
        }
        if let Some(claimed) = claimed {
            let actual = digest_like(&claimed, bytes);
            if actual != claimed {
                let text = format!("{line}: the registry claims the digest {claimed} for a manifest that has {actual}");
                self.inner.warn(&text);
            }
        }
        Ok(())
    }

    /// There is no choice, so the image is taken whatever it runs on.
    fn take_single(&self, manifest: Raw<Manifest>, wanted: &Platform) -> Result<Chosen, RegistryError> {
        let chosen = self.with_config(manifest)?;
        let offered = &chosen.config.platform;
        if wanted.preference(offered).is_none() {
            let reference = self.reference;
            self.inner.warn(&format!(
                "{reference} is for {offered}, not for {wanted}; there is no other"
            ));
        }
        Ok(chosen)
    }

    /// The best entry of `index`; what does not suit is added to `available`.
    fn choose(
        &self,
        index: &Index,
        wanted: &Platform,
        depth: u32,
        available: &mut Vec<String>,
    ) -> Result<Option<Chosen>, RegistryError> {
        if depth > MAX_DEPTH {
            return Err(RegistryError::Nested {
                reference: self.reference.to_string(),
                limit: MAX_DEPTH,
            });
        }
        for entry in rank(index, wanted, available) {
            let identifier = entry.digest.to_string();
            let chosen = match self.document(&identifier, Some(&entry.digest))? {
                Document::Index(nested) => self.choose(nested.value(), wanted, depth + 1, available)?,
                Document::Manifest(manifest) => {
                    let chosen = self.with_config(manifest)?;
                    let suits = entry.platform.is_some() || wanted.preference(&chosen.config.platform).is_some();
                    if !suits {
                        available.push(chosen.config.platform.to_string());
                    }
                    suits.then_some(chosen)
                }
            };
            if chosen.is_some() {
                return Ok(chosen);
            }
        }
        Ok(None)
    }

    fn with_config(&self, manifest: Raw<Manifest>) -> Result<Chosen, RegistryError> {
        let descriptor = &manifest.value().config;
        let reference = self.reference.to_string();
        if !descriptor.is_image_config() {
            return Err(RegistryError::NotAnImage {
                reference,
                media_type: descriptor.media_type.to_string(),
            });
        }
        let config_bytes = self.small_blob(descriptor)?;
        let config = ImageConfig::parse(&config_bytes).map_err(|source| RegistryError::Config {
            reference,
            digest: Box::new(descriptor.digest),
            source,
        })?;
        Ok(Chosen {
            manifest,
            config,
            config_bytes,
        })
    }

    /// A blob that is read into memory.
    fn small_blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, RegistryError> {
        if let Some(bytes) = inline(descriptor).or_else(|| kept::config(self.inner, descriptor)) {
            return Ok(bytes);
        }
        let what = format!("fetching the config of {}", self.reference);
        self.inner.with_retries(&what, self.retries, || {
            let url = self.blob_url(&descriptor.digest)?;
            let request = self.inner.request(Method::GET, url).header(ACCEPT_ENCODING, identity());
            let response = self.inner.call(&self.access, &request)?.expect(&[200])?;
            let line = response.line.clone();
            let bytes = response.bytes(MAX_CONFIG)?;
            let actual = digest_like(&descriptor.digest, &bytes);
            match actual == descriptor.digest {
                true => Ok(bytes),
                false => Err(RegistryError::WrongDigest {
                    request: line,
                    expected: Box::new(descriptor.digest),
                    actual: actual.to_string(),
                }),
            }
        })
    }

    /// Fills `writer` with verified content.
    fn fetch(&self, descriptor: &Descriptor, writer: &mut IncomingWriter) -> Result<(), RegistryError> {
        if let Some(bytes) = inline(descriptor) {
            let taken = writer.append(&bytes).and_then(|()| writer.verify());
            return taken.map_err(|error| self.unusable(&descriptor.digest, error));
        }
        let url = self.blob_url(&descriptor.digest)?;
        match self.fetch_from(&url, writer) {
            // A foreign layer lies elsewhere, and nobody there knows us.
            Err(error) if error.status() == Some(404) && !descriptor.urls.is_empty() => {
                let foreign = descriptor.urls.iter().filter_map(|url| Url::parse(url).ok());
                let mut foreign = foreign.filter(|url| url.scheme() == "https");
                match foreign.find_map(|url| self.fetch_from(&url, writer).ok()) {
                    Some(()) => Ok(()),
                    None => Err(error),
                }
            }
            other => other,
        }
    }

    /// Asks again and again, each time for what is still missing, and always the first URL: the one it redirects to
    /// is signed and expires.
    fn fetch_from(&self, url: &Url, writer: &mut IncomingWriter) -> Result<(), RegistryError> {
        let what = format!("downloading {}", writer.descriptor().digest);
        let mut meter = Meter::new(&self.inner.progress, Transfer::Download, writer.descriptor().digest);
        let mut attempt = 1;
        let mut missing = 0;
        let mut ranges = Ranges::Ask;
        let mut started_over = false;
        for _ in 0..MAX_TRIES {
            let before = writer.written();
            let result = self.fetch_once(url, writer, &mut ranges, &mut meter);
            if writer.written() >= before + PROGRESS {
                attempt = 1;
            }
            let error = match result.and_then(|()| self.verify(writer)) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            attempt += 1;
            match &error {
                RegistryError::Answer { answer, .. } if answer.status == 404 && missing < TRIES_FOR_MISSING => {
                    missing += 1;
                    self.inner.sleep(self.inner.options.backoff.first)?;
                }
                // Bad bytes are not resumed from; whether they may be taken back the readers decide.
                RegistryError::Store { .. } if !started_over && self.start_over(writer)? => {
                    started_over = true;
                    self.inner.progress.event(Event::Retry {
                        what: &what,
                        cause: &describe(&error),
                        attempt,
                        wait: std::time::Duration::ZERO,
                    });
                }
                _ => self.inner.pause(&what, attempt, self.retries, error)?,
            }
        }
        Err(RegistryError::CutShort {
            request: RequestLine::new(&Method::GET, url),
            received: writer.written(),
            size: writer.descriptor().size,
        })
    }

    fn fetch_once(
        &self,
        url: &Url,
        writer: &mut IncomingWriter,
        ranges: &mut Ranges,
        meter: &mut Meter,
    ) -> Result<(), RegistryError> {
        let (size, from) = (writer.descriptor().size, writer.written());
        if from == size && size > 0 {
            return Ok(());
        }
        let mut request = self.inner.request(Method::GET, url.clone()).body(Body::None);
        request = request.header(ACCEPT_ENCODING, identity());
        if from > 0 && *ranges == Ranges::Ask {
            let range = HeaderValue::try_from(format!("bytes={from}-"));
            request = request.header(RANGE, range.unwrap_or_else(|_| HeaderValue::from_static("bytes=0-")));
        }
        let response = self.inner.call(&self.access, &request)?;
        if response.status() == 416 {
            // The next try asks for the whole and skips what is here.
            *ranges = Ranges::Never;
        }
        let mut response = response.expect(&[200, 206])?;
        let skip = match response.status() {
            206 if starts_at(&response, from, size) => 0,
            206 => {
                *ranges = Ranges::Never;
                return Err(cut_short(&response, writer));
            }
            _ => from,
        };
        check_length(&response, size, from, skip)?;
        self.copy(&mut response, writer, skip, meter)
    }

    /// Appends the body after its first `skip` bytes, which are here already.
    fn copy(
        &self,
        response: &mut Response,
        writer: &mut IncomingWriter,
        mut skip: u64,
        meter: &mut Meter,
    ) -> Result<(), RegistryError> {
        let digest = writer.descriptor().digest;
        let mut buffer = vec![0; READ_SIZE];
        loop {
            self.inner.cancel.check()?;
            let count = response.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            let old = usize::try_from(skip).unwrap_or(usize::MAX).min(count);
            skip -= old as u64;
            if old < count {
                let appended = writer.append(&buffer[old..count]);
                appended.map_err(|error| self.unusable(&digest, error))?;
                meter.tell(writer.written());
            }
        }
        match writer.written() == writer.descriptor().size {
            true => Ok(()),
            false => Err(cut_short(response, writer)),
        }
    }

    fn verify(&self, writer: &IncomingWriter) -> Result<(), RegistryError> {
        let verified = writer.verify();
        verified.map_err(|error| self.unusable(&writer.descriptor().digest, error))
    }

    fn start_over(&self, writer: &mut IncomingWriter) -> Result<bool, RegistryError> {
        let digest = writer.descriptor().digest;
        writer.restart().map_err(|error| self.unusable(&digest, error))
    }

    fn unusable(&self, digest: &Digest, error: StoreError) -> RegistryError {
        let url = self.blob_url(digest);
        match url {
            Ok(url) => RegistryError::Store {
                request: RequestLine::new(&Method::GET, &url),
                source: Box::new(error),
            },
            Err(error) => error,
        }
    }

    fn blob_url(&self, digest: &Digest) -> Result<Url, RegistryError> {
        self.inner.url(&self.access, &format!("blobs/{digest}"))
    }
}

/// Whether this server understands `Range`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ranges {
    Ask,
    Never,
}

/// All four in one header: registries answer with schema 1 or not at all where the right one is missing.
fn acceptable() -> HeaderValue {
    let formats = [ManifestFormat::Oci, ManifestFormat::Docker];
    let types = formats.map(|format| format!("{}, {}", format.index_type(), format.manifest_type()));
    HeaderValue::try_from(types.join(", ")).unwrap_or_else(|_| HeaderValue::from_static("*/*"))
}

/// Blobs are hashed as they are stored: nobody may compress them on the way.
const fn identity() -> HeaderValue {
    HeaderValue::from_static("identity")
}

pub(super) fn digest_like(like: &Digest, bytes: &[u8]) -> Digest {
    let mut digester = Digester::like(like);
    digester.update(bytes);
    digester.finish()
}

/// The content that a descriptor carries itself, if it is what the descriptor says.
fn inline(descriptor: &Descriptor) -> Option<Vec<u8>> {
    let data = descriptor.data.as_deref()?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(data).ok()?;
    let is_right =
        bytes.len() as u64 == descriptor.size && digest_like(&descriptor.digest, &bytes) == descriptor.digest;
    is_right.then_some(bytes)
}

/// Whether a partial answer continues where we are: `bytes 5-9/10`, or `*` for an unknown size.
fn starts_at(response: &Response, from: u64, size: u64) -> bool {
    response
        .header(&CONTENT_RANGE)
        .and_then(parse_content_range)
        .is_some_and(|(start, total)| start == from && total.is_none_or(|total| total == size))
}

fn parse_content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    let total = match total {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    Some((start.parse().ok()?, total))
}

/// A length that cannot be right is found before anything is read.
fn check_length(response: &Response, size: u64, from: u64, skip: u64) -> Result<(), RegistryError> {
    let length: Option<u64> = response.header(&CONTENT_LENGTH).and_then(|text| text.parse().ok());
    let expected = size - from + skip;
    match length {
        Some(length) if length > expected => Err(RegistryError::TooLarge {
            request: response.line.clone(),
            limit: expected,
        }),
        Some(length) if length < expected => Err(RegistryError::CutShort {
            request: response.line.clone(),
            received: size - expected + length,
            size,
        }),
        _ => Ok(()),
    }
}

fn cut_short(response: &Response, writer: &IncomingWriter) -> RegistryError {
    RegistryError::CutShort {
        request: response.line.clone(),
        received: writer.written(),
        size: writer.descriptor().size,
    }
}
