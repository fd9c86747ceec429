//! Deflate with a gzip trailer: ISA-L where the target has it, zlib-rs elsewhere and as the reference in tests.

/// What one step did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Step {
    /// Bytes taken from the input.
    pub(super) consumed: usize,
    /// Bytes written to the output.
    pub(super) produced: usize,
    /// Whether the stream and its trailer are complete.
    pub(super) finished: bool,
}

/// Decodes deflate streams that end in a gzip trailer (CRC-32 and length, both verified).
pub(super) trait Inflate: Send {
    /// Starts the next stream.
    fn reset(&mut self);

    /// Decodes from `input` to `output` until either is used up or the stream ends.
    ///
    /// # Errors
    /// What is wrong with the data.
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, &'static str>;
}

/// The fastest decoder for this target.
pub(super) fn inflater() -> Box<dyn Inflate> {
    #[cfg(target_arch = "x86_64")]
    return Box::new(crate::sys::inflate::Inflater::new());
    #[cfg(not(target_arch = "x86_64"))]
    return Box::new(Portable::default());
}

#[cfg(target_arch = "x86_64")]
impl Inflate for crate::sys::inflate::Inflater {
    fn reset(&mut self) {
        Self::reset(self);
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, &'static str> {
        let step = Self::step(self, input, output)?;
        Ok(Step {
            consumed: step.consumed,
            produced: step.produced,
            finished: step.finished,
        })
    }
}

/// zlib-rs and its CRC-32.
#[cfg(any(test, not(target_arch = "x86_64")))]
pub(super) struct Portable {
    deflate: flate2::Decompress,
    crc: flate2::Crc,
    trailer: Vec<u8>,
    ended: bool,
}

#[cfg(any(test, not(target_arch = "x86_64")))]
impl Default for Portable {
    fn default() -> Self {
        Self {
            deflate: flate2::Decompress::new(false),
            crc: flate2::Crc::new(),
            trailer: Vec::new(),
            ended: false,
        }
    }
}

#[cfg(any(test, not(target_arch = "x86_64")))]
impl Portable {
    /// CRC-32 and length modulo 2^32, both little-endian.
    const TRAILER: usize = 8;

    fn take_trailer(&mut self, input: &[u8]) -> Result<Step, &'static str> {
        let consumed = input.len().min(Self::TRAILER - self.trailer.len());
        self.trailer.extend_from_slice(&input[..consumed]);
        let finished = self.trailer.len() == Self::TRAILER;
        let mut expected = self.crc.sum().to_le_bytes().to_vec();
        expected.extend_from_slice(&self.crc.amount().to_le_bytes());
        if finished && self.trailer != expected {
            return Err("checksum or length does not match the data");
        }
        Ok(Step {
            consumed,
            produced: 0,
            finished,
        })
    }
}

#[cfg(any(test, not(target_arch = "x86_64")))]
impl Inflate for Portable {
    fn reset(&mut self) {
        self.deflate.reset(false);
        self.crc.reset();
        self.trailer.clear();
        self.ended = false;
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, &'static str> {
        if self.ended {
            return self.take_trailer(input);
        }
        let (read, written) = (self.deflate.total_in(), self.deflate.total_out());
        let status = self
            .deflate
            .decompress(input, output, flate2::FlushDecompress::None)
            .map_err(|_| "invalid deflate data")?;
        self.ended = status == flate2::Status::StreamEnd;
        // Both differences are at most the lengths of the slices.
        let consumed = (self.deflate.total_in() - read) as usize;
        let produced = (self.deflate.total_out() - written) as usize;
        self.crc.update(&output[..produced]);
        Ok(Step {
            consumed,
            produced,
            finished: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    /// Raw deflate with a gzip trailer, as the decoders take it.
    fn compress(data: &[u8], level: u32) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()[10..].to_vec()
    }

    /// Decodes with pieces of the given sizes; also says what was left of the input.
    fn decode(decoder: &mut dyn Inflate, input: &[u8], pieces: (usize, usize)) -> Result<(Vec<u8>, usize), String> {
        let (mut at, mut out) = (0, Vec::new());
        let mut buffer = vec![0; pieces.1];
        loop {
            let end = input.len().min(at + pieces.0);
            let step = decoder.step(&input[at..end], &mut buffer)?;
            at += step.consumed;
            out.extend_from_slice(&buffer[..step.produced]);
            if step.finished {
                return Ok((out, input.len() - at));
            }
            if step.consumed == 0 && step.produced == 0 && at == input.len() {
                return Err("truncated".into());
            }
        }
    }

    fn both() -> [Box<dyn Inflate>; 2] {
        [inflater(), Box::new(Portable::default())]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn isal_and_zlib_agree(
            data in prop::collection::vec(prop_oneof![Just(7u8), any::<u8>()], 0..200_000),
            level in 0u32..10, piece in 1usize..5000, room in 1usize..70_000,
        ) {
            let mut stream = compress(&data, level);
            stream.extend_from_slice(b"what follows");
            for mut decoder in both() {
                // A used decoder is as good as a new one.
                for _ in 0..2 {
                    let (out, left) = decode(&mut *decoder, &stream, (piece, room)).unwrap();
                    prop_assert!(out == data);
                    prop_assert_eq!(left, 12);
                    decoder.reset();
                }
            }
        }

        #[test]
        fn damage_is_found_by_both(data in prop::collection::vec(any::<u8>(), 1..5000), at in any::<prop::sample::Index>()) {
            let mut stream = compress(&data, 6);
            let at = at.index(stream.len());
            stream[at] ^= 0x10;
            for mut decoder in both() {
                let answer = decode(&mut *decoder, &stream, (4096, 4096));
                // Bits after the last block's end up to the byte boundary mean nothing.
                prop_assert!(answer.is_err() || answer.unwrap().0 == data);
            }
            for mut decoder in both() {
                prop_assert!(decode(&mut *decoder, &compress(&data, 6)[..at], (4096, 4096)).is_err());
            }
        }
    }
}
