//! What the stages of one build share, and the order in which they are built.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::error::{BuildError, Problem};
use super::fetch::Fetcher;
use super::images::{self, Images};
use super::layer_job::LayerJob;
use super::stage::Stage;
use super::step;
use super::upload::Uploader;
use crate::cancel::Cancel;
use crate::context::BuildContext;
use crate::layer::LayerOptions;
use crate::plan::{Base, ImageKey, Plan, PlannedStage, StageId, Step};
use crate::progress::{Event, Progress};
use crate::rootfs::Rootfs;
use crate::run::Isolation;
use crate::snapshot::{Fingerprints, SnapshotOptions};
use crate::store::{Blobs, BuildDir};

/// One build on its way.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) plan: Arc<Plan>,
    pub(crate) images: Images,
    pub(crate) fetcher: Arc<Fetcher>,
    /// `None` when nothing is pushed.
    pub(crate) uploader: Option<Arc<Uploader>>,
    pub(crate) blobs: Blobs,
    /// `None` once it is removed.
    pub(crate) directory: Option<BuildDir>,
    /// `None` when no stage has a RUN.
    pub(crate) isolation: Option<Arc<dyn Isolation>>,
    /// `None` when no stage copies from it.
    pub(crate) context: Option<BuildContext>,
    pub(crate) layer_options: LayerOptions,
    pub(crate) layering: Layering,
    pub(crate) progress: Arc<dyn Progress>,
    pub(crate) cancel: Cancel,
    pub(crate) state: State,
}

/// How many layers a stage gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Layering {
    /// One for each step that changes files.
    PerStep,
    /// One for the stage (`--single-snapshot`).
    PerStage,
}

/// What has come to be so far.
#[derive(Debug, Default)]
pub(crate) struct State {
    stages: BTreeMap<StageId, Stage>,
    /// Unpacked images that `COPY --from` reads.
    sources: BTreeMap<ImageKey, Arc<Rootfs>>,
    rootfs_count: usize,
    removals: Vec<JoinHandle<()>>,
    layer_jobs: Vec<LayerJob>,
}

impl Session {
    /// Builds every stage of the plan, each after those it needs, and returns the target's.
    pub(crate) fn build_stages(&mut self) -> Result<Stage, BuildError> {
        let plan = Arc::clone(&self.plan);
        self.prefetch(&plan)?;
        for planned in &plan.stages {
            let label = stage_label(planned);
            let stage = self
                .build_stage(planned)
                .map_err(|error| error.in_stage(planned, &label))?;
            self.state.stages.insert(planned.id, stage);
            self.release_unneeded(planned.id);
        }
        Ok(self
            .state
            .stages
            .remove(&plan.target)
            .expect("the plan holds its target"))
    }

    /// Starts the downloads that are certain to be wanted, in the order in which they will be.
    fn prefetch(&self, plan: &Plan) -> Result<(), BuildError> {
        for stage in &plan.stages {
            if let (Base::Image(key), true) = (&stage.base, self.wants_files(stage.id)) {
                images::prefetch(self.images.get(key), &self.fetcher)?;
            }
        }
        Ok(())
    }

    /// Whether anybody will look into the rootfs of this stage.
    fn wants_files(&self, id: StageId) -> bool {
        let has_own_steps = |stage: &PlannedStage| stage.steps.iter().any(|step| step.step != Step::Metadata);
        self.plan.stages.iter().any(|stage| match &stage.base {
            _ if stage.id == id => has_own_steps(stage),
            Base::Stage(base) if *base == id => self.wants_files(stage.id),
            Base::Scratch | Base::Image(_) | Base::Stage(_) => step::copies_from(stage, id),
        })
    }

    fn build_stage(&mut self, planned: &PlannedStage) -> Result<Stage, BuildError> {
        let label = stage_label(planned);
        let base = match &planned.base {
            Base::Scratch => "scratch".to_owned(),
            Base::Image(key) => key.reference.to_string(),
            Base::Stage(id) => self.plan.stage(*id).map_or_else(|| id.to_string(), stage_label),
        };
        self.progress.event(Event::StageStart {
            stage: &label,
            base: &base,
        });
        let mut stage = Stage::begin(planned, self);
        step::run_all(&mut stage, planned, &label, self)?;
        // The base stage is given up next; what a later stage will look for here must have moved before.
        if matches!(planned.base, Base::Stage(_)) && self.wants_files(planned.id) {
            stage.rootfs(self)?;
        }
        Ok(stage)
    }

    /// A stage that is built.
    pub(crate) fn stage(&self, id: StageId) -> &Stage {
        self.state
            .stages
            .get(&id)
            .expect("stages are built after those they need")
    }

    pub(crate) fn stage_mut(&mut self, id: StageId) -> &mut Stage {
        self.state
            .stages
            .get_mut(&id)
            .expect("stages are built after those they need")
    }

    /// The rootfs of a stage that is built.
    pub(crate) fn stage_rootfs(&mut self, id: StageId) -> Result<Arc<Rootfs>, BuildError> {
        let mut stage = self
            .state
            .stages
            .remove(&id)
            .expect("stages are built after those they need");
        let rootfs = stage.rootfs(self);
        self.state.stages.insert(id, stage);
        rootfs
    }

    /// The files of an image that `COPY --from` names.
    pub(crate) fn image_rootfs(&mut self, key: &ImageKey) -> Result<Arc<Rootfs>, BuildError> {
        if let Some(rootfs) = self.state.sources.get(key) {
            return Ok(Arc::clone(rootfs));
        }
        let rootfs = self.new_rootfs()?;
        let image = Arc::clone(self.images.get(key));
        let mut unused = Fingerprints::default();
        images::unpack(
            &image,
            &rootfs,
            &self.fetcher,
            &mut unused,
            &*self.progress,
            &self.cancel,
        )?;
        self.state.sources.insert(key.clone(), Arc::clone(&rootfs));
        Ok(rootfs)
    }

