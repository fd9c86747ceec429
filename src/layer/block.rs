//! Encoders of one block, and which one stands behind which level.
//!
//! ISA-L encodes four times as fast as zlib-rs, but larger, and in three levels. Its level 2 is our level 1.
//! Its level 3 (2 % smaller) is not used: it finds other matches with AVX-512 than with AVX2, and others
//! again with neither, so two machines would make two layers of the same files. Levels 1 and 2 gave the
//! same bytes with SSE4.2, AVX, AVX2 and AVX-512 (measured by masking the library's choice).

use std::io;

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
        output.extend_from_slice(&trailer(block));
        Ok(())
    }
}

/// What ends a gzip member: checksum and length of its content.
fn trailer(block: &[u8]) -> [u8; 8] {
    let mut crc = flate2::Crc::new();
    crc.update(block);
    let mut trailer = [0; 8];
    trailer[..4].copy_from_slice(&crc.sum().to_le_bytes());
    trailer[4..].copy_from_slice(&crc.amount().to_le_bytes());
    trailer
}

#[cfg(target_arch = "x86_64")]
mod isal {
    use std::io;

    use super::{GZIP_HEADER, trailer};
    use crate::sys::igzip::Deflater;

    /// How much of each block is stored as it is, see [`Gzip`].
    const STORED: usize = 32;

    /// ISA-L behind a stored beginning.
    ///
    /// At the first byte of a stream without history, ISA-L's assembly (`.write_first_byte` in
    /// `igzip_icf_body_h1_gr_bt.asm`) hashes a register that nobody has set: it holds the address of the
    /// stream's state. One hash bucket in 8192 thus depends on where the heap is, and about one
    /// layer of a GiB in fifteen came out with other bytes than its twin. With a dictionary that path is not
    /// taken; the first bytes of the block, stored, serve as one.
    pub(super) struct Gzip(Deflater);

    impl Gzip {
        pub(super) fn new() -> Self {
            Self(Deflater::new())
        }
    }

    impl super::BlockEncoder for Gzip {
        fn encode(&mut self, block: &mut Vec<u8>, output: &mut Vec<u8>) -> io::Result<()> {
            let (stored, rest) = block.split_at(block.len().min(STORED));
            output.extend_from_slice(&GZIP_HEADER);
            // RFC 1951, 3.2.4: type 0, not the last block unless nothing follows; length and its complement.
            output.push(u8::from(rest.is_empty()));
            // At most 32.
            let length = stored.len() as u16;
            output.extend_from_slice(&length.to_le_bytes());
            output.extend_from_slice(&(!length).to_le_bytes());
            output.extend_from_slice(stored);
            if !rest.is_empty() {
                self.0.deflate(stored, rest, output)?;
            }
            output.extend_from_slice(&trailer(block));
            Ok(())
        }
    }
}
