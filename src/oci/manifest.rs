//! Manifests and indexes, in their OCI and Docker forms.

use std::collections::BTreeMap;

use oci_spec::image::MediaType;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::descriptor::null_is_default;
use super::{Descriptor, Digest};

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+json";
const SCHEMA_1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// The two families of media types. One manifest never mixes them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum ManifestFormat {
    /// OCI image specification.
    #[default]
    Oci,
    /// Docker image manifest, version 2, schema 2.
    Docker,
}

impl ManifestFormat {
    /// Media type of a manifest.
    #[must_use]
    pub fn manifest_type(self) -> MediaType {
        match self {
            Self::Oci => MediaType::ImageManifest,
            Self::Docker => MediaType::from(DOCKER_MANIFEST),
        }
    }

    /// Media type of an image config.
    #[must_use]
    pub fn config_type(self) -> MediaType {
        match self {
            Self::Oci => MediaType::ImageConfig,
            Self::Docker => MediaType::from(DOCKER_CONFIG),
        }
    }

    /// Media type of an index.
    #[must_use]
    pub fn index_type(self) -> MediaType {
        match self {
            Self::Oci => MediaType::ImageIndex,
            Self::Docker => MediaType::from(DOCKER_LIST),
        }
    }
}

/// A parsed document together with the bytes it came from.
///
/// Its digest is that of the bytes; a document that is only passed on is sent byte for byte.
#[derive(Clone, Debug)]
pub struct Raw<T> {
    bytes: Vec<u8>,
    digest: Digest,
    value: T,
}

impl<T> Raw<T> {
    /// The parsed form.
    #[must_use]
    pub const fn value(&self) -> &T {
        &self.value
    }

    /// The bytes as received, or as first written.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the bytes.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }
}

impl<T: DeserializeOwned> Raw<T> {
    /// Parses `bytes` and keeps them.
    ///
    /// # Errors
    /// The JSON error, with line and column.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, serde_json::Error> {
        let value = serde_json::from_slice(&bytes)?;
        Ok(Self {
            digest: Digest::of(&bytes),
            bytes,
            value,
        })
    }
}

impl<T: Serialize> Raw<T> {
    /// Writes `value` once; from here on the bytes are its identity.
    ///
    /// # Panics
    /// Never: our documents hold only maps with string keys.
    #[must_use]
    pub fn write(value: T) -> Self {
        let bytes = serde_json::to_vec(&value).expect("documents with string keys always serialise");
        Self {
            digest: Digest::of(&bytes),
            bytes,
            value,
        }
    }
}

/// One platform's image: a config and an ordered list of layers.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Always 2.
    #[serde(rename = "schemaVersion")]
    pub schema_version: u32,
    /// Always written; often absent in what others wrote.
    #[serde(rename = "mediaType", default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// Kind of artifact, if this is no image.
    #[serde(rename = "artifactType", default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The image config.
    pub config: Descriptor,
    /// The layers, bottom first.
    #[serde(deserialize_with = "null_is_default")]
    pub layers: Vec<Descriptor>,
    /// What this manifest refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free-form notes; OCI only.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// A manifest of the given family without annotations.
    #[must_use]
    pub fn new(format: ManifestFormat, config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(format.manifest_type()),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    /// The family: by the manifest's own media type, else by that of its config.
    #[must_use]
    pub fn format(&self) -> ManifestFormat {
        match self.media_type.as_ref().map(ToString::to_string).as_deref() {
            Some(DOCKER_MANIFEST) => ManifestFormat::Docker,
            Some(_) => ManifestFormat::Oci,
            None if self.config.media_type == MediaType::ImageConfig => ManifestFormat::Oci,
            None => ManifestFormat::Docker,
        }
    }
}

