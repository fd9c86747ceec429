//! gzip (RFC 1952) with any number of members and anything after the last one.

use std::io::{BufRead, Read};

use super::decompress::{DecompressError, Format};
use super::inflate::{Inflate, inflater};
use super::input::Input;

/// Largest member header that is read: `FEXTRA` alone may have 64 KiB.
const HEADER_LIMIT: usize = 256 << 10;

const FHCRC: u8 = 2;
const FEXTRA: u8 = 4;
const FNAME: u8 = 8;
const FCOMMENT: u8 = 16;

enum State {
    /// Before a member's header, or at the end.
    Between,
    /// In a member's data.
    Member,
    /// After the last member; the input has been drained.
    Done,
}

/// Decodes gzip.
pub(super) struct Gzip<R> {
    input: Input<R>,
    inflater: Box<dyn Inflate>,
    state: State,
}

impl<R: Read> Gzip<R> {
    pub(super) fn new(input: Input<R>) -> Self {
        Self {
            input,
            inflater: inflater(),
            state: State::Between,
        }
    }

    /// Decodes some bytes to the start of `out`, none only at the end.
    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize, DecompressError> {
        loop {
            match self.state {
                State::Between => self.next_member()?,
                State::Member => match self.decode(out)? {
                    0 => {}
                    produced => return Ok(produced),
                },
                State::Done => return Ok(0),
            }
        }
    }

    fn next_member(&mut self) -> Result<(), DecompressError> {
        let head = self.input.peek(2).map_err(DecompressError::Read)?;
        if head.starts_with(&[0x1f, 0x8b]) {
            self.skip_header()?;
            self.inflater.reset();
            self.state = State::Member;
        } else {
            // Zero padding and signatures occur behind the last member; gzip(1) ignores them too.
            self.input.drain().map_err(DecompressError::Read)?;
            self.state = State::Done;
        }
        Ok(())
    }

    fn decode(&mut self, out: &mut [u8]) -> Result<usize, DecompressError> {
        let input = self.input.fill_buf().map_err(DecompressError::Read)?;
        let ended = input.is_empty();
        let step = self.inflater.step(input, out).map_err(corrupt)?;
        self.input.consume(step.consumed);
        if step.finished {
            self.state = State::Between;
        } else if step.consumed == 0 && step.produced == 0 {
            return Err(if ended {
                DecompressError::Truncated { format: Format::Gzip }
            } else {
                corrupt("deflate data makes no progress")
            });
        }
        Ok(step.produced)
    }

    fn skip_header(&mut self) -> Result<(), DecompressError> {
        let fixed = self.header_bytes::<10>()?;
        let [_, _, method, flags, ..] = fixed;
        if method != 8 {
            return Err(corrupt("gzip member with a compression method that is not deflate"));
        }
        if flags & FEXTRA != 0 {
            let length = u16::from_le_bytes(self.header_bytes::<2>()?);
            for _ in 0..length {
                self.header_bytes::<1>()?;
            }
        }
        for text in [FNAME, FCOMMENT] {
            if flags & text != 0 {
                self.skip_text()?;
            }
        }
        if flags & FHCRC != 0 {
            self.header_bytes::<2>()?;
        }
        Ok(())
    }

    fn skip_text(&mut self) -> Result<(), DecompressError> {
        for _ in 0..HEADER_LIMIT {
            if self.header_bytes::<1>()? == [0] {
                return Ok(());
            }
        }
        Err(corrupt("gzip member header has no end"))
    }

    fn header_bytes<const N: usize>(&mut self) -> Result<[u8; N], DecompressError> {
        let mut bytes = [0; N];
        for byte in &mut bytes {
            let next = self.input.next_byte().map_err(DecompressError::Read)?;
            *byte = next.ok_or(DecompressError::Truncated { format: Format::Gzip })?;
        }
        Ok(bytes)
    }
}

fn corrupt(problem: &'static str) -> DecompressError {
    DecompressError::Corrupt {
        format: Format::Gzip,
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, problem),
    }
}
