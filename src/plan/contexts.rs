//! `--build-context NAME=VALUE`: what a build means by names of stages and images besides the file itself.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::oci::{Digest, DigestError, Platform, PlatformError, Reference, ReferenceError};
use crate::redact;
use crate::remote::{SourceKind, source_kind};

/// Names that always mean what the language says.
const RESERVED: [&str; 2] = ["scratch", "context"];

/// Between a name and the only platform it holds for.
const PLATFORM_MARK: &str = "::";

/// Image references and what to take instead of them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NamedContexts(BTreeMap<ContextName, NamedContext>);

/// A name, normalised like an image reference, `:latest` left out, and the platform it is for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct ContextName {
    name: String,
    platform: Option<Platform>,
}

/// What a name stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedContext {
    /// As it was given, without the platform.
    pub name: String,
    /// What is there.
    pub source: ContextSource,
}

/// The value of a `--build-context`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ContextSource {
    /// `docker-image://scratch`: no files and no config.
    Scratch,
    /// An image with its config.
    Image(ImageSource),
    /// A tree of files without a config.
    Tree(TreeSource),
}

/// Where an image is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ImageSource {
    /// In a registry.
    Registry(Reference),
    /// In a directory of this machine.
    Layout(LayoutImage),
}

/// An image in an OCI image layout.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LayoutImage {
    /// The layout's directory.
    pub path: PathBuf,
    /// Which of its images.
    pub selector: LayoutSelector,
}

/// Names an image in a layout.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LayoutSelector {
    /// `DIR`: the one called `latest`, else the only one.
    Default,
    /// `DIR:TAG`: the one whose name in the index is this.
    Tag(String),
    /// `DIR@DIGEST`: a manifest or an index.
    Digest(Digest),
}

/// Where files are.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TreeSource {
    /// A directory of this machine; its own `.dockerignore` applies.
    Directory(PathBuf),
    /// A git repository, as written.
    Git(String),
    /// An archive or a file that a web server has, as written.
    Url(String),
}

/// A `--build-context` that says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContextError {
    /// Not `NAME=VALUE`.
    #[error("expected NAME=VALUE")]
    Form,
    /// The language knows these names itself.
    #[error("{0:?} always means what it means in a Dockerfile and cannot be replaced")]
    Reserved(String),
    /// Names follow the grammar of image references, like what stands in FROM.
    #[error("invalid context name {name:?}")]
    Name {
        /// As given.
        name: String,
        /// What is wrong with it.
        #[source]
        source: ReferenceError,
    },
    /// `NAME::platform` with something else behind the colons.
    #[error("invalid platform of the context name {name:?}")]
    Platform {
        /// As given.
        name: String,
        /// What is wrong with it.
        #[source]
        source: PlatformError,
    },
    /// `docker-image://` of something else.
    #[error("{value:?} is not an image")]
    Image {
        /// As given.
        value: String,
        /// What is wrong with it.
        #[source]
        source: ReferenceError,
    },
    /// `oci-layout://…@` of something else.
    #[error("{value:?} is not an image in a layout")]
    Layout {
        /// As given.
        value: String,
        /// What is wrong with it.
        #[source]
        source: DigestError,
    },
    /// `oci-layout://` of nothing.
    #[error("{0:?} names no directory")]
    NoDirectory(String),
    /// A scheme nobody knows; the value without password and query.
    #[error(
        "{0:?} is no kind of context (expected a directory, docker-image://REF, oci-layout://DIR@DIGEST, or a git or http(s) URL)"
    )]
    Scheme(String),
}

impl NamedContexts {
    /// Adds one that was written `NAME=VALUE`; of equal names the last counts. Paths are relative to `directory`.
    ///
    /// # Errors
    /// [`ContextError`]. Whether anything is at VALUE is not looked at: nobody may need it.
    pub fn add(&mut self, written: &str, directory: &Path) -> Result<(), ContextError> {
        let (written, value) = written.split_once('=').ok_or(ContextError::Form)?;
        if written.is_empty() || value.is_empty() {
            return Err(ContextError::Form);
        }
        let (name, key) = ContextName::parse(written)?;
        let source = ContextSource::parse(value, directory)?;
        let name = name.to_owned();
        self.0.insert(key, NamedContext { name, source });
        Ok(())
    }