/// A list of manifests, one for each platform.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Index {
    /// Always 2.
    #[serde(rename = "schemaVersion")]
    pub schema_version: u32,
    /// Always written; often absent in what others wrote.
    #[serde(rename = "mediaType", default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// Kind of artifact, if the index is no multi-platform image.
    #[serde(rename = "artifactType", default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The entries, in the order of preference.
    #[serde(deserialize_with = "null_is_default")]
    pub manifests: Vec<Descriptor>,
    /// What this index refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free-form notes; OCI only.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub annotations: BTreeMap<String, String>,
}

impl Index {
    /// An index of the given family without annotations.
    #[must_use]
    pub fn new(format: ManifestFormat, manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(format.index_type()),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }
}

/// What a registry serves under a reference.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one is made for each image, and taken apart at once"
)]
pub enum Document {
    /// One image.
    Manifest(Raw<Manifest>),
    /// Several, by platform.
    Index(Raw<Index>),
}

/// Why bytes are neither a manifest nor an index.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or JSON of the wrong shape.
    #[error("not a valid {kind}")]
    Json {
        /// Manifest or index.
        kind: &'static str,
        /// Line, column and what was expected.
        #[source]
        source: serde_json::Error,
    },
    /// A document that could be read both ways is an attack (CVE-2021-41190).
    #[error("the document has both `manifests` and `layers` or `config`, so it could be read in two ways")]
    Ambiguous,
    /// The header and the document disagree, which is the same attack.
    #[error("the registry calls it {header:?} but the document calls itself {body:?}")]
    TypeMismatch {
        /// Content-Type of the answer.
        header: String,
        /// `mediaType` of the document.
        body: String,
    },
    /// Docker's format of before 2016, which has no digests worth the name.
    #[error("the image is in Docker's schema 1 format of before 2016; pull and push it once with a current tool")]
    Schema1,
    /// Neither structure.
    #[error("the document is neither a manifest nor an index (media type {0:?})")]
    Unknown(String),
    /// The same key twice in one object: two readers could pick different ones.
    #[error("the document has the key {0:?} twice")]
    DuplicateKey(String),
}

impl Document {
    /// Parses what a registry answered; `content_type` is the header, parameters and all.
    ///
    /// # Errors
    /// See [`ManifestError`].
    pub fn parse(bytes: Vec<u8>, content_type: Option<&str>) -> Result<Self, ManifestError> {
        let json = |kind| move |source| ManifestError::Json { kind, source };
        let shape: Shape = serde_json::from_slice(&bytes).map_err(|source| {
            let text = source.to_string();
            match text.split('`').nth(1) {
                Some(key) if text.starts_with("duplicate field") => ManifestError::DuplicateKey(key.to_owned()),
                _ => ManifestError::Json {
                    kind: "manifest",
                    source,
                },
            }
        })?;
        let header = content_type.map(|t| t.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
        let header = header.filter(|t| {
            !matches!(
                t.as_str(),
                "" | "application/json" | "text/plain" | "application/octet-stream"
            )
        });
        if let (Some(header), Some(body)) = (&header, &shape.media_type)
            && header != body
        {
            return Err(ManifestError::TypeMismatch {
                header: header.clone(),
                body: body.clone(),
            });
        }
        let index_like = shape.manifests.is_some();
        let manifest_like = shape.layers.is_some() || shape.config.is_some();
        let named = shape.media_type.or(header);
        match (named.as_deref(), index_like, manifest_like) {
            (_, true, true) => Err(ManifestError::Ambiguous),
            (Some(SCHEMA_1 | SCHEMA_1_SIGNED), ..) => Err(ManifestError::Schema1),
            _ if shape.fs_layers.is_some() => Err(ManifestError::Schema1),
            (Some(OCI_INDEX | DOCKER_LIST) | None, true, false) => {
                Raw::parse(bytes).map(Self::Index).map_err(json("index"))
            }
            (Some(OCI_MANIFEST | DOCKER_MANIFEST) | None, false, true) => {
                Raw::parse(bytes).map(Self::Manifest).map_err(json("manifest"))
            }
            (named, ..) => Err(ManifestError::Unknown(named.unwrap_or_default().to_owned())),
        }
    }

    /// Digest of the bytes as received.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        match self {
            Self::Manifest(raw) => raw.digest(),
            Self::Index(raw) => raw.digest(),
        }
    }

    /// The bytes as received.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Manifest(raw) => raw.bytes(),
            Self::Index(raw) => raw.bytes(),
        }
    }

    /// The document's media type, by its own word or else by its structure.
    #[must_use]
    pub fn media_type(&self) -> MediaType {
        match self {
            Self::Manifest(raw) => raw
                .value()
                .media_type
                .clone()
                .unwrap_or_else(|| raw.value().format().manifest_type()),
            Self::Index(raw) => raw.value().media_type.clone().unwrap_or(MediaType::ImageIndex),
        }
    }
}

