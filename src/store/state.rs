//! The state directory: one subdirectory for each running build, and the removal of those of killed ones.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::{Blobs, StoreError, remove_tree};
use crate::progress::{Event, Progress};

const BUILDS: &str = "builds";
const LOCK: &str = "lock";

/// Where builds keep what they work on. See the drawing of the module.
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
}

/// One build's directory, alive as long as this value: its lock is held. Dropped, it is removed.
#[derive(Debug)]
pub struct BuildDir {
    builds: File,
    name: OsString,
    path: PathBuf,
    /// `None` once removed.
    lock: Option<File>,
}

/// The directory of a build that was killed, with its lock taken so that nobody else removes it too.
#[derive(Debug)]
struct Orphan {
    name: OsString,
    _lock: File,
}

impl StateDir {
    /// Opens `path`, creating it with mode 0700 if need be.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let mut builder = DirBuilder::new();
        let builds = path.join(BUILDS);
        builder.recursive(true).mode(0o700);
        builder.create(&builds).map_err(StoreError::io("create", &builds))?;
        let path = path
            .canonicalize()
            .map_err(StoreError::io("resolve the path of", path))?;
        Ok(Self { path })
    }

    /// Where it is, absolute and without symlinks.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Begins a build, after removing what killed builds left behind. What cannot be removed is a warning.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn begin(&self, progress: &dyn Progress) -> Result<BuildDir, StoreError> {
        let path = self.path.join(BUILDS);
        let builds = File::open(&path).map_err(StoreError::io("open", &path))?;
        let (build, orphans) = self.enter(builds)?;
        for orphan in orphans {
            sweep(&build, &orphan, progress);
        }
        Ok(build)
    }

    /// Between the creation of a directory and the lock on it nobody else may look: a moment's lock on all builds.
    /// The removal itself, which may take long, happens outside.
    fn enter(&self, builds: File) -> Result<(BuildDir, Vec<Orphan>), StoreError> {
        let path = self.path.join(BUILDS);
        rustix::fs::flock(&builds, FlockOperation::LockExclusive).map_err(StoreError::errno("lock", &path))?;
        let orphans = find_orphans(&builds, &path)?;
        let directory = tempfile::Builder::new().prefix("").rand_bytes(8).tempdir_in(&path);
        let directory = directory
            .map_err(StoreError::io("create a directory in", &path))?
            .keep();
        let name = directory.file_name().map(OsStr::to_owned).unwrap_or_default();
        let lock = take_lock(&builds, &name).map_err(StoreError::errno("lock", directory.join(LOCK)))?;
        rustix::fs::flock(&builds, FlockOperation::Unlock).map_err(StoreError::errno("unlock", &path))?;
        let build = BuildDir {
            builds,
            name,
            path: directory,
            lock: Some(lock),
        };
        Ok((build, orphans))
    }
}

impl BuildDir {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The build's blobs.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn blobs(&self) -> Result<Blobs, StoreError> {
        Blobs::open(&self.path.join("blobs"))
    }

    /// Creates (mode 0700) and names a subdirectory, `rootfs/0` for instance; one that is there is fine.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn subdirectory(&self, name: &str) -> Result<PathBuf, StoreError> {
        let path = self.path.join(name);
        let mut builder = DirBuilder::new();
        let created = builder.recursive(true).mode(0o700).create(&path);
        created.map_err(StoreError::io("create", &path))?;
        Ok(path)
    }

    /// Removes the directory and all that is in it.
    ///
    /// # Errors
    /// [`StoreError::Io`] names what stayed.
    pub fn remove(mut self) -> Result<(), StoreError> {
        self.remove_now()
    }

    fn remove_now(&mut self) -> Result<(), StoreError> {
        match self.lock.take() {
            Some(lock) => remove_build(&self.builds, &self.name, &self.path, lock),
            None => Ok(()),
        }
    }
}

impl Drop for BuildDir {
    fn drop(&mut self) {
        // Nobody is left to tell; the next build tries again and warns.
        let _ = self.remove_now();
    }
}

