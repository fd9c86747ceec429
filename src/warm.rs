//! Fills a directory with base images, for builds that share it: `rbuild warm`, and kaniko's warmer.
//!
//! Images are fetched one after the other, their layers side by side. One that cannot be had does not keep the others from
//! it; how the directory looks inside, and how warmers keep out of each other's way, is the business of [`BaseImages`].

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::build::request::{DockerfileSource, KeptImages, RegistryOptions};
use crate::build::{self, BuildError, Problem};
use crate::cancel::{Cancel, Cancelled};
use crate::diagnostic::Diagnostic;
use crate::dockerfile::{self, Excerpt};
use crate::http::retry::describe;
use crate::oci::{Descriptor, Digest, Platform, Reference};
use crate::plan::{self, ImageSource, PlanOptions, PlatformOrigin};
use crate::progress::{Event, Progress};
use crate::registry::{Client, RegistryError, ResolvedImage};
use crate::remote::{Remote, RemoteError, RemoteOptions, UrlSource};
use crate::store::{BaseImages, Blobs, Entry, StoreError, Warming};

/// Layers that travel at once.
const TRANSFERS: usize = 4;

/// What is to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WarmRequest {
    /// Images by name.
    pub images: Vec<Reference>,
    /// A file whose images are wanted too: those of FROM lines, and those that are copied from.
    pub dockerfile: Option<DockerfileSource>,
    /// Values for the ARGs of its FROM lines.
    pub build_args: BTreeMap<String, String>,
    /// Which image of an index; `None` is that of this machine.
    pub platform: Option<Platform>,
    /// The directory; created when missing.
    pub directory: PathBuf,
    /// How long an image counts as good.
    pub ttl: Duration,
    /// What becomes of images that are there already.
    pub existing: Existing,
    /// How registries are reached.
    pub registry: RegistryOptions,
}

/// What becomes of an image that is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// It stays; one that is too old is verified, and counts as new if it is good.
    #[default]
    Keep,
    /// It is fetched again.
    Replace,
}

/// How it went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Warmed {
    /// Images that were fetched.
    pub fetched: usize,
    /// Images that were there.
    pub kept: usize,
    /// Images that could not be had; each was a warning.
    pub failed: usize,
}

