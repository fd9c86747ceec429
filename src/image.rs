//! Assembles an image: base layers + new layers + config + history → config and manifest bytes. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::oci::{
    Annotated, Annotations, Compression, Descriptor, DiffId, History, ImageConfig, ImageId, Index, LayerFormat,
    Manifest, ManifestFormat, MediaType, MediaTypeExt as _, Raw,
};

/// BuildKit's note on a layer whose times were cut down, with the seconds to which.
const REWRITTEN_TIMESTAMP: &str = "buildkit/rewritten-timestamp";

/// A layer that exists: its blob and what the blob unpacks to.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// The compressed blob.
    pub descriptor: Descriptor,
    /// Digest of the tar inside.
    pub diff_id: DiffId,
}

/// A finished image; its parts are bytes from here on.
#[derive(Clone, Debug)]
pub struct Image {
    /// The image config; its digest is the image ID.
    pub config: Raw<ImageConfig>,
    /// The manifest.
    pub manifest: Raw<Manifest>,
    /// The manifest's family.
    pub format: ManifestFormat,
}

impl Image {
    /// Digest of the config.
    #[must_use]
    pub const fn id(&self) -> ImageId {
        ImageId::new(*self.config.digest())
    }

    /// Descriptor of the config blob.
    #[must_use]
    pub fn config_descriptor(&self) -> &Descriptor {
        &self.manifest.value().config
    }

    /// Descriptors of the layers, bottom first.
    #[must_use]
    pub fn layers(&self) -> &[Descriptor] {
        &self.manifest.value().layers
    }
}

/// Images of several platforms under one name.
#[derive(Clone, Debug)]
pub struct ImageIndex {
    /// The index.
    pub index: Raw<Index>,
    /// Its family, and that of all its images.
    pub format: ManifestFormat,
    /// The images in its order.
    pub images: Vec<Image>,
}

impl ImageIndex {
    /// Lists `images`, all of one family, each with the platform of its config.
    #[must_use]
    pub fn of(images: Vec<Image>, annotations: &Annotations) -> Self {
        let format = images
            .first()
            .map_or_else(ManifestFormat::default, |image| image.format);
        let entry = |image: &Image| {
            let (digest, size) = (*image.manifest.digest(), image.manifest.bytes().len() as u64);
            let platform = &image.config.value().platform;
            let mut descriptor = Descriptor::new(image.format.manifest_type(), digest, size);
            descriptor.annotations = annotations.of_image(Annotated::ManifestDescriptor, platform);
            descriptor.platform = Some(platform.clone());
            descriptor
        };
        let mut index = Index::new(format, images.iter().map(entry).collect());
        index.annotations = annotations.of_index(Annotated::Index);
        Self {
            index: Raw::write(index),
            format,
            images,
        }
    }
}

/// What one step adds to an image: an entry of its history, and a layer if it changed files.
#[derive(Clone, Debug)]
pub struct Addition {
    /// The instruction, for the history.
    pub history: History,
    /// What it changed.
    pub layer: Option<Layer>,
    /// When it was done.
    pub created: Timestamp,
}

/// Everything an image is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The config as the steps left it; its history and diff IDs are the base's.
    pub config: ImageConfig,
    /// The base's layers, bottom first.
    pub base_layers: Vec<Descriptor>,
    /// What the steps added, in order.
    pub additions: Vec<Addition>,
    /// Family of media types to write.
    pub format: ManifestFormat,
    /// Notes for the manifest.
    pub annotations: BTreeMap<String, String>,
    /// Time that replaces every new timestamp (`SOURCE_DATE_EPOCH`, `--reproducible`).
    pub epoch: Option<Timestamp>,
    /// Time that no file of the new layers is later than, if they were written so.
    pub rewritten: Option<Timestamp>,
}

/// Why parts do not make an image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Docker's manifests know gzip and plain tar alone.
    #[error("layer {digest} is compressed with zstd, which Docker's manifest format does not have")]
    NoDockerType {
        /// The layer.
        digest: crate::oci::Digest,
    },
    /// A layer with a media type that is no layer's.
    #[error("layer {digest} has the media type {media_type}, which is not a layer's")]
    NotALayer {
        /// The layer.
        digest: crate::oci::Digest,
        /// Its type.
        media_type: String,
    },
}

