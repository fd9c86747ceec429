//! Annotations of an image, by the part of it that they belong to.
//!
//! Written as with buildx: `KEY=VALUE` for the manifest, or `TYPE[PLATFORM],…:KEY=VALUE`, where TYPE names the part and
//! PLATFORM, in brackets, one image of an index.

use std::collections::BTreeMap;

use super::{ManifestFormat, Platform, PlatformError};

/// The notes of one part.
pub type Notes = BTreeMap<String, String>;

/// A part of an image that can be annotated.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Annotated {
    /// The manifest of an image.
    Manifest,
    /// The index of several images.
    Index,
    /// The descriptor that points to a manifest, in an index or a layout.
    ManifestDescriptor,
    /// The descriptor that points to an index, in a layout.
    IndexDescriptor,
}

/// Notes for all parts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Annotations(BTreeMap<Place, Notes>);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Place {
    part: Annotated,
    /// `None` for every image; sorted first, so that what is said of one platform wins.
    platform: Option<Platform>,
}

/// Text that is no annotation, or one that has no place in the image.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AnnotationError {
    /// Without `=`.
    #[error("invalid annotation {0:?}, expected key=value")]
    Form(String),
    /// Without a name.
    #[error("annotation {0:?} has no key")]
    Blank(String),
    /// Odd brackets.
    #[error("invalid annotation type {0:?}, expected type and optional platform in square brackets")]
    TypeForm(String),
    /// A prefix that names no part.
    #[error("unknown annotation type {0:?}")]
    Type(String),
    /// Brackets with something else.
    #[error("invalid platform {platform:?}")]
    Platform {
        /// What is in the brackets.
        platform: String,
        /// Why it is none.
        #[source]
        source: PlatformError,
    },
    /// There is one index for all platforms.
    #[error("annotation type {0:?} takes no platform")]
    IndexOfPlatform(String),
    /// An index's notes, and one image.
    #[error("index annotations not supported for single platform export")]
    NoIndex,
    /// Docker's formats have no such notes.
    #[error("{0} annotations are not supported with Docker media types")]
    Docker(&'static str),
}

impl Annotated {
    const ALL: [Self; 4] = [
        Self::Manifest,
        Self::Index,
        Self::ManifestDescriptor,
        Self::IndexDescriptor,
    ];

    /// As written.
    const fn name(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Index => "index",
            Self::ManifestDescriptor => "manifest-descriptor",
            Self::IndexDescriptor => "index-descriptor",
        }
    }

    const fn is_of_an_index(self) -> bool {
        matches!(self, Self::Index | Self::IndexDescriptor)
    }
}

impl Place {
    /// Whether the image of this platform is meant; versions of an operating system do not matter.
    fn is_for(&self, platform: &Platform) -> bool {
        let key = |platform: &Platform| {
            let Platform {
                os,
                architecture,
                variant,
                ..
            } = platform.normalised();
            (os, architecture, variant)
        };
        self.platform.as_ref().is_none_or(|own| key(own) == key(platform))
    }

    /// Parses `TYPE` or `TYPE[PLATFORM]`.
    fn parse(written: &str) -> Result<Self, AnnotationError> {
        let (name, platform) = match written.split_once('[') {
            None => (written, None),
            Some((name, rest)) => match rest.strip_suffix(']') {
                Some(platform) if !platform.is_empty() => (name, Some(platform)),
                Some(_) | None => return Err(AnnotationError::TypeForm(written.to_owned())),
            },
        };
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') {
            return Err(AnnotationError::TypeForm(written.to_owned()));
        }
        let part = Annotated::ALL.into_iter().find(|part| part.name() == name);
        let part = part.ok_or_else(|| AnnotationError::Type(name.to_owned()))?;
        if part.is_of_an_index() && platform.is_some() {
            return Err(AnnotationError::IndexOfPlatform(name.to_owned()));
        }
        let parse = |text: &str| {
            let parsed = text.parse::<Platform>();
            parsed
                .map(|platform| platform.normalised())
                .map_err(|source| AnnotationError::Platform {
                    platform: text.to_owned(),
                    source,
                })
        };
        let platform = platform.map(parse).transpose()?;
        Ok(Self { part, platform })
    }
}

impl Annotations {
    /// Adds one as it was written; of equal keys in one place the last counts. The first colon ends the types, so
    /// that a key with a colon needs one: `manifest:a:b=c`.
    ///
    /// # Errors
    /// [`AnnotationError`].
    pub fn add(&mut self, written: &str) -> Result<(), AnnotationError> {
        let (places, value) = written
            .split_once('=')
            .ok_or_else(|| AnnotationError::Form(written.to_owned()))?;
        let (types, key) = places.split_once(':').unwrap_or((Annotated::Manifest.name(), places));
        if key.is_empty() {
            return Err(AnnotationError::Blank(written.to_owned()));
        }
        for place in types.split(',').map(Place::parse).collect::<Result<Vec<_>, _>>()? {
            let notes = self.0.entry(place).or_default();
            notes.insert(key.to_owned(), value.to_owned());
        }
        Ok(())
    }

    /// Notes for the image of this platform: of its manifest, or of the descriptor of that.
    #[must_use]
    pub fn of_image(&self, part: Annotated, platform: &Platform) -> Notes {
        let applies = |place: &Place| place.part == part && place.is_for(platform);
        let places = self.0.iter().filter(|(place, _)| applies(place));
        places.flat_map(|(_, notes)| notes.clone()).collect()
    }

