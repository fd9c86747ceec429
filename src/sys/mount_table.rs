//! What is mounted where, as the kernel lists it for this process.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

const TABLE: &str = "/proc/self/mountinfo";

/// One mount.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct MountEntry {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Name of its filesystem.
    pub(crate) kind: String,
}

/// Every mount that this process can reach; a later one may lie upon an earlier one.
pub(crate) fn read() -> std::io::Result<Vec<MountEntry>> {
    std::fs::read(TABLE).map(|table| parse(&table))
}

/// proc(5): the path is the fifth field of a line, the filesystem the first one after a lone `-`.
fn parse(table: &[u8]) -> Vec<MountEntry> {
    table.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|byte| *byte == b' ');
    let path = unescape(fields.nth(4)?);
    fields.find(|field| *field == b"-")?;
    let kind = String::from_utf8_lossy(&unescape(fields.next()?)).into_owned();
    Some(MountEntry {
        path: PathBuf::from(OsString::from_vec(path)),
        kind,
    })
}

/// Blanks and backslashes are written as `\ooo`.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let octal = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (first, escaped) {
            (b'\\', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_mounts_are_unescaped() {
        let table = b"36 35 98:0 /mnt1 /tmp/a\\040b rw,noatime master:1 - ext3 /dev/root rw\n\
            37 36 0:5 / /proc\\134x rw shared:2 master:3 - proc proc rw\n\ngarbage\n";
        let expected = [("/tmp/a b", "ext3"), ("/proc\\x", "proc")].map(|(path, kind)| MountEntry {
            path: path.into(),
            kind: kind.to_owned(),
        });
        assert_eq!(parse(table), expected);
    }

    #[test]
    fn this_machine_has_a_root() {
        assert!(read().unwrap().iter().any(|mount| mount.path.as_os_str() == "/"));
    }
}
