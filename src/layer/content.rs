//! The content of a file while it is written, as its fingerprint sees it: holes are zeros.

use crate::snapshot::Fingerprinter;

/// Holes of one file that are hashed as the zero bytes they read as. A file with more of them gets no
/// fingerprint: hundreds of GiB of nothing are not worth the seconds.
const HASHED_HOLES: u64 = 1 << 30;

/// A file's content as its fingerprint sees it.
pub(super) struct Content {
    fingerprinter: Option<Fingerprinter>,
    end: u64,
    holes: u64,
}

impl Default for Content {
    fn default() -> Self {
        Self {
            fingerprinter: Some(Fingerprinter::default()),
            end: 0,
            holes: 0,
        }
    }
}

impl Content {
    pub(super) fn data(&mut self, bytes: &[u8]) {
        self.end += bytes.len() as u64;
        if let Some(fingerprinter) = &mut self.fingerprinter {
            fingerprinter.update(bytes);
        }
    }

    pub(super) fn hole_up_to(&mut self, offset: u64) {
        const ZEROS: [u8; 4096] = [0; 4096];
        let mut length = offset.saturating_sub(self.end);
        self.end += length;
        self.holes = self.holes.saturating_add(length);
        if self.holes > HASHED_HOLES {
            self.fingerprinter = None;
        }
        let Some(fingerprinter) = &mut self.fingerprinter else {
            return;
        };
        while length > 0 {
            let part = length.min(ZEROS.len() as u64);
            // At most the length of the array.
            fingerprinter.update(&ZEROS[..part as usize]);
            length -= part;
        }
    }
    /// Where the content ends so far.
    pub(super) const fn end(&self) -> u64 {
        self.end
    }

    /// `None` where there is too little to hash for its size.
    pub(super) fn into_fingerprinter(self) -> Option<Fingerprinter> {
        self.fingerprinter
    }
}
