//! One stage while it is built: its rootfs, what is recorded of it, and the layers so far.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::error::{BuildError, Problem};
use super::images;
use super::layer_job::{LayerJob, LayerTask, Reading};
use super::session::Session;
use crate::oci::{Descriptor, History, ManifestFormat};
use crate::plan::{Base, ImageSource, PlannedStage, StageId};
use crate::progress::Event;
use crate::rootfs::Rootfs;
use crate::snapshot::{ChangeSet, Fingerprints, Index};

/// A stage's state moves forward, step by step; nothing looks back.
#[derive(Debug)]
pub(crate) struct Stage {
    id: StageId,
    base: Base,
    /// `None` until somebody wants files: a stage that only changes the config unpacks nothing.
    rootfs: Option<Arc<Rootfs>>,
    /// `None` until the first RUN: steps that know what they write need no record.
    index: Option<Index>,
    /// Of files that no index has taken over yet.
    fingerprints: Fingerprints,
    /// The layer whose files are still being read.
    reading: Option<Reading>,
    pub(crate) lineage: Lineage,
}

/// What an image of a stage is made of besides its config.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lineage {
    /// What the steps of the whole FROM chain added, in order.
    pub(crate) additions: Vec<Addition>,
    /// The layers of the base image at the end of the FROM chain.
    pub(crate) base_layers: Vec<(ImageSource, Descriptor)>,
    /// The history of that base image.
    pub(crate) base_history: Vec<History>,
    /// The family of that base image's manifest.
    pub(crate) base_format: Option<ManifestFormat>,
}

/// What a step added.
#[derive(Clone, Debug)]
pub(crate) struct Addition {
    pub(crate) history: History,
    pub(crate) layer: Option<LayerJob>,
    pub(crate) created: Timestamp,
}

/// What a step leaves in the image that changed no file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WithoutChanges {
    /// Its history entry alone.
    NoLayer,
    /// A layer that holds nothing.
    EmptyLayer,
}

impl Stage {
    /// Begins a stage on its base. Unpacks nothing.
    pub(crate) fn begin(planned: &PlannedStage, session: &Session) -> Self {
        Self {
            id: planned.id,
            base: planned.base.clone(),
            rootfs: None,
            index: None,
            fingerprints: Fingerprints::default(),
            reading: None,
            lineage: Lineage::of(&planned.base, session),
        }
    }

    /// The rootfs, if somebody has asked for it before.
    pub(crate) fn unpacked(&self) -> Option<Arc<Rootfs>> {
        self.rootfs.clone()
    }

    /// The rootfs, made from the base when it is first asked for.
    pub(crate) fn rootfs(&mut self, session: &Session) -> Result<Arc<Rootfs>, BuildError> {
        if let Some(rootfs) = &self.rootfs {
            return Ok(Arc::clone(rootfs));
        }
        let rootfs = match self.base.clone() {
            Base::Scratch => session.workspace().new_rootfs()?,
            Base::Image(key) => {
                let unpacked = images::unpack_anew(&key, session);
                let (rootfs, fingerprints) = unpacked.map_err(|error| session.at_from(self.id, error))?;
                self.fingerprints = fingerprints;
                rootfs
            }
            Base::Stage(id) => self.inherit(id, session)?,
        };
        self.rootfs = Some(Arc::clone(&rootfs));
        Ok(rootfs)
    }

    /// The base stage's rootfs itself when nobody else wants it, else a copy.
    fn inherit(&mut self, base: StageId, session: &Session) -> Result<Arc<Rootfs>, BuildError> {
        let original = session.stage_rootfs(base)?;
        let base_id = base;
        let base = session.stage(base_id);
        let mut heirs = base.heirs();
        if self.must_copy(base_id, &heirs, session) {
            let rootfs = session.workspace().new_rootfs()?;
            let warn = |text: &str| session.progress.event(Event::Warning(text));
            let base = base.read();
            let to = (&*rootfs, &mut self.fingerprints);
            crate::copy::copy_tree((&original, &base.fingerprints), to, &session.cancel, &warn)?;
            heirs.insert(self.id);
            return Ok(rootfs);
        }
        // Nobody can begin to read it again: every other stage that needs it is built, or has a copy.
        let mut base = base.write();
        self.index = base.index.take();
        self.fingerprints = std::mem::take(&mut base.fingerprints);
        self.reading = base.reading.take();
        base.rootfs = None;
        Ok(original)
    }

