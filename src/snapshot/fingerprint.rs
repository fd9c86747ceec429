//! Fingerprints of what `statx` does not show: content or link target, and extended attributes.
//!
//! They answer one question: an inode's ctime moved, did anything that belongs to the image change?
//! Taken while the bytes pass by anyway (unpacking, copying, writing a layer). Where none was taken,
//! doubt means "changed": a larger layer, never a wrong one.

use std::collections::HashMap;

use xxhash_rust::xxh3::Xxh3Default;

use crate::rootfs::xattr::Xattrs;

/// XXH3-128 over content and attributes. Not cryptographic: who could craft a collision builds the
/// image anyway.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// Of an object whose whole content is at hand: a symlink's target, nothing for a directory.
    #[must_use]
    pub fn of(content: &[u8], xattrs: &Xattrs) -> Self {
        let mut fingerprinter = Fingerprinter::default();
        fingerprinter.update(content);
        fingerprinter.finish(xattrs)
    }

    pub(super) const fn to_halves(self) -> [u64; 2] {
        [(self.0 >> 64) as u64, self.0 as u64]
    }

    pub(super) const fn from_halves(high: u64, low: u64) -> Self {
        Self((high as u128) << 64 | low as u128)
    }
}

/// Takes a fingerprint of a stream.
#[derive(Clone, Default)]
pub struct Fingerprinter(Xxh3Default);

impl Fingerprinter {
    /// Adds the next bytes of the content.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Ends the content and adds the attributes, each part framed by its length.
    #[must_use]
    pub fn finish(mut self, xattrs: &Xattrs) -> Fingerprint {
        for (name, value) in xattrs {
            for part in [name, value] {
                self.0.update(&(part.len() as u64).to_le_bytes());
                self.0.update(part);
            }
        }
        self.0.update(&(xattrs.len() as u64).to_le_bytes());
        Fingerprint(self.0.digest128())
    }
}

impl std::fmt::Debug for Fingerprinter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fingerprinter(..)")
    }
}

/// Fingerprints by inode number, so that all names of a file share one. For one filesystem.
#[derive(Debug, Default)]
pub struct Fingerprints(HashMap<u64, Fingerprint>);

impl Fingerprints {
    /// Records the fingerprint of an inode, replacing that of an older file with this number.
    pub fn insert(&mut self, inode: u64, fingerprint: Fingerprint) {
        self.0.insert(inode, fingerprint);
    }

    /// Takes over all that `other` holds.
    pub fn absorb(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Forgets an inode whose content was replaced unseen.
    pub fn remove(&mut self, inode: u64) {
        self.0.remove(&inode);
    }

    /// Adds those of `others`, which are newer.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// The fingerprint of an inode, if one was taken.
    #[must_use]
    pub fn get(&self, inode: u64) -> Option<Fingerprint> {
        self.0.get(&inode).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_and_attributes_do_not_run_together() {
        let attribute = |name: &[u8], value: &[u8]| Xattrs::from([(name.to_vec(), value.to_vec())]);
        let all = [
            Fingerprint::of(b"", &Xattrs::new()),
            Fingerprint::of(b"ab", &Xattrs::new()),
            Fingerprint::of(b"", &attribute(b"a", b"b")),
            Fingerprint::of(b"", &attribute(b"ab", b"")),
            Fingerprint::of(b"a", &attribute(b"a", b"b")),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|b| a != b), "{i} collides");
        }
    }
}