    /// Whether a stage later than `user` needs `id`.
    pub(crate) fn is_needed_after(&self, id: StageId, user: StageId) -> bool {
        let later = self.plan.stages.iter().skip_while(|stage| stage.id != user).skip(1);
        later.into_iter().any(|stage| stage.dependencies().contains(&id))
    }

    /// Whether the files of `base` must stay as they are although `user` is built upon it.
    pub(crate) fn is_read_besides(&self, base: StageId, user: StageId) -> bool {
        let copies = self
            .plan
            .stage(user)
            .is_some_and(|stage| step::copies_from(stage, base));
        copies || self.is_needed_after(base, user)
    }

    /// Makes an empty rootfs of its own.
    pub(crate) fn new_rootfs(&mut self) -> Result<Arc<Rootfs>, BuildError> {
        let parent = self.subdirectory("rootfs")?;
        let path = parent.join(self.state.rootfs_count.to_string());
        self.state.rootfs_count += 1;
        let rootfs = Rootfs::create(&path).map_err(|source| Problem::System {
            what: "make a rootfs",
            source,
        })?;
        Ok(Arc::new(rootfs))
    }

    /// A directory of the build's own.
    pub(crate) fn subdirectory(&self, name: &str) -> Result<PathBuf, BuildError> {
        let directory = self.directory.as_ref().expect("the directory is removed last");
        Ok(directory.subdirectory(name)?)
    }

    /// Remembers a layer that is being written: it reads files that must not be removed before.
    pub(crate) fn track(&mut self, job: &LayerJob) {
        self.state.layer_jobs.push(job.clone());
    }

    pub(crate) fn snapshot_options(&self) -> SnapshotOptions {
        SnapshotOptions {
            clamp_mtime: self.layer_options.clamp_mtime,
            ..SnapshotOptions::default()
        }
    }

    /// The uploader, for stages whose layers are the image's.
    pub(crate) fn uploader_for(&self, id: StageId) -> Option<Arc<Uploader>> {
        self.uploader.clone().filter(|_| self.target_chain().contains(&id))
    }

    /// The target and the stages that it is FROM.
    fn target_chain(&self) -> BTreeSet<StageId> {
        let mut chain = BTreeSet::new();
        let mut next = Some(self.plan.target);
        while let Some(id) = next {
            chain.insert(id);
            next = match self.plan.stage(id).map(|stage| &stage.base) {
                Some(Base::Stage(base)) => Some(*base),
                Some(Base::Scratch | Base::Image(_)) | None => None,
            };
        }
        chain
    }

    /// Removes, beside the build, the rootfs of every stage that nobody needs any more.
    fn release_unneeded(&mut self, current: StageId) {
        let unneeded: Vec<StageId> = self
            .state
            .stages
            .keys()
            .copied()
            .filter(|id| *id != self.plan.target && !self.is_needed_after(*id, current))
            .collect();
        for id in unneeded {
            if let Some(rootfs) = self.stage_mut(id).release() {
                self.remove_in_background(rootfs);
            }
        }
    }

    /// Removes a rootfs beside the build. What cannot be removed now goes with the build's directory.
    pub(crate) fn remove_in_background(&mut self, rootfs: Arc<Rootfs>) {
        let work = move || {
            let path = rootfs.host_path().to_owned();
            drop(rootfs);
            if let (Some(parent), Some(name)) = (path.parent(), path.file_name())
                && let Ok(parent) = std::fs::File::open(parent)
            {
                use std::os::fd::AsFd as _;
                let _ = crate::store::remove_tree(parent.as_fd(), name);
            }
        };
        if let Ok(thread) = std::thread::Builder::new().name("remove".to_owned()).spawn(work) {
            self.state.removals.push(thread);
        }
    }

    /// Removes the build's directory, once nobody works in it any more.
    pub(crate) fn finish(mut self) -> Result<(), BuildError> {
        self.wind_up();
        match self.directory.take() {
            Some(directory) => Ok(directory.remove()?),
            None => Ok(()),
        }
    }

    /// The error to report when the build ended with `error`: a background thread that fails stops
    /// the others, and what they then say is only the echo.
    pub(crate) fn cause_of(&self, error: BuildError) -> BuildError {
        if self.cancel.signal().is_some() || !error.is_echo() {
            return error;
        }
        let layer = self.state.layer_jobs.iter().find_map(LayerJob::take_failure);
        let upload = || {
            self.uploader
                .as_ref()
                .and_then(|uploader| uploader.take_failure())
                .map(BuildError::new)
        };
        layer.or_else(upload).unwrap_or(error)
    }

    fn wind_up(&mut self) {
        for job in self.state.layer_jobs.drain(..) {
            job.wait_for_end();
        }
        for removal in self.state.removals.drain(..) {
            // A removal that panicked has left files for the directory's own removal.
            let _ = removal.join();
        }
    }
}

impl Drop for Session {
    /// A build that failed ends here too: its threads stop at their next chunk, then its directory goes.
    fn drop(&mut self) {
        if self.directory.is_some() {
            self.cancel.by_failure();
        }
        self.wind_up();
    }
}

/// A stage's name, or its number when it has none.
pub(crate) fn stage_label(planned: &PlannedStage) -> String {
    planned.name.clone().unwrap_or_else(|| planned.id.to_string())
}
