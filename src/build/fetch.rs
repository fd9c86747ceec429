//! Downloads of layers: several at once, each at most once, readable while they arrive.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::layouts;
use super::pool::Pool;
use crate::oci::{Descriptor, Digest};
use crate::plan::ImageSource;
use crate::registry::Client;
use crate::store::{Blobs, Incoming, StoreError};

/// More parallel transfers from one registry run into its rate limit and gain nothing on one link.
const TRANSFERS: usize = 4;

/// Fetches layers into the build's blobs.
#[derive(Debug)]
pub(crate) struct Fetcher {
    client: Client,
    blobs: Blobs,
    pool: Pool,
    /// Guards the blobs asked for so far; a layer that two images share travels once.
    started: Mutex<HashMap<Digest, Incoming>>,
}

impl Fetcher {
    /// Starts the threads that download.
    pub(crate) fn start(client: Client, blobs: Blobs) -> std::io::Result<Arc<Self>> {
        let pool = Pool::start("download", TRANSFERS)?;
        Ok(Arc::new(Self {
            client,
            blobs,
            pool,
            started: Mutex::default(),
        }))
    }

    /// Begins to download `layer` of `image` unless that has begun before. Does not wait.
    pub(crate) fn fetch(&self, image: &ImageSource, layer: &Descriptor) -> Result<Incoming, StoreError> {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(incoming) = started.get(&layer.digest) {
            return Ok(incoming.clone());
        }
        let (writer, incoming) = self.blobs.incoming(layer)?;
        started.insert(layer.digest, incoming.clone());
        let (client, image) = (self.client.clone(), image.clone());
        self.pool.submit(move || {
            // Whoever reads or waits for the blob is told how it ended.
            match &image {
                ImageSource::Registry(reference) => drop(client.download(reference, writer)),
                ImageSource::Layout(layout) => layouts::copy_layer(layout, writer),
            }
        });
        Ok(incoming)
    }

    /// Lets `layer` be fetched again, after its download failed.
    pub(crate) fn forget(&self, layer: &Digest) {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        started.remove(layer);
    }
}
