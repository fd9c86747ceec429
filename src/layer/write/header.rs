//! One tar entry as bytes, up to its content.
//!
//! Invariant: one dialect. A plain ustar header where everything fits, otherwise a PAX header before
//! it; never GNU's `L` and `K`, never base-256 numbers. All readers in use know these two.

use tar::{EntryType, Header};

use crate::rootfs::xattr::Xattrs;

/// Size of a tar record; headers and contents are padded to it.
pub(super) const RECORD: usize = 512;

/// The largest number in eleven octal digits: sizes and times.
const MAX_11_DIGITS: u64 = 0o777_7777_7777;
/// The largest number in seven octal digits: owners and device numbers.
const MAX_7_DIGITS: u32 = 0o777_7777;

/// What a header says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    /// Path from the root of the layer; of a directory with a slash at the end.
    pub(super) path: &'a [u8],
    pub(super) kind: EntryType,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    pub(super) mtime: i64,
    /// Target of a hard link or symlink.
    pub(super) link: &'a [u8],
    /// Major and minor number of a device node.
    pub(super) device: (u32, u32),
    pub(super) xattrs: &'a Xattrs,
}

/// Numbers that neither ustar nor PAX can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("device number {major}:{minor} does not fit into a tar header")]
pub struct DeviceError {
    major: u32,
    minor: u32,
}

impl Entry<'_> {
    /// Appends the header, preceded by a PAX header if it needs one, to `out`.
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), DeviceError> {
        let (major, minor) = self.device;
        if major > MAX_7_DIGITS || minor > MAX_7_DIGITS {
            return Err(DeviceError { major, minor });
        }
        let records = self.pax_records();
        if !records.is_empty() {
            encode_pax(self.path, &records, out);
        }
        self.encode_ustar(out);
        Ok(())
    }

    /// What ustar cannot say, sorted by key.
    fn pax_records(&self) -> Vec<u8> {
        let mut records: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut record = |key: &str, value: Vec<u8>| records.push((key.as_bytes().to_vec(), value));
        if split_path(self.path).is_none() {
            record("path", self.path.to_vec());
        }
        if self.link.len() > 100 || !self.link.is_ascii() {
            record("linkpath", self.link.to_vec());
        }
        let numbers = [
            ("size", i128::from(self.size), MAX_11_DIGITS),
            ("mtime", i128::from(self.mtime), MAX_11_DIGITS),
            ("uid", i128::from(self.uid), MAX_7_DIGITS.into()),
            ("gid", i128::from(self.gid), MAX_7_DIGITS.into()),
        ];
        for (key, value, max) in numbers {
            if !(0..=i128::from(max)).contains(&value) {
                record(key, value.to_string().into_bytes());
            }
        }
        for (name, value) in self.xattrs {
            records.push(([b"SCHILY.xattr.".as_slice(), name].concat(), value.clone()));
        }
        records.sort();
        records.iter().flat_map(|(key, value)| pax_record(key, value)).collect()
    }

    fn encode_ustar(&self, out: &mut Vec<u8>) {
        let mut header = empty_header(self.kind);
        header.set_mode(self.mode);
        // Values that do not fit are in the PAX header, which overrides these.
        header.set_uid(Some(self.uid).filter(|id| *id <= MAX_7_DIGITS).unwrap_or(0).into());
        header.set_gid(Some(self.gid).filter(|id| *id <= MAX_7_DIGITS).unwrap_or(0).into());
        header.set_size(Some(self.size).filter(|size| *size <= MAX_11_DIGITS).unwrap_or(0));
        let mtime = u64::try_from(self.mtime).ok().filter(|time| *time <= MAX_11_DIGITS);
        header.set_mtime(mtime.unwrap_or(0));
        if let Some(ustar) = header.as_ustar_mut() {
            let (prefix, name) = split_path(self.path).unwrap_or((b"", self.path));
            fill(&mut ustar.name, name);
            fill(&mut ustar.prefix, prefix);
            fill(&mut ustar.linkname, self.link);
            ustar.set_device_major(self.device.0);
            ustar.set_device_minor(self.device.1);
        }
        header.set_cksum();
        out.extend_from_slice(header.as_bytes());
    }
}

/// Zeros that fill `size` bytes of content up to a whole record.
pub(super) fn padding(size: u64) -> &'static [u8] {
    const ZEROS: [u8; RECORD] = [0; RECORD];
    // The remainder is below 512 and fits anywhere.
    let used = (size % RECORD as u64) as usize;
    if used == 0 { &[] } else { &ZEROS[used..] }
}

fn empty_header(kind: EntryType) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header
}

/// A header of type `x` with `records` as its content.
fn encode_pax(path: &[u8], records: &[u8], out: &mut Vec<u8>) {
    let mut header = empty_header(EntryType::XHeader);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(records.len() as u64);
    if let Some(ustar) = header.as_ustar_mut() {
        fill(&mut ustar.name, &pax_name(path));
        ustar.set_device_major(0);
        ustar.set_device_minor(0);
    }
    header.set_cksum();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(records);
    out.extend_from_slice(padding(records.len() as u64));
}

/// A name for people who list the archive with a reader that knows no PAX.
fn pax_name(path: &[u8]) -> Vec<u8> {
    let last = path
        .split(|b| *b == b'/')
        .rfind(|name| !name.is_empty())
        .unwrap_or(b".");
    let ascii = last.iter().filter(|b| b.is_ascii_graphic()).take(80);
    b"PaxHeaders.0/".iter().chain(ascii).copied().collect()
}