/// The family to write when the user did not choose one: the base's, since a registry that holds
/// Docker's format may know no other. zstd exists in OCI alone.
#[must_use]
pub const fn choose_format(
    wanted: Option<ManifestFormat>,
    base: Option<ManifestFormat>,
    compression: Compression,
) -> ManifestFormat {
    match (wanted, compression, base) {
        (Some(format), _, _) => format,
        (None, Compression::Zstd, _) => ManifestFormat::Oci,
        (None, Compression::Gzip | Compression::None, Some(format)) => format,
        (None, Compression::Gzip | Compression::None, None) => ManifestFormat::Oci,
    }
}

/// Writes config and manifest.
///
/// History entries without `empty_layer`, diff IDs and layers agree in number by construction.
///
/// # Errors
/// [`ImageError`] when a layer cannot stand in a manifest of the wanted format.
pub fn assemble(parts: Parts) -> Result<Image, ImageError> {
    let mut config = parts.config;
    let mut layers = parts.base_layers;
    let times = creation_times(&config.history, &parts.additions, parts.epoch);
    for (addition, created) in parts.additions.into_iter().zip(times) {
        config.history.push(History {
            created,
            empty_layer: addition.layer.is_none(),
            ..addition.history
        });
        if let Some(mut layer) = addition.layer {
            if let Some(time) = parts.rewritten {
                let note = (REWRITTEN_TIMESTAMP.to_owned(), time.as_second().to_string());
                layer.descriptor.annotations.extend([note]);
            }
            config.rootfs.diff_ids.push(layer.diff_id);
            layers.push(layer.descriptor);
        }
    }
    config.created = last_created(&config.history).map(|created| clamp(created, parts.epoch));
    let layers = layers
        .into_iter()
        .map(|layer| relabel(layer, parts.format))
        .collect::<Result<Vec<_>, _>>()?;
    let config = Raw::write(config);
    let config_descriptor = Descriptor::new(
        parts.format.config_type(),
        *config.digest(),
        config.bytes().len() as u64,
    );
    let mut manifest = Manifest::new(parts.format, config_descriptor, layers);
    manifest.annotations = parts.annotations;
    Ok(Image {
        config,
        manifest: Raw::write(manifest),
        format: parts.format,
    })
}

/// The media type of a layer that we compressed.
#[must_use]
pub fn layer_type(format: ManifestFormat, compression: Compression) -> Option<MediaType> {
    MediaType::of_layer(
        format,
        LayerFormat {
            compression,
            distributable: true,
        },
    )
}

/// Rewrites a layer's media type into the manifest's family; the blob stays as it is.
fn relabel(mut layer: Descriptor, format: ManifestFormat) -> Result<Descriptor, ImageError> {
    let Some(layer_format) = layer.media_type.layer_format() else {
        return Err(ImageError::NotALayer {
            digest: layer.digest,
            media_type: layer.media_type.to_string(),
        });
    };
    layer.media_type =
        MediaType::of_layer(format, layer_format).ok_or(ImageError::NoDockerType { digest: layer.digest })?;
    if format == ManifestFormat::Docker {
        layer.annotations.clear();
    }
    Ok(layer)
}

/// When each addition counts as made, as BuildKit has it: a layer when it was made; an entry without
/// one like the entry before it, and those before the first new layer like that layer. Where there is
/// no new layer nothing of today happened, so they are as old as the base.
fn creation_times(base: &[History], additions: &[Addition], epoch: Option<Timestamp>) -> Vec<Option<String>> {
    if let Some(epoch) = epoch {
        return vec![Some(epoch.to_string()); additions.len()];
    }
    let made = |addition: &Addition| addition.layer.is_some().then(|| addition.created.to_string());
    let mut last = additions.iter().find_map(made).or_else(|| last_created(base));
    let mut times = Vec::new();
    for addition in additions {
        last = made(addition).or(last);
        times.push(last.clone());
    }
    times
}

fn last_created(history: &[History]) -> Option<String> {
    history.iter().rev().find_map(|entry| entry.created.clone())
}