/// Why nothing was done, or not all.
#[derive(Debug, thiserror::Error)]
pub enum WarmError {
    /// The client, or the Dockerfile.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The Dockerfile is behind a URL and cannot be had.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The directory cannot be used.
    #[error("use the cache directory")]
    Directory(#[from] StoreError),
    /// Every image failed.
    #[error("none of the {0} images could be cached")]
    Nothing(usize),
    /// Somebody asked for the end.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl Diagnostic for WarmError {
    fn excerpt(&self) -> Option<&Excerpt> {
        match self {
            Self::Build(error) => error.excerpt(),
            _ => None,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Build(error) => error.hints(),
            Self::Remote(error) => error.hint().into_iter().collect(),
            Self::Directory(_) => vec!["--cache-dir names a directory that can be written".to_owned()],
            Self::Nothing(_) | Self::Cancelled(_) => Vec::new(),
        }
    }
}

/// Why one image could not be had.
#[derive(Debug, thiserror::Error)]
enum ImageError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("fetch layer {digest}")]
    Layer {
        digest: Digest,
        #[source]
        source: Arc<RegistryError>,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// What became of one image.
enum Outcome {
    Fetched,
    Kept,
}

/// Fetches what is missing.
///
/// # Errors
/// [`WarmError`]; a part of the images that fails is a warning.
pub fn run(request: &WarmRequest, progress: &Arc<dyn Progress>, cancel: &Cancel) -> Result<Warmed, WarmError> {
    let images = BaseImages::new(request.directory.clone(), request.ttl);
    images.create()?;
    let wanted = wanted(request, progress, cancel)?;
    let client = build::connect::client(&registry_options(request), progress, cancel)?;
    let warmer = Warmer {
        images: &images,
        client: &client,
        existing: request.existing,
        progress: &**progress,
        cancel,
    };
    let mut warmed = Warmed::default();
    for (reference, platform) in &wanted {
        match warmer.warm(reference, platform) {
            Ok(Outcome::Fetched) => warmed.fetched += 1,
            Ok(Outcome::Kept) => warmed.kept += 1,
            Err(error) => {
                cancel.check()?;
                warmed.failed += 1;
                progress.event(Event::Warning(&failure(reference, &error)));
            }
        }
    }
    match warmed.failed == wanted.len() && warmed.failed > 0 {
        true => Err(WarmError::Nothing(warmed.failed)),
        false => Ok(warmed),
    }
}

/// What is there need not be asked for again, unless everything is to be fetched anew.
fn registry_options(request: &WarmRequest) -> RegistryOptions {
    let kept = KeptImages {
        directory: request.directory.clone(),
        ttl: request.ttl,
    };
    RegistryOptions {
        base_images: (request.existing == Existing::Keep).then_some(kept),
        ..request.registry.clone()
    }
}

fn failure(reference: &Reference, error: &ImageError) -> String {
    let hint = match error {
        ImageError::Registry(error) => error.hint(),
        ImageError::Layer { source, .. } => source.hint(),
        ImageError::Store(_) | ImageError::Cancelled(_) => None,
    };
    let hint = hint.map_or_else(String::new, |hint| format!(" ({hint})"));
    format!("{reference} is not cached: {}{hint}", describe(error))
}

/// The images of the request and of its Dockerfile, each once.
fn wanted(
    request: &WarmRequest,
    progress: &Arc<dyn Progress>,
    cancel: &Cancel,
) -> Result<Vec<(Reference, Platform)>, WarmError> {
    let platform = request.platform.clone().unwrap_or_else(Platform::host);
    let named = request.images.iter().map(|image| (image.clone(), platform.clone()));
    let mut wanted: Vec<_> = named.collect();
    if let Some(source) = &request.dockerfile {
        let (name, text) = read_dockerfile(source, request, progress, cancel)?;
        wanted.extend(images_of(&name, &text, request)?);
    }
    let mut once = Vec::new();
    for image in wanted {
        if !once.contains(&image) {
            once.push(image);
        }
    }
    Ok(once)
}

fn read_dockerfile(
    source: &DockerfileSource,
    request: &WarmRequest,
    progress: &Arc<dyn Progress>,
    cancel: &Cancel,
) -> Result<(String, Vec<u8>), WarmError> {
    match source {
        DockerfileSource::File { path, name } => Ok((name.clone(), read(path)?)),
        DockerfileSource::Url(source) => Ok((source.to_string(), download(source, request, progress, cancel)?)),
        DockerfileSource::InContext(names) => {
            let problem = Problem::NoDockerfile { names: names.clone() };
            Err(BuildError::from(problem).into())
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    Ok(fs::read(path).map_err(|source| Problem::ReadDockerfile {
        path: path.to_owned(),
        source,
    })?)
}

fn download(
    source: &UrlSource,
    request: &WarmRequest,
    progress: &Arc<dyn Progress>,
    cancel: &Cancel,
) -> Result<Vec<u8>, WarmError> {
    let options = RemoteOptions {
        certificate_file: request.registry.certificate_file.clone(),
        certificate_directory: request.registry.certificate_directory.clone(),
        ..RemoteOptions::default()
    };
    // The image of the warmer has no directory for temporary files.
    let here = &request.directory;
    let temporary = tempfile::Builder::new().prefix(".dockerfile-").tempdir_in(here);
    let temporary = temporary.map_err(StoreError::io("create a directory in", here))?;
    let kept = temporary.path().join("kept");
    let remote = Remote::new(options, &kept, Arc::clone(progress), cancel.clone());
    remote.download(source, temporary.path())?;
    Ok(read(&temporary.path().join(&source.name))?)
}

/// The images that a Dockerfile names, in whichever stage.
fn images_of(name: &str, text: &[u8], request: &WarmRequest) -> Result<Vec<(Reference, Platform)>, BuildError> {
    dockerfile::check_frontend(name, text, None)?;
    let file = dockerfile::parse(name, text)?;
    let pairs = request.build_args.iter();
    let options = PlanOptions {
        build_args: pairs.map(|(name, value)| (name.clone(), value.clone())).collect(),
        targets: (0..file.stages.len()).map(|number| number.to_string()).collect(),
        target_platform: request.platform.clone().unwrap_or_else(Platform::host),
        platform_origin: match request.platform {
            Some(_) => PlatformOrigin::Requested,
            None => PlatformOrigin::Default,
        },
        ..PlanOptions::default()
    };
    let outline = plan::outline(&file, &options)?;
    let needs = outline.images().iter();
    let images = needs.filter_map(|need| match &need.image.source {
        ImageSource::Registry(reference) => Some((reference.clone(), need.image.platform.clone())),
        ImageSource::Layout(_) => None,
    });
    Ok(images.collect())
}

struct Warmer<'a> {
    images: &'a BaseImages,
    client: &'a Client,
    existing: Existing,
    progress: &'a dyn Progress,
    cancel: &'a Cancel,
}

impl Warmer<'_> {
    fn warm(&self, reference: &Reference, platform: &Platform) -> Result<Outcome, ImageError> {
        let resolved = self.client.resolve(reference, platform)?;
        let digest = resolved.manifest.digest();
        let warming = self.images.warm::<ImageError>(digest, self.cancel)?;
        if let Some(index) = &resolved.index {
            self.images.keep_index(index)?;
        }
        let here = self.images.directory().display();
        if self.existing == Existing::Keep && self.is_good(digest)? {
            self.say(&format!("{reference} is in {here} already ({digest})"));
            return Ok(Outcome::Kept);
        }
        self.fetch(&resolved, warming)?;
        self.say(&format!("{reference} is in {here} now ({digest})"));
        Ok(Outcome::Fetched)
    }

    /// Whether the image is there and needs nothing; what is too old is looked at closely.
    fn is_good(&self, digest: &Digest) -> Result<bool, ImageError> {
        match self.images.entry(digest) {
            Entry::Fresh => Ok(true),
            Entry::Missing => Ok(false),
            Entry::Expired => match self.images.renew(digest) {
                Ok(()) => Ok(true),
                Err(error) => {
                    let text = format!("{digest} is fetched again, its copy is damaged: {}", describe(&error));
                    self.progress.event(Event::Warning(&text));
                    Ok(false)
                }
            },
        }
    }

    fn fetch(&self, image: &ResolvedImage, warming: Warming<'_>) -> Result<(), ImageError> {
        let (layout, blobs) = warming.begin()?;
        if let Err(error) = self.fetch_layers(image, &blobs) {
            // The next warmer would remove it too; the first error is the one to tell.
            let _ = warming.give_up();
            return Err(error);
        }
        let config = &image.manifest.value().config.media_type;
        warming.finish(&layout, &image.manifest, (config, &image.config_bytes), &blobs)?;
        Ok(())
    }

    fn fetch_layers(&self, image: &ResolvedImage, blobs: &Blobs) -> Result<(), ImageError> {
        let mut layers: Vec<&Descriptor> = Vec::new();
        for layer in &image.manifest.value().layers {
            if layers.iter().all(|known| known.digest != layer.digest) {
                layers.push(layer);
            }
        }
        let threads = TRANSFERS.min(layers.len());
        let queue = Mutex::new(layers.into_iter());
        let failed = Mutex::new(None);
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work = || {
            while let Some(layer) = next() {
                if let Err(error) = self.fetch_layer(&image.reference, layer, blobs) {
                    failed
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .get_or_insert(error);
                    // The others need not be fetched any more.
                    while next().is_some() {}
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(work);
            }
        });
        failed
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
            .map_or(Ok(()), Err)
    }

    fn fetch_layer(&self, reference: &Reference, layer: &Descriptor, blobs: &Blobs) -> Result<(), ImageError> {
        self.cancel.check()?;
        let (writer, _reader) = blobs.incoming(layer)?;
        let downloaded = self.client.download(reference, writer);
        downloaded.map(drop).map_err(|source| ImageError::Layer {
            digest: layer.digest,
            source,
        })
    }

    fn say(&self, text: &str) {
        self.progress.event(Event::Info(text));
    }
}
