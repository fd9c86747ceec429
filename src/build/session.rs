//! What the stages of one build share.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::contexts::NamedTrees;
use super::error::BuildError;
use super::fetch::Fetcher;
use super::finished::{Finished, FinishedStage};
use super::images::{self, Images};
use super::layer_job::LayerJob;
use super::mounts::Supplies;
use super::schedule;
use super::sources::RemoteSources;
use super::stage::{Lineage, Stage};
use super::step;
use super::trees::ImageTrees;
use super::upload::Uploader;
use super::workspace::Workspace;
use crate::cancel::Cancel;
use crate::context::BuildContext;
use crate::layer::{IgnoredPaths, LayerOptions};
use crate::plan::{Base, Plan, PlannedStage, Product, StageId, Step};
use crate::progress::{Event, Progress};
use crate::rootfs::Rootfs;
use crate::run::{Company, Isolation};
use crate::snapshot::SnapshotOptions;
use crate::store::Blobs;

/// One build on its way. Every stage works with the same one, so what changes has a lock of its own, held briefly.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) plan: Plan,
    pub(crate) images: Images,
    pub(crate) fetcher: Arc<Fetcher>,
    /// `None` when nothing is pushed.
    pub(crate) uploader: Option<Arc<Uploader>>,
    pub(crate) blobs: Blobs,
    /// `None` once it is removed.
    pub(crate) workspace: Option<Workspace>,
    /// `None` when no stage has a RUN.
    pub(crate) isolation: Option<Arc<dyn Isolation>>,
    /// `None` when no step reads it.
    pub(crate) context: Option<BuildContext>,
    pub(crate) named_trees: NamedTrees,
    pub(crate) layer_options: LayerOptions,
    pub(crate) layering: Layering,
    pub(crate) progress: Arc<dyn Progress>,
    pub(crate) cancel: Cancel,
    pub(crate) finished: Finished,
    pub(crate) image_trees: ImageTrees,
    pub(crate) sources: RemoteSources,
    pub(crate) layer_jobs: LayerJobs,
    pub(crate) supplies: Supplies,
    /// What is neither unpacked nor put in a layer.
    pub(crate) ignored: IgnoredPaths,
    /// Further tries of unpacking a base image.
    pub(crate) unpack_retries: u32,
}

/// How many layers a stage gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Layering {
    /// One for each step that changes files.
    PerStep,
    /// One for the stage (`--single-snapshot`).
    PerStage,
}

/// The layers that are being written: they read files that must not be removed before.
#[derive(Debug, Default)]
pub(crate) struct LayerJobs(Mutex<Vec<LayerJob>>);

impl LayerJobs {
    /// Remembers a job.
    pub(crate) fn track(&self, job: &LayerJob) {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.push(job.clone());
    }

    fn take_failure(&self) -> Option<BuildError> {
        let jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.iter().find_map(LayerJob::take_failure)
    }

    fn wind_up(&self) {
        let jobs = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for job in jobs {
            job.wait_for_end();
        }
    }
}

impl Session {
    /// Builds every stage of the plan, each after those it needs, and returns what each product is made of.
    pub(crate) fn build_stages(&self) -> Result<Vec<Lineage>, BuildError> {
        self.prefetch()?;
        let needs = |stage: &PlannedStage| (stage.id, stage.dependencies().into_iter().collect());
        let needs = self.plan.stages.iter().map(needs).collect();
        schedule::run(needs, self.workers(), &self.cancel, |id| self.build(id))?;
        let lineage = |product: &Product| self.stage(product.stage).read().lineage.clone();
        Ok(self.plan.products.iter().map(lineage).collect())
    }

    fn workers(&self) -> usize {
        match self.isolation.as_ref().map(|isolation| isolation.abilities().company) {
            Some(Company::Alone) => 1,
            Some(Company::Several) | None => schedule::workers(),
        }
    }

