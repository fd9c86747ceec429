//! One 512-byte header: checksum, dialect, fields.
//!
//! The layout comes from the `tar` crate. Its number parsers do not: they refuse blank fields, which
//! old archives have, and take negative base-256 numbers for huge ones.

use tar::Header;

use super::sparse::Pieces;
use crate::rootfs::Timestamp;

/// Bytes of a block; headers are one, content is padded to it.
pub(super) const BLOCK: usize = 512;

/// A header whose checksum is right.
#[derive(Debug, Clone)]
pub(super) struct TarHeader(Header);

/// A field that is not what its place says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BadField(pub(super) &'static str);

/// Whether a block ends the archive.
pub(super) fn is_zero(block: &[u8; BLOCK]) -> bool {
    block.iter().all(|byte| *byte == 0)
}

impl TarHeader {
    /// Reads a block that is not zero.
    pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Self, BadField> {
        let mut header = Header::from_byte_slice(block).clone();
        verify_checksum(block, &header)?;
        // Some writers leave the version zero; the crate's views want POSIX's "00" and GNU's " ".
        let version: &[u8] = match &block[257..263] {
            b"ustar\0" => b"00",
            b"ustar " => b" \0",
            _ => &block[263..265],
        };
        header.as_mut_bytes()[263..265].copy_from_slice(version);
        Ok(Self(header))
    }

    /// The type byte.
    pub(super) fn type_byte(&self) -> u8 {
        self.0.as_old().linkflag[0]
    }

    /// The path in the header itself.
    pub(super) fn path(&self) -> Vec<u8> {
        let name = until_nul(&self.0.as_old().name);
        let prefix = self.0.as_ustar().map_or(&[][..], |ustar| until_nul(&ustar.prefix));
        if prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }

    /// The link target in the header itself.
    pub(super) fn link(&self) -> Vec<u8> {
        until_nul(&self.0.as_old().linkname).to_vec()
    }

    /// Bytes of content in the archive.
    pub(super) fn size(&self) -> Result<u64, BadField> {
        unsigned(&self.0.as_old().size, "size")
    }

    /// Permission bits; others that old archives have are dropped.
    pub(super) fn mode(&self) -> Result<u32, BadField> {
        // The mask leaves 12 bits.
        Ok((number(&self.0.as_old().mode).ok_or(BadField("mode"))? & 0o7777) as u32)
    }

    pub(super) fn uid(&self) -> Result<u64, BadField> {
        unsigned(&self.0.as_old().uid, "uid")
    }

    pub(super) fn gid(&self) -> Result<u64, BadField> {
        unsigned(&self.0.as_old().gid, "gid")
    }

    pub(super) fn mtime(&self) -> Result<Timestamp, BadField> {
        let seconds = number(&self.0.as_old().mtime).ok_or(BadField("mtime"))?;
        Ok(Timestamp::from_seconds(seconds))
    }

    /// Major and minor number; zero where the dialect has none.
    pub(super) fn device(&self) -> Result<(u32, u32), BadField> {
        let (major, minor) = match (self.0.as_ustar(), self.0.as_gnu()) {
            (Some(ustar), _) => (&ustar.dev_major, &ustar.dev_minor),
            (_, Some(gnu)) => (&gnu.dev_major, &gnu.dev_minor),
            _ => return Ok((0, 0)),
        };
        let part = |field: &[u8], name| u32::try_from(unsigned(field, name)?).map_err(|_| BadField(name));
        Ok((part(major, "device major")?, part(minor, "device minor")?))
    }

    /// The old GNU sparse map in this header: pieces, logical size, and whether blocks with more follow.
    pub(super) fn sparse(&self) -> Result<(Pieces, u64, More), BadField> {
        let gnu = self.0.as_gnu().ok_or(BadField("magic"))?;
        let pieces = sparse_pieces(&gnu.sparse)?;
        Ok((
            pieces,
            unsigned(&gnu.realsize, "real size")?,
            More::of(gnu.isextended[0]),
        ))
    }
}

/// Whether another block of a sparse map follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum More {
    Follows,
    Done,
}

impl More {
    const fn of(flag: u8) -> Self {
        if flag == 0 { Self::Done } else { Self::Follows }
    }
}

/// A block that continues an old GNU sparse map.
pub(super) fn sparse_extension(block: &[u8; BLOCK]) -> Result<(Pieces, More), BadField> {
    let mut extension = tar::GnuExtSparseHeader::new();
    extension.as_mut_bytes().copy_from_slice(block);
    let more = More::of(extension.isextended[0]);
    Ok((sparse_pieces(extension.sparse())?, more))
}

