//! Bounds on what a stream from outside may ask for.

/// What a layer or an archive may take at most; more is an error that names the limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Entries in one stream.
    pub entries: u64,
    /// Bytes of one stream after decompression. Holes of sparse files do not count, they take no space.
    pub bytes: u64,
    /// Bytes after decompression for each compressed one…
    pub ratio: u64,
    /// …once this many have been decompressed; small streams of zeros are legitimate.
    pub ratio_from: u64,
    /// Base-2 logarithm of the largest zstd window, which is held in memory.
    pub zstd_window_log: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 10_000_000,
            bytes: 100 << 30,
            ratio: 1000,
            ratio_from: 100 << 20,
            zstd_window_log: 27,
        }
    }
}

/// Largest body of a PAX or GNU extended header.
pub(super) const EXTENDED_HEADER: u64 = 1 << 20;
/// Most records in one PAX header.
pub(super) const PAX_RECORDS: usize = 1024;
/// `XATTR_SIZE_MAX` of Linux.
pub(super) const XATTR_VALUE: usize = 64 << 10;
/// `XATTR_NAME_MAX` of Linux.
pub(super) const XATTR_NAME: usize = 255;
/// All attributes of one file.
pub(super) const XATTR_TOTAL: usize = 256 << 10;
/// `PATH_MAX` of Linux without the final zero byte.
pub(super) const SYMLINK_TARGET: usize = 4095;
/// Pieces of one sparse file; 16 bytes of memory each.
pub(super) const SPARSE_PIECES: usize = 1 << 18;
/// Logical size of a sparse file: what `off_t` can hold.
pub(super) const FILE_SIZE: u64 = i64::MAX as u64;
