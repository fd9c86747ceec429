//! PAX extended headers: records of the form `LENGTH KEY=VALUE\n`, where LENGTH counts the whole record.
//!
//! Records are split by their length. A value may hold newlines and zero bytes, and a reader that
//! splits at newlines loses the `size` behind it, and with that its place in the stream.

use super::limits;
use crate::rootfs::Timestamp;
use crate::rootfs::xattr::Xattrs;

const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";
const SPARSE_PREFIX: &[u8] = b"GNU.sparse.";

/// Why the body of an extended header is wrong.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PaxError {
    /// The length is not decimal, or does not fit the body or the record.
    #[error("record at byte {0} has no valid length")]
    Length(usize),
    /// There is no key.
    #[error("record at byte {0} has no key")]
    Key(usize),
    /// More than 1024 records.
    #[error("more than {} records", limits::PAX_RECORDS)]
    TooMany,
    /// A value that is not what its key needs.
    #[error("{key} has the invalid value {value:?}")]
    Value {
        /// The key.
        key: String,
        /// Its value, or the beginning of it.
        value: String,
    },
    /// An attribute's name, its value, or all of them together are larger than Linux allows.
    #[error("extended attribute {0:?} is too large")]
    Xattr(String),
}

/// The records for one entry, in the order of the archive; the last one of a key counts. Also how many
/// of them the limit applies to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Pax(Vec<(Vec<u8>, Vec<u8>)>, usize);

impl Pax {
    /// Adds the records of one extended header.
    pub(super) fn add(&mut self, body: &[u8]) -> Result<(), PaxError> {
        let mut at = 0;
        while at < body.len() {
            let (length, record) = split(&body[at..]).ok_or(PaxError::Length(at))?;
            let equals = record.iter().position(|byte| *byte == b'=').unwrap_or(0);
            if equals == 0 {
                return Err(PaxError::Key(at));
            }
            // Format 0.0 of sparse files has two records for each piece; they have their own limit.
            if !record.starts_with(SPARSE_PREFIX) {
                self.1 += 1;
            }
            if self.1 > limits::PAX_RECORDS {
                return Err(PaxError::TooMany);
            }
            self.0.push((record[..equals].to_vec(), record[equals + 1..].to_vec()));
            at += length;
        }
        Ok(())
    }

    /// Whether there are no records.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a key; an empty one means the field of the header counts.
    pub(super) fn get(&self, key: &str) -> Option<&[u8]> {
        let last = self.0.iter().rev().find(|(name, _)| name == key.as_bytes());
        last.map(|(_, value)| value.as_slice())
            .filter(|value| !value.is_empty())
    }

    /// A value that must be a decimal number.
    pub(super) fn number(&self, key: &str) -> Result<Option<u64>, PaxError> {
        self.get(key)
            .map(|value| decimal(value).ok_or_else(|| invalid(key, value)))
            .transpose()
    }

    /// A value that must be a time: seconds with an optional sign and fraction.
    pub(super) fn time(&self, key: &str) -> Result<Option<Timestamp>, PaxError> {
        self.get(key)
            .map(|value| timestamp(value).ok_or_else(|| invalid(key, value)))
            .transpose()
    }

    /// All records in their order, for keys that are lists.
    pub(super) fn records(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(key, value)| (key.as_slice(), value.as_slice()))
    }

    /// The extended attributes. Here an empty value is a value.
    pub(super) fn xattrs(&self) -> Result<Xattrs, PaxError> {
        let mut xattrs = Xattrs::new();
        for (key, value) in self.records() {
            let Some(name) = key.strip_prefix(XATTR_PREFIX) else {
                continue;
            };
            if name.is_empty() || name.len() > limits::XATTR_NAME || value.len() > limits::XATTR_VALUE {
                return Err(PaxError::Xattr(lossy(name)));
            }
            xattrs.insert(name.to_vec(), value.to_vec());
        }
        if xattrs.values().map(Vec::len).sum::<usize>() > limits::XATTR_TOTAL {
            return Err(PaxError::Xattr("all together".into()));
        }
        Ok(xattrs)
    }
}

pub(super) fn invalid(key: &str, value: &[u8]) -> PaxError {
    PaxError::Value {
        key: key.to_owned(),
        value: lossy(&value[..value.len().min(100)]),
    }
}

/// Digits only: a sign or blanks would let two readers disagree.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// The length of the first record, and its `KEY=VALUE`.
fn split(body: &[u8]) -> Option<(usize, &[u8])> {
    // No length in a body of 1 MiB has more digits.
    let space = body.iter().take(8).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&body[..space])?).ok()?;
    let record = body.get(space + 1..length)?;
    match record {
        [content @ .., b'\n'] => Some((length, content)),
        _ => None,
    }
}

