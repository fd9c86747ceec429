//! What can go wrong with content on disk.

use std::io;
use std::path::{Path, PathBuf};

use crate::oci::Digest;

/// Why content could not be stored or read back.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A system call on a path.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// The call in words, `create` for instance.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The bytes are not the ones that were asked for.
    #[error("blob {expected} has the digest {actual}")]
    Digest {
        /// What was asked for.
        expected: Box<Digest>,
        /// What came.
        actual: Box<Digest>,
    },
    /// Too few bytes or too many.
    #[error("blob {digest} has {actual} bytes instead of {expected}")]
    Size {
        /// Which blob.
        digest: Box<Digest>,
        /// Bytes by its descriptor.
        expected: u64,
        /// Bytes that there are; for an endless stream, those seen until it was cut.
        actual: u64,
    },
    /// A JSON file of an image layout is damaged.
    #[error("{} is not valid", path.display())]
    Json {
        /// Which file.
        path: PathBuf,
        /// Line, column and what was expected.
        #[source]
        source: serde_json::Error,
    },
    /// A manifest in an image layout is damaged.
    #[error("{} is not valid", path.display())]
    Manifest {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: crate::oci::ManifestError,
    },
    /// The directory is no image layout, or of a version to come.
    #[error("{} is not an OCI image layout: {reason}", path.display())]
    NotALayout {
        /// Which directory.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// The image layout has no such image.
    #[error("the image layout {} has no image {name:?}", path.display())]
    NoSuchImage {
        /// Which layout.
        path: PathBuf,
        /// The name that was looked for.
        name: String,
    },
}

impl StoreError {
    /// Puts operation and path to an I/O error.
    pub(crate) fn io(operation: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io {
            operation,
            path,
            source,
        }
    }

    /// The same for `rustix`.
    pub(crate) fn errno(operation: &'static str, path: impl AsRef<Path>) -> impl FnOnce(rustix::io::Errno) -> Self {
        let wrap = Self::io(operation, path);
        move |errno| wrap(errno.into())
    }
}
