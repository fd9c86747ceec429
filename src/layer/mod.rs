//! Layers: changesets as tar streams, compressed or not.
//!
//! Reading is one line, and archives that `ADD` unpacks take the same one:
//!
//! ```text
//! blob ─decompress─▶ tar bytes ─read─▶ entries with streaming content ─place─▶ rootfs
//!                        └─ SHA-256 ─▶ diff ID          ▲
//!                        apply: whiteouts, root entry ──┴── extract: a target directory, an owner
//! ```
//!
//! - `decompress` goes by the magic bytes, whatever a media type says, and ends where the last member ends.
//! - `pipeline` runs decompression and hashing in threads beside the one that writes files.
//! - `read` frames the tar: every header dialect, PAX (`pax`) and sparse files (`sparse`).
//! - `place` makes one object with all its metadata, relative to the descriptor of its directory.
//! - `apply` gives entries the meaning they have in a layer, `extract` the one in an archive.
//!
//! Nothing is held whole in memory, and a bad stream is an error that names the entry, never a panic.

pub mod apply;
mod attributes;
mod block;
pub mod compress;
mod content;
pub mod decompress;
mod directories;
pub mod entry;
mod error;
pub mod extract;
mod gzip;
mod header;
mod ignored;
mod inflate;
mod input;
mod limits;
mod parents;
mod pax;
mod pipeline;
mod place;
pub mod read;
mod sparse;
mod whiteout;
mod write;
mod written;
mod zstd;

pub use apply::{Applied, Applier, LayerKind};
pub use compress::{Encoding, LevelError};
pub use error::ApplyError;
pub use extract::{ArchiveExtractor, Extracted, Owner, detect_archive};
pub use ignored::IgnoredPaths;
pub use limits::Limits;
pub use write::{DeviceError, LayerOptions, WriteError, WriteWarning, WrittenLayer, write};