/// Rounds towards the past below a nanosecond; seconds that no clock has become the largest or smallest.
fn timestamp(text: &[u8]) -> Option<Timestamp> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let whole = parts.next().unwrap_or_default();
    let fraction = parts.next().unwrap_or_default();
    if whole.is_empty() && fraction.is_empty() || !text.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.') {
        return None;
    }
    if fraction.contains(&b'.') {
        return None;
    }
    let seconds = if whole.is_empty() {
        0
    } else {
        decimal(whole).unwrap_or(u64::MAX)
    };
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let digits = fraction.iter().chain(std::iter::repeat(&b'0')).take(9);
    let nanoseconds = digits.fold(0u32, |value, digit| value * 10 + u32::from(digit - b'0'));
    let past = fraction.iter().skip(9).any(|digit| *digit != b'0');
    if !negative {
        return Some(Timestamp { seconds, nanoseconds });
    }
    let nanoseconds = nanoseconds + u32::from(past);
    let (borrow, nanoseconds) = match nanoseconds {
        0 => (0, 0),
        _ => (1, 1_000_000_000 - nanoseconds),
    };
    Some(Timestamp {
        seconds: -seconds - borrow,
        nanoseconds,
    })
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
    }

    #[test]
    fn records_are_split_by_length() {
        let mut pax = Pax::default();
        let value = b"\n6 a=b\n\0\n";
        pax.add(&[record(b"SCHILY.xattr.user.x", value), record(b"size", b"7")].concat())
            .unwrap();
        assert_eq!(pax.xattrs().unwrap()[&b"user.x"[..]], value);
        assert_eq!(pax.number("size").unwrap(), Some(7));
    }

    #[test]
    fn last_record_wins_and_empty_deletes() {
        let mut pax = Pax::default();
        pax.add(
            &[
                record(b"path", b"a"),
                record(b"path", b"b"),
                record(b"uid", b"1"),
                record(b"uid", b""),
            ]
            .concat(),
        )
        .unwrap();
        pax.add(&record(b"SCHILY.xattr.user.empty", b"")).unwrap();
        assert_eq!(pax.get("path"), Some(&b"b"[..]));
        assert_eq!(pax.number("uid").unwrap(), None);
        assert_eq!(pax.xattrs().unwrap()[&b"user.empty"[..]], b"");
    }

    #[test]
    fn bad_records_are_errors() {
        for body in [
            &b"x a=b\n"[..],
            b"7 a=b\n",
            b"5 a=b\n",
            b"6 a=bc",
            b"99 a=b\n",
            b"0 a=b\n",
            b" a=b\n",
            b"-6 a=b\n",
            b"6 a=b\n\0\0",
            b"99999999999999999999 a=b\n",
            b"2 \n",
        ] {
            assert!(
                matches!(Pax::default().add(body), Err(PaxError::Length(_))),
                "{}",
                body.escape_ascii()
            );
        }
        assert_eq!(Pax::default().add(b"6 abc\n"), Err(PaxError::Key(0)));
        assert_eq!(Pax::default().add(b"5 =b\n"), Err(PaxError::Key(0)));
        let many = record(b"a", b"b").repeat(limits::PAX_RECORDS + 1);
        assert_eq!(Pax::default().add(&many), Err(PaxError::TooMany));
        for (key, value) in [
            ("size", &b"-1"[..]),
            ("size", b"1 "),
            ("mtime", b"soon"),
            ("mtime", b"1.2.3"),
            ("mtime", b"."),
        ] {
            let mut pax = Pax::default();
            pax.add(&record(key.as_bytes(), value)).unwrap();
            let answer = if key == "size" {
                pax.number(key).map(|_| ())
            } else {
                pax.time(key).map(|_| ())
            };
            assert!(
                matches!(answer, Err(PaxError::Value { .. })),
                "{key} {}",
                value.escape_ascii()
            );
        }
    }

    #[test]
    fn attributes_have_limits() {
        for (name, value, fits) in [
            (&b"user.a"[..], vec![0; limits::XATTR_VALUE], true),
            (b"user.a", vec![0; limits::XATTR_VALUE + 1], false),
            (&[b'a'; 255], vec![], true),
            (&[b'a'; 256], vec![], false),
            (b"", vec![], false),
        ] {
            let mut pax = Pax::default();
            pax.add(&record(&[XATTR_PREFIX, name].concat(), &value)).unwrap();
            assert_eq!(pax.xattrs().is_ok(), fits, "{} {}", name.len(), value.len());
        }
    }

    #[test]
    fn times_have_signs_and_fractions() {
        let at = |seconds, nanoseconds| Some(Timestamp { seconds, nanoseconds });
        for (text, expected) in [
            ("0", at(0, 0)),
            ("12.5", at(12, 500_000_000)),
            ("12.", at(12, 0)),
            ("1.000000001999", at(1, 1)),
            ("-1", at(-1, 0)),
            ("-1.25", at(-2, 750_000_000)),
            ("-0.0000000001", at(-1, 999_999_999)),
            (".5", at(0, 500_000_000)),
            ("99999999999999999999", at(i64::MAX, 0)),
            ("", None),
            ("-", None),
            ("1e5", None),
        ] {
            assert_eq!(timestamp(text.as_bytes()), expected, "{text:?}");
        }
    }
}
