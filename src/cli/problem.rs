//! What can be wrong with a command line beyond its grammar.

use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::git_options::GitOptionError;
use super::platforms::BUILDKIT_MULTI_PLATFORM;
use super::run_options::RunProblem;
use super::value::ValueError;
use crate::diagnostic::Diagnostic;
use crate::dockerfile::nearest;
use crate::oci::{AnnotationError, PlatformError, ReferenceError};
use crate::plan::ContextError;
use crate::remote::{AddressError, CloudAddressError, GitAddressError};

/// One thing that is wrong. Found before anything is pulled.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    /// The image would go nowhere. The kaniko executor's words.
    #[error("you must provide --destination, or use --no-push")]
    NoDestination,
    /// An image at rest that would stay there.
    #[error("you must provide --destination")]
    NowhereToPush,
    /// Nothing to fetch. The kaniko warmer's words, nearly.
    #[error("you must select at least one image to cache, with --image, or a Dockerfile to parse, with --dockerfile")]
    NothingToWarm,
    /// Not a reference.
    #[error("--image {text:?} is not the name of an image")]
    Image {
        text: String,
        #[source]
        source: ReferenceError,
    },
    /// Not a host.
    #[error("{0:?} is not a registry")]
    Registry(String),
    /// Nobody to log in as.
    #[error("--username is needed")]
    NoUser,
    /// None, or two.
    #[error("exactly one of --password and --password-stdin is needed")]
    PasswordSource,
    /// The kaniko executor's words.
    #[error("password is blank")]
    PasswordBlank,
    /// No text, or no standard input.
    #[error("cannot read the password from standard input")]
    PasswordUnreadable(#[source] io::Error),
    /// A user without a home.
    #[error("there is no place for credentials: neither DOCKER_CONFIG nor HOME is set")]
    NoCredentialFile,
    /// Not a reference, or one with a digest.
    #[error("--destination {text:?} is not a name to push to")]
    Destination {
        text: String,
        #[source]
        source: Option<ReferenceError>,
    },
    /// A file of names, and no name.
    #[error("{flag} needs a --destination")]
    NameFileWithoutDestination { flag: &'static str },
    /// Begins like an address and is none.
    #[error("{flag} names no address: {reason}")]
    OutputAddress { flag: &'static str, reason: String },
    /// Not a pattern of paths.
    #[error("--ignore-path {0:?} is no pattern for paths in the image")]
    IgnorePath(String),
    /// Docker's manifests know gzip only.
    #[error("--image-format=docker cannot hold --compression=zstd layers")]
    DockerZstd,
    /// The archive format is Docker's.
    #[error("--tar-path writes an archive in Docker's format, which --image-format=oci excludes")]
    TarOci,
    /// The archive format holds plain or gzip layers.
    #[error("--tar-path writes an archive in Docker's format, which cannot hold --compression=zstd layers")]
    TarZstd,
    /// Outside the codec's range.
    #[error(
        "--compression-level {level} is out of range for {codec} ({} to {}, or -1 for the default)",
        allowed.start(),
        allowed.end()
    )]
    Level {
        codec: &'static str,
        level: i64,
        allowed: RangeInclusive<u8>,
    },
    /// Not a platform.
    #[error(transparent)]
    Platform(PlatformError),
    /// A build argument that says something, with a value that does not.
    #[error("--build-arg {BUILDKIT_MULTI_PLATFORM} has the value {0:?}, which is neither true nor false")]
    MultiPlatform(String),
    /// Contradictory.
    #[error("--build-arg {BUILDKIT_MULTI_PLATFORM}=false and {0} platforms: several platforms always give an index")]
    NotMultiPlatform(usize),
    /// Docker's archives know images only.
    #[error("--tar-path writes an archive in Docker's format, which cannot hold the images of several platforms")]
    TarPlatforms,
    /// `--build-arg =value`.
    #[error("--build-arg needs a name before the =")]
    BuildArg,
    /// `--build-context` of something else.
    #[error("--build-context {}", crate::redact::location(text))]
    BuildContext {
        text: String,
        #[source]
        source: ContextError,
    },
    /// Of an index, where one image is built.
    #[error("--annotation of an index")]
    AnnotationOfIndex(#[source] AnnotationError),
    /// `--annotation` of something else.
    #[error("--annotation {text:?}")]
    Annotation {
        text: String,
        #[source]
        source: AnnotationError,
    },
    /// A variable that no ARG can hold.
    #[error("environment variable {name} is not valid UTF-8")]
    NotUtf8 { name: String },
    /// A variable with a wrong value.
    #[error("environment variable {name} has the invalid value {value:?}")]
    Environment {
        name: &'static str,
        value: String,
        #[source]
        source: ValueError,
    },
    /// A variable or flag whose value names no registry.
    #[error("{origin} has the invalid registry host {host:?}")]
    Host { origin: &'static str, host: String },
    /// One says that no time may enter the image, the other that some do.
    #[error("--reproducible excludes --rewrite-timestamp=false")]
    ReproducibleTimes,
    /// A `--git` that says nothing known.
    #[error(transparent)]
    GitOption(GitOptionError),
    /// A flag about what RUN sees and may do.
    #[error(transparent)]
    Run(RunProblem),
    /// Neither a context nor a default.
    #[error("please specify the build context with --context")]
    NoContext,
    /// A cloud storage, and nothing in it.
    #[error("--context {0}")]
    Cloud(CloudAddressError),
    /// The kaniko executor's words, nearly.
    #[error(
        "unknown build context prefix provided in {0}, please use one of the following: gs://, dir://, tar://, s3://, git://, \
         https://"
    )]
    ContextUnknown(String),
    /// Missing, or not ours to read.
    #[error("cannot read the build context {}", path.display())]
    ContextUnreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file.
    #[error("the build context {} is not a directory", .0.display())]
    ContextNotADirectory(PathBuf),
    /// A look fetches nothing.
    #[error("only a Dockerfile and a context of this machine can be looked at without a build")]
    InspectRemote,
    /// A context or a Dockerfile at what is no address.
    #[error(transparent)]
    Address(AddressError),
    /// A git context that contradicts itself.
    #[error(transparent)]
    GitAddress(GitAddressError),
    /// Nowhere to be found.
    #[error("no Dockerfile {name:?} found (looked for {})", list(tried))]
    NoDockerfile { name: String, tried: Vec<PathBuf> },
    /// An ordinary user without a home.
    #[error("there is no place for the state directory: neither HOME nor XDG_DATA_HOME is set")]
    NoStateDir,
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    paths.join(", ")
}

