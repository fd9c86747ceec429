//! The build's directory: every rootfs is made in it, and removed beside the build when nobody needs it any more.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::error::{BuildError, Problem};
use crate::rootfs::Rootfs;
use crate::store::BuildDir;

/// Shared by all stages of a build.
#[derive(Debug)]
pub(crate) struct Workspace {
    directory: BuildDir,
    rootfs_count: AtomicUsize,
    /// Guards the threads that remove; who winds up waits for them.
    removals: Mutex<Vec<JoinHandle<()>>>,
}

impl Workspace {
    /// Works in `directory`.
    pub(crate) fn new(directory: BuildDir) -> Self {
        Self {
            directory,
            rootfs_count: AtomicUsize::default(),
            removals: Mutex::default(),
        }
    }

    /// Makes an empty rootfs of its own.
    pub(crate) fn new_rootfs(&self) -> Result<Arc<Rootfs>, BuildError> {
        let parent = self.subdirectory("rootfs")?;
        let number = self.rootfs_count.fetch_add(1, Ordering::Relaxed);
        let rootfs = Rootfs::create(&parent.join(number.to_string())).map_err(|source| Problem::System {
            what: "make a rootfs",
            source,
        })?;
        Ok(Arc::new(rootfs))
    }

    /// A directory of the build's own.
    pub(crate) fn subdirectory(&self, name: &str) -> Result<PathBuf, BuildError> {
        Ok(self.directory.subdirectory(name)?)
    }

    /// Removes a rootfs beside the build. What cannot be removed now goes with the build's directory.
    pub(crate) fn remove_in_background(&self, rootfs: Arc<Rootfs>) {
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
            let mut removals = self.removals.lock().unwrap_or_else(PoisonError::into_inner);
            removals.push(thread);
        }
    }

    /// Waits until every removal has ended.
    pub(crate) fn wind_up(&self) {
        let removals = std::mem::take(&mut *self.removals.lock().unwrap_or_else(PoisonError::into_inner));
        for removal in removals {
            // A removal that panicked has left files for the directory's own removal.
            let _ = removal.join();
        }
    }

    /// Removes the directory.
    pub(crate) fn remove(self) -> Result<(), BuildError> {
        Ok(self.directory.remove()?)
    }
}
