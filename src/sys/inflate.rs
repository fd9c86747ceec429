//! ISA-L's inflate as a step from one slice to another.
//!
//! The safe wrappers of `isal-rs` do not do for layers: they take bytes after the last gzip member for
//! another member and lose what they had decoded, and count every step without output towards "corrupt".

#![expect(unsafe_code, reason = "ISA-L is called through pointers")]

use isal::isal_sys::igzip_lib as isal;

/// What one step did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Step {
    /// Bytes taken from the input.
    pub(crate) consumed: usize,
    /// Bytes written to the output.
    pub(crate) produced: usize,
    /// Whether the deflate stream and its checksum are complete.
    pub(crate) finished: bool,
}

/// Decodes one deflate stream with a gzip trailer, which is verified; the gzip header is the caller's.
pub(crate) struct Inflater(Box<isal::inflate_state>);

// SAFETY: the state owns its buffers; its two pointers are null between steps.
unsafe impl Send for Inflater {}

impl std::fmt::Debug for Inflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inflater(..)")
    }
}

impl Inflater {
    pub(crate) fn new() -> Self {
        let mut state = Box::<isal::inflate_state>::new_uninit();
        // SAFETY: every field of the C struct is an integer, an array of them or a pointer, for all of
        // which zero bytes are a value; `isal_inflate_init` leaves its scratch buffers as they are.
        let mut state = unsafe {
            state.as_mut_ptr().write_bytes(0, 1);
            state.assume_init()
        };
        // SAFETY: the pointer is to a live state.
        unsafe { isal::isal_inflate_init(&raw mut *state) };
        // ISA-L's own parser of gzip headers loses its place when a header crosses two inputs.
        state.crc_flag = isal::ISAL_GZIP_NO_HDR_VER;
        Self(state)
    }

    /// Starts the next stream.
    pub(crate) fn reset(&mut self) {
        // SAFETY: the pointer is to an initialised state.
        unsafe { isal::isal_inflate_reset(&raw mut *self.0) };
    }

    /// Decodes from `input` to `output` until either is used up or the stream ends.
    pub(crate) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, &'static str> {
        let state = &mut *self.0;
        let (given, room) = (length(input.len()), length(output.len()));
        // ISA-L never writes to its input; the field is mutable because C is.
        state.next_in = input.as_ptr().cast_mut();
        state.avail_in = given;
        state.next_out = output.as_mut_ptr();
        state.avail_out = room;
        // SAFETY: both pointers are valid for the lengths beside them, which never exceed the slices',
        // and the slices outlive the call. History is kept in the state, not in earlier outputs.
        let code = unsafe { isal::isal_inflate(state) };
        let step = Step {
            consumed: (given - state.avail_in) as usize,
            produced: (room - state.avail_out) as usize,
            finished: state.block_state == isal::isal_block_state_ISAL_BLOCK_FINISH,
        };
        state.next_in = std::ptr::null_mut();
        state.avail_in = 0;
        state.next_out = std::ptr::null_mut();
        state.avail_out = 0;
        match code {
            0 => Ok(step),
            isal::ISAL_INVALID_BLOCK => Err("invalid deflate block"),
            isal::ISAL_INVALID_SYMBOL => Err("invalid deflate symbol"),
            isal::ISAL_INVALID_LOOKBACK => Err("deflate distance before the start of the data"),
            isal::ISAL_INCORRECT_CHECKSUM => Err("checksum or length does not match the data"),
            _ => Err("invalid deflate data"),
        }
    }
}

/// Lengths are 32 bits wide in ISA-L; the rest of a longer slice waits for the next step.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
