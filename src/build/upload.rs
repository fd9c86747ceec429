//! Uploads of blobs to every destination, in the background: a layer travels as soon as it exists.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::fetch::Fetcher;
use super::pool::Pool;
use crate::cancel::Cancel;
use crate::oci::{Descriptor, Digest, Reference};
use crate::plan::ImageSource;
use crate::registry::{Client, RegistryError};
use crate::store::{Blob, Cause};

/// As many as registries like from one client.
const TRANSFERS: usize = 4;

/// A blob and where its bytes are.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// On disk.
    Local(Blob),
    /// A base image's layer. Where the destination has it, or its registry can link it from the
    /// base's repository, its bytes are not even downloaded.
    Base {
        /// The base image.
        image: ImageSource,
        /// Its layer.
        layer: Descriptor,
    },
}

/// Why a blob did not arrive.
#[derive(Debug, thiserror::Error)]
#[error("failed to push to destination {destination}: blob {digest}")]
pub struct UploadError {
    /// Which blob.
    pub digest: Digest,
    /// Where to.
    pub destination: String,
    /// Why.
    #[source]
    pub source: Box<RegistryError>,
}

/// Pushes blobs to all destinations at once.
#[derive(Debug)]
pub(crate) struct Uploader {
    /// Guards the threads, which end when somebody waits for them.
    pool: Mutex<Option<Pool>>,
    shared: Arc<Shared>,
    /// Guards what was submitted; a digest occurs more than once in some images.
    submitted: Mutex<HashSet<Digest>>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    fetcher: Arc<Fetcher>,
    /// One reference for each distinct repository.
    repositories: Vec<Reference>,
    cancel: Cancel,
    /// Guards the first failure; the others are its echo.
    failure: Mutex<Option<UploadError>>,
}

impl Uploader {
    /// Starts the threads that upload to `destinations`.
    pub(crate) fn start(
        client: Client,
        fetcher: Arc<Fetcher>,
        destinations: &[Reference],
        cancel: Cancel,
    ) -> std::io::Result<Self> {
        let mut names = HashSet::new();
        let repositories = destinations
            .iter()
            .filter(|destination| names.insert(destination.name()))
            .cloned()
            .collect();
        let shared = Shared {
            client,
            fetcher,
            repositories,
            cancel,
            failure: Mutex::default(),
        };
        let pool = Mutex::new(Some(Pool::start("upload", TRANSFERS)?));
        Ok(Self {
            pool,
            shared: Arc::new(shared),
            submitted: Mutex::default(),
        })
    }

    /// Queues a blob. Does not wait.
    pub(crate) fn submit(&self, source: Source) {
        let digest = match &source {
            Source::Local(blob) => *blob.digest(),
            Source::Base { layer, .. } => layer.digest,
        };
        if self
            .submitted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(digest)
        {
            let shared = Arc::clone(&self.shared);
            if let Some(pool) = &*self.pool.lock().unwrap_or_else(PoisonError::into_inner) {
                pool.submit(move || shared.push_everywhere(&source));
            }
        }
    }

    /// Waits until every blob has arrived everywhere. Nothing can be submitted afterwards.
    pub(crate) fn finish(&self) -> Result<(), UploadError> {
        let pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(pool);
        self.take_failure().map_or(Ok(()), Err)
    }

    /// What failed first, if anything did.
    pub(crate) fn take_failure(&self) -> Option<UploadError> {
        self.shared
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl Shared {
    /// Pushes one blob to each repository in turn: the second one of a registry links it from the first.
    fn push_everywhere(&self, source: &Source) {
        for (position, destination) in self.repositories.iter().enumerate() {
            if self.cancel.check().is_err() {
                return;
            }
            let before = self.repositories[..position].iter();
            if let Err(error) = self.push(source, destination, before) {
                self.failure
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get_or_insert(error);
                self.cancel.by_failure();
                return;
            }
        }
    }

    fn push<'a>(
        &self,
        source: &'a Source,
        destination: &Reference,
        pushed: impl Iterator<Item = &'a Reference>,
    ) -> Result<(), UploadError> {
        let (descriptor, base) = match source {
            Source::Local(blob) => (blob.descriptor(), None),
            Source::Base { image, layer } => (layer, image.reference()),
        };
        let digest = descriptor.digest;
        let same_registry = |reference: &&Reference| reference.registry() == destination.registry();
        let mount_from = base
            .into_iter()
            .filter(same_registry)
            .chain(pushed.filter(same_registry))
            .next();
        let content = || match source {
            Source::Local(blob) => Ok(blob.clone()),
            Source::Base { image, layer } => self
                .fetcher
                .fetch(image, layer)
                .map_err(|e| Arc::new(e) as Cause)?
                .wait(),
        };
        self.client
            .bring_blob(destination, descriptor, &content, mount_from)
            .map_err(|source| UploadError {
                digest,
                destination: destination.to_string(),
                source: Box::new(source),
            })?;
        Ok(())
    }
}
