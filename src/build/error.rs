//! What ended a build: the problem, the instruction it belongs to, and what to try.

mod hints;

use std::io;
use std::path::PathBuf;

use super::layouts::LayoutError;
use super::mounts::MountError;
use super::process_failure::ProcessFailure;
use super::saved::SavedError;
use super::upload::UploadError;
use crate::cancel::Cancelled;
use crate::check::{OptionsError, Violation};
use crate::copy::CopyError;
use crate::diagnostic::{self, Diagnostic};
use crate::dockerfile::{Excerpt, Hint, ParseError};
use crate::image::ImageError;
use crate::layer::{ApplyError, LevelError, WriteError};
use crate::oci::{AnnotationError, ConfigError, DiffId, Digest, Platform, Reference};
use crate::plan::{ImageSource, LayoutImage, PlanError};
use crate::registry::RegistryError;
use crate::remote::{AddressError, GitAddressError, RemoteError};
use crate::rootfs::RootfsError;
use crate::run::{EmulationError, Exit, RunError};
use crate::snapshot::SnapshotError;
use crate::store::{Cause, StoreError};
use crate::users::UserError;

/// A build that ended early.
#[derive(Debug)]
pub struct BuildError {
    problem: Box<Problem>,
    excerpt: Option<Box<Excerpt>>,
    stage: Option<String>,
    details: Vec<String>,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The Dockerfile cannot be read.
    #[error("read the Dockerfile {}", path.display())]
    ReadDockerfile {
        /// Where it should be.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The Dockerfile is not one.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// What is to be checked cannot be told.
    #[error(transparent)]
    CheckOptions(#[from] OptionsError),
    /// Checks found something, and that was to be an error.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The Dockerfile cannot be built.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// An image to push cannot be read.
    #[error("read the image {}", path.display())]
    Saved {
        /// Where it lies.
        path: PathBuf,
        /// Why.
        #[source]
        source: SavedError,
    },
    /// A base image cannot be had.
    #[error("resolve {reference}")]
    Resolve {
        /// The image.
        reference: Reference,
        /// What to try.
        hint: Option<Hint>,
        /// Why.
        #[source]
        source: RegistryError,
    },
    /// A base image cannot be had from a layout.
    #[error("read {image}")]
    Layout {
        /// The image.
        image: LayoutImage,
        /// Why.
        #[source]
        source: LayoutError,
    },
    /// A base image's config cannot be built upon.
    #[error("the image {reference} cannot be built upon")]
    BaseConfig {
        /// The image.
        reference: ImageSource,
        /// Why.
        #[source]
        source: ConfigError,
    },
    /// A layer of a base image cannot be unpacked.
    #[error("unpack layer {layer} of {reference}")]
    Unpack {
        /// The image.
        reference: ImageSource,
        /// Digest of the layer's blob.
        layer: Digest,
        /// Why.
        #[source]
        source: ApplyError,
    },
    /// A layer of a base image cannot be had.
    #[error("fetch layer {layer} of {reference}")]
    FetchLayer {
        /// The image.
        reference: ImageSource,
        /// Digest of the layer's blob.
        layer: Digest,
        /// Why.
        #[source]
        source: Cause,
    },
    /// A layer is not what the config says.
    #[error("layer {layer} of {reference} unpacks to {actual}, but the image's config says {expected}")]
    DiffId {
        /// The image.
        reference: ImageSource,
        /// Digest of the layer's blob.
        layer: Digest,
        /// In the config.
        expected: DiffId,
        /// Computed.
        actual: DiffId,
    },
    /// The registry does not let us push.
    #[error("the destination {destination} cannot be pushed to")]
    Destination {
        /// Where the image should go.
        destination: Reference,
        /// Why.
        #[source]
        source: RegistryError,
    },
    /// A registry client cannot be set up.
    #[error("set up the connection to registries")]
    Client(#[source] RegistryError),
    /// The state directory cannot be used.
    #[error("use the state directory {}", path.display())]
    State {
        /// Where it is.
        path: PathBuf,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// A blob cannot be stored or read back.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No isolation is to be had, or a step could not be started.
    #[error(transparent)]
    Run(#[from] RunError),
    /// RUN for a platform that is not the machine's, and that nobody emulates.
    #[error("RUN for {platform} cannot be executed on this {} machine", Platform::host())]
    Foreign {
        /// What it is for.
        platform: Platform,
        /// What is missing.
        #[source]
        source: EmulationError,
    },
    /// RUN ended badly.
    #[error(transparent)]
    Process(#[from] ProcessFailure),
    /// USER or `--chown` names nobody.
    #[error(transparent)]
    User(#[from] UserError),
    /// `RUN --mount`.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// COPY, ADD or WORKDIR.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// Something in the rootfs.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// The changes of a step could not be found.
    #[error("find what the step changed")]
    Snapshot(#[source] SnapshotError),
    /// A layer could not be written.
    #[error("write the layer")]
    WriteLayer(#[source] WriteError),
    /// The compression has no such level.
    #[error(transparent)]
    Level(#[from] LevelError),
    /// An annotation has no place in the image.
    #[error("the annotations do not fit the image")]
    Annotation(#[source] AnnotationError),
    /// The parts do not make an image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A layer did not arrive.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// The manifest was not taken.
    #[error("failed to push to destination {destination}")]
    Manifest {
        /// Where to.
        destination: Reference,
        /// Why.
        #[source]
        source: RegistryError,
    },
    /// A layout or an archive with the image cannot be written.
    #[error(transparent)]
    WriteImage(StoreError),
    /// A file with the result could not be written later. Found before anything is built.
    #[error("{origin}: {} cannot be written", path.display())]
    Output {
        /// The flag or variable that asks for it.
        origin: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file with the result cannot be written.
    #[error("write {}", path.display())]
    WriteFile {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The result cannot be sent to who should have it.
    #[error("send the result to {address}")]
    SendText {
        /// Whom to, safe to show.
        address: String,
        /// Why.
        #[source]
        source: RemoteError,
    },
    /// The build context cannot be read.
    #[error("open the build context {}", path.display())]
    Context {
        /// Where it is.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A named context cannot be read.
    #[error("open the build context {name} ({})", path.display())]
    NamedContext {
        /// Its name.
        name: String,
        /// Where it is.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The build context cannot be read.
    #[error("read the build context from {what}")]
    ReadContext {
        /// An address, a path, or standard input.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The build context cannot be unpacked.
    #[error("unpack the build context from {what}")]
    ContextArchive {
        /// An address, a path, or standard input.
        what: String,
        /// Why.
        #[source]
        source: ApplyError,
    },
    /// What should be a context is no archive.
    #[error("the build context from {what} is no tar archive")]
    NotAnArchive {
        /// A path, or standard input.
        what: String,
    },
    /// What should be a context has no byte.
    #[error("the build context from {what} is empty")]
    EmptyContext {
        /// An address, a path, or standard input.
        what: String,
    },
    /// The directory that should be the context is not in what was fetched.
    #[error("the build context from {what} has no directory {path:?}")]
    NoSubPath {
        /// An address, a path, or standard input.
        what: String,
        /// What was looked for.
        path: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Somebody types.
    #[error("the build context should come from standard input, which is a terminal")]
    NoStandardInput,
    /// Nobody sends anything.
    #[error("the build context should come from standard input, which is empty")]
    EmptyStandardInput,
    /// The context has no Dockerfile.
    #[error("the build context has no Dockerfile (looked for {})", names.join(", "))]
    NoDockerfile {
        /// What was looked for.
        names: Vec<String>,
    },
    /// The git address of a named context is none.
    #[error(transparent)]
    GitAddress(#[from] GitAddressError),
    /// The address of a named context is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The ignore file is none.
    #[error(transparent)]
    Ignore(#[from] crate::context::IgnoreError),
    /// A thread or a directory of our own cannot be made.
    #[error("{what}")]
    System {
        /// What was being done.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A source of ADD could not be fetched.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// Somebody asked for the end.
    #[error("stopped")]
    Cancelled(#[from] Cancelled),
}

impl BuildError {
    /// An error of the build as a whole.
    pub(crate) fn new(problem: impl Into<Problem>) -> Self {
        Self {
            problem: Box::new(problem.into()),
            excerpt: None,
            stage: None,
            details: Vec::new(),
        }
    }

    /// The same error, belonging to a stage's FROM if it belongs to no instruction yet.
    #[must_use]
    pub(crate) fn in_stage(self, planned: &crate::plan::PlannedStage, label: &str) -> Self {
        self.at(&planned.excerpt, label)
    }

    /// The same error, belonging to an instruction.
    #[must_use]
    pub(crate) fn at(mut self, excerpt: &Excerpt, stage: &str) -> Self {
        self.excerpt.get_or_insert_with(|| Box::new(excerpt.clone()));
        self.stage.get_or_insert_with(|| stage.to_owned());
        self
    }

    /// The same error, belonging to an instruction that is in no stage or is a FROM itself.
    #[must_use]
    pub(crate) fn at_excerpt(mut self, excerpt: &Excerpt) -> Self {
        self.excerpt.get_or_insert_with(|| Box::new(excerpt.clone()));
        self
    }

    /// The same error with lines to show below it, the last output of a RUN for instance.
    #[must_use]
    pub(crate) fn with_details(mut self, details: Vec<String>) -> Self {
        self.details = details;
        self
    }

    /// What went wrong.
    #[must_use]
    pub const fn problem(&self) -> &Problem {
        &self.problem
    }

    /// Whether this only says that another part of the build failed.
    pub(crate) fn is_echo(&self) -> bool {
        self.chain().any(|error| {
            error
                .downcast_ref::<Cancelled>()
                .is_some_and(|cancelled| cancelled.signal == 0)
        })
    }

    /// The problem and its causes, outermost first.
    pub(super) fn chain(&self) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
        let first: &(dyn std::error::Error + 'static) = &*self.problem;
        std::iter::successors(Some(first), |error| error.source())
    }
}

impl std::fmt::Display for BuildError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.problem.fmt(f)
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.problem.source()
    }
}

impl<P: Into<Problem>> From<P> for BuildError {
    fn from(problem: P) -> Self {
        Self::new(problem)
    }
}

impl Diagnostic for BuildError {
    fn excerpt(&self) -> Option<&Excerpt> {
        match (&self.excerpt, &*self.problem) {
            (Some(excerpt), _) => Some(excerpt),
            (None, Problem::Parse(error)) => error.excerpt.as_deref(),
            (None, Problem::Plan(error)) => error.excerpt.as_deref(),
            (None, Problem::CheckOptions(error)) => error.excerpt(),
            (None, Problem::Violation(error)) => error.excerpt(),
            (None, _) => None,
        }
    }

    fn stage(&self) -> Option<&str> {
        self.stage.as_deref()
    }

    fn details(&self) -> &[String] {
        &self.details
    }

    fn hints(&self) -> Vec<String> {
        let hints = self.hints_of_problem();
        match hints.is_empty() {
            true => self.hint_of_disk().map(str::to_owned).into_iter().collect(),
            false => hints,
        }
    }

    fn task(&self) -> Option<&'static str> {
        Some(match &*self.problem {
            Problem::Destination { .. } => "checking push permissions",
            Problem::Manifest { .. } | Problem::Upload(_) | Problem::Saved { .. } => "pushing image",
            _ => "building image",
        })
    }

    fn exit(&self) -> diagnostic::Exit {
        match &*self.problem {
            Problem::Process(ProcessFailure { exit, .. }) => match *exit {
                Exit::Code(code) => diagnostic::Exit::Command(code),
                Exit::Signal(signal) => diagnostic::Exit::CommandSignal(signal),
            },
            Problem::Run(error) => error
                .exit_code()
                .map_or(diagnostic::Exit::Failure, diagnostic::Exit::Command),
            _ => diagnostic::Exit::Failure,
        }
    }
}
