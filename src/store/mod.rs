//! Content on disk: the state directory of running builds, blobs by digest, and images at rest.
//!
//! ```text
//! <state>/                       0700, /var/lib/rbuild for instance
//!   builds/                      flock held for the moment in which builds begin
//!     <random>/                  one running build
//!       lock                     flock held while the build lives
//!       blobs/sha256/<hex>       complete blobs, 0644, named by digest
//!       blobs/incoming-<random>  blobs being written or downloaded
//!       rootfs/                  one directory for each stage
//!       tmp/                     anything else
//!   cache-mounts/                directories that outlive builds, see [`CacheMounts`]
//! ```
//!
//! Invariants: a name under `blobs/sha256` is a whole blob (written beside and renamed); a directory whose lock nobody
//! holds belongs to a build that was killed, and the next build removes it; nothing here follows a
//! symlink that a build may have made.

mod archive;
mod base_images;
mod blobs;
mod cache_mounts;
mod error;
mod incoming;
mod layout;
mod remove;
mod state;

pub use archive::{ArchiveImage, archived_manifest, write_archive};
pub use base_images::{BaseImages, Entry, Warming};
pub use blobs::{Blob, BlobWriter, Blobs};
pub use cache_mounts::{CacheMount, CacheMounts, CacheUse};
pub use error::StoreError;
pub use incoming::{Cause, Incoming, IncomingFailed, IncomingReader, IncomingWriter};
pub use layout::ImageLayout;
pub use remove::{RemoveError, remove_tree};
pub use state::{BuildDir, StateDir};