fn sweep(build: &BuildDir, orphan: &Orphan, progress: &dyn Progress) {
    let path = build.path.with_file_name(&orphan.name);
    let lock = &orphan._lock;
    let removed = lock
        .try_clone()
        .map_err(StoreError::io("keep the lock of", &path))
        .and_then(|lock| remove_build(&build.builds, &orphan.name, &path, lock));
    match removed {
        Ok(()) => progress.event(Event::Debug(&format!(
            "removed {}, left by a killed build",
            path.display()
        ))),
        Err(error) => {
            let cause = std::error::Error::source(&error)
                .map(ToString::to_string)
                .unwrap_or_default();
            progress.event(Event::Warning(&format!(
                "what a killed build left stays: {error}: {cause}"
            )));
        }
    }
}

/// Directories whose lock nobody holds, now locked by us.
fn find_orphans(builds: &File, path: &Path) -> Result<Vec<Orphan>, StoreError> {
    let mut orphans = Vec::new();
    for entry in fs::read_dir(path).map_err(StoreError::io("list", path))? {
        let name = entry.map_err(StoreError::io("list", path))?.file_name();
        match take_lock(builds, &name) {
            Ok(lock) => orphans.push(Orphan { name, _lock: lock }),
            // Held by a living build, or no directory of ours.
            Err(_) => {}
        }
    }
    Ok(orphans)
}

/// Opens and locks `<name>/lock` without waiting. Children never inherit it: the descriptor closes on exec.
fn take_lock(builds: &File, name: &OsStr) -> Result<File, Errno> {
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(builds, name, directory, Mode::empty())?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let lock = rustix::fs::openat(&directory, LOCK, flags, Mode::RUSR | Mode::WUSR)?;
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
    Ok(File::from(lock))
}

/// The lock goes last: until then no other build takes the directory for an orphan.
fn remove_build(builds: &File, name: &OsStr, path: &Path, lock: File) -> Result<(), StoreError> {
    unmount_below(path)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = match rustix::fs::openat(builds, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        other => other.map_err(StoreError::errno("open", path))?,
    };
    let mut outcome = Ok(());
    for entry in fs::read_dir(path).map_err(StoreError::io("list", path))? {
        let entry = entry.map_err(StoreError::io("list", path))?.file_name();
        if entry == LOCK {
            continue;
        }
        if let Err(error) = remove_tree(directory.as_fd(), &entry) {
            outcome = Err(StoreError::io("remove", path.join(error.path))(error.source));
        }
    }
    outcome?;
    let unlinked = rustix::fs::unlinkat(&directory, LOCK, AtFlags::empty());
    unlinked.map_err(StoreError::errno("remove", path.join(LOCK)))?;
    let removed = rustix::fs::unlinkat(builds, name, AtFlags::REMOVEDIR);
    removed.map_err(StoreError::errno("remove", path))?;
    drop(lock);
    Ok(())
}

/// A mount that outlived its build must go before anything is removed: what is mounted is not ours.
fn unmount_below(path: &Path) -> Result<(), StoreError> {
    // Without /proc nothing was mounted either; the removal itself never crosses a mount.
    let Ok(table) = fs::read("/proc/self/mountinfo") else {
        return Ok(());
    };
    let mut mounts = mount_points(&table);
    mounts.retain(|mount| mount.starts_with(path));
    // The last line is the topmost mount.
    for mount in mounts.iter().rev() {
        let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
        rustix::mount::unmount(mount, flags).map_err(StoreError::errno("unmount", mount))?;
    }
    Ok(())
}

/// The fifth field of each line, in which blanks and backslashes are written as `\ooo`.
fn mount_points(table: &[u8]) -> Vec<PathBuf> {
    let lines = table.split(|byte| *byte == b'\n');
    let fields = lines.filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    fields
        .map(|field| PathBuf::from(OsString::from_vec(unescape(field))))
        .collect()
}

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
