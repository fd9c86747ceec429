//! From the bytes of a blob or an archive to the bytes of its tar.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bzip2::bufread::MultiBzDecoder;
use lzma_rust2::XzReader;

use super::gzip::Gzip;
use super::input::Input;
use super::limits::Limits;
use super::zstd::Zstd;

/// Most memory that an xz stream may ask for, in KiB: what `xz -9` needs, and some more.
const XZ_MEMORY_KIB: u32 = 128 << 10;

/// How a stream is compressed, by its first bytes. Media types and file names are wrong too often.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// No magic that is known: a plain tar, or nothing at all.
    Plain,
    /// `1f 8b`.
    Gzip,
    /// A frame or a skippable frame.
    Zstd,
    /// `BZh`.
    Bzip2,
    /// `fd 7zXZ 00`.
    Xz,
}

impl Format {
    /// Bytes that [`Format::detect`] wants to see.
    pub const MAGIC: usize = 6;

    /// Tells the format from the first bytes of a stream.
    #[must_use]
    pub fn detect(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            _ => Self::Plain,
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain => "uncompressed",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
        })
    }
}

/// Why a stream could not be decompressed.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    /// The caller's reader failed.
    #[error("cannot read the compressed data")]
    Read(#[source] io::Error),
    /// The data is not what its magic bytes say, or asks for too much memory.
    #[error("{format} data cannot be decompressed")]
    Corrupt {
        /// By the magic bytes.
        format: Format,
        /// What the decoder found.
        #[source]
        source: io::Error,
    },
    /// The data ends in the middle.
    #[error("{format} data ends too early")]
    Truncated {
        /// By the magic bytes.
        format: Format,
    },
    /// More than [`Limits::bytes`].
    #[error("more than {limit} bytes after decompression")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// More than [`Limits::ratio`].
    #[error("{compressed} compressed bytes become more than {limit} times as many")]
    Ratio {
        /// Bytes read when the limit was passed.
        compressed: u64,
        /// The limit.
        limit: u64,
    },
}

enum Decoder<R: Read> {
    Plain(Input<R>),
    Gzip(Gzip<R>),
    Zstd(Zstd<R>),
    Bzip2(MultiBzDecoder<Input<R>>),
    Xz(Box<XzReader<Input<R>>>),
}

/// Decompresses a stream, whatever its format, up to its last byte.
pub struct Decompressor<R: Read> {
    decoder: Decoder<R>,
    format: Format,
    limits: Limits,
    compressed: Arc<AtomicU64>,
    produced: u64,
}

impl<R: Read> std::fmt::Debug for Decompressor<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompressor")
            .field("format", &self.format)
            .field("produced", &self.produced)
            .finish_non_exhaustive()
    }
}

impl<R: Read> Decompressor<R> {
    /// Looks at the first bytes of `stream` and chooses the decoder.
    ///
    /// # Errors
    /// The stream cannot be read.
    pub fn new(stream: R, limits: Limits) -> Result<Self, DecompressError> {
        let mut input = Input::new(stream);
        let compressed = input.counter();
        let format = Format::detect(input.peek(Format::MAGIC).map_err(DecompressError::Read)?);
        let decoder = match format {
            Format::Plain => Decoder::Plain(input),
            Format::Gzip => Decoder::Gzip(Gzip::new(input)),
            Format::Zstd => Decoder::Zstd(Zstd::new(input, limits.zstd_window_log)?),
            Format::Bzip2 => Decoder::Bzip2(MultiBzDecoder::new(input)),
            Format::Xz => Decoder::Xz(Box::new(XzReader::new_mem_limit(input, true, XZ_MEMORY_KIB))),
        };
        Ok(Self {
            decoder,
            format,
            limits,
            compressed,
            produced: 0,
        })
    }

    /// The format found.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Compressed bytes read so far; all of them once [`Decompressor::fill`] gave less than asked.
    #[must_use]
    pub fn compressed_bytes(&self) -> u64 {
        self.compressed.load(Ordering::Relaxed)
    }

    /// Fills `out`; fewer bytes come only at the end of the stream.
    ///
    /// # Errors
    /// The stream cannot be read, is corrupt, or exceeds a limit.
    pub fn fill(&mut self, out: &mut [u8]) -> Result<usize, DecompressError> {
        let mut filled = 0;
        while filled < out.len() {
            match self.some(&mut out[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        self.produced += filled as u64;
        self.check_limits()?;
        Ok(filled)
    }

    fn some(&mut self, out: &mut [u8]) -> Result<usize, DecompressError> {
        match &mut self.decoder {
            Decoder::Plain(input) => input.read(out).map_err(DecompressError::Read),
            Decoder::Gzip(gzip) => gzip.read(out),
            Decoder::Zstd(zstd) => zstd.read(out),
            Decoder::Bzip2(bzip2) => foreign(bzip2, out, Format::Bzip2),
            Decoder::Xz(xz) => foreign(xz, out, Format::Xz),
        }
    }

    fn check_limits(&self) -> Result<(), DecompressError> {
        let Limits { bytes, ratio, .. } = self.limits;
        if self.produced > bytes {
            return Err(DecompressError::TooLarge { limit: bytes });
        }
        let compressed = self.compressed_bytes();
        if self.produced > self.limits.ratio_from && self.produced / ratio > compressed {
            return Err(DecompressError::Ratio {
                compressed,
                limit: ratio,
            });
        }
        Ok(())
    }
}

impl<R: Read> Read for Decompressor<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.fill(out).map_err(io::Error::other)
    }
}

/// Reads through a decoder that gives one error for bad data and for a bad reader.
fn foreign(decoder: &mut impl Read, out: &mut [u8], format: Format) -> Result<usize, DecompressError> {
    decoder
        .read(out)
        .map_err(|source| DecompressError::Corrupt { format, source })
}
