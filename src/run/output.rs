//! Output of a process, cut into lines.

use std::io::{self, Read};

/// Longest piece handed on at once; a longer line arrives in several.
const MAX_LINE: usize = 64 << 10;

/// Hands every line of `from`, without its newline, to `line`, until all writers are gone. A last line
/// without newline counts.
pub(super) fn split_lines(mut from: impl Read, mut line: impl FnMut(&[u8])) {
    // One byte more, so that the newline of a line of exactly the limit ends it instead of making another.
    let mut buffer = vec![0; MAX_LINE + 1];
    let mut filled = 0;
    loop {
        let count = match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // A pipe has no read errors of its own; whatever this is, there is no more to read.
            Err(_) => break,
        };
        let start = emit_lines(&buffer[..filled + count], filled, &mut line);
        buffer.copy_within(start..filled + count, 0);
        filled = filled + count - start;
        if filled == buffer.len() {
            line(&buffer[..MAX_LINE]);
            buffer[0] = buffer[MAX_LINE];
            filled = 1;
        }
    }
    if filled > 0 {
        line(&buffer[..filled]);
    }
}

/// Emits the complete lines of `bytes`, of which the first `searched` hold no newline. Returns where
/// the incomplete rest starts.
fn emit_lines(bytes: &[u8], searched: usize, line: &mut impl FnMut(&[u8])) -> usize {
    let mut start = 0;
    let mut from = searched;
    while let Some(length) = bytes[from..].iter().position(|byte| *byte == b'\n') {
        line(&bytes[start..from + length]);
        start = from + length + 1;
        from = start;
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Delivers its bytes in pieces of the given size.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn lines(bytes: &[u8], piece: usize) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        split_lines(Pieces(bytes, piece), |line| lines.push(line.to_vec()));
        lines
    }

    #[test]
    fn lines_do_not_depend_on_how_they_arrive() {
        for (bytes, expected) in [
            (&b""[..], &[][..]),
            (b"\n", &[&b""[..]]),
            (b"a", &[b"a"]),
            (b"a\n", &[b"a"]),
            (b"a\n\nb", &[b"a", b"", b"b"]),
            (b"a\r\n\xff\0\n", &[b"a\r", b"\xff\0"]),
        ] {
            for piece in 1..=bytes.len().max(1) {
                assert_eq!(lines(bytes, piece), expected, "{bytes:?} by {piece}");
            }
        }
    }

    #[test]
    fn long_lines_come_in_pieces() {
        let mut bytes = vec![b'x'; 2 * MAX_LINE + 3];
        bytes.extend_from_slice(b"\nend\n");
        for piece in [1000, MAX_LINE, 4 * MAX_LINE] {
            let lengths: Vec<usize> = lines(&bytes, piece).iter().map(Vec::len).collect();
            assert_eq!(lengths, [MAX_LINE, MAX_LINE, 3, 3], "by {piece}");
        }
        let exact = [vec![b'x'; MAX_LINE], b"\n".to_vec()].concat();
        assert_eq!(lines(&exact, MAX_LINE), [vec![b'x'; MAX_LINE]]);
    }
}