/// The members that tell one kind of document from another.
#[derive(Deserialize)]
struct Shape {
    #[serde(rename = "mediaType", default)]
    media_type: Option<String>,
    #[serde(default)]
    manifests: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    layers: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    config: Option<serde::de::IgnoredAny>,
    #[serde(rename = "fsLayers", default)]
    fs_layers: Option<serde::de::IgnoredAny>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor() -> String {
        format!(
            r#"{{"mediaType":"{OCI_MANIFEST}","digest":"{}","size":0}}"#,
            Digest::of(b"")
        )
    }

    fn manifest(media_type: &str) -> Vec<u8> {
        let d = descriptor();
        format!(r#"{{"schemaVersion":2{media_type},"config":{d},"layers":[{d}]}}"#).into_bytes()
    }

    #[test]
    fn tells_manifests_from_indexes() {
        let d = descriptor();
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{d}]}}"#).into_bytes();
        assert!(matches!(Document::parse(manifest(""), None), Ok(Document::Manifest(_))));
        assert!(matches!(
            Document::parse(manifest(""), Some("text/plain; charset=utf-8")),
            Ok(Document::Manifest(_))
        ));
        assert!(matches!(
            Document::parse(index.clone(), Some(OCI_INDEX)),
            Ok(Document::Index(_))
        ));
        assert!(matches!(Document::parse(index, None), Ok(Document::Index(_))));
    }

    #[test]
    fn keeps_bytes_and_digest() {
        let bytes = manifest(r#", "mediaType" : "application/vnd.oci.image.manifest.v1+json""#);
        let document = Document::parse(bytes.clone(), Some(OCI_MANIFEST)).unwrap();
        assert_eq!(document.bytes(), bytes);
        assert_eq!(*document.digest(), Digest::of(&bytes));
    }

    #[test]
    fn refuses_documents_that_read_two_ways() {
        let d = descriptor();
        let both = format!(r#"{{"schemaVersion":2,"manifests":[{d}],"layers":[{d}]}}"#).into_bytes();
        assert!(matches!(Document::parse(both, None), Err(ManifestError::Ambiguous)));
        let named = manifest(&format!(r#","mediaType":"{OCI_MANIFEST}""#));
        assert!(matches!(
            Document::parse(named, Some(OCI_INDEX)),
            Err(ManifestError::TypeMismatch { .. })
        ));
        let twice = format!(r#"{{"schemaVersion":2,"config":{d},"layers":[],"layers":[{d}]}}"#).into_bytes();
        assert!(matches!(Document::parse(twice, None), Err(ManifestError::DuplicateKey(key)) if key == "layers"));
    }

    #[test]
    fn names_schema_1_and_garbage() {
        let old = br#"{"schemaVersion":1,"fsLayers":[]}"#.to_vec();
        assert!(matches!(
            Document::parse(old, Some("text/plain")),
            Err(ManifestError::Schema1)
        ));
        assert!(matches!(
            Document::parse(b"<html>".to_vec(), None),
            Err(ManifestError::Json { .. })
        ));
        assert!(matches!(
            Document::parse(b"{}".to_vec(), None),
            Err(ManifestError::Unknown(_))
        ));
    }
}
