//! Builds container images from Dockerfiles, in userspace.
//!
//! ```text
//! Dockerfile text ─dockerfile─▶ instructions ─plan─▶ stages of resolved steps
//!    FROM ─registry─▶ manifest, config, blobs ─layer::apply─▶ rootfs
//!    step ─run | copy─▶ changed rootfs ─snapshot─▶ change set ─layer::write─▶ layer ─▶ store
//!    base + layers + config ─image─▶ manifest ─export─▶ registry, layout, archive
//! ```

pub mod build;
pub mod cancel;
pub mod export;
pub mod image;
pub mod dockerfile;
pub mod cli;
pub mod layer;
pub mod diagnostic;
pub mod context;
pub mod copy;
pub mod oci;
pub mod plan;
pub mod progress;
pub mod rootfs;
pub mod snapshot;
pub mod registry;
pub mod store;
pub mod run;
mod sys;
pub mod users;
