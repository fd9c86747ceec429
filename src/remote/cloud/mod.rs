//! Objects in cloud storages: S3 and what speaks like it, Google Cloud Storage, Azure's blobs.
//!
//! ```text
//! --context ─address─▶ ObjectSource ┐
//! environment ────────▶ CloudSettings ┴ s3 | google | azure ─▶ object_store: who we are, what the request looks like
//!                                                                   │
//!                                         service ◀─ every request ─┘   sent by the HTTP stack that all of rbuild uses
//!                                            └─ the object's bytes ─▶ a file
//! ```
//!
//! The library only finds credentials and signs; it is given no HTTP client, no runtime and no retries of its own. What
//! it asks for is sent by [`super::web`] on the calling thread, so that its futures are ready when they are first polled.
//! No message shows a key, a token or a signature.

mod address;
mod azure;
mod error;
mod google;
mod profile;
mod s3;
mod service;
mod settings;

use std::fs::{File, Permissions};
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use jiff::Timestamp;
use object_store::{GetOptions, ObjectStore};
use reqwest::Url;
use reqwest::header::LAST_MODIFIED;

use self::address::Store;
pub use self::address::{CloudAddressError, ObjectSource};
pub use self::error::{CloudError, Refusal};
use self::service::{Asked, Exchange, ForObject, Sender};
pub use self::settings::CloudSettings;
use super::RemoteError;
use super::http::write_body;
use super::web::{Answer, Web};
use crate::http::retry;

/// A storage that was found, and what that rested on.
#[derive(Debug)]
struct Opened {
    store: Box<dyn ObjectStore>,
    credentials: Origin,
    /// Whether its requests are signed for a region that nobody has chosen.
    assumed_region: bool,
}

/// Where credentials come from.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Origin {
    /// Somebody set them.
    Given(String),
    /// Nobody did; the machine itself may have some. Holds what was looked for.
    Machine(Vec<String>),
    /// None are needed.
    Nobody,
}

/// Downloads an object into the new file `into`; says when it was last changed.
pub(super) fn download(web: &Arc<Web>, source: &ObjectSource, into: &Path) -> Result<Option<Timestamp>, RemoteError> {
    let name = source.to_string();
    // The region of the bucket, once the server has said which it is.
    let mut region: Option<String> = None;
    web.with_retries(&format!("downloading {name}"), || {
        let answer = match ask(web, source, region.as_deref()) {
            Err(Failed {
                elsewhere: Some(found), ..
            }) if region.is_none() => {
                region = Some(found);
                ask(web, source, region.as_deref())
            }
            other => other,
        };
        let mut answer = answer.map_err(|failed| failed.error)?;
        let modified = answer.header(&LAST_MODIFIED).and_then(retry::parse_http_date);
        receive(web, &name, &mut answer, into)?;
        Ok(modified)
    })
}

/// Why there is no object, and where it is instead.
struct Failed {
    error: RemoteError,
    elsewhere: Option<String>,
}

impl<E: Into<RemoteError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self {
            error: error.into(),
            elsewhere: None,
        }
    }
}

/// Asks for the object; its bytes are yet to be read.
fn ask(web: &Arc<Web>, source: &ObjectSource, region: Option<&str>) -> Result<Answer, Failed> {
    let exchange = Arc::<Exchange>::default();
    let sender = Sender::new(web, &exchange);
    let settings = &source.settings;
    let opened = match &source.store {
        Store::S3 { bucket } => s3::open(bucket, region, settings, sender),
        Store::Google { bucket } => google::open(bucket, settings, sender),
        Store::Azure {
            account,
            cloud,
            container,
        } => azure::open(account, cloud, container, settings, sender),
    }?;
    let path = object_store::path::Path::parse(&source.object)
        .map_err(|error| CloudError::setting("--context", format!("{source} cannot be asked for"), error))?;
    let mut options = GetOptions::default();
    options.extensions.insert(ForObject);
    let found = block_on(opened.store.get_opts(&path, options));
    match (exchange.take(), found) {
        (Some(Asked::Object(answer)), _) => Ok(*answer),
        (Some(Asked::Failed(failure)), _) => {
            let elsewhere = failure.region().filter(|_| opened.assumed_region);
            Err(Failed {
                error: error::explain(failure, source, &opened.credentials),
                elsewhere,
            })
        }
        (None, Err(error)) => Err(error::of_library(error, source, &opened.credentials).into()),
        (None, Ok(_)) => Err(CloudError::Silent.into()),
    }
}

fn receive(web: &Web, name: &str, answer: &mut Answer, into: &Path) -> Result<(), RemoteError> {
    let mut file = File::create(into).map_err(RemoteError::io("create", into))?;
    file.set_permissions(Permissions::from_mode(0o600))
        .map_err(RemoteError::io("set the mode of", into))?;
    write_body(web, name, answer, &mut file, into, |_| {})?.finish();
    Ok(())
}

/// The address of a server in the setting `name`.
fn endpoint(name: &str, text: &str) -> Result<Url, CloudError> {
    let refuse = || {
        let shown = crate::redact::location(text);
        CloudError::bad_setting(
            name,
            format!("{shown:?} is no address; write http://HOST:PORT or https://HOST"),
        )
    };
    let url = Url::parse(text).map_err(|_| refuse())?;
    match (url.scheme(), url.host_str()) {
        ("http" | "https", Some(_)) => Ok(url),
        _ => Err(refuse()),
    }
}

/// Waits for a future on this thread.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
