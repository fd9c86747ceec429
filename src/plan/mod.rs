//! A Dockerfile with its options and the configs of its base images, resolved to steps. Pure.
//!
//! ```text
//! Dockerfile ─outline()─▶ Outline: needed stages, needed images
//!                            │ the driver fetches configs of the images
//!                            ▼
//!                         plan() ─▶ Planning::Needs(images)   ONBUILD triggers asked for more: fetch, call again
//!                                └▶ Planning::Ready(Plan)     every step expanded, the final config known
//! ```
//!
//! After planning, only what depends on file contents is open: names of users, wildcards, layers.

mod arguments;
mod contexts;
mod copy;
mod device;
mod display;
mod environment;
mod epoch;
mod error;
mod history;
mod identity;
mod merge;
mod metadata;
mod mount;
mod names;
mod needs;
mod outline;
mod ports;
mod sandbox;
mod signals;
mod size;
mod stage;
mod steps;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

pub use arguments::{PlanOptions, PlatformOrigin};
pub use contexts::{
    ContextError, ContextSource, ImageSource, LayoutImage, LayoutSelector, NamedContext, NamedContexts, TreeSource,
};
pub use copy::{Owner, Principal};
pub use device::{Device, DeviceProblem};
pub(crate) use environment::{Environment, NO_VARIABLES, Variables, ensure_path, expand_with};
pub use epoch::EpochSource;
pub use error::{PlanError, PlanProblem};
pub use merge::{Granularity, merge};
pub(crate) use mount::Surroundings;
pub use mount::{CacheMount, Mount, MountKind, MountProblem, Ownership, SecretMount, Sharing, SshMount};
pub use outline::{Base, ImageKey, ImageNeed, ImageUse, Outline, outline};
pub(crate) use outline::{default_globals, globals};
pub use sandbox::{DeviceGrant, Entitlement, Grants, Sandbox, Ulimit, UlimitName};
pub use size::parse_size;
pub use steps::plan;
pub use view::{Scope, StageView};

use crate::context::IgnorePatterns;
use crate::copy::Parents;
use crate::dockerfile::Excerpt;
pub use crate::dockerfile::{Network, Security};
use crate::oci::{Digest, History, ImageConfig, Platform};
use crate::remote::{GitSource, UrlSource};
use crate::rootfs::Chmod;

/// A stage by its place in the file, counted from 0 over all FROMs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StageId(pub usize);

impl fmt::Display for StageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Identifies a step by the base, the steps before it, and its own resolved form.
///
/// Contents of copied files are *not* part of it, see [`Step::fingerprint`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StepId(Digest);

/// What planning must know of a base image.
#[derive(Clone, PartialEq, Debug)]
pub struct BaseConfig {
    /// Digest of the platform's manifest: where the stage's step identities begin.
    pub manifest_digest: Digest,
    /// Its config, as [`ImageConfig::into_base`] leaves it.
    pub config: ImageConfig,
}

/// The configs fetched so far.
pub type BaseConfigs = BTreeMap<ImageKey, BaseConfig>;

/// What [`plan`] came to.
#[derive(Clone, PartialEq, Debug)]
pub enum Planning {
    /// Nothing is open.
    Ready(Plan),
    /// The configs of these images are missing: fetch them and plan again. A stage that an ONBUILD
    /// trigger copies from may have a base that the outline could not know to be needed.
    Needs(Vec<ImageNeed>),
}

/// A build, ready to be executed.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// The needed stages; each comes after those it needs.
    pub stages: Vec<PlannedStage>,
    /// The images that are wanted, one for each platform. Stages that none of them needs are wanted for their own sake.
    pub products: Vec<Product>,
    /// Every image needed, each once for its use.
    pub images: Vec<ImageNeed>,
    /// The time that stands for "now" in the image (`SOURCE_DATE_EPOCH`).
    pub epoch: Option<Timestamp>,
}

impl Plan {
    /// The planned stage with this id, if it is needed.
    #[must_use]
    pub fn stage(&self, id: StageId) -> Option<&PlannedStage> {
        self.stages.iter().find(|stage| stage.id == id)
    }
}

