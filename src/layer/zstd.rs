//! zstd (RFC 8878) with any number of frames, skippable ones included, and anything after the last one.

use std::io::{BufRead, Read};

use ::zstd::stream::raw::{DParameter, Decoder, Operation};

use super::decompress::{DecompressError, Format};
use super::input::Input;

/// Decodes zstd.
pub(super) struct Zstd<R> {
    input: Input<R>,
    decoder: Decoder<'static>,
    state: State,
}

enum State {
    Between,
    Frame,
    Done,
}

impl<R: Read> Zstd<R> {
    pub(super) fn new(input: Input<R>, window_log: u32) -> Result<Self, DecompressError> {
        let mut decoder = Decoder::new().map_err(corrupt)?;
        decoder
            .set_parameter(DParameter::WindowLogMax(window_log))
            .map_err(corrupt)?;
        Ok(Self {
            input,
            decoder,
            state: State::Between,
        })
    }

    /// Decodes some bytes to the start of `out`, none only at the end.
    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize, DecompressError> {
        loop {
            match self.state {
                State::Between => self.next_frame()?,
                State::Frame => match self.decode(out)? {
                    0 => {}
                    produced => return Ok(produced),
                },
                State::Done => return Ok(0),
            }
        }
    }

    fn next_frame(&mut self) -> Result<(), DecompressError> {
        let head = self.input.peek(4).map_err(DecompressError::Read)?;
        if Format::detect(head) == Format::Zstd {
            self.state = State::Frame;
        } else {
            self.input.drain().map_err(DecompressError::Read)?;
            self.state = State::Done;
        }
        Ok(())
    }

    fn decode(&mut self, out: &mut [u8]) -> Result<usize, DecompressError> {
        let input = self.input.fill_buf().map_err(DecompressError::Read)?;
        let ended = input.is_empty();
        let status = self.decoder.run_on_buffers(input, out).map_err(corrupt)?;
        self.input.consume(status.bytes_read);
        if status.remaining == 0 {
            self.state = State::Between;
        } else if ended && status.bytes_written == 0 {
            return Err(DecompressError::Truncated { format: Format::Zstd });
        }
        Ok(status.bytes_written)
    }
}

fn corrupt(source: std::io::Error) -> DecompressError {
    DecompressError::Corrupt {
        format: Format::Zstd,
        source,
    }
}