    /// What `name` stands for on `platform`, if it is the name of a context: one for this platform comes first.
    #[must_use]
    pub fn find(&self, name: &str, platform: &Platform) -> Option<&NamedContext> {
        if self.0.is_empty() || is_reserved(name) {
            return None;
        }
        let name = familiar(&name.parse().ok()?);
        let key = |platform| ContextName {
            name: name.clone(),
            platform,
        };
        let own = self.0.get(&key(Some(platform.normalised())));
        own.or_else(|| self.0.get(&key(None)))
    }

    /// The names, as given.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(|context| context.name.as_str())
    }
}

impl ContextName {
    /// The name as written, without its platform, and what it is looked up by.
    fn parse(written: &str) -> Result<(&str, Self), ContextError> {
        let (name, platform) = match written.split_once(PLATFORM_MARK) {
            Some((name, platform)) => (name, Some(platform)),
            None => (written, None),
        };
        if is_reserved(name) {
            return Err(ContextError::Reserved(name.to_owned()));
        }
        let reference = name.parse().map_err(|source| ContextError::Name {
            name: written.to_owned(),
            source,
        })?;
        let platform = platform.map(str::parse::<Platform>).transpose();
        let platform = platform.map_err(|source| ContextError::Platform {
            name: written.to_owned(),
            source,
        })?;
        let key = Self {
            name: familiar(&reference),
            platform: platform.map(|platform| platform.normalised()),
        };
        Ok((name, key))
    }
}

impl ContextSource {
    fn parse(value: &str, directory: &Path) -> Result<Self, ContextError> {
        if let Some(reference) = value.strip_prefix("docker-image://") {
            return parse_image(reference);
        }
        if let Some(layout) = value.strip_prefix("oci-layout://") {
            return parse_layout(layout, directory);
        }
        match source_kind(value) {
            SourceKind::Git => return Ok(Self::Tree(TreeSource::Git(value.to_owned()))),
            SourceKind::Url => return Ok(Self::Tree(TreeSource::Url(value.to_owned()))),
            SourceKind::Path if is_git_shorthand(value) => {
                return Ok(Self::Tree(TreeSource::Git(format!("https://{value}"))));
            }
            SourceKind::Path => {}
        }
        let path = match value.split_once("://") {
            None => value,
            // As `--context` has it.
            Some(("dir", path)) if !path.is_empty() => path,
            Some(_) => return Err(ContextError::Scheme(redact::location(value).into_owned())),
        };
        Ok(Self::Tree(TreeSource::Directory(absolute(path, directory))))
    }
}

impl ImageSource {
    /// The reference, if it is in a registry.
    #[must_use]
    pub const fn reference(&self) -> Option<&Reference> {
        match self {
            Self::Registry(reference) => Some(reference),
            Self::Layout(_) => None,
        }
    }
}

impl From<Reference> for ImageSource {
    fn from(reference: Reference) -> Self {
        Self::Registry(reference)
    }
}

impl fmt::Display for ImageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => reference.fmt(f),
            Self::Layout(layout) => layout.fmt(f),
        }
    }
}

impl fmt::Display for LayoutImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci-layout://{}", self.path.display())?;
        match &self.selector {
            LayoutSelector::Default => Ok(()),
            LayoutSelector::Tag(tag) => write!(f, ":{tag}"),
            LayoutSelector::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}

impl TreeSource {
    /// What tells one from another, password and all: not for people.
    pub(super) fn identity(&self) -> Cow<'_, str> {
        match self {
            Self::Directory(path) => path.to_string_lossy(),
            Self::Git(url) | Self::Url(url) => Cow::Borrowed(url),
        }
    }
}

/// For messages: without password. What follows the address of a repository says which part of it is meant.
impl fmt::Display for TreeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => path.display().fmt(f),
            Self::Git(url) => f.write_str(&redact::address(url)),
            Self::Url(url) => f.write_str(&redact::location(url)),
        }
    }
}

fn is_reserved(name: &str) -> bool {
    RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved))
}

