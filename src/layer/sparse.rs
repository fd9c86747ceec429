//! Where the pieces of a sparse file's content go.

use super::limits;

/// Why a sparse map is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SparseError {
    /// A piece lies before the end of the one before it, or beyond the file.
    #[error("pieces overlap, are out of order or exceed the file's size")]
    Order,
    /// The pieces are not as long together as the content in the archive.
    #[error("pieces have {mapped} bytes, the archive has {stored}")]
    Length {
        /// By the map.
        mapped: u64,
        /// By the header.
        stored: u64,
    },
    /// More pieces than a map may have.
    #[error("more than {} pieces", limits::SPARSE_PIECES)]
    TooMany,
    /// The map itself cannot be read.
    #[error("the map is not a list of decimal numbers")]
    Malformed,
}

/// Offsets and lengths as an archive states them.
pub(super) type Pieces = Vec<(u64, u64)>;

/// Pieces of content with the offsets they belong to, in order and without overlap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Map {
    pieces: Pieces,
    size: u64,
}

impl Map {
    /// The map of a file without holes.
    pub(super) fn whole(size: u64) -> Self {
        Self {
            pieces: vec![(0, size)],
            size,
        }
    }

    /// Checks the pieces (offset and length) of a file of `size` bytes, `stored` of which are in the archive.
    pub(super) fn new(pieces: Pieces, size: u64, stored: u64) -> Result<Self, SparseError> {
        if pieces.len() > limits::SPARSE_PIECES {
            return Err(SparseError::TooMany);
        }
        let (mut end, mut mapped) = (0, 0u64);
        for (offset, length) in &pieces {
            let next = offset.checked_add(*length).ok_or(SparseError::Order)?;
            if *offset < end || next > size {
                return Err(SparseError::Order);
            }
            end = next;
            mapped += length;
        }
        if mapped != stored {
            return Err(SparseError::Length { mapped, stored });
        }
        Ok(Self { pieces, size })
    }

    /// Logical size of the file.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// Where the content starting at byte `stored` of the archived content goes, and how much of it.
    pub(super) fn locate(&self, cursor: &mut Cursor) -> Option<(u64, u64)> {
        loop {
            let (offset, length) = *self.pieces.get(cursor.piece)?;
            if cursor.within < length {
                return Some((offset + cursor.within, length - cursor.within));
            }
            cursor.piece += 1;
            cursor.within = 0;
        }
    }
}

/// A position in the archived content.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Cursor {
    piece: usize,
    within: u64,
}

impl Cursor {
    /// Moves on within the current piece.
    pub(super) const fn advance(&mut self, bytes: u64) {
        self.within += bytes;
    }
}

/// The list `offset,length,offset,length` of format 0.1.
pub(super) fn pairs(list: &[u8]) -> Result<Pieces, SparseError> {
    let numbers: Option<Vec<u64>> = list.split(|byte| *byte == b',').map(super::pax::decimal).collect();
    let numbers = numbers.ok_or(SparseError::Malformed)?;
    if numbers.len() % 2 != 0 {
        return Err(SparseError::Malformed);
    }
    Ok(numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_checked() {
        for (pieces, size, stored, expected) in [
            (vec![(0, 5), (10, 5)], 20, 10, Ok(())),
            (vec![(0, 5), (5, 5)], 10, 10, Ok(())),
            (vec![(20, 0)], 20, 0, Ok(())),
            (vec![], 20, 0, Ok(())),
            (vec![(10, 5), (0, 5)], 20, 10, Err(SparseError::Order)),
            (vec![(0, 6), (5, 5)], 20, 11, Err(SparseError::Order)),
            (vec![(16, 5)], 20, 5, Err(SparseError::Order)),
            (vec![(u64::MAX, 5)], 20, 5, Err(SparseError::Order)),
            (vec![(0, 5)], 20, 6, Err(SparseError::Length { mapped: 5, stored: 6 })),
            (
                vec![(0, 0); limits::SPARSE_PIECES + 1],
                20,
                0,
                Err(SparseError::TooMany),
            ),
        ] {
            let count = pieces.len();
            assert_eq!(
                Map::new(pieces, size, stored).map(|_| ()),
                expected,
                "{count} pieces of {size}"
            );
        }
        assert_eq!(pairs(b"0,5,10,5"), Ok(vec![(0, 5), (10, 5)]));
        for list in [&b"0,5,10"[..], b"", b"0,", b"a,b"] {
            assert_eq!(pairs(list), Err(SparseError::Malformed));
        }
    }
}