/// An image that is wanted.
#[derive(Clone, PartialEq, Debug)]
pub struct Product {
    /// What it is for.
    pub platform: Platform,
    /// The stage that holds its files.
    pub stage: StageId,
    /// Its config, of the form of [`PlannedStage::config`]. Several products may have one stage.
    pub config: ImageConfig,
}

/// One stage with everything expanded.
#[derive(Clone, PartialEq, Debug)]
pub struct PlannedStage {
    /// Its place in the file.
    pub id: StageId,
    /// `AS name`, in lower case.
    pub name: Option<String>,
    /// What it is called in messages: its name or number, with the platforms where there are others.
    pub label: String,
    /// Where its steps stand in the stage of the file.
    pub part: Part,
    /// What it starts from.
    pub base: Base,
    /// What its programs run on: the base image's platform, or the one asked for where there is no image.
    pub platform: Platform,
    /// The FROM line.
    pub excerpt: Excerpt,
    /// The steps in order, triggers of the base first.
    pub steps: Vec<PlannedStep>,
    /// The config after the last step. `created` and `rootfs.diff_ids` are empty; `history` holds
    /// the base *image's* entries and those of all steps of the FROM chain, `created` of ours unset.
    pub config: ImageConfig,
}

/// The place of a stage's steps in the stage of the file, of which they may be a part only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// Steps of earlier parts.
    pub before: usize,
    /// Steps of all parts.
    pub of: usize,
}

impl PlannedStage {
    /// Stages this one needs: its base and those its steps read, each once, in order.
    #[must_use]
    pub fn dependencies(&self) -> Vec<StageId> {
        let mut stages = Vec::new();
        if let Base::Stage(id) = self.base {
            stages.push(id);
        }
        let sources = self.steps.iter().flat_map(|step| step.step.sources());
        stages.extend(sources.filter_map(CopyFrom::stage));
        stages.sort_unstable();
        stages.dedup();
        stages
    }

    /// Whether a step reads files of the stage `id`; being built upon it is another matter.
    #[must_use]
    pub fn reads(&self, id: StageId) -> bool {
        let from = CopyFrom::Stage(id);
        self.steps.iter().any(|step| step.step.reads(&from))
    }
}

/// A step with its identity and what is to be said about it.
#[derive(Clone, PartialEq, Debug)]
pub struct PlannedStep {
    /// Its identity; equal steps on equal bases have equal identities, and copies with `--link` on all bases.
    pub id: StepId,
    /// What to do.
    pub step: Step,
    /// The history entry, `created` unset; ONBUILD leaves none.
    pub history: Option<History>,
    /// The instruction on one line, as written, for progress and errors.
    pub text: String,
    /// Where it stands; for a trigger the FROM that pulled it in.
    pub excerpt: Excerpt,
}

/// What a step does to the rootfs.
#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    /// Runs a process.
    Run(RunStep),
    /// Copies files in.
    Copy(CopyStep),
    /// Creates a directory.
    Workdir(WorkdirStep),
    /// Changes nothing but the config, which the plan knows already.
    Metadata,
}

impl Step {
    /// The trees it reads from. Whoever must exist, be built or be fetched before the step is found here.
    pub fn sources(&self) -> impl Iterator<Item = &CopyFrom> {
        let (copy, mounts) = match self {
            Self::Copy(copy) => (Some(&copy.from), [].iter()),
            Self::Run(run) => (None, run.mounts.iter()),
            Self::Workdir(_) | Self::Metadata => (None, [].iter()),
        };
        copy.into_iter().chain(mounts.filter_map(Mount::reads))
    }

    /// What its result depends on besides its sources.
    #[must_use]
    pub const fn onto(&self) -> Onto {
        match self {
            Self::Copy(copy) => copy.onto,
            Self::Run(_) | Self::Workdir(_) | Self::Metadata => Onto::Stage,
        }
    }

    fn sources_mut(&mut self) -> impl Iterator<Item = &mut CopyFrom> {
        let (copy, mounts) = match self {
            Self::Copy(copy) => (Some(&mut copy.from), [].iter_mut()),
            Self::Run(run) => (None, run.mounts.iter_mut()),
            Self::Workdir(_) | Self::Metadata => (None, [].iter_mut()),
        };
        copy.into_iter().chain(mounts.filter_map(Mount::reads_mut))
    }

