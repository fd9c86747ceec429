//! How a directory looks: what an image says of it besides its entries.

use std::io;

use serde::{Deserialize, Serialize};

use crate::rootfs::{Dir, Timestamp};

/// Owner, mode, attributes and time of a directory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Look {
    owner: (u32, u32),
    mode: u32,
    /// Seconds and nanoseconds.
    mtime: (i64, u32),
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Look {
    pub(super) fn of(directory: &Dir) -> io::Result<Self> {
        let metadata = directory.metadata()?;
        Ok(Self {
            owner: (metadata.uid, metadata.gid),
            mode: metadata.mode,
            mtime: (metadata.mtime.seconds, metadata.mtime.nanoseconds),
            xattrs: directory.xattrs(None)?.into_iter().collect(),
        })
    }

    /// That of a directory which this user makes, with the same time.
    pub(super) fn plain(&self) -> Self {
        let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
        Self {
            owner: (user.as_raw(), group.as_raw()),
            mode: 0o755,
            mtime: self.mtime,
            xattrs: Vec::new(),
        }
    }

    /// Gives `directory` this look. The time comes last: every other change may move it.
    pub(super) fn apply(&self, directory: &Dir) -> io::Result<()> {
        let present = Self::of(directory)?;
        if present.owner != self.owner {
            directory.set_own_owner(self.owner.0, self.owner.1)?;
        }
        for (name, _) in &present.xattrs {
            if !self.xattrs.iter().any(|(wanted, _)| wanted == name) {
                directory.remove_xattr(None, name)?;
            }
        }
        for attribute in self.xattrs.iter().filter(|wanted| !present.xattrs.contains(wanted)) {
            directory.set_xattr(None, &attribute.0, &attribute.1)?;
        }
        if directory.metadata()?.mode != self.mode {
            directory.set_own_mode(self.mode)?;
        }
        if present.mtime == self.mtime {
            return Ok(());
        }
        directory.set_own_mtime(Timestamp {
            seconds: self.mtime.0,
            nanoseconds: self.mtime.1,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::rootfs::Rootfs;

    #[test]
    fn one_directory_comes_to_look_like_another() {
        let directory = tempfile::tempdir().unwrap();
        let make = |name: &str, mode, seconds| {
            let path = directory.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let rootfs = Rootfs::open(&path).unwrap();
            let dir = rootfs.root().try_clone().unwrap();
            dir.set_own_mtime(Timestamp::from_seconds(seconds)).unwrap();
            dir
        };
        let (one, other) = (make("one", 0o1700, 1000), make("other", 0o755, 2000));
        one.set_xattr(None, b"user.a", b"1").unwrap();
        other.set_xattr(None, b"user.a", b"2").unwrap();
        other.set_xattr(None, b"user.b", b"2").unwrap();
        let look = Look::of(&one).unwrap();
        assert_ne!(Look::of(&other).unwrap(), look);
        look.apply(&other).unwrap();
        assert_eq!(Look::of(&other).unwrap(), look);
    }
}
