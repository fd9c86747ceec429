//! Base images: their manifests and configs before planning, their layers when a stage wants files.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::{BuildError, Problem};
use super::fetch::Fetcher;
use super::layouts;
use super::session::Session;
use crate::http::{Backoff, retry};
use crate::layer::{Applier, LayerKind, Limits};
use crate::oci::{DiffId, ImageConfig, Manifest, MediaTypeExt as _, Raw};
use crate::plan::{BaseConfig, BaseConfigs, ImageKey, ImageNeed, ImageSource};
use crate::progress::{Event, Progress};
use crate::registry::Client;
use crate::rootfs::Rootfs;
use crate::snapshot::Fingerprints;

/// An image to build upon or to copy from.
#[derive(Debug)]
pub(crate) struct BaseImage {
    /// Where its layers are.
    pub(crate) source: ImageSource,
    /// The platform's manifest, byte for byte.
    pub(crate) manifest: Raw<Manifest>,
    /// The image config.
    pub(crate) config: ImageConfig,
}

/// The images a build needs, by name and platform.
#[derive(Debug)]
pub(crate) struct Images {
    client: Client,
    progress: Arc<dyn Progress>,
    resolved: BTreeMap<ImageKey, Arc<BaseImage>>,
    configs: BaseConfigs,
}

impl Images {
    /// None yet.
    pub(crate) fn new(client: Client, progress: Arc<dyn Progress>) -> Self {
        Self {
            client,
            progress,
            resolved: BTreeMap::new(),
            configs: BaseConfigs::new(),
        }
    }

    /// Resolves those of `needs` that are not known yet, all at once.
    pub(crate) fn resolve(&mut self, needs: &[ImageNeed]) -> Result<(), BuildError> {
        let mut missing: BTreeMap<&ImageKey, &ImageNeed> = BTreeMap::new();
        for need in needs.iter().filter(|need| !self.resolved.contains_key(&need.image)) {
            missing.entry(&need.image).or_insert(need);
        }
        let (client, progress) = (&self.client, &*self.progress);
        let answers: Vec<_> = std::thread::scope(|scope| {
            let ask = |need| scope.spawn(move || resolve(need, client, progress));
            let asked: Vec<_> = missing.values().copied().map(ask).collect();
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

    fn add(&mut self, key: &ImageKey, image: BaseImage) -> Result<(), BuildError> {
        let layers = image.manifest.value().layers.len();
        let config = image
            .config
            .clone()
            .into_base(layers)
            .map_err(|source| Problem::BaseConfig {
                reference: image.source.clone(),
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
    pub(crate) fn get(&self, key: &ImageKey) -> &Arc<BaseImage> {
        self.resolved
            .get(key)
            .expect("planning resolved every image that a stage needs")
    }
}

fn resolve(need: &ImageNeed, client: &Client, progress: &dyn Progress) -> Result<BaseImage, BuildError> {
    let image = &need.image;
    match &image.source {
        ImageSource::Registry(reference) => {
            let resolved = client.resolve(reference, &image.platform);
            let resolved = resolved.map_err(|source| Problem::Resolve {
                reference: reference.clone(),
                hint: need.hint.clone(),
                source,
            })?;
            Ok(BaseImage {
                source: image.source.clone(),
                manifest: resolved.manifest,
                config: resolved.config,
            })
        }
        ImageSource::Layout(layout) => {
            let resolved = layouts::resolve(layout, &image.platform, progress);
            Ok(resolved.map_err(|source| Problem::Layout {
                image: layout.clone(),
                source,
            })?)
        }
    }
}

/// Starts the downloads of all layers of `image`; they arrive in the order in which they are applied.
pub(crate) fn prefetch(image: &BaseImage, fetcher: &Fetcher) -> Result<(), BuildError> {
    for layer in &image.manifest.value().layers {
        fetcher.fetch(&image.source, layer)?;
    }
    Ok(())
}

/// Unpacks an image into a rootfs of its own, and again into another one if that fails, as often as was asked for.
pub(crate) fn unpack_anew(key: &ImageKey, session: &Session) -> Result<(Arc<Rootfs>, Fingerprints), BuildError> {
    let image = session.images.get(key);
    let mut attempt = 1;
    loop {
        let rootfs = session.workspace().new_rootfs()?;
        let mut fingerprints = Fingerprints::default();
        let error = match unpack(image, &rootfs, &mut fingerprints, session) {
            Ok(()) => return Ok((rootfs, fingerprints)),
            Err(error) => error,
        };
        attempt += 1;
        session.cancel.check()?;
        let verdict = retry::Verdict::Retry;
        let Some(wait) = retry::wait_before(attempt, verdict, session.unpack_retries, Backoff::default(), 0) else {
            return Err(error);
        };
        if let Problem::Unpack { layer, .. } = error.problem() {
            session.fetcher.forget(layer);
        }
        session.workspace().remove_in_background(rootfs);
        session.progress.event(Event::Retry {
            what: &format!("unpacking {}", image.source),
            cause: &retry::describe(&error),
            attempt,
            wait,
        });
        retry::sleep(&session.cancel, wait)?;
    }
}

/// Unpacks the layers of `image` into the empty `rootfs`, bottom first, while they still arrive.
fn unpack(
    image: &BaseImage,
    rootfs: &Rootfs,
    fingerprints: &mut Fingerprints,
    session: &Session,
) -> Result<(), BuildError> {
    let (fetcher, cancel) = (&session.fetcher, &session.cancel);
    prefetch(image, fetcher)?;
    let warn = |text: &str| session.progress.event(Event::Warning(text));
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
        let incoming = fetcher.fetch(&image.source, layer)?;
        let applied = Applier::new(rootfs, Limits::default(), fingerprints, &warn, cancel)
            .ignoring(&session.ignored)
            .apply(incoming.reader(), LayerKind::of(layer))
            .map_err(|source| Problem::Unpack {
                reference: image.source.clone(),
                layer: layer.digest,
                source,
            })?;
        check_diff_id(image, layer.digest, *expected, applied.diff_id)?;
    }
    Ok(())
}

fn check_diff_id(
    image: &BaseImage,
    layer: crate::oci::Digest,
    expected: DiffId,
    actual: DiffId,
) -> Result<(), BuildError> {
    if expected == actual {
        return Ok(());
    }
    Err(Problem::DiffId {
        reference: image.source.clone(),
        layer,
        expected,
        actual,
    }
    .into())
}
