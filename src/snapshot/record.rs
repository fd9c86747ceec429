//! What is remembered of each file: one compact entry, grouped by directory, sorted by name.

use super::Fingerprint;
use crate::rootfs::{Kind, Metadata, Timestamp};

/// Number of a recorded directory.
pub(super) type DirId = u32;

/// The root's.
pub(super) const ROOT: DirId = 0;

/// One recorded object. 72 bytes: an image has some hundred thousand of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    inode: u64,
    /// Size of a file or symlink, device number of a node, [`DirId`] of a directory.
    payload: u64,
    /// Nanoseconds since the epoch, wrapping: it is compared for equality, and the racy rule looks at
    /// times of this build alone.
    pub(super) ctime: i64,
    mtime_seconds: i64,
    /// Two halves, since an `u128` would be aligned to 16 bytes. Meaningless unless [`FINGERPRINTED`].
    fingerprint: [u64; 2],
    mtime_nanoseconds: u32,
    uid: u32,
    gid: u32,
    /// Where the name ends among the directory's names.
    name_end: u32,
    /// Permission bits below, kind above.
    mode: u16,
    /// Number of the device among the index's.
    device: u16,
    flags: u8,
}

/// The fingerprint is known.
const FINGERPRINTED: u8 = 1;
/// The object has more than one name.
const LINKED: u8 = 2;

impl Entry {
    /// Records `metadata`; `device` is the device's number in the index.
    pub(super) fn new(metadata: &Metadata, device: u16, fingerprint: Option<Fingerprint>) -> Self {
        let payload = match metadata.kind {
            Kind::File | Kind::Symlink => metadata.size,
            Kind::CharDevice | Kind::BlockDevice => u64::from(metadata.rdev.0) << 32 | u64::from(metadata.rdev.1),
            Kind::Directory | Kind::Fifo | Kind::Socket => 0,
        };
        // A directory's links are its subdirectories.
        let linked = metadata.links > 1 && !metadata.is_dir();
        let mut entry = Self {
            inode: metadata.inode,
            payload,
            ctime: nanoseconds(metadata.ctime),
            mtime_seconds: metadata.mtime.seconds,
            fingerprint: [0; 2],
            mtime_nanoseconds: metadata.mtime.nanoseconds,
            uid: metadata.uid,
            gid: metadata.gid,
            name_end: 0,
            mode: kind_bits(metadata.kind) | (metadata.mode & 0o7777) as u16,
            device,
            flags: if linked { LINKED } else { 0 },
        };
        entry.set_fingerprint(fingerprint);
        entry
    }

    pub(super) const fn inode(&self) -> u64 {
        self.inode
    }

    pub(super) fn kind(&self) -> Kind {
        KINDS[usize::from(self.mode >> 12)]
    }

    pub(super) fn is_dir(&self) -> bool {
        self.kind() == Kind::Directory
    }

    pub(super) const fn has_other_names(&self) -> bool {
        self.flags & LINKED != 0
    }

    /// The same object in all names of it.
    pub(super) const fn identity(&self) -> (u16, u64) {
        (self.device, self.inode)
    }

    /// The record of the directory that this entry stands for.
    pub(super) fn directory(&self) -> Option<DirId> {
        // The payload of a directory was set from a `DirId`.
        self.is_dir().then_some(self.payload as DirId)
    }

    pub(super) fn set_directory(&mut self, id: DirId) {
        self.payload = id.into();
    }

    pub(super) fn fingerprint(&self) -> Option<Fingerprint> {
        let [high, low] = self.fingerprint;
        (self.flags & FINGERPRINTED != 0).then(|| Fingerprint::from_halves(high, low))
    }

    pub(super) fn set_fingerprint(&mut self, fingerprint: Option<Fingerprint>) {
        match fingerprint {
            Some(fingerprint) => {
                self.fingerprint = fingerprint.to_halves();
                self.flags |= FINGERPRINTED;
            }
            None => self.flags &= !FINGERPRINTED,
        }
    }

    /// Whether `statx` says the same of both. The ctime is in it, so nothing else can differ then.
    pub(super) fn looks_like(&self, other: &Self) -> bool {
        self.identity() == other.identity()
            && self.ctime == other.ctime
            && self.has_attributes_of(other)
            && self.mtime() == other.mtime()
    }