/// What somebody meant who wrote this context.
fn context_hint(given: &str) -> String {
    const SCHEMES: [&str; 8] = ["dir", "tar", "git", "s3", "gs", "https", "http", "ssh"];
    // Names that other tools have for what these are.
    const ALIASES: [(&str, &str); 7] = [
        ("file", "dir"),
        ("gcs", "gs"),
        ("s3a", "s3"),
        ("git+https", "git"),
        ("az", "https"),
        ("azure", "https"),
        ("wasbs", "https"),
    ];
    let scheme = given.split("://").next().unwrap_or_default().to_ascii_lowercase();
    let alias = ALIASES.iter().find(|(name, _)| *name == scheme);
    let meant = alias
        .map(|(_, meant)| *meant)
        .or_else(|| match SCHEMES.contains(&&*scheme) {
            true => SCHEMES.into_iter().find(|name| *name == scheme),
            false => nearest(&scheme, SCHEMES),
        });
    match meant {
        Some(meant) => format!("did you mean {meant}://?"),
        None => "it may also be a PATH, http://, ssh:// or USER@HOST:PATH".to_owned(),
    }
}

impl Diagnostic for Problem {
    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Destination { source: None, .. } => {
                "the digest is not known before the image is built; give a tag, and --digest-file to learn the digest"
            }
            Self::Annotation {
                source: AnnotationError::Type(_) | AnnotationError::TypeForm(_),
                ..
            } => {
                "types are manifest, index, manifest-descriptor and index-descriptor; a key with a colon needs one before it"
            }
            Self::Run(problem) => return problem.hint().into_iter().map(str::to_owned).collect(),
            Self::Cloud(_) => {
                "it is s3://BUCKET[/KEY], gs://BUCKET[/OBJECT] or https://ACCOUNT.blob.core.windows.net/CONTAINER[/BLOB]"
            }
            Self::ContextUnknown(given) => return vec![context_hint(given)],
            Self::GitOption(error) => return vec![error.hint()],
            Self::ContextUnreadable { .. } | Self::NoContext => "--context names the directory that COPY reads from",
            Self::NoDockerfile { name, .. } if name == "-" => {
                "a Dockerfile on standard input is --dockerfile /dev/stdin"
            }
            Self::NoDockerfile { tried, .. } if tried.iter().any(|path| path.is_dir()) => {
                "that is a directory; name the Dockerfile in it"
            }
            Self::NoDockerfile { .. } => {
                "please provide a valid path to a Dockerfile within the build context with --dockerfile"
            }
            Self::ContextNotADirectory(_) => "a tar archive is given as tar://PATH, a Dockerfile with --dockerfile",
            Self::AnnotationOfIndex(_) => {
                "an image of several platforms has an index; --build-arg BUILDKIT_MULTI_PLATFORM=1 gives one to an image of one"
            }
            Self::InspectRemote => "fetch them first, and give the file and the directory",
            Self::NoStateDir => "name a directory with --store",
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}

/// Takes the value, or notes the problem.
pub(super) fn noted<T>(result: Result<T, Problem>, problems: &mut Vec<Problem>) -> Option<T> {
    result.map_err(|problem| problems.push(problem)).ok()
}

/// Everything that is wrong with a command line. Never empty.
#[derive(Debug)]
pub(super) struct Problems(pub(super) Vec<Problem>);