    /// Whether the files of `base` must stay as they are although this stage is built upon it.
    fn must_copy(&self, base: StageId, heirs: &BTreeSet<StageId>, session: &Session) -> bool {
        let mut users = session.unfinished_users(base);
        users.any(|user| user.reads(base) || (user.id != self.id && !heirs.contains(&user.id)))
    }

    /// Waits until the rootfs may change: the files of the layer before have been read.
    pub(crate) fn settle(&mut self) {
        if let Some(reading) = self.reading.take() {
            let taken = reading.finish();
            match &mut self.index {
                Some(index) => index.learn(&taken),
                None => self.fingerprints.extend(taken),
            }
        }
    }

    /// The record of the rootfs, made by a walk when there is none yet.
    pub(crate) fn index(&mut self, rootfs: &Rootfs, session: &Session) -> Result<&mut Index, BuildError> {
        if self.index.is_none() {
            let fingerprints = std::mem::take(&mut self.fingerprints);
            let index = Index::build(rootfs, &fingerprints, session.snapshot_options(), &session.cancel)
                .map_err(Problem::Snapshot)?;
            self.index = Some(index);
        }
        Ok(self.index.as_mut().expect("it was built above when it was missing"))
    }

    /// Takes note of what a step wrote that knows it, COPY for instance.
    pub(crate) fn record(
        &mut self,
        rootfs: &Rootfs,
        changes: &ChangeSet,
        fingerprints: Fingerprints,
    ) -> Result<(), BuildError> {
        match &mut self.index {
            Some(index) => {
                index.record(rootfs, changes).map_err(Problem::Snapshot)?;
                index.learn(&fingerprints);
            }
            None => self.fingerprints.extend(fingerprints),
        }
        Ok(())
    }

    /// Starts to write what a step changed as a layer.
    pub(crate) fn add_layer(
        &mut self,
        changes: ChangeSet,
        without_changes: WithoutChanges,
        step: (String, usize, usize),
        session: &Session,
    ) -> Result<Option<LayerJob>, BuildError> {
        let changes = changes.without(|path| session.ignored.cover(path));
        if changes.is_empty() && without_changes == WithoutChanges::NoLayer {
            return Ok(None);
        }
        let Some(rootfs) = self.rootfs.clone() else {
            return Ok(None);
        };
        let task = LayerTask {
            changes,
            rootfs,
            options: session.layer_options.clone(),
            blobs: session.blobs.clone(),
            progress: Arc::clone(&session.progress),
            cancel: session.cancel.clone(),
            step,
        };
        let uploader = session.uploader_for(self.id);
        let done = move |blob: &crate::store::Blob| {
            if let Some(uploader) = uploader {
                uploader.submit(super::upload::Source::Local(blob.clone()));
            }
        };
        let (job, reading) = LayerJob::start(task, done).map_err(|source| Problem::System {
            what: "start a thread",
            source,
        })?;
        session.layer_jobs.track(&job);
        self.reading = Some(reading);
        Ok(Some(job))
    }

    /// Gives up the rootfs, once its files are read.
    pub(crate) fn release(&mut self) -> Option<Arc<Rootfs>> {
        self.settle();
        self.index = None;
        self.fingerprints = Fingerprints::default();
        self.rootfs.take()
    }
}

impl Lineage {
    /// What a stage on `base` begins with.
    fn of(base: &Base, session: &Session) -> Self {
        match base {
            Base::Scratch => Self::default(),
            Base::Image(key) => {
                let image = session.images.get(key);
                let layers = image.manifest.value().layers.iter();
                Self {
                    additions: Vec::new(),
                    base_layers: layers.map(|layer| (image.source.clone(), layer.clone())).collect(),
                    base_history: session.images.configs()[key.as_ref()].config.history.clone(),
                    base_format: Some(image.manifest.value().format()),
                }
            }
            Base::Stage(id) => session.stage(*id).read().lineage.clone(),
        }
    }
}
