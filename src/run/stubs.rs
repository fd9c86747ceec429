//! Mount points that a rootfs lacks, made for one RUN and taken away again.
//!
//! Every path is resolved inside the root, through the root's descriptor; no symbolic link leads out of it.
//! A parent keeps its mtime: what is put back after the RUN is the time it had just before the removal, so
//! that a directory the RUN itself changed still counts as changed.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fmt;
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

/// A mount point could not be had, or not be removed.
#[derive(Debug, thiserror::Error)]
pub enum StubError {
    /// The kernel refused something.
    #[error("{operation} mount point {path:?} in the rootfs")]
    Call {
        /// What was being done.
        operation: &'static str,
        /// To which path, inside the rootfs.
        path: PathBuf,
        /// Why it did not work.
        #[source]
        source: io::Error,
    },
    /// A directory cannot cover a file, nor a file a directory.
    #[error("a {wanted} is to be mounted on {path:?}, which is a {found}")]
    Kind {
        /// Inside the rootfs.
        path: PathBuf,
        /// What is to be mounted.
        wanted: Kind,
        /// What is there.
        found: Kind,
    },
}

impl StubError {
    fn call(operation: &'static str, path: &Path) -> impl FnOnce(Errno) -> Self {
        let path = path.to_owned();
        move |errno| Self::Call {
            operation,
            path,
            source: errno.into(),
        }
    }
}

/// The mount points made in one rootfs. Dropping it removes them as far as possible.
#[derive(Debug)]
#[must_use = "the stubs are removed when this is dropped"]
pub struct Stubs {
    /// In the order of their making: parents before children.
    made: Vec<Stub>,
    scope: Scope,
}

/// Where mount points may be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Scope {
    Anywhere,
    /// Only in what is mounted below the root.
    InMounts,
}

#[derive(Debug)]
struct Stub {
    parent: OwnedFd,
    name: OsString,
    kind: Kind,
    /// Inside the rootfs, without links; for people.
    path: PathBuf,
}

/// What a mount point is, and what is mounted on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A directory.
    Directory,
    /// Anything else.
    File,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Directory => "directory",
            Self::File => "file",
        })
    }
}

/// As many links as the kernel follows in one path.
const MAX_LINKS: usize = 40;

impl Stubs {
    /// Makes those of `points` that the rootfs at `root` does not have, with the directories above them.
    /// What exists is left alone. A link that leads nowhere gets the target it names.
    ///
    /// # Errors
    /// [`StubError`]; nothing made so far remains.
    pub fn create(root: BorrowedFd<'_>, points: &[MountPoint<'_>]) -> Result<Self, StubError> {
        Self::create_within(Scope::Anywhere, root, points)
    }

    /// Makes what `point` lacks and leaves it there: it lies below another mount. When a link leads it back into
    /// the root's own files, nothing is made and the error is `EXDEV`.
    pub(super) fn make_in_mounts(root: BorrowedFd<'_>, point: MountPoint<'_>) -> Result<(), StubError> {
        let mut stubs = Self::create_within(Scope::InMounts, root, &[point])?;
        stubs.made.clear();
        Ok(())
    }

    fn create_within(scope: Scope, root: BorrowedFd<'_>, points: &[MountPoint<'_>]) -> Result<Self, StubError> {
        let mut stubs = Self {
            made: Vec::new(),
            scope,
        };
        for point in points {
            let (path, kind) = match *point {
                MountPoint::Directory(path) => (path, Kind::Directory),
                MountPoint::File(path) => (path, Kind::File),
            };
            stubs.ensure(root, path, kind)?;
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

    fn ensure(&mut self, root: BorrowedFd<'_>, path: &Path, wanted: Kind) -> Result<(), StubError> {
        let refused = StubError::call("make", path);
        let found = match resolve_in_root(root, path, OFlags::PATH) {
            Err(Errno::NOENT) => return self.make_missing(root, path, wanted).map_err(refused),
            found => found.and_then(|found| Kind::of(&found)).map_err(refused)?,
        };
        if found != wanted {
            let path = path.to_owned();
            return Err(StubError::Kind { path, wanted, found });
        }
        Ok(())
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
                    if self.scope == Scope::InMounts && is_in_mount_of(root, &walked)? {
                        return Err(Errno::XDEV);
                    }
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
            let path = Path::new("/").join(&stub.path);
            let removed = stub.remove().map_err(StubError::call("remove", &path));
            first = first.and(removed);
        }
        first
    }
}

impl Kind {
    fn of(file: &OwnedFd) -> rustix::io::Result<Self> {
        let mode = rustix::fs::fstat(file)?.st_mode;
        Ok(match FileType::from_raw_mode(mode) {
            FileType::Directory => Self::Directory,
            _ => Self::File,
        })
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
    resolve_with(root, path, flags, ResolveFlags::empty())
}

fn resolve_with(root: BorrowedFd<'_>, path: &Path, flags: OFlags, more: ResolveFlags) -> rustix::io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | more;
    loop {
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            // A rename somewhere on the machine raced with the walk.
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened,
        }
    }
}

