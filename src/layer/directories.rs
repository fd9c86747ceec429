//! What directories are to look like when a stream has ended.

use std::collections::BTreeMap;

use super::error::{ApplyError, io_error};
use super::parents::Parent;
use crate::rootfs::{Rootfs, RootfsPath, Timestamp};

/// Their last times and modes, which children that are made or removed in them must not change.
#[derive(Default)]
pub(super) struct Directories(BTreeMap<RootfsPath, DirFinal>);

#[derive(Clone, Copy, Debug)]
struct DirFinal {
    mtime: Timestamp,
    /// If it could not have its mode while children were made in it.
    mode: Option<u32>,
}

impl Directories {
    /// `path` ends with this time, and with this mode if it could not have it from the start.
    pub(super) fn leave(&mut self, path: RootfsPath, mtime: Timestamp, mode: Option<u32>) {
        self.0.insert(path, DirFinal { mtime, mode });
    }

    /// `path` ends with this time if nothing else was said about it.
    pub(super) fn leave_unless_known(&mut self, path: RootfsPath, mtime: Timestamp) {
        self.0.entry(path).or_insert(DirFinal { mtime, mode: None });
    }

    /// Remembers a directory's mtime before the first change in it.
    pub(super) fn record(&mut self, parent: &Parent) -> Result<(), ApplyError> {
        if parent.recorded.replace(true) || self.0.contains_key(&parent.path) {
            return Ok(());
        }
        let metadata = parent.dir.metadata().map_err(io_error("stat", &parent.path))?;
        self.leave(parent.path.clone(), metadata.mtime, None);
        Ok(())
    }

    /// Forgets `path` and all below it: it is gone.
    pub(super) fn forget_below(&mut self, path: &RootfsPath) {
        let below = self.0.range(path.clone()..).map(|(key, _)| key);
        let gone: Vec<_> = below.take_while(|key| key.starts_with(path)).cloned().collect();
        for key in gone {
            self.0.remove(&key);
        }
    }

    /// Gives directories their final modes and times.
    pub(super) fn finish(&mut self, rootfs: &Rootfs) -> Result<(), ApplyError> {
        for (path, last) in std::mem::take(&mut self.0).into_iter().rev() {
            let dir = rootfs.open_dir(&path)?;
            // Time before mode: a directory that its owner may not read cannot be opened to set it.
            dir.set_own_mtime(last.mtime).map_err(io_error("set time of", &path))?;
            if let Some(mode) = last.mode {
                dir.set_own_mode(mode).map_err(io_error("set mode of", &path))?;
            }
        }
        Ok(())
    }
}
