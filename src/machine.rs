//! The machine's own files: credentials and the programs that know them, certificates.
//!
//! While a RUN works in the container's own `/`, what has their paths belongs to an image, and is not to be trusted. `/`
//! exists once in a process, and so does this.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static ROOT: RwLock<()> = RwLock::new(());

/// As long as it lives, `/` has the machine's own files in it.
#[derive(Debug)]
pub(crate) struct OwnFiles {
    _guard: RwLockReadGuard<'static, ()>,
}

/// As long as it lives, `/` may have other files in it.
#[derive(Debug)]
pub(crate) struct OtherFiles {
    _guard: RwLockWriteGuard<'static, ()>,
}

/// Waits until the machine's own files are where they belong. To be held only while they are read.
pub(crate) fn own_files() -> OwnFiles {
    OwnFiles {
        _guard: ROOT.read().unwrap_or_else(PoisonError::into_inner),
    }
}

/// Waits until nobody reads the machine's own files.
pub(crate) fn other_files() -> OtherFiles {
    OtherFiles {
        _guard: ROOT.write().unwrap_or_else(PoisonError::into_inner),
    }
}