/// The reference as people write it: Docker Hub and `:latest` left out.
pub(super) fn familiar(reference: &Reference) -> String {
    let full = reference.name();
    let name = full.strip_prefix("docker.io/").unwrap_or(&full);
    let mut name = name.strip_prefix("library/").unwrap_or(name).to_owned();
    match (reference.tag(), reference.digest()) {
        (Some(tag), Some(digest)) => name += &format!(":{tag}@{digest}"),
        (None, Some(digest)) => name += &format!("@{digest}"),
        (Some("latest") | None, None) => {}
        (Some(tag), None) => name += &format!(":{tag}"),
    }
    name
}

fn parse_image(written: &str) -> Result<ContextSource, ContextError> {
    if written == "scratch" {
        return Ok(ContextSource::Scratch);
    }
    let reference: Reference = written.parse().map_err(|source| ContextError::Image {
        value: written.to_owned(),
        source,
    })?;
    Ok(ContextSource::Image(reference.into()))
}

/// `DIR`, `DIR:TAG` or `DIR@DIGEST`; a tag before a digest says nothing more.
fn parse_layout(written: &str, directory: &Path) -> Result<ContextSource, ContextError> {
    let (rest, digest) = match written.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (written, None),
    };
    let (path, tag) = match rest.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        Some(_) | None => (rest, None),
    };
    if path.is_empty() {
        return Err(ContextError::NoDirectory(format!("oci-layout://{written}")));
    }
    let digest = digest.map(str::parse).transpose();
    let digest = digest.map_err(|source| ContextError::Layout {
        value: format!("oci-layout://{written}"),
        source,
    })?;
    let selector = match (digest, tag) {
        (Some(digest), _) => LayoutSelector::Digest(digest),
        (None, Some(tag)) => LayoutSelector::Tag(tag.to_owned()),
        (None, None) => LayoutSelector::Default,
    };
    Ok(ContextSource::Image(ImageSource::Layout(LayoutImage {
        path: absolute(path, directory),
        selector,
    })))
}

/// `github.com/owner/repository` without a scheme: a repository for a context, though a path for ADD.
fn is_git_shorthand(value: &str) -> bool {
    value.starts_with("github.com/")
}

