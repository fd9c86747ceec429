//! Layers: tar in both directions.

mod block;
mod capability;
pub mod compress;
mod header;
mod write;

pub use compress::{Encoding, LevelError};
pub use header::DeviceError;
pub use write::{LayerOptions, WriteError, WriteWarning, WrittenLayer, write};
