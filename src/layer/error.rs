//! Why a layer or an archive could not be unpacked.

use std::io;

use super::decompress::DecompressError;
use super::read::TarError;
use crate::cancel::Cancelled;
use crate::rootfs::{PathError, RootfsError, RootfsPath};

/// Why a stream could not be unpacked into a rootfs. What was unpacked before stays: the rootfs is unusable.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The stream could not be decompressed.
    #[error(transparent)]
    Decompress(DecompressError),
    /// The stream is no valid tar.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// A path that must not be, or cannot be, inside a rootfs.
    #[error("archive entry cannot be unpacked")]
    Path(#[from] PathError),
    /// A hard link to a path that must not be, or cannot be, inside a rootfs.
    #[error("hard link {entry} cannot be unpacked")]
    LinkPath {
        /// The link.
        entry: String,
        /// What is wrong with its target.
        #[source]
        source: PathError,
    },
    /// An entry for the root that is not a directory.
    #[error("archive entry {entry:?} would replace the root by something that is not a directory")]
    Root {
        /// The path as written.
        entry: String,
    },
    /// A whiteout that names nothing, or `.wh.` in the middle of a path.
    #[error("{entry} is no valid whiteout (expected .wh.<name>)")]
    Whiteout {
        /// The path.
        entry: String,
    },
    /// A hard link to something that does not exist.
    #[error("hard link {entry} has no target {target} in this layer or below it")]
    LinkTargetMissing {
        /// The link.
        entry: String,
        /// Its target.
        target: String,
    },
    /// A hard link to a directory.
    #[error("hard link {entry} has a directory as its target: {target}")]
    LinkTargetDirectory {
        /// The link.
        entry: String,
        /// Its target.
        target: String,
    },
    /// A symlink that no filesystem can hold.
    #[error("symlink {entry} has a target of {length} bytes (expected 1 to 4095, none of them zero)")]
    SymlinkTarget {
        /// The symlink.
        entry: String,
        /// Length of its target.
        length: usize,
    },
    /// More than [`super::Limits::entries`].
    #[error("more than {limit} entries")]
    TooManyEntries {
        /// The limit.
        limit: u64,
    },
    /// The kernel refused something.
    #[error("{operation} {entry}")]
    Io {
        /// The operation as a verb: "create file", "set owner of".
        operation: &'static str,
        /// The path inside the rootfs.
        entry: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A directory could not be opened or made.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// No thread could be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// The build was interrupted.
    #[error("stopped")]
    Cancelled(#[from] Cancelled),
}

/// Adds operation and path to what the kernel said; the text is made only for an error.
pub(super) fn io_error(operation: &'static str, path: &RootfsPath) -> impl FnOnce(io::Error) -> ApplyError {
    move |source| ApplyError::Io {
        operation,
        entry: path.display_absolute(),
        source,
    }
}
