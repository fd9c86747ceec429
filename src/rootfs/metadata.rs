//! What `statx` says of one object.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, FileType, Statx, StatxFlags};

use super::Name;

/// Type of a filesystem object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Kind {
    /// Regular file.
    File,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// Character device.
    CharDevice,
    /// Block device.
    BlockDevice,
    /// Named pipe.
    Fifo,
    /// Socket; has no place in a layer.
    Socket,
}

impl Kind {
    /// The kind in the type bits of a mode.
    #[must_use]
    pub fn of_mode(mode: u32) -> Self {
        match FileType::from_raw_mode(mode) {
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Symlink,
            FileType::CharacterDevice => Self::CharDevice,
            FileType::BlockDevice => Self::BlockDevice,
            FileType::Fifo => Self::Fifo,
            FileType::Socket => Self::Socket,
            FileType::RegularFile | FileType::Unknown => Self::File,
        }
    }
}

/// Seconds and nanoseconds since the epoch, of the past too.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, PartialOrd, Ord)]
pub struct Timestamp {
    /// Whole seconds, rounded towards the past.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// A whole second.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self {
            seconds,
            nanoseconds: 0,
        }
    }

    pub(crate) fn to_timespec(self) -> rustix::fs::Timespec {
        rustix::fs::Timespec {
            tv_sec: self.seconds,
            tv_nsec: self.nanoseconds.into(),
        }
    }
}

/// Which object it is, by whatever path or mount it is reached. It may become another one's when the object is gone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ObjectId {
    device: (u32, u32),
    inode: u64,
}

/// Metadata of one object, symlinks not followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metadata {
    /// Type.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky: 0 to 0o7777.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes; for a symlink the length of its target.
    pub size: u64,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// Last change of anything; user space cannot set it.
    pub ctime: Timestamp,
    /// Device that holds the object: major and minor.
    pub device: (u32, u32),
    /// Inode number.
    pub inode: u64,
    /// Number of names.
    pub links: u32,
    /// Device that a device node stands for: major and minor.
    pub rdev: (u32, u32),
    /// Mount that the object is reached through; 0 before Linux 5.8.
    pub mount: u64,
}

impl Metadata {
    /// `statx` of `name` in `dir`.
    pub(super) fn at(dir: BorrowedFd<'_>, name: Name<'_>, flags: AtFlags) -> io::Result<Self> {
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
        Ok(Self::from(rustix::fs::statx(
            dir,
            name,
            flags | AtFlags::SYMLINK_NOFOLLOW,
            wanted,
        )?))
    }

    /// Which object this is.
    #[must_use]
    pub const fn id(&self) -> ObjectId {
        ObjectId {
            device: self.device,
            inode: self.inode,
        }
    }

    /// Whether this is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.kind == Kind::Directory
    }
}

impl From<Statx> for Metadata {
    fn from(statx: Statx) -> Self {
        let time = |t: rustix::fs::StatxTimestamp| Timestamp {
            seconds: t.tv_sec,
            nanoseconds: t.tv_nsec,
        };
        Self {
            kind: Kind::of_mode(statx.stx_mode.into()),
            mode: u32::from(statx.stx_mode) & 0o7777,
            uid: statx.stx_uid,
            gid: statx.stx_gid,
            size: statx.stx_size,
            mtime: time(statx.stx_mtime),
            ctime: time(statx.stx_ctime),
            device: (statx.stx_dev_major, statx.stx_dev_minor),
            inode: statx.stx_ino,
            links: statx.stx_nlink,
            rdev: (statx.stx_rdev_major, statx.stx_rdev_minor),
            mount: statx.stx_mnt_id,
        }
    }
}
