//! What of an entry's owner, time and extended attributes is applied, and what happens where the kernel refuses.

use std::collections::HashSet;
use std::io;

use rustix::io::Errno;

use super::entry::{Entry, EntryKind};
use super::error::{ApplyError, io_error};
use crate::rootfs::xattr::{Xattrs, belongs_to_image};
use crate::rootfs::{RootfsPath, Timestamp};

/// `security.capability` makes `ping` and `newuidmap` work; a layer without it is a broken image.
const CAPABILITY: &[u8] = b"security.capability";

/// What to do when a file capability may not be set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Capabilities {
    /// Fail.
    Required,
    /// Warn.
    BestEffort,
}

/// How the metadata of entries is applied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes {
    /// Owner and group of every entry, instead of the entry's own.
    pub(super) owner: Option<(u32, u32)>,
    pub(super) capabilities: Capabilities,
}

/// Warnings that were given, so that each comes once.
#[derive(Debug, Default)]
pub(super) struct XattrWarnings {
    unsupported: bool,
    refused: HashSet<Vec<u8>>,
}

impl Attributes {
    pub(super) fn owner(&self, entry: &Entry) -> (u32, u32) {
        self.owner.unwrap_or((entry.uid, entry.gid))
    }

    /// The entry's time, or the epoch with a warning where no filesystem could hold it.
    pub(super) fn mtime(&self, entry: &Entry, warn: &dyn Fn(&str)) -> Timestamp {
        /// 1901-12-13, where 32-bit times begin.
        const EARLIEST: i64 = i32::MIN as i64;
        /// The end of the year 9999.
        const LATEST: i64 = 253_402_300_799;
        if (EARLIEST..=LATEST).contains(&entry.mtime.seconds) {
            return entry.mtime;
        }
        let (path, seconds) = (entry.display_path(), entry.mtime.seconds);
        warn(&format!(
            "{path} has the time {seconds} s, which no filesystem holds; 0 is used"
        ));
        Timestamp::default()
    }

    /// Sets the entry's attributes that belong to an image with `set`; returns those that are set.
    pub(super) fn set_xattrs(
        &self,
        entry: &Entry,
        path: &RootfsPath,
        warnings: &mut XattrWarnings,
        warn: &dyn Fn(&str),
        set: impl Fn(&[u8], &[u8]) -> io::Result<()>,
    ) -> Result<Xattrs, ApplyError> {
        let mut applied = Xattrs::new();
        for (name, value) in entry.xattrs.iter().filter(|(name, _)| belongs_to_image(name)) {
            let Err(error) = set(name, value) else {
                applied.insert(name.clone(), value.clone());
                continue;
            };
            match Errno::from_io_error(&error) {
                Some(Errno::NOTSUP) => warnings.unsupported(warn),
                Some(Errno::PERM) if self.may_miss(name) => warnings.refused(entry, name, warn),
                _ => return Err(io_error("set extended attribute of", path)(error)),
            }
        }
        Ok(applied)
    }

    fn may_miss(&self, name: &[u8]) -> bool {
        name != CAPABILITY || self.capabilities == Capabilities::BestEffort
    }
}

impl XattrWarnings {
    fn unsupported(&mut self, warn: &dyn Fn(&str)) {
        if !std::mem::replace(&mut self.unsupported, true) {
            warn("the filesystem has no extended attributes; those of the image are dropped");
        }
    }

    /// Linux allows `user.*` on regular files and directories alone; that is worth a warning for each
    /// entry. Any other refusal concerns the attribute everywhere.
    fn refused(&mut self, entry: &Entry, name: &[u8], warn: &dyn Fn(&str)) {
        let on_data = matches!(entry.kind, EntryKind::File | EntryKind::Directory);
        if on_data && !self.refused.insert(name.to_vec()) {
            return;
        }
        let (path, name) = (entry.display_path(), name.escape_ascii());
        warn(&format!(
            "extended attribute {name} of {path} may not be set; it is dropped"
        ));
    }
}

/// Whether a filesystem may have moved a time to the end of its range: ext4 ends in 2446, older ones in 2038.
pub(super) const fn filesystem_may_clamp(mtime: Timestamp) -> bool {
    mtime.seconds > i32::MAX as i64
}
