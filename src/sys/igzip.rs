//! Raw deflate by ISA-L with a preset dictionary, which its safe bindings do not offer.
#![expect(unsafe_code, reason = "the C interface of ISA-L")]

use std::io;

use isal::isal_sys::igzip_lib as c;

/// A deflate encoder at ISA-L's level 2, used again from block to block.
pub(crate) struct Deflater {
    stream: Box<c::isal_zstream>,
    /// In words, since the encoder keeps structures in it.
    level_buffer: Vec<u64>,
}

impl Deflater {
    pub(crate) fn new() -> Self {
        let words = c::ISAL_DEF_LVL2_DEFAULT as usize / size_of::<u64>();
        Self {
            // SAFETY: the struct consists of numbers, arrays of numbers and raw pointers; zeros are
            // values of all of them.
            stream: Box::new(unsafe { std::mem::zeroed() }),
            level_buffer: vec![0; words],
        }
    }

    /// Appends `data` to `output` as deflate blocks, the last one marked as the last. A decoder must
    /// have produced `dictionary` directly before.
    pub(crate) fn deflate(&mut self, dictionary: &[u8], data: &[u8], output: &mut Vec<u8>) -> io::Result<()> {
        let stream = &mut *self.stream;
        // SAFETY: the stream is exclusively borrowed; this sets its fields.
        unsafe { c::isal_deflate_init(stream) };
        stream.level = 2;
        stream.level_buf = self.level_buffer.as_mut_ptr().cast();
        stream.level_buf_size = c::ISAL_DEF_LVL2_DEFAULT;
        // The value is 0 and fits whatever the field's type.
        stream.gzip_flag = c::IGZIP_DEFLATE as u16;
        // SAFETY: the dictionary is copied into the stream, at most 32 KiB of it, and only read.
        let status = unsafe { c::isal_deflate_set_dict(stream, dictionary.as_ptr().cast_mut(), length(dictionary)?) };
        check("isal_deflate_set_dict", status)?;
        stream.end_of_stream = 1;
        stream.next_in = data.as_ptr().cast_mut();
        stream.avail_in = length(data)?;
        while stream.internal_state.state != c::isal_zstate_state_ZSTATE_END {
            let written = output.len();
            // Enough for the first round unless the data grows by an eighth.
            output.resize(written + data.len() + data.len() / 8 + 4096, 0);
            stream.next_out = output[written..].as_mut_ptr();
            stream.avail_out = length(&output[written..])?;
            // SAFETY: the input is borrowed for the length of this function and only read; the
            // output has `avail_out` bytes; the level buffer lives as long as the stream.
            let status = unsafe { c::isal_deflate(stream) };
            let left = stream.avail_out as usize;
            output.truncate(output.len() - left);
            check("isal_deflate", status)?;
        }
        Ok(())
    }
}

fn length(bytes: &[u8]) -> io::Result<u32> {
    u32::try_from(bytes.len()).map_err(io::Error::other)
}

fn check(call: &str, status: i32) -> io::Result<()> {
    if status == c::COMP_OK as i32 {
        Ok(())
    } else {
        Err(io::Error::other(format!("{call} answered {status}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h33_bytes_do_not_depend_on_addresses() {
        const ADDRESSES: usize = 150;
        // What comes first comes again: there an encoder that hashes its own address differs, once in
        // some thousand times.
        let inputs: Vec<Vec<u8>> = (0_u32..200)
            .map(|seed| {
                let line: Vec<u8> = (0..37).map(|at| (seed * 7919 + at * at * 31 + at) as u8).collect();
                line.repeat(40)
            })
            .collect();
        // All are kept, so that each has an address of its own.
        let mut deflaters: Vec<Deflater> = (0..ADDRESSES).map(|_| Deflater::new()).collect();
        for input in &inputs {
            let mut outputs = deflaters.iter_mut().map(|deflater| {
                let mut output = Vec::new();
                let (dictionary, data) = input.split_at(DICTIONARY);
                deflater.deflate(dictionary, data, &mut output).unwrap();
                output
            });
            let first = outputs.next().unwrap();
            assert!(outputs.all(|output| output == first));
        }
    }

    const DICTIONARY: usize = 32;
}
