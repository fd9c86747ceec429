//! Base images: their manifests and configs before planning, their layers when a stage wants files.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::{BuildError, Problem};
use super::fetch::Fetcher;
use crate::cancel::Cancel;
use crate::layer::{Applier, LayerKind, Limits};
use crate::oci::{DiffId, MediaTypeExt as _};
use crate::plan::{BaseConfig, BaseConfigs, ImageKey, ImageNeed, ImageSource};
use crate::progress::{Event, Progress};
use crate::registry::{Client, ResolvedImage};
use crate::rootfs::Rootfs;
use crate::snapshot::Fingerprints;

/// The images a build needs, by name and platform.
#[derive(Debug, Default)]
pub(crate) struct Images {
    resolved: BTreeMap<ImageKey, Arc<ResolvedImage>>,
    configs: BaseConfigs,
}

impl Images {
    /// Resolves those of `needs` that are not known yet, all at once.
    pub(crate) fn resolve(&mut self, needs: &[ImageNeed], client: &Client) -> Result<(), BuildError> {
        let mut missing: BTreeMap<&ImageKey, &ImageNeed> = BTreeMap::new();
        for need in needs.iter().filter(|need| !self.resolved.contains_key(&need.image)) {
            missing.entry(&need.image).or_insert(need);
        }
        let answers: Vec<_> = std::thread::scope(|scope| {
            let ask = |need: &&ImageNeed| {
                let image = need.image.clone();
                scope.spawn(move || resolve(&image, client))
            };
            let asked: Vec<_> = missing.values().map(ask).collect();
            asked.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
        });
        for (need, answer) in missing.into_values().zip(answers) {
            let answer = answer.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let image = answer.map_err(|error| error.at_excerpt(&need.excerpt))?;
            self.add(&need.image, image)
                .map_err(|error| error.at_excerpt(&need.excerpt))?;
        }
        Ok(())
    }

    fn add(&mut self, key: &ImageKey, image: ResolvedImage) -> Result<(), BuildError> {
        let layers = image.manifest.value().layers.len();
        let config = image
            .config
            .clone()
            .into_base(layers)
            .map_err(|source| Problem::BaseConfig {
                reference: image.reference.clone(),
                source,
            })?;
        self.configs.insert(
            key.clone(),
            BaseConfig {
                manifest_digest: *image.manifest.digest(),
                config,
            },
        );
        self.resolved.insert(key.clone(), Arc::new(image));
        Ok(())
    }

    /// The configs, for planning.
    pub(crate) const fn configs(&self) -> &BaseConfigs {
        &self.configs
    }

    /// An image that was resolved before.
    ///
    /// # Panics
    /// When it was not; planning asks for every image that a stage names.
    pub(crate) fn get(&self, key: &ImageKey) -> &Arc<ResolvedImage> {
        self.resolved
            .get(key)
            .expect("planning resolved every image that a stage needs")
    }
}

fn resolve(image: &ImageKey, client: &Client) -> Result<ResolvedImage, BuildError> {
    match &image.source {
        ImageSource::Registry(reference) => client.resolve(reference, &image.platform).map_err(|source| {
            BuildError::new(Problem::Resolve {
                reference: reference.clone(),
                source,
            })
        }),
        ImageSource::Layout(layout) => Err(BuildError::new(Problem::UnsupportedContext {
            name: layout.path.display().to_string(),
            value: layout.to_string(),
        })),
    }
}

/// Starts the downloads of all layers of `image`; they arrive in the order in which they are applied.
pub(crate) fn prefetch(image: &ResolvedImage, fetcher: &Fetcher) -> Result<(), BuildError> {
    for layer in &image.manifest.value().layers {
        fetcher.fetch(&image.reference, layer)?;
    }
    Ok(())
}

/// Unpacks the layers of `image` into the empty `rootfs`, bottom first, while they still arrive.
pub(crate) fn unpack(
    image: &ResolvedImage,
    rootfs: &Rootfs,
    fetcher: &Fetcher,
    fingerprints: &mut Fingerprints,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<(), BuildError> {
    prefetch(image, fetcher)?;
    let warn = |text: &str| progress.event(Event::Warning(text));
    let layers = image.manifest.value().layers.iter().zip(&image.config.rootfs.diff_ids);
    for (layer, expected) in layers {
        cancel.check()?;
        if layer.media_type.layer_format().is_none() {
            let digest = layer.digest;
            return Err(crate::image::ImageError::NotALayer {
                digest,
                media_type: layer.media_type.to_string(),
            }
            .into());
        }
        let incoming = fetcher.fetch(&image.reference, layer)?;
        let applied = Applier::new(rootfs, Limits::default(), fingerprints, &warn, cancel)
            .apply(incoming.reader(), LayerKind::of(layer))
            .map_err(|source| Problem::Unpack {
                reference: image.reference.clone(),
                layer: layer.digest,
                source,
            })?;
        check_diff_id(image, layer.digest, *expected, applied.diff_id)?;
    }
    Ok(())
}

fn check_diff_id(
    image: &ResolvedImage,
    layer: crate::oci::Digest,
    expected: DiffId,
    actual: DiffId,
) -> Result<(), BuildError> {
    if expected == actual {
        return Ok(());
    }
    Err(Problem::DiffId {
        reference: image.reference.clone(),
        layer,
        expected,
        actual,
    }
    .into())
}