/// Whether `path`, which has no links, is reached from `root` without entering another mount.
fn is_in_mount_of(root: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<bool> {
    match resolve_with(root, path, OFlags::PATH, ResolveFlags::NO_XDEV) {
        Ok(_) => Ok(true),
        Err(Errno::XDEV) => Ok(false),
        Err(errno) => Err(errno),
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    fn open(path: &Path) -> OwnedFd {
        fs::File::open(path).unwrap().into()
    }

    fn create(root: &Path, points: &[MountPoint<'_>]) -> Result<Stubs, StubError> {
        Stubs::create(open(root).as_fd(), points)
    }

    fn names(directory: &Path) -> Vec<OsString> {
        let mut names: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    }

    fn age(path: &Path) {
        let time = Timespec {
            tv_sec: 1000,
            tv_nsec: 5,
        };
        rustix::fs::futimens(
            open(path),
            &Timestamps {
                last_access: time,
                last_modification: time,
            },
        )
        .unwrap();
    }

    fn is_old(path: &Path) -> bool {
        let metadata = fs::metadata(path).unwrap();
        (metadata.mtime(), metadata.mtime_nsec()) == (1000, 5)
    }

    fn points() -> [MountPoint<'static>; 3] {
        [
            MountPoint::Directory(Path::new("/proc")),
            MountPoint::File(Path::new("/etc/a/resolv.conf")),
            MountPoint::File(Path::new("/etc/hosts")),
        ]
    }

    #[test]
    fn what_was_missing_is_missing_again() {
        let root = tempfile::tempdir().unwrap();
        age(root.path());
        let stubs = create(root.path(), &points()).unwrap();
        assert_eq!(names(root.path()), ["etc", "proc"]);
        assert_eq!(names(&root.path().join("etc")), ["a", "hosts"]);
        let mode = |path: &str| fs::metadata(root.path().join(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("etc"), mode("etc/hosts")), (0o755, 0o644));
        assert!(is_old(root.path()), "in between as well");
        stubs.remove().unwrap();
        assert_eq!(names(root.path()), Vec::<OsString>::new());
        assert!(is_old(root.path()));
    }

    #[test]
    fn what_was_there_stays() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc")).unwrap();
        fs::create_dir_all(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/hosts"), "").unwrap();
        age(&root.path().join("etc"));
        create(root.path(), &points()).unwrap().remove().unwrap();
        assert_eq!(names(root.path()), ["etc", "proc"]);
        assert_eq!(names(&root.path().join("etc")), ["hosts"]);
        assert!(is_old(&root.path().join("etc")));
    }

    #[test]
    fn what_was_written_into_stays() {
        let root = tempfile::tempdir().unwrap();
        let stubs = create(root.path(), &points()).unwrap();
        fs::write(root.path().join("etc/a/new"), "").unwrap();
        fs::write(root.path().join("etc/hosts"), "content").unwrap();
        fs::remove_dir(root.path().join("proc")).unwrap();
        age(&root.path().join("etc/a"));
        stubs.remove().unwrap();
        assert_eq!(names(root.path()), ["etc"]);
        assert_eq!(names(&root.path().join("etc")), ["a", "hosts"]);
        assert_eq!(names(&root.path().join("etc/a")), ["new"]);
        assert!(
            is_old(&root.path().join("etc/a")),
            "the time of the command's own change counts"
        );
    }

    #[test]
    fn dropping_removes_too() {
        let root = tempfile::tempdir().unwrap();
        drop(create(root.path(), &points()).unwrap());
        assert_eq!(names(root.path()), Vec::<OsString>::new());
    }

    #[test]
    fn links_are_followed_inside() {
        let outside = tempfile::tempdir().unwrap();
        for target in [
            "run/x/hosts",
            "/run/x/hosts",
            "../../../run/x/hosts",
            "./run/../run/x/hosts",
        ] {
            let root = tempfile::tempdir().unwrap();
            symlink(target, root.path().join("hosts")).unwrap();
            let stubs = create(root.path(), &[MountPoint::File(Path::new("/hosts"))]).unwrap();
            assert!(root.path().join("run/x/hosts").is_file(), "{target}");
            stubs.remove().unwrap();
            assert_eq!(names(root.path()), ["hosts"], "{target}");
        }
        let root = tempfile::tempdir().unwrap();
        symlink(outside.path(), root.path().join("etc")).unwrap();
        let stubs = create(root.path(), &points()).unwrap();
        assert_eq!(names(outside.path()), Vec::<OsString>::new());
        stubs.remove().unwrap();
        assert_eq!(names(root.path()), ["etc"]);
    }

    #[test]
    fn a_directory_is_not_mounted_on_a_file_nor_a_file_on_a_directory() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("directory")).unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        symlink("file", root.path().join("link")).unwrap();
        for (point, expected) in [
            (
                MountPoint::Directory(Path::new("/link")),
                r#"a directory is to be mounted on "/link", which is a file"#,
            ),
            (
                MountPoint::File(Path::new("/directory")),
                r#"a file is to be mounted on "/directory", which is a directory"#,
            ),
        ] {
            let refused = create(root.path(), &[MountPoint::Directory(Path::new("/made")), point]).unwrap_err();
            assert_eq!(refused.to_string(), expected);
            assert!(!root.path().join("made").exists());
        }
    }

    #[test]
    fn what_cannot_be_made_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        symlink("b", root.path().join("a")).unwrap();
        symlink("a/c", root.path().join("b")).unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        for (path, errno) in [("/a/x", Errno::LOOP), ("/file/x", Errno::NOTDIR)] {
            let points = [points()[0], MountPoint::File(Path::new(path))];
            let error = create(root.path(), &points).unwrap_err();
            assert_eq!(error.to_string(), format!("make mount point {path:?} in the rootfs"));
            let StubError::Call { source, .. } = error else {
                panic!("{error}");
            };
            assert_eq!(source.raw_os_error(), Some(errno.raw_os_error()));
            assert_eq!(names(root.path()), ["a", "b", "file"]);
        }
    }
}
