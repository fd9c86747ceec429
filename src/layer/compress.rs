//! Compression of a stream.

use crate::oci::Compression;

/// A compression together with a level that it has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Encoding {
    compression: Compression,
    level: i32,
}

/// A level that a compression does not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{name} has no compression level {level} (valid are {lowest} to {highest})")]
pub struct LevelError {
    /// Name of the compression.
    pub name: &'static str,
    /// The level asked for.
    pub level: i32,
    /// The lowest it has.
    pub lowest: i32,
    /// The highest it has.
    pub highest: i32,
}

impl Default for Encoding {
    fn default() -> Self {
        Self {
            compression: Compression::Gzip,
            level: DEFAULT_GZIP_LEVEL,
        }
    }
}

const DEFAULT_GZIP_LEVEL: i32 = 6;
const DEFAULT_ZSTD_LEVEL: i32 = 3;

impl Encoding {
    /// `compression` at `level`: 1 to 9 for gzip, 1 to 22 for zstd; `None` takes the default.
    ///
    /// # Errors
    /// The compression has no such level.
    pub fn new(compression: Compression, level: Option<i32>) -> Result<Self, LevelError> {
        let (name, lowest, highest, default) = match compression {
            Compression::None => ("plain tar", 0, 0, 0),
            Compression::Gzip => ("gzip", 1, 9, DEFAULT_GZIP_LEVEL),
            Compression::Zstd => ("zstd", 1, 22, DEFAULT_ZSTD_LEVEL),
        };
        let level = level.unwrap_or(default);
        if !(lowest..=highest).contains(&level) {
            return Err(LevelError {
                name,
                level,
                lowest,
                highest,
            });
        }
        Ok(Self { compression, level })
    }

    /// The compression.
    #[must_use]
    pub const fn compression(self) -> Compression {
        self.compression
    }

    /// The level.
    #[must_use]
    pub const fn level(self) -> i32 {
        self.level
    }
}
