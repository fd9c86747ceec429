//! Where ADD and COPY read from.
//!
//! A build context is a directory of the user's: it is only read, never changed, and no symlink in it leads out of
//! it. The ignore file limits what COPY, ADD and bind mounts see; the Dockerfile and the ignore file themselves are
//! read whatever it says. Entries count as owned by 0:0 and as having no extended attributes, wherever they were.

mod ignore;
pub mod pattern;
#[cfg(test)]
mod plain;

use std::io;
use std::path::{Path, PathBuf};

use crate::rootfs::{ObjectId, Rootfs};

pub use ignore::{Hits, IgnoreError, IgnoreFile, IgnorePatterns, Judgement, RuleError, RuleName};

/// A local directory and what of it is visible.
#[derive(Debug)]
pub struct BuildContext {
    rootfs: Rootfs,
    ignore: Option<IgnoreFile>,
    hidden: Vec<ObjectId>,
}

/// The context is no directory that can be read.
#[derive(Debug, thiserror::Error)]
#[error("open the build context {}", path.display())]
pub struct ContextError {
    /// As given.
    pub path: PathBuf,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

impl BuildContext {
    /// Opens the directory `path` as a context with the rules of `ignore`.
    ///
    /// # Errors
    /// The directory is absent, or no directory.
    pub fn open(path: &Path, ignore: Option<IgnoreFile>) -> Result<Self, ContextError> {
        let rootfs = Rootfs::open(path).map_err(|source| ContextError {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self::new(rootfs, ignore))
    }

    /// A context over a directory that is open already, since finding its ignore file needed it.
    #[must_use]
    pub const fn new(rootfs: Rootfs, ignore: Option<IgnoreFile>) -> Self {
        Self {
            rootfs,
            ignore,
            hidden: Vec::new(),
        }
    }

    /// The same without these directories, should they lie in it: what the builder itself keeps is no input.
    #[must_use]
    pub fn hiding(self, directories: &[ObjectId]) -> Self {
        Self {
            hidden: directories.to_vec(),
            ..self
        }
    }

    /// The directory.
    #[must_use]
    pub const fn rootfs(&self) -> &Rootfs {
        &self.rootfs
    }

    /// Directories that count as absent, with all that is in them.
    #[must_use]
    pub fn hidden(&self) -> &[ObjectId] {
        &self.hidden
    }

    /// The ignore file in force.
    #[must_use]
    pub const fn ignore(&self) -> Option<&IgnoreFile> {
        self.ignore.as_ref()
    }
}
