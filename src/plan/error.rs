//! What keeps a Dockerfile from becoming a plan.

use super::device::DeviceProblem;
use super::mount::MountProblem;
use super::sandbox::Entitlement;
use crate::context::RuleError;
use crate::diagnostic::Diagnostic;
use crate::dockerfile::{Excerpt, Exhausted, ExpandError, Hint, ParseProblem};
use crate::oci::{DigestError, PlatformError, ReferenceError};
use crate::remote::{AddressError, GitAddressError};
use crate::rootfs::ChmodError;

/// A Dockerfile that parses but cannot be built.
#[derive(Debug)]
pub struct PlanError {
    /// What is wrong; it speaks for the error, so its causes are the error's.
    pub problem: Box<PlanProblem>,
    /// Where; unset for options of the command line.
    pub excerpt: Option<Box<Excerpt>>,
    /// What to try.
    pub hint: Option<Hint>,
}

impl std::fmt::Display for PlanError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.problem.fmt(f)
    }
}

impl std::error::Error for PlanError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.problem.source()
    }
}

impl PlanError {
    pub(super) fn at(problem: PlanProblem, excerpt: Excerpt) -> Self {
        Self {
            problem: Box::new(problem),
            excerpt: Some(Box::new(excerpt)),
            hint: None,
        }
    }

    /// Like [`Self::at`], with what the problem itself suggests.
    pub(super) fn hinted(problem: PlanProblem, excerpt: &Excerpt) -> Self {
        let hint = match &problem {
            PlanProblem::Mount(mount) => mount.hint(),
            PlanProblem::LinkOwner { .. } => Some(Hint::Try("give --chown a number, or leave --link out")),
            PlanProblem::Device(device) => device.hint(),
            PlanProblem::NotGranted { entitlement, .. } => Some(Hint::Try(entitlement.remedy())),
            _ => None,
        };
        Self::at(problem, excerpt.clone()).with_hint(hint)
    }

    pub(super) fn of_options(problem: PlanProblem) -> Self {
        Self {
            problem: Box::new(problem),
            excerpt: None,
            hint: None,
        }
    }

    /// With a hint if it has none yet.
    pub(super) fn or_hint(self, hint: Option<Hint>) -> Self {
        let hint = self.hint.clone().or(hint);
        Self { hint, ..self }
    }

    pub(super) fn with_hint(self, hint: Option<Hint>) -> Self {
        Self { hint, ..self }
    }
}

impl Diagnostic for PlanError {
    fn excerpt(&self) -> Option<&Excerpt> {
        self.excerpt.as_deref()
    }

    fn hints(&self) -> Vec<String> {
        self.hint.iter().map(ToString::to_string).collect()
    }
}

