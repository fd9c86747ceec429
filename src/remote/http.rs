//! Files behind URLs.

use std::fs::Permissions;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use reqwest::header::{ACCEPT_ENCODING, ETAG, HeaderValue, IF_NONE_MATCH, LAST_MODIFIED};
use reqwest::{Method, Url};
use tempfile::NamedTempFile;

use super::kept::{Description, KeptDownloads, place_file};
use super::web::{Answer, Ask, Web};
use super::{AddressError, Fetched, RemoteError, UrlSource};
use crate::http::{RequestLine, retry};
use crate::oci::{Algorithm, Digest, Digester};
use crate::progress::{Event, Progress};

const READ_SIZE: usize = 128 << 10;

/// How often the progress of a download is told.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Downloads a file into the directory `into`, or takes the kept one if that is still right.
pub(super) fn download(
    web: &Web,
    kept: &KeptDownloads,
    source: &UrlSource,
    into: &Path,
) -> Result<Fetched, RemoteError> {
    let place = into.join(&source.name);
    let url = Url::parse(source.url()).map_err(|error| AddressError {
        url: source.to_string(),
        reason: error.to_string(),
    })?;
    let known = kept.find(source);
    if let Some(known) = &known
        && is_current(web, source, &url, known)?
        && kept.take(source, known, &place)
    {
        web.progress.event(Event::Info(&format!("{source} has not changed")));
        return fetched(source, known);
    }
    let what = format!("downloading {source}");
    let (file, description) = web.with_retries(&what, || {
        let answer = web.send(&get(&url))?.check()?;
        receive(web, kept, source, answer)
    })?;
    place_file(file.path(), &place).map_err(RemoteError::io("write", &place))?;
    let result = fetched(source, &description)?;
    if description.etag.is_some() || source.checksum.is_some() {
        // The next build downloads it again, no more.
        if let Err(error) = kept.keep(source, file, &description) {
            let text = format!("cannot keep {source} for the next build: {error}");
            web.progress.event(Event::Debug(&text));
        }
    }
    Ok(result)
}

/// Whether the kept download is what a new one would be. Content with the right checksum is right whatever the server
/// has now; for the rest the server is asked, without the body.
fn is_current(web: &Web, source: &UrlSource, url: &Url, known: &Description) -> Result<bool, RemoteError> {
    if let Some(checksum) = &source.checksum {
        return Ok(checksum.to_string() == known.digest);
    }
    let Some(etag) = &known.etag else {
        return Ok(false);
    };
    let Ok(value) = HeaderValue::try_from(etag) else {
        return Ok(false);
    };
    let ask = Ask::new(Method::HEAD, url.clone()).header(IF_NONE_MATCH, value);
    match web.send(&ask) {
        Ok(answer) => Ok(match answer.status() {
            304 => true,
            200 => answer.header(&ETAG) == Some(etag),
            // Some servers do not know HEAD; what is wrong otherwise the GET will tell.
            _ => false,
        }),
        Err(RemoteError::Cancelled(cancelled)) => Err(cancelled.into()),
        Err(_) => Ok(false),
    }
}

/// Content is hashed as it is stored: nobody may compress it on the way.
fn get(url: &Url) -> Ask {
    let ask = Ask::new(Method::GET, url.clone());
    ask.header(ACCEPT_ENCODING, HeaderValue::from_static("identity"))
}

/// Stores the body in a file that has all that the final one must have, and verifies it.
fn receive(
    web: &Web,
    kept: &KeptDownloads,
    source: &UrlSource,
    mut answer: Answer,
) -> Result<(NamedTempFile, Description), RemoteError> {
    let mut file = kept.begin()?;
    let (etag, modified) = (answer.header(&ETAG).map(str::to_owned), last_modified(&answer));
    let digest = copy_body(web, source, &mut answer, &mut file)?;
    let finish = file
        .as_file()
        .set_permissions(Permissions::from_mode(0o600))
        .and_then(|()| file.as_file().set_modified(file_time(modified)));
    finish.map_err(RemoteError::io("set mode and time of", file.path()))?;
    let description = Description {
        etag,
        modified: modified.map(Timestamp::as_second),
        digest: digest.to_string(),
    };
    Ok((file, description))
}

