//! The container's `/dev`, which a RUN shares with everybody here: what it leaves there goes when it ends.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::super::placed::{Item, Thing};
use super::error::{InPlaceError, failed_at};
use super::place;
use crate::rootfs::{Dir, Timestamp};

const DEV: &str = "/dev";

/// What was in `/dev` before a RUN.
#[derive(Debug)]
pub(super) struct Devices {
    root: Dir,
    before: BTreeSet<Vec<u8>>,
    mtime: Timestamp,
}

impl Devices {
    /// Looks at what is there.
    pub(super) fn look() -> Result<Self, InPlaceError> {
        let root = place::open(Path::new(DEV))?;
        let before = root.names().map_err(failed_at("list", DEV))?;
        let mtime = root.metadata().map_err(failed_at("stat", DEV))?.mtime;
        Ok(Self {
            root,
            before: before.into_iter().collect(),
            mtime,
        })
    }

    /// Removes what is new. Not below what was there: that is for others too (`/dev/shm` even for the whole pod).
    pub(super) fn clean(self) -> Result<(), InPlaceError> {
        let mut is_changed = false;
        for name in self.root.names().map_err(failed_at("list", DEV))? {
            if !self.before.contains(&name) {
                let path = Path::new(DEV).join(OsStr::from_bytes(&name));
                self.root.remove_all(&name).map_err(failed_at("remove", path))?;
                is_changed = true;
            }
        }
        match is_changed {
            true => self
                .root
                .set_own_mtime(self.mtime)
                .map_err(failed_at("set the time of", DEV)),
            false => Ok(()),
        }
    }
}

/// The script of a RUN, which it finds in `/dev`. Runtimes mount `/dev` so that nothing in it can be executed, so the
/// script lies in the rootfs, and a link in `/dev` leads there.
#[derive(Debug)]
pub(super) struct Script<'a> {
    /// In the rootfs.
    path: PathBuf,
    /// The directory in `/dev` that a RUN expects.
    directory: &'a Path,
    content: &'a [u8],
}

/// Name of a directory in the root that no image has, for the time of one RUN.
const SCRIPTS: &str = "/.rbuild-script";

impl<'a> Script<'a> {
    /// The program at `path`, in a directory directly below `/dev`.
    pub(super) fn new(path: &'a Path, content: &'a [u8]) -> Self {
        Self {
            path: Path::new(SCRIPTS).join(path.file_name().unwrap_or_default()),
            directory: path.parent().unwrap_or(path),
            content,
        }
    }

    /// What is put into the rootfs.
    pub(super) fn item(&self) -> Item<'_> {
        Item {
            path: &self.path,
            thing: Thing::File {
                content: self.content,
                owner: (0, 0),
                mode: 0o755,
            },
        }
    }

    /// Makes the link. One of a killed build may be there.
    pub(super) fn link(&self) -> Result<(), InPlaceError> {
        match fs::remove_file(self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.map_err(failed_at("remove", self.directory))?,
        }
        std::os::unix::fs::symlink(SCRIPTS, self.directory).map_err(failed_at("make the link", self.directory))
    }
}
