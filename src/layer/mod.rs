//! Layers: tar in both directions.

mod block;
mod capability;
pub mod compress;
mod apply;
mod header;
mod write;
pub use apply::*;

pub use compress::{Encoding, LevelError};
pub use header::DeviceError;
pub use write::{LayerOptions, WriteError, WriteWarning, WrittenLayer, write};
