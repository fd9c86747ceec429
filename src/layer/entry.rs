//! One entry of an archive, all headers that belong to it taken together.

use crate::rootfs::xattr::Xattrs;
use crate::rootfs::{Kind, Timestamp};

/// What an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryKind {
    /// Regular file.
    File,
    /// Another name of a file in this archive or in the tree below it.
    HardLink,
    /// Symbolic link.
    Symlink,
    /// Character device.
    CharDevice,
    /// Block device.
    BlockDevice,
    /// Directory.
    Directory,
    /// Named pipe.
    Fifo,
}

impl EntryKind {
    /// The kind of node to make, for those that are made with `mknod`.
    #[must_use]
    pub const fn node(self) -> Option<Kind> {
        match self {
            Self::CharDevice => Some(Kind::CharDevice),
            Self::BlockDevice => Some(Kind::BlockDevice),
            Self::Fifo => Some(Kind::Fifo),
            Self::File | Self::HardLink | Self::Symlink | Self::Directory => None,
        }
    }
}

/// One entry; its content, if any, streams beside it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The path as written, not normalised.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Target of a link, as written.
    pub link: Vec<u8>,
    /// Permission bits with setuid, setgid and sticky: 0 to 0o7777.
    pub mode: u32,
    /// Owner; never 2^32−1, which means "no change" to the kernel.
    pub uid: u32,
    /// Group; never 2^32−1.
    pub gid: u32,
    /// Time of last change.
    pub mtime: Timestamp,
    /// Size of the file with its holes; 0 for everything but regular files.
    pub size: u64,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// All extended attributes, those that do not belong to an image too.
    pub xattrs: Xattrs,
}

impl Entry {
    /// The path as people can read it.
    #[must_use]
    pub fn display_path(&self) -> String {
        self.path.escape_ascii().to_string()
    }
}
