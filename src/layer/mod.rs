//! Layers: tar in both directions.

pub mod compress;
mod apply;
mod write;
pub use apply::*;

pub use compress::{Encoding, LevelError};
pub use write::{LayerOptions, WriteError, WriteWarning, WrittenLayer, write};
