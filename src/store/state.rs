//! The state directory: one subdirectory for each running build, and the removal of those of killed ones.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::{Blobs, CacheMounts, StoreError, remove_tree};
use crate::progress::{Event, Progress};
use crate::rootfs::{ObjectId, Rootfs};
use crate::sys::mount_table;

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
    lock: File,
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

    /// The directory itself, and what it consists of: a context may lie above it, or be the very same directory.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn own_directories(&self) -> Result<Vec<ObjectId>, StoreError> {
        let caches = self.cache_mounts();
        caches.make()?;
        let paths = [self.path(), &self.path.join(BUILDS), caches.path()];
        let id = |path: &Path| {
            let metadata = Rootfs::open(path).and_then(|directory| directory.root().metadata());
            metadata
                .map(|metadata| metadata.id())
                .map_err(StoreError::io("stat", path))
        };
        paths.into_iter().map(id).collect()
    }

    /// The directories of cache mounts.
    #[must_use]
    pub fn cache_mounts(&self) -> CacheMounts {
        CacheMounts::below(&self.path)
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
        let directory = tempfile::Builder::new()
            .prefix("")
            .rand_bytes(8)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&path)
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
    let removed = orphan
        .lock
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
        // An error means that a living build holds it, or that it is no directory of ours.
        if let Ok(lock) = take_lock(builds, &name) {
            orphans.push(Orphan { name, lock });
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
    let Ok(table) = mount_table::read() else {
        return Ok(());
    };
    let mounts: Vec<_> = table.into_iter().map(|mount| mount.path).collect();
    let mounts = mounts.iter().filter(|mount| mount.starts_with(path));
    // The last line is the topmost mount.
    for mount in mounts.rev() {
        let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
        rustix::mount::unmount(mount, flags).map_err(StoreError::errno("unmount", mount))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::Mutex;

    use super::*;
    use crate::progress::Silent;

    fn state() -> (tempfile::TempDir, StateDir) {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::open(&directory.path().join("state")).unwrap();
        (directory, state)
    }

    fn builds(state: &StateDir) -> usize {
        fs::read_dir(state.path().join(BUILDS)).unwrap().count()
    }

    #[test]
    fn is_private_and_leaves_nothing() {
        let (_directory, state) = state();
        let build = state.begin(&Silent).unwrap();
        let rootfs = build.subdirectory("rootfs/0").unwrap();
        fs::create_dir_all(rootfs.join("usr/bin")).unwrap();
        for path in [state.path(), build.path(), &rootfs] {
            assert_eq!(
                fs::metadata(path).unwrap().permissions().mode() & 0o777,
                0o700,
                "{}",
                path.display()
            );
        }
        build.blobs().unwrap();
        build.remove().unwrap();
        assert_eq!(builds(&state), 0);
        drop(state.begin(&Silent).unwrap());
        assert_eq!(builds(&state), 0);
    }

    /// Living builds of this and of another process are locked; what is left by killed ones is not.
    #[test]
    fn sweeps_killed_builds_and_no_living_one() {
        let (directory, state) = state();
        let canary = directory.path().join("canary");
        fs::create_dir(&canary).unwrap();
        let alive = state.begin(&Silent).unwrap();
        let killed = state.path().join("builds/killed");
        fs::create_dir_all(killed.join("rootfs/a")).unwrap();
        fs::write(killed.join("lock"), "").unwrap();
        symlink(&canary, killed.join("rootfs/out")).unwrap();
        fs::set_permissions(killed.join("rootfs/a"), fs::Permissions::from_mode(0o000)).unwrap();
        // Killed before it had a lock.
        fs::create_dir(state.path().join("builds/younger")).unwrap();
        let second = state.begin(&Silent).unwrap();
        assert!(!killed.exists());
        assert!(alive.path().exists() && second.path().exists() && canary.exists());
        assert_eq!(builds(&state), 2);
    }

    #[test]
    fn many_builds_begin_and_end_at_once() {
        let (_directory, state) = state();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        let build = state.begin(&Silent).unwrap();
                        let file = build.subdirectory("tmp").unwrap().join("file");
                        fs::write(&file, "mine").unwrap();
                        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
                    }
                });
            }
        });
        assert_eq!(builds(&state), 0);
    }

    #[derive(Debug, Default)]
    struct Warnings(Mutex<Vec<String>>);

    impl Progress for Warnings {
        fn event(&self, event: Event<'_>) {
            if let Event::Warning(text) = event {
                self.0.lock().unwrap().push(text.to_owned());
            }
        }
    }

    #[test]
    fn root_sweeps_leftover_mounts() {
        let (directory, state) = state();
        let canary = directory.path().join("canary");
        fs::create_dir(&canary).unwrap();
        fs::write(canary.join("file"), "alive").unwrap();
        let mount = state.path().join("builds/killed/rootfs/with blank");
        fs::create_dir_all(&mount).unwrap();
        rustix::mount::mount_bind(&canary, &mount).unwrap();
        let warnings = Warnings::default();
        let build = state.begin(&warnings).unwrap();
        assert_eq!(*warnings.0.lock().unwrap(), Vec::<String>::new());
        assert_eq!(builds(&state), 1);
        assert_eq!(fs::read_to_string(canary.join("file")).unwrap(), "alive");
        drop(build);
    }
}