/// The path from the root, without `.` and doubled slashes.
fn absolute(path: &str, directory: &Path) -> PathBuf {
    directory.join(path).components().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn add(contexts: &mut NamedContexts, written: &str) -> Result<(), ContextError> {
        contexts.add(written, Path::new("/w"))
    }

    fn amd64() -> Platform {
        Platform::new("linux", "amd64", None)
    }

    fn source(value: &str) -> ContextSource {
        let mut contexts = NamedContexts::default();
        add(&mut contexts, &format!("x={value}")).unwrap();
        contexts.find("x", &amd64()).unwrap().source.clone()
    }

    #[test]
    fn l357_context_names_are_normalised_like_references() {
        let arm64 = Platform::new("linux", "arm64", None);
        for (given, asked, platform, found) in [
            ("alpine", "alpine", &arm64, true),
            ("alpine", "alpine:latest", &arm64, true),
            ("alpine:latest", "alpine", &arm64, true),
            ("docker.io/library/alpine", "alpine", &arm64, true),
            ("alpine", "docker.io/library/alpine:latest", &arm64, true),
            ("alpine", "index.docker.io/library/alpine", &arm64, true),
            ("alpine", "alpine:3", &arm64, false),
            ("alpine:3", "alpine:3", &arm64, true),
            ("user/app", "docker.io/user/app", &arm64, true),
            ("alpine", "h.io/alpine", &arm64, false),
            ("alpine", "Alpine", &arm64, false),
            ("alpine::linux/arm64", "alpine", &arm64, true),
            ("alpine::linux/arm64/v8", "alpine", &arm64, true),
            ("alpine:latest::linux/arm64", "alpine", &arm64, true),
            ("alpine::linux/arm64", "alpine", &amd64(), false),
        ] {
            let mut contexts = NamedContexts::default();
            add(&mut contexts, &format!("{given}=.")).unwrap();
            let answer = contexts.find(asked, platform).is_some();
            assert_eq!(answer, found, "{given} {asked} {platform}");
        }
    }

    #[test]
    fn l357_a_context_for_the_platform_comes_first() {
        let mut contexts = NamedContexts::default();
        for written in ["a::linux/arm64=./arm", "a=./any", "a=./later"] {
            add(&mut contexts, written).unwrap();
        }
        let found = |platform: Platform| contexts.find("a", &platform).unwrap().source.clone();
        let directory = |path: &str| ContextSource::Tree(TreeSource::Directory(path.into()));
        assert_eq!(found(Platform::new("linux", "arm64", None)), directory("/w/arm"));
        assert_eq!(found(amd64()), directory("/w/later"));
    }

    #[test]
    fn values_of_every_kind() {
        let layout = |selector| {
            ContextSource::Image(ImageSource::Layout(LayoutImage {
                path: "/w/dir".into(),
                selector,
            }))
        };
        let tree = ContextSource::Tree;
        let git = |url: &str| tree(TreeSource::Git(url.to_owned()));
        let image = |name: &str| ContextSource::Image(name.parse::<Reference>().unwrap().into());
        for (value, expected) in [
            (".", tree(TreeSource::Directory("/w".into()))),
            ("sub/", tree(TreeSource::Directory("/w/sub".into()))),
            ("/abs/./dir", tree(TreeSource::Directory("/abs/dir".into()))),
            ("../up", tree(TreeSource::Directory("/w/../up".into()))),
            ("dir://sub", tree(TreeSource::Directory("/w/sub".into()))),
            ("docker-image://alpine:3", image("alpine:3")),
            ("docker-image://scratch", ContextSource::Scratch),
            ("oci-layout://dir", layout(LayoutSelector::Default)),
            ("oci-layout://dir:v1", layout(LayoutSelector::Tag("v1".to_owned()))),
            (
                &format!("oci-layout://dir@{DIGEST}"),
                layout(LayoutSelector::Digest(DIGEST.parse().unwrap())),
            ),
            (
                &format!("oci-layout://dir:v1@{DIGEST}"),
                layout(LayoutSelector::Digest(DIGEST.parse().unwrap())),
            ),
            ("https://h/r.git#main", git("https://h/r.git#main")),
            ("git@h:o/r", git("git@h:o/r")),
            ("ssh://h/r", git("ssh://h/r")),
            ("github.com/o/r", git("https://github.com/o/r")),
            ("https://h/x.tar", tree(TreeSource::Url("https://h/x.tar".to_owned()))),
        ] {
            assert_eq!(source(value), expected, "{value}");
        }
    }

    #[test]
    fn addresses_are_shown_without_what_allows_to_read_them() {
        for (value, shown) in [
            ("https://tok'n@h/r.git#main", "https://***@h/r.git#main"),
            ("https://u:p@h/x.tar?sig=s", "https://***@h/x.tar"),
        ] {
            let ContextSource::Tree(tree) = source(value) else {
                panic!("{value}");
            };
            assert_eq!(tree.to_string(), shown);
            assert_eq!(tree.identity(), value);
        }
        let error = add(&mut NamedContexts::default(), "x=ftp://u:secret@h/a?t=secret").unwrap_err();
        assert!(error.to_string().starts_with("\"ftp://***@h/a\" is no kind"), "{error}");
    }

    #[test]
    fn what_is_no_named_context() {
        let mut contexts = NamedContexts::default();
        for (written, message) in [
            ("name", "expected NAME=VALUE"),
            ("=x", "expected NAME=VALUE"),
            ("x=", "expected NAME=VALUE"),
            (
                "scratch=.",
                "\"scratch\" always means what it means in a Dockerfile and cannot be replaced",
            ),
            (
                "Context=.",
                "\"Context\" always means what it means in a Dockerfile and cannot be replaced",
            ),
            ("Base=.", "invalid context name \"Base\""),
            ("a::x/y/z/w=.", "invalid platform of the context name \"a::x/y/z/w\""),
            ("a=docker-image://A", "\"A\" is not an image"),
            (
                "a=oci-layout://d@sha256:1",
                "\"oci-layout://d@sha256:1\" is not an image in a layout",
            ),
            ("a=oci-layout://", "\"oci-layout://\" names no directory"),
            (
                "a=s3://b",
                "\"s3://b\" is no kind of context (expected a directory, docker-image://REF, \
                 oci-layout://DIR@DIGEST, or a git or http(s) URL)",
            ),
        ] {
            let error = add(&mut contexts, written).unwrap_err();
            assert_eq!(error.to_string(), message, "{written}");
        }
        assert_eq!(contexts, NamedContexts::default());
    }
}
