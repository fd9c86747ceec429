//! Base images in OCI image layouts: `--build-context NAME=oci-layout://DIR`.

use std::sync::Arc;

use super::images::BaseImage;
use crate::oci::{
    ConfigError, Descriptor, Document, ImageConfig, Index, Manifest, ManifestFormat, Platform, Raw, rank,
};
use crate::plan::{ImageSource, LayoutImage, LayoutSelector};
use crate::progress::{Event, Progress};
use crate::store::{Blob, ImageLayout, IncomingWriter, StoreError};

/// Indexes in indexes that are followed.
const MAX_DEPTH: u32 = 4;

/// The tag that a name without one means.
const DEFAULT_TAG: &str = "latest";

/// Why an image cannot be had from a layout.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The directory, or something in it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing in it runs there.
    #[error("there is no image for {wanted} (there is: {})", available.join(", "))]
    NoPlatform {
        /// What was looked for.
        wanted: Box<Platform>,
        /// What there is instead.
        available: Vec<String>,
    },
    /// An index in an index in an index…
    #[error("indexes are nested more than {MAX_DEPTH} deep")]
    Nested,
    /// An artifact, a chart or a signature.
    #[error("it is no image: its config is of the type {media_type}")]
    NotAnImage {
        /// What it is.
        media_type: String,
    },
    /// The config is damaged.
    #[error("its config is invalid")]
    Config(#[source] ConfigError),
}

/// Finds the manifest and the config that `image` means on `platform`; both are verified.
pub(super) fn resolve(
    image: &LayoutImage,
    platform: &Platform,
    progress: &dyn Progress,
) -> Result<BaseImage, LayoutError> {
    let layout = ImageLayout::open(&image.path)?;
    let search = Search {
        layout: &layout,
        image,
        platform,
    };
    let document = match search.found()? {
        Found::Document(document) => *document,
        Found::Several(entries) => return search.best(&Index::new(ManifestFormat::Oci, entries)),
    };
    match document {
        Document::Index(index) => search.best(index.value()),
        // There is no choice, so the image is taken whatever it runs on.
        Document::Manifest(manifest) => {
            let base = search.with_config(manifest)?;
            let offered = &base.config.platform;
            if platform.preference(offered).is_none() {
                let text = format!("{image} is for {offered}, not for {platform}; there is no other");
                progress.event(Event::Warning(&text));
            }
            Ok(base)
        }
    }
}

/// Copies a layer of a layout to where the layers of a build are, and verifies it on the way.
pub(super) fn copy_layer(image: &LayoutImage, mut writer: IncomingWriter) {
    if let Err(error) = copy_into(image, &mut writer) {
        writer.fail(Arc::new(error));
    }
}

fn copy_into(image: &LayoutImage, writer: &mut IncomingWriter) -> Result<Blob, StoreError> {
    let blob = ImageLayout::open(&image.path)?.blob(writer.descriptor())?;
    writer.append_all(&blob)?;
    writer.finish()
}

/// What a name in a layout leads to.
enum Found {
    Document(Box<Document>),
    /// One for each platform.
    Several(Vec<Descriptor>),
}

struct Search<'a> {
    layout: &'a ImageLayout,
    image: &'a LayoutImage,
    platform: &'a Platform,
}

impl Search<'_> {
    fn found(&self) -> Result<Found, LayoutError> {
        let layout = self.layout;
        let (name, entries) = match &self.image.selector {
            LayoutSelector::Digest(digest) => return Ok(Found::Document(Box::new(layout.document_with(digest)?))),
            LayoutSelector::Tag(tag) => (tag.as_str(), layout.named(tag)?),
            LayoutSelector::Default => (DEFAULT_TAG, self.default_entries()?),
        };
        match entries.as_slice() {
            [] => Err(layout.no_such_image(name).into()),
            [entry] => Ok(Found::Document(Box::new(layout.document(entry)?))),
            _ => Ok(Found::Several(entries)),
        }
    }

    /// What is called `latest`, else all there is if it is one.
    fn default_entries(&self) -> Result<Vec<Descriptor>, LayoutError> {
        let latest = self.layout.named(DEFAULT_TAG)?;
        if !latest.is_empty() {
            return Ok(latest);
        }
        let mut all = self.layout.entries()?;
        if all.len() > 1 {
            all.clear();
        }
        Ok(all)
    }

    fn best(&self, index: &Index) -> Result<BaseImage, LayoutError> {
        let mut available = Vec::new();
        let chosen = self.choose(index, 1, &mut available)?;
        chosen.ok_or_else(|| LayoutError::NoPlatform {
            wanted: Box::new(self.platform.clone()),
            available,
        })
    }

    /// The best entry of `index`; what does not suit is added to `available`.
    fn choose(&self, index: &Index, depth: u32, available: &mut Vec<String>) -> Result<Option<BaseImage>, LayoutError> {
        if depth > MAX_DEPTH {
            return Err(LayoutError::Nested);
        }
        for entry in rank(index, self.platform, available) {
            let chosen = match self.layout.document(entry)? {
                Document::Index(nested) => self.choose(nested.value(), depth + 1, available)?,
                Document::Manifest(manifest) => {
                    let base = self.with_config(manifest)?;
                    let suits = entry.platform.is_some() || self.platform.preference(&base.config.platform).is_some();
                    if !suits {
                        available.push(base.config.platform.to_string());
                    }
                    suits.then_some(base)
                }
            };
            if chosen.is_some() {
                return Ok(chosen);
            }
        }
        Ok(None)
    }

    fn with_config(&self, manifest: Raw<Manifest>) -> Result<BaseImage, LayoutError> {
        let descriptor = &manifest.value().config;
        if !descriptor.is_image_config() {
            return Err(LayoutError::NotAnImage {
                media_type: descriptor.media_type.to_string(),
            });
        }
        let bytes = self.layout.read(descriptor)?;
        Ok(BaseImage {
            source: ImageSource::Layout(self.image.clone()),
            config: ImageConfig::parse(&bytes).map_err(LayoutError::Config)?,
            manifest,
        })
    }
}
