//! Builds container images from Dockerfiles, in userspace.
//!
//! ```text
//! Dockerfile text ─dockerfile─▶ instructions ─plan─▶ stages of resolved steps
//!    FROM ─registry─▶ manifest, config, blobs ─layer::apply─▶ rootfs
//!    step ─run | copy─▶ changed rootfs ─snapshot─▶ change set ─layer::write─▶ layer ─▶ store
//!    base + layers + config ─image─▶ manifest ─export─▶ registry, layout, archive
//! ```

pub mod cancel;
pub mod layer;
pub mod oci;
pub mod progress;
pub mod rootfs;
pub mod snapshot;
mod sys;