    /// Starts the downloads that are certain to be wanted, in the order in which they will be.
    fn prefetch(&self) -> Result<(), BuildError> {
        for stage in &self.plan.stages {
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
            Base::Scratch | Base::Image(_) | Base::Stage(_) => stage.reads(id),
        })
    }

    /// `error`, belonging to the FROM of a stage and not to the step that happened to want its files first.
    pub(crate) fn at_from(&self, id: StageId, error: BuildError) -> BuildError {
        match self.plan.stage(id) {
            Some(planned) => error.in_stage(planned, &planned.label),
            None => error,
        }
    }

    fn build(&self, id: StageId) -> Result<(), BuildError> {
        let planned = self.plan.stage(id).expect("the plan holds what is scheduled");
        let stage = self
            .build_stage(planned)
            .map_err(|error| error.in_stage(planned, &planned.label))?;
        self.finished.add(id, stage);
        self.release_unneeded();
        Ok(())
    }

    fn build_stage(&self, planned: &PlannedStage) -> Result<Stage, BuildError> {
        let base = match &planned.base {
            Base::Scratch => "scratch".to_owned(),
            Base::Image(key) => key.source.to_string(),
            Base::Stage(id) => self.stage_label(*id),
        };
        self.progress.event(Event::StageStart {
            stage: &planned.label,
            base: &base,
            index: planned.id.0,
            base_index: match &planned.base {
                Base::Stage(id) => Some(id.0),
                Base::Scratch | Base::Image(_) => None,
            },
        });
        if matches!(planned.base, Base::Image(_)) && planned.steps.iter().all(|step| step.step == Step::Metadata) {
            let text = "Skipping unpacking as no commands require it.";
            self.progress.event(Event::Info(text));
        }
        let mut stage = Stage::begin(planned, self);
        step::run_all(&mut stage, planned, self)?;
        // The base stage is given up next; what a later stage will look for here must have moved before.
        if matches!(planned.base, Base::Stage(_)) && self.wants_files(planned.id) {
            stage.rootfs(self)?;
        }
        Ok(stage)
    }

    /// A stage that is built.
    pub(crate) fn stage(&self, id: StageId) -> Arc<FinishedStage> {
        let stage = self.finished.get(id);
        stage.expect("stages are built after those they need")
    }

    fn stage_label(&self, id: StageId) -> String {
        let stage = self.plan.stage(id);
        stage.map_or_else(|| id.to_string(), |stage| stage.label.clone())
    }

    /// The rootfs of a stage that is built.
    pub(crate) fn stage_rootfs(&self, id: StageId) -> Result<Arc<Rootfs>, BuildError> {
        let stage = self.stage(id);
        // Those who read its files do not wait for each other, only for him who has them unpacked.
        let unpacked = stage.read().unpacked();
        unpacked.map_or_else(|| stage.write().rootfs(self), Ok)
    }

    /// The stages that need `id` and are not built yet.
    pub(crate) fn unfinished_users(&self, id: StageId) -> impl Iterator<Item = &PlannedStage> {
        let finished = self.finished.ids();
        let open = self
            .plan
            .stages
            .iter()
            .filter(move |stage| !finished.contains(&stage.id));
        open.filter(move |stage| stage.dependencies().contains(&id))
    }

    /// Where the build works.
    pub(crate) fn workspace(&self) -> &Workspace {
        self.workspace.as_ref().expect("the workspace is removed last")
    }

    pub(crate) fn snapshot_options(&self) -> SnapshotOptions {
        SnapshotOptions {
            clamp_mtime: self.layer_options.clamp_mtime,
            ..SnapshotOptions::default()
        }
    }

    /// The uploader, for stages whose layers are the image's.
    pub(crate) fn uploader_for(&self, id: StageId) -> Option<Arc<Uploader>> {
        self.uploader.clone().filter(|_| self.is_in_a_product(id))
    }

    /// Whether an image is made of this stage: it is a product's, or one that such a stage is FROM.
    fn is_in_a_product(&self, id: StageId) -> bool {
        self.plan
            .products
            .iter()
            .any(|product| self.chain(product.stage).contains(&id))
    }

    /// A stage and those that it is FROM.
    fn chain(&self, id: StageId) -> BTreeSet<StageId> {
        let mut chain = BTreeSet::new();
        let mut next = Some(id);
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
    fn release_unneeded(&self) {
        for id in self.finished.ids() {
            if self.unfinished_users(id).next().is_none()
                && let Some(rootfs) = self.stage(id).write().release()
            {
                self.workspace().remove_in_background(rootfs);
            }
        }
    }

    /// Removes the build's directory, once nobody works in it any more.
    pub(crate) fn finish(mut self) -> Result<(), BuildError> {
        self.wind_up();
        match self.workspace.take() {
            Some(workspace) => workspace.remove(),
            None => Ok(()),
        }
    }

    /// The error to report when the build ended with `error`: a background thread that fails stops
    /// the others, and what they then say is only the echo.
    pub(crate) fn cause_of(&self, error: BuildError) -> BuildError {
        if self.cancel.signal().is_some() || !error.is_echo() {
            return error;
        }
        let upload = || {
            self.uploader
                .as_ref()
                .and_then(|uploader| uploader.take_failure())
                .map(BuildError::new)
        };
        self.layer_jobs.take_failure().or_else(upload).unwrap_or(error)
    }

    fn wind_up(&self) {
        self.layer_jobs.wind_up();
        if let Some(workspace) = &self.workspace {
            workspace.wind_up();
        }
    }
}

impl Drop for Session {
    /// A build that failed ends here too: its threads stop at their next chunk, then its directory goes.
    fn drop(&mut self) {
        if self.workspace.is_some() {
            self.cancel.by_failure();
        }
        self.wind_up();
    }
}
