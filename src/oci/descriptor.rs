//! Descriptors and the media types of layers.

use std::collections::BTreeMap;

use oci_spec::image::MediaType;
use serde::{Deserialize, Serialize};

use super::{Digest, ManifestFormat, Platform};

/// Media type, digest and size of a blob (image-spec descriptor.md).
///
/// Members that this program does not know survive a round trip.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Descriptor {
    /// What the blob is. An open vocabulary: unknown types are carried, not refused.
    #[serde(rename = "mediaType", default = "octet_stream")]
    pub media_type: MediaType,
    /// Digest of the blob as sent.
    pub digest: Digest,
    /// Size of the blob in bytes.
    pub size: u64,
    /// Where else the blob may be had (non-distributable layers).
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub urls: Vec<String>,
    /// Free-form notes.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub annotations: BTreeMap<String, String>,
    /// The content itself, base64, for small blobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// What the described manifest runs on; entries of an index have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Kind of artifact, when the blob is a manifest that is no image.
    #[serde(rename = "artifactType", default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Members unknown to this program.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, serde_json::Value>,
}

fn octet_stream() -> MediaType {
    MediaType::Other("application/octet-stream".to_owned())
}

/// Go writes absent slices and maps as `null`; the specification treats both alike.
pub(super) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Descriptor {
    /// A descriptor with nothing but the three required members.
    #[must_use]
    pub fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        Self {
            media_type,
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            data: None,
            platform: None,
            artifact_type: None,
            unknown: BTreeMap::new(),
        }
    }

    /// Whether this is an image's config. Old images have configs of no particular type.
    #[must_use]
    pub fn is_image_config(&self) -> bool {
        let media_type = self.media_type.to_string();
        let known = [ManifestFormat::Oci, ManifestFormat::Docker].map(|format| format.config_type().to_string());
        known.contains(&media_type)
            || matches!(
                media_type.as_str(),
                "application/octet-stream" | "application/json" | ""
            )
    }
}

/// How a layer's tar is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Compression {
    /// Plain tar.
    None,
    /// RFC 1952.
    #[default]
    Gzip,
    /// RFC 8878; OCI manifests only.
    Zstd,
}

/// What a layer's media type says of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LayerFormat {
    /// How the tar is compressed, as claimed; readers go by the magic bytes.
    pub compression: Compression,
    /// Whether registries may refuse to hold it (Windows base layers).
    pub distributable: bool,
}

const DOCKER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
const DOCKER_TAR: &str = "application/vnd.docker.image.rootfs.diff.tar";
const DOCKER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const DOCKER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";

/// Questions about media types that `oci-spec` does not answer.
pub trait MediaTypeExt {
    /// The layer format this type stands for, `None` for anything that is no layer.
    fn layer_format(&self) -> Option<LayerFormat>;
    /// Whether the type is of Docker's family and so may not stand in an OCI manifest.
    fn is_docker(&self) -> bool;
    /// The type of a layer in a manifest of the given format; zstd exists in OCI alone.
    fn of_layer(format: ManifestFormat, layer: LayerFormat) -> Option<MediaType>;
}

impl MediaTypeExt for MediaType {
    fn layer_format(&self) -> Option<LayerFormat> {
        let layer = |compression, distributable| {
            Some(LayerFormat {
                compression,
                distributable,
            })
        };
        match self {
            Self::ImageLayer => layer(Compression::None, true),
            Self::ImageLayerGzip => layer(Compression::Gzip, true),
            Self::ImageLayerZstd => layer(Compression::Zstd, true),
            Self::ImageLayerNonDistributable => layer(Compression::None, false),
            Self::ImageLayerNonDistributableGzip => layer(Compression::Gzip, false),
            Self::ImageLayerNonDistributableZstd => layer(Compression::Zstd, false),
            other => match other.to_string().as_str() {
                DOCKER_TAR => layer(Compression::None, true),
                DOCKER_GZIP => layer(Compression::Gzip, true),
                // Defined nowhere, yet met in the wild.
                DOCKER_ZSTD => layer(Compression::Zstd, true),
                DOCKER_FOREIGN => layer(Compression::Gzip, false),
                _ => None,
            },
        }
    }

    fn is_docker(&self) -> bool {
        self.to_string().starts_with("application/vnd.docker.")
    }

    fn of_layer(format: ManifestFormat, layer: LayerFormat) -> Option<MediaType> {
        let docker = |text: &str| Some(Self::from(text));
        match (format, layer.compression, layer.distributable) {
            (ManifestFormat::Oci, Compression::None, true) => Some(Self::ImageLayer),
            (ManifestFormat::Oci, Compression::Gzip, true) => Some(Self::ImageLayerGzip),
            (ManifestFormat::Oci, Compression::Zstd, true) => Some(Self::ImageLayerZstd),
            (ManifestFormat::Oci, Compression::None, false) => Some(Self::ImageLayerNonDistributable),
            (ManifestFormat::Oci, Compression::Gzip, false) => Some(Self::ImageLayerNonDistributableGzip),
            (ManifestFormat::Oci, Compression::Zstd, false) => Some(Self::ImageLayerNonDistributableZstd),
            (ManifestFormat::Docker, Compression::None, true) => docker(DOCKER_TAR),
            (ManifestFormat::Docker, Compression::Gzip, true) => docker(DOCKER_GZIP),
            (ManifestFormat::Docker, Compression::Gzip, false) => docker(DOCKER_FOREIGN),
            (ManifestFormat::Docker, Compression::None, false) | (ManifestFormat::Docker, Compression::Zstd, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layer_types_translate_between_the_families() {
        for (oci, docker) in [
            ("application/vnd.oci.image.layer.v1.tar", DOCKER_TAR),
            ("application/vnd.oci.image.layer.v1.tar+gzip", DOCKER_GZIP),
            (
                "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
                DOCKER_FOREIGN,
            ),
        ] {
            let (oci, docker) = (MediaType::from(oci), MediaType::from(docker));
            let format = oci.layer_format().unwrap();
            assert_eq!(docker.layer_format().unwrap(), format);
            assert_eq!(MediaType::of_layer(ManifestFormat::Oci, format).unwrap(), oci);
            assert_eq!(
                MediaType::of_layer(ManifestFormat::Docker, format).unwrap().to_string(),
                docker.to_string()
            );
        }
        let zstd = MediaType::ImageLayerZstd.layer_format().unwrap();
        assert_eq!(MediaType::of_layer(ManifestFormat::Docker, zstd), None);
        assert_eq!(MediaType::from("text/plain").layer_format(), None);
    }

    #[test]
    fn negative_and_fractional_sizes_are_refused() {
        let with_size = |size: &str| {
            let digest = Digest::of(b"");
            serde_json::from_str::<Descriptor>(&format!(r#"{{"mediaType":"a/b","digest":"{digest}","size":{size}}}"#))
        };
        assert!(with_size("10").is_ok());
        for size in ["-1", "1.5", "1e3", "\"1\"", "null", "18446744073709551616"] {
            assert!(with_size(size).is_err(), "size {size} was accepted");
        }
    }

    #[test]
    fn unknown_members_survive() {
        let text = format!(
            r#"{{"mediaType":"a/b","digest":"{}","size":1,"urls":null,"x":{{"y":1}}}}"#,
            Digest::of(b"")
        );
        let descriptor: Descriptor = serde_json::from_str(&text).unwrap();
        let again = serde_json::to_value(&descriptor).unwrap();
        assert_eq!(again["x"]["y"], 1);
        assert!(again.get("urls").is_none());
    }
}