    /// Whether it reads from a tree.
    #[must_use]
    pub fn reads(&self, from: &CopyFrom) -> bool {
        self.sources().any(|source| source == from)
    }
}

/// RUN.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunStep {
    /// Program and arguments, the shell included.
    pub argv: Vec<String>,
    /// `KEY=value` of ENV and ARG, each key once, with a PATH.
    pub env: Vec<String>,
    /// `KEY=value` of proxies: added to `env`, over equal keys, but in no identity and no history.
    pub proxy_env: Vec<String>,
    /// Absolute.
    pub cwd: String,
    /// `user[:group]` to look up in the rootfs; `None` is root.
    pub user: Option<String>,
    /// A file to be shown read-only to the process.
    pub script: Option<ScriptFile>,
    /// What is mounted for the length of the step; what lies above another mount comes first.
    pub mounts: Vec<Mount>,
    /// What surrounds it.
    pub sandbox: Sandbox,
    /// What it runs on, where no image lies below it that says so.
    pub platform: Option<Box<Platform>>,
}

/// The body of a `RUN <<EOF` that starts with `#!`: a file with mode 0755 for the length of the step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScriptFile {
    /// Absolute, `/dev/pipes/EOF`.
    pub path: String,
    /// The body.
    pub content: String,
}

/// COPY or ADD.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CopyStep {
    /// The tree the paths are looked up in.
    pub from: CopyFrom,
    /// In the order to be copied.
    pub sources: Vec<CopySource>,
    /// Absolute, without `.` and `..`; a trailing `/` means a directory.
    pub destination: String,
    /// `None` keeps the owner a copy from [`Self::from`] has.
    pub chown: Option<Owner>,
    /// `None` keeps the mode.
    pub chmod: Option<Chmod>,
    /// What is left out of every directory that is copied.
    pub exclude: IgnorePatterns,
    /// What becomes of the directories that lead to a source.
    pub parents: Parents,
    /// What the copy is laid upon.
    pub onto: Onto,
    /// What happens to a source that is an archive.
    pub archives: Archives,
}

/// What a copy is laid upon.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Onto {
    /// The files of its stage, whose symlinks lead it.
    Stage,
    /// Nothing (`--link`): what it makes is a layer of its own, the same upon every base, merged into the stage after.
    Nothing,
}

/// Where a copy or a mount reads from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CopyFrom {
    /// The build context.
    Context,
    /// Nothing: the name `scratch`.
    Scratch,
    /// Another stage's rootfs.
    Stage(StageId),
    /// An image's rootfs.
    Image(Box<ImageKey>),
    /// Files that `--build-context` gave a name.
    Tree(Box<NamedTree>),
}

/// A named context that is no image.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NamedTree {
    /// Its name, as given.
    pub name: String,
    /// What it stands for.
    pub source: TreeSource,
}

impl CopyFrom {
    /// The stage, if it is one.
    #[must_use]
    pub const fn stage(&self) -> Option<StageId> {
        match self {
            Self::Stage(id) => Some(*id),
            Self::Context | Self::Scratch | Self::Image(_) | Self::Tree(_) => None,
        }
    }
}

/// One source of a copy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CopySource {
    /// A path below the root of [`CopyStep::from`], perhaps with wildcards; `..` is harmless.
    Path(String),
    /// A file with mode 0644 made of this text.
    Heredoc {
        /// Its base name.
        name: String,
        /// Expanded.
        content: String,
    },
    /// A file to download. ADD only.
    Url(UrlSource),
    /// The files of a commit. ADD only; [`GitSource::keep_git_dir`] is decided.
    Git(GitSource),
}

/// What ADD does with archives among its sources.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Archives {
    /// They are files like others.
    Keep,
    /// A path that names, itself or through a wildcard, a regular file that holds a tar, compressed
    /// or not, is extracted. Heredocs and archives inside copied directories are files like others.
    Extract,
    /// As [`Self::Extract`], and downloads too (`--unpack`).
    ExtractDownloads,
}

/// WORKDIR.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkdirStep {
    /// Absolute; not cleaned when it was written absolute.
    pub path: String,
    /// Owner of directories that have to be made.
    pub owner: Option<Owner>,
    /// Their modification time, in seconds since 1970; the clock's when unset.
    pub mtime: Option<i64>,
}