fn sparse_pieces(headers: &[tar::GnuSparseHeader]) -> Result<Pieces, BadField> {
    let used = headers
        .iter()
        .filter(|header| header.offset[0] != 0 || header.numbytes[0] != 0);
    used.map(|header| {
        Ok((
            unsigned(&header.offset, "sparse offset")?,
            unsigned(&header.numbytes, "sparse length")?,
        ))
    })
    .collect()
}

/// Old writers summed signed bytes.
fn verify_checksum(block: &[u8; BLOCK], header: &Header) -> Result<(), BadField> {
    let bad = BadField("checksum");
    let expected = number(&header.as_old().cksum).ok_or(bad)?;
    let bytes = || {
        block
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { b' ' } else { *byte })
    };
    let unsigned: i64 = bytes().map(i64::from).sum();
    let signed: i64 = bytes().map(|byte| i64::from(byte.cast_signed())).sum();
    if expected == unsigned || expected == signed {
        Ok(())
    } else {
        Err(bad)
    }
}

fn until_nul(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    &field[..end]
}

fn unsigned(field: &[u8], name: &'static str) -> Result<u64, BadField> {
    let value = number(field).ok_or(BadField(name))?;
    u64::try_from(value).map_err(|_| BadField(name))
}

/// Octal between spaces and zero bytes, or base-256 if the top bit is set; blank is zero.
fn number(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => base256(field),
        _ => octal(field),
    }
}

fn octal(field: &[u8]) -> Option<i64> {
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !blank(byte)).unwrap_or(field.len());
    let digits = field[start..].split(blank).next().unwrap_or_default();
    let value = digits.iter().try_fold(0i64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    });
    // `12 34` is no number.
    let rest = &field[start + digits.len()..];
    value.filter(|_| rest.iter().all(blank))
}

/// Big-endian two's complement; the top bit is the marker, the next one the sign.
fn base256(field: &[u8]) -> Option<i64> {
    let negative = field[0] & 0x40 != 0;
    let first = if negative { field[0] } else { field[0] & 0x7f };
    let mut bytes = std::iter::once(first).chain(field[1..].iter().copied());
    let start = i128::from(if negative { -1i8 } else { 0 });
    let value = bytes.try_fold(start, |value: i128, byte| {
        let value = (value << 8) | i128::from(byte);
        (i64::try_from(value).is_ok()).then_some(value)
    })?;
    i64::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_dialect() {
        for (field, expected) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"644\0\0\0\0\0", Some(0o644)),
            (b"00000000644 ", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"777777777777", Some(0o777_777_777_777)),
            (b"12 34\0\0\0", None),
            (b"0000008\0", None),
            (b"-000001\0", None),
            (b"\x80\0\0\0\0\0\0\x05", Some(5)),
            (b"\x80\0\0\0\0\x20\0\0", Some(0x20_0000)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\x80\0\0\x01\0\0\0\0\0\0\0\0", None),
        ] {
            assert_eq!(number(field), expected, "{}", field.escape_ascii());
        }
    }

    #[test]
    fn checksum_may_be_signed() {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..2].copy_from_slice(&[0xc3, 0xa9]);
        header.set_cksum();
        let block = *header.as_bytes();
        assert!(TarHeader::parse(&block).is_ok());
        let unsigned = header.cksum().unwrap();
        let mut signed = block;
        signed[148..156].copy_from_slice(format!("{:06o}\0 ", unsigned - 512).as_bytes());
        assert!(TarHeader::parse(&signed).is_ok());
        let mut wrong = block;
        wrong[0] = b'x';
        assert_eq!(TarHeader::parse(&wrong).unwrap_err(), BadField("checksum"));
    }

    #[test]
    fn the_prefix_is_a_posix_field() {
        let block = |magic: &[u8; 8]| {
            let mut header = Header::new_ustar();
            header.as_mut_bytes()[257..265].copy_from_slice(magic);
            header.as_mut_bytes()[..4].copy_from_slice(b"name");
            header.as_mut_bytes()[345..348].copy_from_slice(b"dir");
            header.set_cksum();
            *header.as_bytes()
        };
        for (magic, expected) in [
            (b"ustar\x0000", &b"dir/name"[..]),
            (b"ustar\0\0\0", b"dir/name"),
            (b"ustar  \0", b"name"),
            (b"\0\0\0\0\0\0\0\0", b"name"),
        ] {
            assert_eq!(TarHeader::parse(&block(magic)).unwrap().path(), expected);
        }
    }
}
