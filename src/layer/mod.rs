//! Layers: tar in both directions.

pub mod compress;
mod write;

pub use compress::{Encoding, LevelError};
pub use write::{LayerOptions, WriteError, WriteWarning, WrittenLayer, write};