    /// Notes for the index, or for the descriptor of that.
    #[must_use]
    pub fn of_index(&self, part: Annotated) -> Notes {
        self.0.get(&Place { part, platform: None }).cloned().unwrap_or_default()
    }

    /// Whether they can all be written into a single image.
    ///
    /// # Errors
    /// [`AnnotationError::NoIndex`].
    pub fn check_without_index(&self) -> Result<(), AnnotationError> {
        match self.0.keys().any(|place| place.part.is_of_an_index()) {
            true => Err(AnnotationError::NoIndex),
            false => Ok(()),
        }
    }

    /// Whether they can all be written in this family; Docker's has those of manifests alone.
    ///
    /// # Errors
    /// [`AnnotationError::Docker`].
    pub fn check_format(&self, format: ManifestFormat) -> Result<(), AnnotationError> {
        let foreign = self.0.keys().find(|place| place.part != Annotated::Manifest);
        match (format, foreign) {
            (ManifestFormat::Docker, Some(place)) => Err(AnnotationError::Docker(place.part.name())),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotations(written: &[&str]) -> Annotations {
        let mut annotations = Annotations::default();
        for text in written {
            annotations.add(text).unwrap();
        }
        annotations
    }

    fn shown(notes: &Notes) -> String {
        let notes: Vec<_> = notes.iter().map(|(key, value)| format!("{key}={value}")).collect();
        notes.join(" ")
    }

    #[test]
    fn l411_annotations_reach_what_their_prefix_names() {
        let amd64 = Platform::new("linux", "amd64", None);
        for (written, manifest, descriptor, index, index_descriptor) in [
            (&["a=1", "b=x=y", "a=2"][..], "a=2 b=x=y", "", "", ""),
            (&["manifest:a=1"], "a=1", "", "", ""),
            (&["manifest:a:b=1", "c="], "a:b=1 c=", "", "", ""),
            (&["manifest-descriptor:a=1"], "", "a=1", "", ""),
            (&["index:a=1"], "", "", "a=1", ""),
            (&["index-descriptor:a=1"], "", "", "", "a=1"),
            (&["index,manifest:a=1", "manifest:a=2"], "a=2", "", "a=1", ""),
            (
                &["manifest[linux/amd64]:a=1", "manifest[linux/arm64]:b=1"],
                "a=1",
                "",
                "",
                "",
            ),
            (
                &["manifest[linux/x86_64],manifest-descriptor[linux/amd64/v1]:a=1"],
                "a=1",
                "a=1",
                "",
                "",
            ),
            (
                &["manifest[linux/amd64]:a=own", "a=all", "b=all"],
                "a=own b=all",
                "",
                "",
                "",
            ),
            (&["manifest[linux/amd64/v2]:a=1"], "", "", "", ""),
        ] {
            let annotations = annotations(written);
            let of_image = |part| shown(&annotations.of_image(part, &amd64));
            assert_eq!(of_image(Annotated::Manifest), manifest, "{written:?}");
            assert_eq!(of_image(Annotated::ManifestDescriptor), descriptor, "{written:?}");
            assert_eq!(shown(&annotations.of_index(Annotated::Index)), index, "{written:?}");
            assert_eq!(
                shown(&annotations.of_index(Annotated::IndexDescriptor)),
                index_descriptor,
                "{written:?}"
            );
        }
    }

    #[test]
    fn l411_mistakes_of_annotations() {
        for (written, message) in [
            ("a", "invalid annotation \"a\", expected key=value"),
            ("", "invalid annotation \"\", expected key=value"),
            ("=x", "annotation \"=x\" has no key"),
            ("manifest:=x", "annotation \"manifest:=x\" has no key"),
            ("layer:a=1", "unknown annotation type \"layer\""),
            (
                "manifest,:a=1",
                "invalid annotation type \"\", expected type and optional platform in square brackets",
            ),
            (
                "Index:a=1",
                "invalid annotation type \"Index\", expected type and optional platform in square brackets",
            ),
            (
                "manifest[]:a=1",
                "invalid annotation type \"manifest[]\", expected type and optional platform in square brackets",
            ),
            (
                "manifest[x:a=1",
                "invalid annotation type \"manifest[x\", expected type and optional platform in square brackets",
            ),
            ("manifest[a/b/c/d]:a=1", "invalid platform \"a/b/c/d\""),
            ("index[linux/amd64]:a=1", "annotation type \"index\" takes no platform"),
        ] {
            let error = Annotations::default().add(written).unwrap_err();
            assert_eq!(error.to_string(), message, "{written}");
        }
    }

    #[test]
    fn l411_index_annotations_need_an_index_and_docker_has_those_of_manifests() {
        for (written, single, docker) in [
            ("a=1", None, None),
            ("manifest[linux/amd64]:a=1", None, None),
            ("manifest-descriptor:a=1", None, Some("manifest-descriptor")),
            ("index:a=1", Some(AnnotationError::NoIndex), Some("index")),
            (
                "index-descriptor:a=1",
                Some(AnnotationError::NoIndex),
                Some("index-descriptor"),
            ),
        ] {
            let annotations = annotations(&[written]);
            assert_eq!(annotations.check_without_index().err(), single, "{written}");
            assert_eq!(annotations.check_format(ManifestFormat::Oci), Ok(()), "{written}");
            let docker = docker.map(AnnotationError::Docker);
            assert_eq!(
                annotations.check_format(ManifestFormat::Docker).err(),
                docker,
                "{written}"
            );
        }
    }
}
