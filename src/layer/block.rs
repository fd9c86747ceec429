//! Encoders of one block, and which one stands behind which level.
//!
//! ISA-L encodes four times as fast as zlib-rs but has three levels in all. Its level 1 is our level 1.
//! Its level 3 (3 % smaller) is not used: it finds other matches with AVX-512 than with AVX2, and others
//! again with neither, so two machines would make two layers of the same files. Level 1 gave the same
//! bytes with SSE4.2, AVX, AVX2 and AVX-512 (measured by masking the library's choice).

use std::io::{self, Write};

use super::compress::Encoding;
use crate::oci::Compression;

/// Encodes blocks independently of each other. May take the input for its output instead of copying.
pub(super) trait BlockEncoder {
    /// Appends the encoded block to the empty `output`.
    fn encode(&mut self, block: &mut Vec<u8>, output: &mut Vec<u8>) -> io::Result<()>;
}

pub(super) fn block_encoder(encoding: Encoding) -> io::Result<Box<dyn BlockEncoder>> {
    Ok(match encoding.compression() {
        Compression::None => Box::new(Plain),
        Compression::Zstd => Box::new(Zstd::new(encoding.level())?),
        #[cfg(target_arch = "x86_64")]
        Compression::Gzip if encoding.level() == 1 => Box::new(isal::Gzip::new()),
        Compression::Gzip => Box::new(Gzip::new(encoding.level())),
    })
}

struct Plain;

impl BlockEncoder for Plain {
    fn encode(&mut self, block: &mut Vec<u8>, output: &mut Vec<u8>) -> io::Result<()> {
        std::mem::swap(block, output);
        Ok(())
    }
}

struct Zstd(zstd::bulk::Compressor<'static>);

impl Zstd {
    fn new(level: i32) -> io::Result<Self> {
        let mut compressor = zstd::bulk::Compressor::new(level)?;
        compressor.include_checksum(true)?;
        Ok(Self(compressor))
    }
}

impl BlockEncoder for Zstd {
    fn encode(&mut self, block: &mut Vec<u8>, output: &mut Vec<u8>) -> io::Result<()> {
        output.reserve(zstd::zstd_safe::compress_bound(block.len()));
        self.0.compress_to_buffer(block.as_slice(), output)?;
        Ok(())
    }
}

/// A gzip member: no name, no time, OS "unknown", so that nothing but the content decides.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

struct Gzip(flate2::Compress);

impl Gzip {
    fn new(level: i32) -> Self {
        let level = flate2::Compression::new(level.unsigned_abs());
        Self(flate2::Compress::new(level, false))
    }
}

impl BlockEncoder for Gzip {
    fn encode(&mut self, block: &mut Vec<u8>, output: &mut Vec<u8>) -> io::Result<()> {
        output.extend_from_slice(&GZIP_HEADER);
        self.0.reset();
        loop {
            // Stored blocks are the worst case: 5 bytes per 16 KiB. One more round covers all else.
            output.reserve(block.len() + block.len() / 1024 + 1024);
            let consumed = usize::try_from(self.0.total_in()).map_err(io::Error::other)?;
            let status = self
                .0
                .compress_vec(&block[consumed..], output, flate2::FlushCompress::Finish)?;
            if status == flate2::Status::StreamEnd {
                break;
            }
        }
        let mut crc = flate2::Crc::new();
        crc.update(block);
        output.write_all(&crc.sum().to_le_bytes())?;
        output.write_all(&crc.amount().to_le_bytes())
    }
}

#[cfg(target_arch = "x86_64")]
mod isal {
    use std::io::{self, Write};

    use isal::write::Encoder;
    use isal::{Codec, CompressionLevel};

    /// ISA-L at its level 1.
    pub(super) struct Gzip(Encoder<Vec<u8>>);

    impl Gzip {
        pub(super) fn new() -> Self {
            Self(Encoder::new(Vec::new(), CompressionLevel::One, Codec::Gzip))
        }
    }

    impl super::BlockEncoder for Gzip {
        fn encode(&mut self, block: &mut Vec<u8>, output: &mut Vec<u8>) -> io::Result<()> {
            std::mem::swap(self.0.get_ref_mut(), output);
            self.0.write_all(block)?;
            // Ends the member and starts afresh.
            self.0.flush()?;
            std::mem::swap(self.0.get_ref_mut(), output);
            Ok(())
        }
    }
}
