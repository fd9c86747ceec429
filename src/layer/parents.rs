//! The directories that entries were placed in last, kept open.
//!
//! A layer lists a directory's entries one after another, so most entries need no lookup of their
//! parent. An open directory stands for its path only as long as no name on the way to it changes:
//! whoever removes a directory or a symlink clears the cache. Making one where nothing was needs
//! no clearing, nothing can have been found through it.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use crate::rootfs::{Dir, RootfsPath};

/// Open directories at most. Archives in the order of a tree walk need its depth.
const CAPACITY: usize = 32;

/// A directory to place entries in.
#[derive(Debug)]
pub(super) struct Parent {
    pub(super) dir: Dir,
    /// Its path without symlinks.
    pub(super) path: RootfsPath,
    /// Whether its mtime at the end of the layer is known.
    pub(super) recorded: Cell<bool>,
}

impl Parent {
    pub(super) const fn new(dir: Dir, path: RootfsPath) -> Self {
        let recorded = Cell::new(false);
        Self { dir, path, recorded }
    }
}

/// The cache, keyed by paths as entries write them, most recent first.
#[derive(Debug, Default)]
pub(super) struct Parents(VecDeque<(RootfsPath, Rc<Parent>)>);

impl Parents {
    pub(super) fn get(&mut self, path: &RootfsPath) -> Option<Rc<Parent>> {
        let at = self.0.iter().position(|(key, _)| key == path)?;
        if at > 0 {
            let found = self.0.remove(at)?;
            self.0.push_front(found);
        }
        self.0.front().map(|(_, parent)| Rc::clone(parent))
    }

    pub(super) fn insert(&mut self, path: RootfsPath, parent: Parent) -> Rc<Parent> {
        let parent = Rc::new(parent);
        self.0.retain(|(key, _)| *key != path);
        self.0.truncate(CAPACITY - 1);
        self.0.push_front((path, Rc::clone(&parent)));
        parent
    }

    /// Forgets everything: a name on the way to some directory has changed.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