fn copy_body(
    web: &Web,
    source: &UrlSource,
    answer: &mut Answer,
    file: &mut NamedTempFile,
) -> Result<Digest, RemoteError> {
    let mut digester = Digester::new(Algorithm::Sha256);
    let mut checker = source.checksum.as_ref().map(Digester::like);
    let path = file.path().to_owned();
    let meter = write_body(web, &source.to_string(), answer, file, &path, |bytes| {
        digester.update(bytes);
        if let Some(checker) = &mut checker {
            checker.update(bytes);
        }
    })?;
    check_digest(source, checker)?;
    meter.finish();
    Ok(digester.finish())
}

/// Writes an answer's body into a file and shows it to `each` on the way. The download is over when the meter says so.
pub(super) fn write_body<'w>(
    web: &'w Web,
    name: &str,
    answer: &mut Answer,
    file: &mut impl Write,
    path: &Path,
    mut each: impl FnMut(&[u8]),
) -> Result<Meter<'w>, RemoteError> {
    let length = answer.length();
    let mut meter = Meter::start(web, name.to_owned(), length);
    let mut buffer = vec![0; READ_SIZE];
    let mut received = 0;
    loop {
        web.cancel.check()?;
        let count = match answer.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => {
                web.cancel.check()?;
                return Err(RemoteError::transport(answer.line.clone(), &error));
            }
        };
        file.write_all(&buffer[..count])
            .map_err(RemoteError::io("write", path))?;
        each(&buffer[..count]);
        received += count as u64;
        meter.tell(received);
    }
    check_length(&answer.line, received, length)?;
    Ok(meter)
}

fn check_length(line: &RequestLine, received: u64, length: Option<u64>) -> Result<(), RemoteError> {
    match length {
        Some(size) if size != received => Err(RemoteError::CutShort {
            request: line.clone(),
            received,
            size,
        }),
        _ => Ok(()),
    }
}

fn check_digest(source: &UrlSource, checker: Option<Digester>) -> Result<(), RemoteError> {
    let (Some(expected), Some(checker)) = (&source.checksum, checker) else {
        return Ok(());
    };
    let actual = checker.finish();
    match actual == *expected {
        true => Ok(()),
        false => Err(RemoteError::Checksum {
            source_name: source.to_string(),
            expected: expected.to_string(),
            actual: actual.to_string(),
        }),
    }
}

fn fetched(source: &UrlSource, description: &Description) -> Result<Fetched, RemoteError> {
    let digest = description.digest.parse().map_err(|error| AddressError {
        url: source.to_string(),
        reason: format!("{error}"),
    })?;
    let modified = description
        .modified
        .and_then(|second| Timestamp::from_second(second).ok());
    Ok(Fetched::of_file(&digest, modified))
}

fn last_modified(answer: &Answer) -> Option<Timestamp> {
    retry::parse_http_date(answer.header(&LAST_MODIFIED)?)
}

/// The server's time, or 1970: never the clock's.
fn file_time(modified: Option<Timestamp>) -> SystemTime {
    modified.map_or(SystemTime::UNIX_EPOCH, SystemTime::from)
}

/// Tells the progress of one download, and its end however it ends.
#[derive(Debug)]
pub(super) struct Meter<'a> {
    progress: &'a dyn Progress,
    source: String,
    last: Instant,
    done: bool,
}

impl<'a> Meter<'a> {
    fn start(web: &'a Web, source: String, size: Option<u64>) -> Self {
        let progress = &*web.progress;
        progress.event(Event::FetchStart { source: &source, size });
        Self {
            progress,
            source,
            last: Instant::now(),
            done: false,
        }
    }

    /// The download is whole.
    pub(super) fn finish(mut self) {
        self.done = true;
    }

    fn tell(&mut self, bytes: u64) {
        if self.last.elapsed() >= PROGRESS_INTERVAL {
            self.last = Instant::now();
            self.progress.event(Event::FetchProgress {
                source: &self.source,
                bytes,
            });
        }
    }
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        self.progress.event(Event::FetchEnd {
            source: &self.source,
            done: self.done,
        });
    }
}