/// What is wrong. The wording follows BuildKit, since people search for it.
#[derive(Debug, thiserror::Error)]
pub enum PlanProblem {
    /// An operand cannot be expanded.
    #[error(transparent)]
    Expand(#[from] ExpandError),
    /// A build argument of former times.
    #[error("the build argument BUILDKIT_DISABLE_FILEOP is no longer supported")]
    DisableFileop,
    /// Environments of processes take more memory than can be meant.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// `--target` names no stage.
    #[error("target stage {target:?} could not be found")]
    UnknownTarget {
        /// As given.
        target: String,
    },
    /// FROM of nothing.
    #[error("base name ({written}) should not be blank")]
    BlankBase {
        /// Before expansion.
        written: String,
    },
    /// A name that is neither a stage's nor an image's.
    #[error("{name:?} is neither a stage nor an image")]
    Reference {
        /// After expansion.
        name: String,
        /// Why it is no image.
        #[source]
        source: ReferenceError,
    },
    /// `--platform` of nothing.
    #[error("empty platform value from expression {written}")]
    EmptyPlatform {
        /// Before expansion.
        written: String,
    },
    /// `--platform` of something else.
    #[error("failed to parse platform {platform}")]
    Platform {
        /// After expansion.
        platform: String,
        /// Why.
        #[source]
        source: PlatformError,
    },
    /// `--from` with a number beyond the stages.
    #[error("invalid stage index {index}")]
    StageIndex {
        /// As written.
        index: i64,
    },
    /// A stage that needs itself.
    #[error("circular dependency detected on stage: {stage}")]
    Circular {
        /// Name or number.
        stage: String,
    },
    /// `--from` of a stage further down.
    #[error("cannot copy from stage {source_stage:?}, it needs to be defined before current stage {stage:?}")]
    LaterStage {
        /// What is copied from.
        source_stage: String,
        /// What copies.
        stage: String,
    },
    /// `from=` of a mount names a stage further down, or this one.
    #[error("cannot mount from stage {source_stage:?} to {target:?}, stage needs to be defined before current command")]
    LaterMount {
        /// What is mounted.
        source_stage: String,
        /// Where, as given.
        target: String,
    },
    /// A RUN asks for more than the user allows.
    #[error("{flag} needs {entitlement}, which is not allowed")]
    NotGranted {
        /// What the RUN says.
        flag: String,
        /// What it needs.
        entitlement: Entitlement,
    },
    /// `--device` of something else.
    #[error(transparent)]
    Device(#[from] DeviceProblem),
    /// `--mount` of something else.
    #[error(transparent)]
    Mount(#[from] MountProblem),
    /// A trigger of the base does not parse.
    #[error("ONBUILD trigger {trigger:?} of the base")]
    Trigger {
        /// As stored.
        trigger: String,
        /// Why.
        #[source]
        source: ParseProblem,
    },
    /// ENV or LABEL whose name expands to nothing.
    #[error("{keyword} names can not be blank")]
    BlankName {
        /// The instruction.
        keyword: &'static str,
    },
    /// `COPY http://…`.
    #[error("source can't be a URL for COPY")]
    CopyUrl {
        /// After expansion.
        url: String,
    },
    /// `COPY git@…`.
    #[error("source can't be a git ref for COPY")]
    CopyGit {
        /// After expansion.
        url: String,
    },
    /// `ADD --checksum` with several sources.
    #[error("checksum can't be specified for multiple sources")]
    ChecksumSources,
    /// `ADD --checksum` of a local file.
    #[error("checksum requires HTTP(S) or Git sources")]
    ChecksumLocal,
    /// `ADD --checksum` of something else.
    #[error("invalid checksum")]
    Checksum(#[source] DigestError),
    /// `ADD http://[`.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A git address that contradicts itself or the flags.
    #[error(transparent)]
    GitAddress(#[from] GitAddressError),
    /// `--exclude` with something that is no pattern.
    #[error("--exclude {pattern:?}")]
    Exclude {
        /// As written.
        pattern: String,
        /// Why.
        #[source]
        source: RuleError,
    },
    /// `--chown` with a name beside `--link`.
    #[error("invalid user index: -1: --link copies into an empty root, where {name:?} cannot be looked up")]
    LinkOwner {
        /// The user or group.
        name: String,
    },
    /// `--chmod` of something else.
    #[error(transparent)]
    Chmod(#[from] ChmodError),
    /// EXPOSE of something else.
    #[error("invalid port: {port:?}: {reason}")]
    Port {
        /// After expansion.
        port: String,
        /// What is wrong with it.
        reason: String,
    },
    /// STOPSIGNAL of something else.
    #[error("invalid signal: {signal}")]
    Signal {
        /// After expansion.
        signal: String,
    },
    /// SOURCE_DATE_EPOCH is neither a number nor the name of something that has an age.
    #[error("invalid SOURCE_DATE_EPOCH: {value}")]
    Epoch {
        /// After expansion.
        value: String,
    },
    /// SOURCE_DATE_EPOCH names a stage of which nobody could say how old it is.
    #[error("SOURCE_DATE_EPOCH stage {stage:?} must be FROM scratch with exactly one ADD of one remote source")]
    EpochStage {
        /// Its name.
        stage: String,
    },
    /// STOPSIGNAL for a platform that has none.
    #[error("STOPSIGNAL is not supported for windows")]
    SignalOnWindows,
    /// VOLUME of nothing.
    #[error("VOLUME specified can not be an empty string")]
    EmptyVolume,
}