    /// Whether kind, mode, owner and size or device number are the same. A directory has no size of its own.
    pub(super) fn has_attributes_of(&self, other: &Self) -> bool {
        self.mode == other.mode
            && (self.uid, self.gid) == (other.uid, other.gid)
            && (self.is_dir() || self.payload == other.payload)
    }

    /// Seconds and nanoseconds.
    pub(super) const fn mtime(&self) -> (i64, u32) {
        (self.mtime_seconds, self.mtime_nanoseconds)
    }
}

/// A time in nanoseconds, wrapping.
pub(super) fn nanoseconds(time: Timestamp) -> i64 {
    time.seconds
        .wrapping_mul(1_000_000_000)
        .wrapping_add(time.nanoseconds.into())
}

const KINDS: [Kind; 16] = {
    let mut kinds = [Kind::Socket; 16];
    kinds[0] = Kind::File;
    kinds[1] = Kind::Directory;
    kinds[2] = Kind::Symlink;
    kinds[3] = Kind::CharDevice;
    kinds[4] = Kind::BlockDevice;
    kinds[5] = Kind::Fifo;
    kinds
};

const fn kind_bits(kind: Kind) -> u16 {
    let number: u16 = match kind {
        Kind::File => 0,
        Kind::Directory => 1,
        Kind::Symlink => 2,
        Kind::CharDevice => 3,
        Kind::BlockDevice => 4,
        Kind::Fifo => 5,
        Kind::Socket => 6,
    };
    number << 12
}

/// The entries of one directory, sorted by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Directory {
    names: Box<[u8]>,
    entries: Box<[Entry]>,
}

impl Directory {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn entry(&self, at: usize) -> Option<&Entry> {
        self.entries.get(at)
    }

    pub(super) fn name(&self, at: usize) -> &[u8] {
        let start = match at.checked_sub(1) {
            Some(before) => self.entries[before].name_end as usize,
            None => 0,
        };
        &self.names[start..self.entries[at].name_end as usize]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &Entry)> {
        (0..self.len()).map(|at| (self.name(at), &self.entries[at]))
    }

    pub(super) fn find(&self, name: &[u8]) -> Option<&Entry> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.name(middle).cmp(name) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return self.entry(middle),
            }
        }
        None
    }

    pub(super) fn entries_mut(&mut self) -> &mut [Entry] {
        &mut self.entries
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.names.len() + size_of_val(&*self.entries)
    }
}

/// Collects a directory's entries in the order of their names. Reused from directory to directory.
#[derive(Debug, Default)]
pub(super) struct DirectoryBuilder {
    names: Vec<u8>,
    entries: Vec<Entry>,
}

impl DirectoryBuilder {
    pub(super) fn push(&mut self, name: &[u8], mut entry: Entry) {
        self.names.extend_from_slice(name);
        // A directory with 4 GiB of names does not exist: the kernel caps directories far below.
        entry.name_end = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.entries.push(entry);
    }

    /// The directory; this builder is empty again.
    pub(super) fn take(&mut self) -> Directory {
        let directory = Directory {
            names: self.names.as_slice().into(),
            entries: self.entries.as_slice().into(),
        };
        self.clear();
        directory
    }

    pub(super) fn clear(&mut self) {
        self.names.clear();
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stay_small() {
        assert_eq!(size_of::<Entry>(), 72);
    }

    #[test]
    fn h67_an_earlier_ctime_is_a_difference_too() {
        let at = |seconds| {
            let metadata = Metadata {
                kind: Kind::File,
                mode: 0o644,
                uid: 0,
                gid: 0,
                size: 1,
                mtime: Timestamp::default(),
                ctime: Timestamp::from_seconds(seconds),
                device: (1, 1),
                inode: 1,
                links: 1,
                rdev: (0, 0),
                mount: 1,
            };
            Entry::new(&metadata, 0, None)
        };
        assert!(at(1000).looks_like(&at(1000)));
        assert!(!at(1000).looks_like(&at(900)), "the clock was set back");
        assert!(!at(1000).looks_like(&at(1100)));
    }

    #[test]
    fn kinds_survive() {
        for kind in [
            Kind::File,
            Kind::Directory,
            Kind::Symlink,
            Kind::CharDevice,
            Kind::BlockDevice,
            Kind::Fifo,
            Kind::Socket,
        ] {
            assert_eq!(KINDS[usize::from(kind_bits(kind) >> 12)], kind);
        }
    }
}
