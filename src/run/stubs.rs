//! Mount points that a rootfs lacks, made for one RUN and taken away again.
//!
//! Every path is resolved inside the root, through the root's descriptor; no symbolic link leads out of it.
//! A parent keeps its mtime: what is put back after the RUN is the time it had just before the removal, so
//! that a directory the RUN itself changed still counts as changed.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

/// Something that a mount will cover.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MountPoint<'a> {
    /// A directory at this path inside the rootfs.
    Directory(&'a Path),
    /// A file at this path inside the rootfs.
    File(&'a Path),
}

/// A mount point could not be made or removed.
#[derive(Debug, thiserror::Error)]
#[error("{operation} mount point {path:?} in the rootfs")]
pub struct StubError {
    /// What was being done.
    pub operation: &'static str,
    /// To which path, inside the rootfs.
    pub path: PathBuf,
    /// Why it did not work.
    #[source]
    pub source: io::Error,
}

/// The mount points made in one rootfs. Dropping it removes them as far as possible.
#[derive(Debug)]
#[must_use = "the stubs are removed when this is dropped"]
pub struct Stubs {
    /// In the order of their making: parents before children.
    made: Vec<Stub>,
}

#[derive(Debug)]
struct Stub {
    parent: OwnedFd,
    name: OsString,
    kind: Kind,
    /// Inside the rootfs, without links; for people.
    path: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Directory,
    File,
}

/// As many links as the kernel follows in one path.
const MAX_LINKS: usize = 40;

impl Stubs {
    /// Makes those of `points` that the rootfs at `root` does not have, with the directories above them.
    /// What exists is left alone, whatever it is. A link that leads nowhere gets the target it names.
    ///
    /// # Errors
    /// [`StubError`]; nothing made so far remains.
    pub fn create(root: BorrowedFd<'_>, points: &[MountPoint<'_>]) -> Result<Self, StubError> {
        let mut stubs = Self { made: Vec::new() };
        for point in points {
            let (path, kind) = match *point {
                MountPoint::Directory(path) => (path, Kind::Directory),
                MountPoint::File(path) => (path, Kind::File),
            };
            stubs.ensure(root, path, kind).map_err(|errno| StubError {
                operation: "make",
                path: path.to_owned(),
                source: errno.into(),
            })?;
        }
        Ok(stubs)
    }

    /// Removes, deepest first, what was made and is still empty, and puts the parents' mtimes back. What
    /// something was written into stays.
    ///
    /// # Errors
    /// [`StubError`] for the first that cannot be removed; the others are tried nevertheless.
    pub fn remove(mut self) -> Result<(), StubError> {
        self.remove_all()
    }

    fn ensure(&mut self, root: BorrowedFd<'_>, path: &Path, kind: Kind) -> rustix::io::Result<()> {
        match resolve_in_root(root, path, OFlags::PATH) {
            Err(Errno::NOENT) => self.make_missing(root, path, kind),
            found => found.map(drop),
        }
    }

    /// Walks `path` as the kernel would, and makes what is missing on the way.
    fn make_missing(&mut self, root: BorrowedFd<'_>, path: &Path, kind: Kind) -> rustix::io::Result<()> {
        let mut pending = steps(path);
        // What was walked so far, without links and `..`.
        let mut walked = PathBuf::new();
        let mut links = 0;
        while let Some(name) = pending.pop_front() {
            if name == ".." {
                walked.pop();
                continue;
            }
            let parent = resolve_in_root(root, &walked, OFlags::RDONLY | OFlags::DIRECTORY)?;
            match rustix::fs::readlinkat(&parent, &name, Vec::new()) {
                Ok(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP);
                    }
                    let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                    if target.is_absolute() {
                        walked.clear();
                    }
                    let rest = std::mem::replace(&mut pending, steps(&target));
                    pending.extend(rest);
                    continue;
                }
                // It exists and is no link.
                Err(Errno::INVAL) => {}
                Err(Errno::NOENT) => {
                    let kind = if pending.is_empty() { kind } else { Kind::Directory };
                    let stub = Stub {
                        parent,
                        name: name.clone(),
                        kind,
                        path: walked.join(&name),
                    };
                    stub.make()?;
                    self.made.push(stub);
                }
                Err(errno) => return Err(errno),
            }
            walked.push(name);
        }
        Ok(())
    }

    fn remove_all(&mut self) -> Result<(), StubError> {
        let mut first = Ok(());
        while let Some(stub) = self.made.pop() {
            let removed = stub.remove().map_err(|errno| StubError {
                operation: "remove",
                path: Path::new("/").join(&stub.path),
                source: errno.into(),
            });
            first = first.and(removed);
        }
        first
    }
}

impl Drop for Stubs {
    fn drop(&mut self) {
        // Only reached on the way out of an error, which matters more than what is left here.
        let _ = self.remove_all();
    }
}

impl Stub {
    fn make(&self) -> rustix::io::Result<()> {
        let before = modified(&self.parent)?;
        let mode = match self.kind {
            Kind::Directory => {
                rustix::fs::mkdirat(&self.parent, &self.name, Mode::from_raw_mode(0o755))?;
                0o755
            }
            Kind::File => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                rustix::fs::openat(&self.parent, &self.name, flags, Mode::from_raw_mode(0o644))?;
                0o644
            }
        };
        // A directory into which the RUN writes stays, and must not depend on our umask.
        rustix::fs::chmodat(&self.parent, &self.name, Mode::from_raw_mode(mode), AtFlags::empty())?;
        set_modified(&self.parent, before)
    }

    fn remove(&self) -> rustix::io::Result<()> {
        let before = modified(&self.parent)?;
        let removed = match self.kind {
            Kind::Directory => rustix::fs::unlinkat(&self.parent, &self.name, AtFlags::REMOVEDIR),
            Kind::File if self.is_empty_file()? => rustix::fs::unlinkat(&self.parent, &self.name, AtFlags::empty()),
            Kind::File => return Ok(()),
        };
        match removed {
            Ok(()) => set_modified(&self.parent, before),
            // Somebody wrote into it, or replaced it: then it belongs to the step.
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR | Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    fn is_empty_file(&self) -> rustix::io::Result<bool> {
        match rustix::fs::statat(&self.parent, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_size == 0),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno),
        }
    }
}

/// Opens `path`, every link and `..` of it taken relative to `root`.
fn resolve_in_root(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    loop {
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            // A rename somewhere on the machine raced with the walk.
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened,
        }
    }
}

fn steps(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsStr::new("..").to_owned()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

fn modified(directory: impl AsFd) -> rustix::io::Result<Timespec> {
    let stat = rustix::fs::fstat(directory)?;
    #[expect(clippy::unnecessary_cast, reason = "the type differs between architectures")]
    Ok(Timespec {
        tv_sec: stat.st_mtime as _,
        tv_nsec: stat.st_mtime_nsec as _,
    })
}

fn set_modified(directory: impl AsFd, time: Timespec) -> rustix::io::Result<()> {
    let omit = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_OMIT,
    };
    rustix::fs::futimens(
        directory,
        &Timestamps {
            last_access: omit,
            last_modification: time,
        },
    )
}
