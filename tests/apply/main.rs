//! Layers and archives against real directories: the checklist of the layer specification.
//!
//! Tests named `root_…` need privilege (owners, devices, capabilities), tests named `tools_…` need
//! GNU tar, bsdtar and Python; both fail without.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod corpus;
mod differential;
mod extract;
mod layers;
mod metadata;
mod safety;
mod streams;
mod tarball;
mod tree;
