//! The stages that are built, for those that need them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::stage::Stage;
use crate::plan::StageId;

/// A stage that is built. Many may read it at once; its files are unpacked or moved on under the write lock.
#[derive(Debug)]
pub(crate) struct FinishedStage {
    stage: RwLock<Stage>,
    /// Guards who was built upon it and has a copy of its files. Held while a copy is made: the next heir waits
    /// for that, and may then have the files themselves.
    heirs: Mutex<BTreeSet<StageId>>,
}

impl FinishedStage {
    /// To read from.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Stage> {
        self.stage.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// To take from.
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Stage> {
        self.stage.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that have a copy. Waits until nobody makes one.
    pub(crate) fn heirs(&self) -> MutexGuard<'_, BTreeSet<StageId>> {
        self.heirs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The stages that are built so far; they stay here to the end, if without their files.
#[derive(Debug, Default)]
pub(crate) struct Finished(Mutex<BTreeMap<StageId, Arc<FinishedStage>>>);

impl Finished {
    /// Adds a stage.
    pub(crate) fn add(&self, id: StageId, stage: Stage) {
        let stage = FinishedStage {
            stage: RwLock::new(stage),
            heirs: Mutex::default(),
        };
        self.lock().insert(id, Arc::new(stage));
    }

    /// The stage, if it is built.
    pub(crate) fn get(&self, id: StageId) -> Option<Arc<FinishedStage>> {
        self.lock().get(&id).cloned()
    }

    /// Which are built.
    pub(crate) fn ids(&self) -> BTreeSet<StageId> {
        self.lock().keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<StageId, Arc<FinishedStage>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
