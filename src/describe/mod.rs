//! What a Dockerfile offers to whoever builds it: its targets, and the parameters of one of them. Pure, and nothing is
//! pulled.
//!
//! Descriptions are comments `# name text` right before the ARG or FROM that defines the name.

mod parameters;
mod targets;

pub use parameters::{Argument, Grant, Parameters, parameters};
pub use targets::{Target, targets};
