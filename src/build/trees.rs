//! The trees that steps read from: the context, other stages, images.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::error::BuildError;
use super::images;
use super::session::Session;
use crate::context::BuildContext;
use crate::copy;
use crate::plan::{CopyFrom, ImageKey};
use crate::rootfs::Rootfs;

/// A tree to read from, alive as long as this value.
#[derive(Debug)]
pub(crate) enum Tree<'s> {
    /// What the user handed in, the build context or a named one.
    Context(&'s BuildContext),
    /// The files of a stage or an image.
    Rootfs(Arc<Rootfs>),
}

impl Tree<'_> {
    /// The tree as a copy wants it.
    pub(crate) fn as_source(&self) -> copy::Source<'_> {
        match self {
            Self::Context(context) => copy::Source::Context(context),
            Self::Rootfs(rootfs) => copy::Source::Tree(rootfs),
        }
    }
}

/// Images that steps read from, each unpacked once, by whoever asks first; the others wait for him.
#[derive(Debug, Default)]
pub(crate) struct ImageTrees(Mutex<BTreeMap<ImageKey, Arc<Slot>>>);

/// Guards the unpacking; holds the tree once it is whole.
type Slot = Mutex<Option<Arc<Rootfs>>>;

impl ImageTrees {
    fn slot(&self, key: &ImageKey) -> Arc<Slot> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(key.clone()).or_default())
    }
}

impl Session {
    /// What `from` names, ready to be read.
    pub(crate) fn tree(&self, from: &CopyFrom) -> Result<Tree<'_>, BuildError> {
        Ok(match from {
            CopyFrom::Context => {
                let context = self.context.as_ref();
                Tree::Context(context.expect("the context is opened when a step reads from it"))
            }
            CopyFrom::Scratch => Tree::Rootfs(self.workspace().new_rootfs()?),
            CopyFrom::Stage(id) => Tree::Rootfs(self.stage_rootfs(*id)?),
            CopyFrom::Image(key) => Tree::Rootfs(self.image_rootfs(key)?),
            CopyFrom::Tree(tree) => Tree::Context(self.named_trees.get(tree)),
        })
    }

    fn image_rootfs(&self, key: &ImageKey) -> Result<Arc<Rootfs>, BuildError> {
        let slot = self.image_trees.slot(key);
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rootfs) = &*slot {
            return Ok(Arc::clone(rootfs));
        }
        let (rootfs, _) = images::unpack_anew(key, self)?;
        *slot = Some(Arc::clone(&rootfs));
        Ok(rootfs)
    }
}