/// The earlier of a base's time and the epoch; what is no time stays as it is.
fn clamp(created: String, epoch: Option<Timestamp>) -> String {
    match (created.parse::<Timestamp>(), epoch) {
        (Ok(time), Some(epoch)) if time > epoch => epoch.to_string(),
        _ => created,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Digest, Platform};

    fn layer(content: &str, media_type: MediaType) -> Layer {
        let digest = Digest::of(content.as_bytes());
        Layer {
            descriptor: Descriptor::new(media_type, digest, 1),
            diff_id: DiffId::new(digest),
        }
    }

    /// A base history with one entry made in second 3, then additions: `L7` is a layer made in second 7, `-` has none.
    fn times(base: bool, additions: &str, epoch: Option<i64>) -> (String, Option<String>) {
        let mut additions_of_words = Vec::new();
        for word in additions.split_whitespace() {
            additions_of_words.push(match word.strip_prefix('L') {
                Some(second) => addition(
                    "RUN x",
                    Some(layer(word, MediaType::ImageLayer)),
                    second.parse().unwrap(),
                ),
                None => addition("ENV a=b", None, 99),
            });
        }
        let mut parts = parts(additions_of_words);
        parts.epoch = epoch.map(|second| Timestamp::from_second(second).unwrap());
        if base {
            parts.config.history.push(History {
                created: Some("1970-01-01T00:00:03.5Z".to_owned()),
                ..History::default()
            });
        }
        let image = assemble(parts).unwrap();
        let short = |created: &String| {
            let seconds = created.trim_start_matches("1970-01-01T00:00:");
            seconds.trim_end_matches('Z').trim_start_matches('0').to_owned()
        };
        let config = image.config.value();
        let shown = |entry: &History| entry.created.as_ref().map_or("none".to_owned(), short);
        let history: Vec<_> = config.history.iter().map(shown).collect();
        (history.join(" "), config.created.as_ref().map(short))
    }

    #[test]
    fn l399_l400_created_times() {
        for (base, additions, history, created) in [
            (true, "", "3.5", Some("3.5")),
            (true, "- -", "3.5 3.5 3.5", Some("3.5")),
            (true, "- L7 - L9 -", "3.5 7 7 7 9 9", Some("9")),
            (false, "- L7 -", "7 7 7", Some("7")),
            (false, "-", "none", None),
            (false, "", "", None),
        ] {
            let expected = (history.to_owned(), created.map(str::to_owned));
            assert_eq!(times(base, additions, None), expected, "{additions}");
        }
    }

    #[test]
    fn l401_an_epoch_dates_new_entries_and_limits_the_image() {
        for (base, additions, epoch, history, created) in [
            (true, "- L7 -", 5, "3.5 5 5 5", "5"),
            (true, "- L7 -", 20, "3.5 20 20 20", "20"),
            (true, "L7", 2, "3.5 2", "2"),
            (true, "", 2, "3.5", "2"),
            (true, "", 20, "3.5", "3.5"),
            (false, "-", 5, "5", "5"),
        ] {
            let expected = (history.to_owned(), Some(created.to_owned()));
            assert_eq!(times(base, additions, Some(epoch)), expected, "{additions} at {epoch}");
        }
    }

    #[test]
    fn l407_new_layers_say_to_when_their_times_were_cut() {
        let annotations = |format| {
            let mut parts = parts(vec![addition("RUN x", Some(layer("1", MediaType::ImageLayerGzip)), 9)]);
            parts.base_layers = vec![layer("0", MediaType::ImageLayerGzip).descriptor];
            parts.format = format;
            parts.rewritten = Some(Timestamp::from_second(7).unwrap());
            let layers = assemble(parts).unwrap().layers().to_vec();
            layers.into_iter().map(|layer| layer.annotations).collect::<Vec<_>>()
        };
        let note = BTreeMap::from([("buildkit/rewritten-timestamp".to_owned(), "7".to_owned())]);
        assert_eq!(annotations(ManifestFormat::Oci), [BTreeMap::new(), note]);
        assert_eq!(annotations(ManifestFormat::Docker), [BTreeMap::new(), BTreeMap::new()]);
    }

    fn addition(text: &str, layer: Option<Layer>, second: i64) -> Addition {
        let history = History {
            created_by: Some(text.to_owned()),
            ..History::default()
        };
        Addition {
            history,
            layer,
            created: Timestamp::from_second(second).unwrap(),
        }
    }

    fn parts(additions: Vec<Addition>) -> Parts {
        Parts {
            config: ImageConfig::scratch(Platform::host()),
            base_layers: Vec::new(),
            additions,
            format: ManifestFormat::Oci,
            annotations: BTreeMap::new(),
            epoch: None,
            rewritten: None,
        }
    }

    #[test]
    fn history_diff_ids_and_layers_agree() {
        let image = assemble(parts(vec![
            addition("ENV a=b", None, 5),
            addition("RUN x", Some(layer("1", MediaType::ImageLayerGzip)), 10),
            addition("RUN true", None, 11),
            addition("COPY . .", Some(layer("2", MediaType::ImageLayerZstd)), 12),
        ]))
        .unwrap();
        let config = image.config.value();
        let filled: Vec<_> = config.history.iter().map(|entry| !entry.empty_layer).collect();
        assert_eq!(filled, [false, true, false, true]);
        assert_eq!((config.rootfs.diff_ids.len(), image.layers().len()), (2, 2));
        assert_eq!(config.created.as_deref(), Some("1970-01-01T00:00:12Z"));
        assert_eq!(config.history[0].created.as_deref(), Some("1970-01-01T00:00:10Z"));
        assert_eq!(image.config_descriptor().digest, *image.config.digest());
        assert_eq!(image.id().digest(), image.config.digest());
    }

    #[test]
    fn an_epoch_makes_two_builds_equal() {
        let build = |second| {
            let mut parts = parts(vec![addition(
                "RUN x",
                Some(layer("1", MediaType::ImageLayerGzip)),
                second,
            )]);
            parts.epoch = Some(Timestamp::from_second(1).unwrap());
            assemble(parts).unwrap()
        };
        assert_eq!(build(10).manifest.digest(), build(20).manifest.digest());
    }

    #[test]
    fn media_types_are_of_one_family() {
        let mut docker = parts(vec![addition("RUN x", Some(layer("1", MediaType::ImageLayerGzip)), 1)]);
        docker.base_layers = vec![layer("0", MediaType::ImageLayer).descriptor];
        docker.format = ManifestFormat::Docker;
        let image = assemble(docker.clone()).unwrap();
        assert!(image.layers().iter().all(|layer| layer.media_type.is_docker()));
        assert!(image.config_descriptor().media_type.is_docker());
        docker.base_layers = vec![layer("0", MediaType::ImageLayerZstd).descriptor];
        assert!(matches!(assemble(docker), Err(ImageError::NoDockerType { .. })));
        let mut odd = parts(Vec::new());
        odd.base_layers = vec![layer("0", MediaType::from("text/plain")).descriptor];
        assert!(matches!(assemble(odd), Err(ImageError::NotALayer { .. })));
    }

    #[test]
    fn h71_the_config_does_not_depend_on_the_family() {
        let image = |format| {
            let mut parts = parts(vec![addition("RUN x", Some(layer("1", MediaType::ImageLayerGzip)), 1)]);
            parts.format = format;
            assemble(parts).unwrap()
        };
        let (oci, docker) = (image(ManifestFormat::Oci), image(ManifestFormat::Docker));
        assert_eq!(oci.config.digest(), docker.config.digest());
        assert_eq!(oci.layers()[0].digest, docker.layers()[0].digest);
        assert_ne!(oci.manifest.digest(), docker.manifest.digest());
    }

    #[test]
    fn the_base_decides_the_format_unless_told() {
        let (docker, oci) = (Some(ManifestFormat::Docker), Some(ManifestFormat::Oci));
        assert_eq!(choose_format(None, docker, Compression::Gzip), ManifestFormat::Docker);
        assert_eq!(choose_format(None, None, Compression::Gzip), ManifestFormat::Oci);
        assert_eq!(choose_format(None, docker, Compression::Zstd), ManifestFormat::Oci);
        assert_eq!(choose_format(docker, oci, Compression::Gzip), ManifestFormat::Docker);
    }
}