/// `LENGTH KEY=VALUE\n`, where the length counts its own digits too.
fn pax_record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    let mut record = length.to_string().into_bytes();
    record.push(b' ');
    record.extend_from_slice(key);
    record.push(b'=');
    record.extend_from_slice(value);
    record.push(b'\n');
    record
}

/// Prefix and name of a path as ustar holds it; `None` if it does not fit or is not ASCII.
fn split_path(path: &[u8]) -> Option<(&[u8], &[u8])> {
    const NAME: usize = 100;
    const PREFIX: usize = 155;
    if !path.is_ascii() {
        return None;
    }
    if path.len() <= NAME {
        return Some((b"", path));
    }
    let end = path.len().min(PREFIX + 1);
    // The slash at the end of a directory separates nothing.
    let end = end.min(path.len() - 1);
    let slash = path[..end].iter().rposition(|b| *b == b'/')?;
    let (prefix, name) = (&path[..slash], &path[slash + 1..]);
    (!prefix.is_empty() && name.len() <= NAME).then_some((prefix, name))
}

/// Copies as much of `bytes` as there is room for.
fn fill(field: &mut [u8], bytes: &[u8]) {
    for (to, from) in field.iter_mut().zip(bytes) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(xattrs: &Xattrs) -> Entry<'_> {
        Entry {
            path: b"f",
            kind: EntryType::Regular,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: 0,
            link: b"",
            device: (0, 0),
            xattrs,
        }
    }

    fn needs_pax(change: impl for<'a> FnOnce(Entry<'a>) -> Entry<'a>) -> bool {
        let mut out = Vec::new();
        change(entry(&Xattrs::new())).encode(&mut out).unwrap();
        out[156] == b'x'
    }

    #[test]
    fn h36_pax_only_for_numbers_beyond_ustar() {
        for (name, found, expected) in [
            ("uid 2097151", needs_pax(|e| Entry { uid: 2_097_151, ..e }), false),
            ("uid 2097152", needs_pax(|e| Entry { uid: 2_097_152, ..e }), true),
            ("gid 2097151", needs_pax(|e| Entry { gid: 2_097_151, ..e }), false),
            ("gid 2097152", needs_pax(|e| Entry { gid: 2_097_152, ..e }), true),
            (
                "size 8 GiB - 1",
                needs_pax(|e| Entry {
                    size: (8 << 30) - 1,
                    ..e
                }),
                false,
            ),
            ("size 8 GiB", needs_pax(|e| Entry { size: 8 << 30, ..e }), true),
            ("mtime -1", needs_pax(|e| Entry { mtime: -1, ..e }), true),
            (
                "mtime 2^33 - 1",
                needs_pax(|e| Entry {
                    mtime: (1 << 33) - 1,
                    ..e
                }),
                false,
            ),
            ("mtime 2^33", needs_pax(|e| Entry { mtime: 1 << 33, ..e }), true),
        ] {
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn h36_pax_only_for_names_beyond_ustar() {
        let long = |length: usize| [vec![b'd'; 100], vec![b'/'], vec![b'f'; length]].concat();
        let deep = |length: usize| [b"d/".repeat(length / 2), vec![b'f'; 2 - length % 2]].concat()[..length].to_vec();
        for (path, expected) in [
            (vec![b'f'; 100], false),
            (vec![b'f'; 101], true),
            (long(100), false),
            (long(101), true),
            (deep(255), false),
            (deep(257), true),
            (deep(4095), true),
            ([vec![b'd'; 99], vec![b'/']].concat(), false),
            ([vec![b'd'; 100], vec![b'/']].concat(), true),
            ("\u{e4}".as_bytes().to_vec(), true),
            (b"\xff".to_vec(), true),
        ] {
            let what = format!("{} bytes: {}", path.len(), path.escape_ascii());
            let xattrs = Xattrs::new();
            let mut out = Vec::new();
            let with_path = Entry {
                path: &path,
                ..entry(&xattrs)
            };
            with_path.encode(&mut out).unwrap();
            assert_eq!(out[156] == b'x', expected, "{what}");
        }
        assert!(!needs_pax(|e| Entry {
            link: &[b'l'; 100],
            ..e
        }));
        assert!(needs_pax(|e| Entry {
            link: &[b'l'; 101],
            ..e
        }));
        assert!(needs_pax(|e| Entry { link: b"\xff", ..e }));
    }

    #[test]
    fn attributes_go_into_pax_byte_for_byte() {
        let xattrs = Xattrs::from([(b"user.a".to_vec(), b"1\n2\0".to_vec())]);
        let mut out = Vec::new();
        entry(&xattrs).encode(&mut out).unwrap();
        assert_eq!(out[156], b'x');
        assert!(out[RECORD..].starts_with(b"28 SCHILY.xattr.user.a=1\n2\0\n"));
    }

    #[test]
    fn record_lengths_count_themselves() {
        for length in [1, 5, 90, 95, 96, 97, 98, 985, 990, 995, 9990] {
            let record = pax_record(b"k", &vec![b'v'; length]);
            let digits = record.iter().position(|b| *b == b' ').unwrap();
            let told: usize = std::str::from_utf8(&record[..digits]).unwrap().parse().unwrap();
            assert_eq!(told, record.len());
        }
    }

    #[test]
    fn devices_must_fit() {
        let xattrs = Xattrs::new();
        let with_minor = |minor| Entry {
            device: (1, minor),
            ..entry(&xattrs)
        };
        assert!(with_minor(0o777_7777).encode(&mut Vec::new()).is_ok());
        assert!(with_minor(0o1000_0000).encode(&mut Vec::new()).is_err());
    }
}
