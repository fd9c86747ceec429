//! Builds container images from Dockerfiles, in userspace.
//!
//! ```text
//! Dockerfile text ─dockerfile─▶ instructions ─plan─▶ stages of resolved steps
//!    FROM ─registry─▶ manifest, config, blobs ─layer::apply─▶ rootfs
//!    step ─run | copy─▶ changed rootfs ─snapshot─▶ change set ─layer::write─▶ layer ─▶ store
//!    base + layers + config ─image─▶ manifest ─export─▶ registry, layout, archive
//! ```
//!
//! The modules, in the order in which a build passes through them:
//!
//! - values: [`oci`] is the vocabulary of images, [`dockerfile`] the language, [`plan`] its meaning,
//!   [`check`] what is legal in it and yet hardly meant, [`describe`] what it offers, [`image`] their sum.
//! - the machine: [`rootfs`] is a tree that paths cannot leave, [`run`] executes a process in one, [`users`] says
//!   as whom.
//! - content: [`context`] and [`copy`] bring files into a rootfs, [`snapshot`] finds what a step changed, [`layer`]
//!   turns that into a blob and back, [`store`] keeps blobs.
//! - the network: [`http`] is how it is spoken to, [`registry`] pulls and pushes, [`remote`] fetches what ADD and
//!   contexts name.
//! - drivers: [`build`] executes a plan, [`export`] brings the image to its destinations, [`cli`] is the program.
//! - everywhere: [`progress`] tells whoever watches, [`cancel`] ends a build early, [`diagnostic`] is how an error is
//!   shown, [`redact`] what of an address is not shown, [`secret`] keeps the values of secrets out of messages,
//!   [`memory`] tells whether there was too little of it.

pub mod build;
pub mod cancel;
pub mod check;
pub mod cli;
pub mod context;
pub mod copy;
pub mod describe;
pub mod diagnostic;
pub mod dockerfile;
pub mod export;
pub mod http;
pub mod image;
pub mod layer;
mod machine;
pub mod memory;
pub mod oci;
pub mod plan;
pub mod progress;
pub mod redact;
pub mod registry;
pub mod remote;
pub mod rootfs;
pub mod run;
pub mod secret;
pub mod snapshot;
pub mod store;
mod sys;
pub mod users;
pub mod warm;
