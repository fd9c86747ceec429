//! Directories of `RUN --mount=type=cache`, which outlive builds and are shared by those that run at once.
//!
//! ```text
//! <state>/cache-mounts/<key>/<n>/
//!   lock   flock held while a step uses the directory: shared by those who share it, else exclusive
//!   root   the directory; it is renamed to this name when its first content is complete
//! ```
//!
//! `n` is 0 but for steps that want a directory of their own: those leave 0 to the ones who share it, who would
//! otherwise wait for them.

use std::fs::{self, DirBuilder, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::{StoreError, remove_tree};
use crate::cancel::{Cancel, Cancelled};
use crate::rootfs::Rootfs;

const DIRECTORY: &str = "cache-mounts";
const LOCK: &str = "lock";
const ROOT: &str = "root";
/// Where first content is gathered.
const INCOMING: &str = "incoming";
/// How often a waiting step looks whether the directory is free, and whether it is to stop.
const INTERVAL: Duration = Duration::from_millis(50);

/// All cache mounts of a state directory.
#[derive(Clone, Debug)]
pub struct CacheMounts {
    path: PathBuf,
}

/// What a step does when others use the same directory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CacheUse {
    /// It takes part.
    Shared,
    /// It takes one of its own.
    Private,
    /// It waits until it is alone.
    Locked,
}

/// A directory in use, as long as this value lives.
#[derive(Debug)]
pub struct CacheMount {
    root: Rootfs,
    _lock: File,
}

impl CacheMount {
    /// The directory.
    #[must_use]
    pub const fn root(&self) -> &Rootfs {
        &self.root
    }
}

impl CacheMounts {
    pub(super) fn below(state: &Path) -> Self {
        Self {
            path: state.join(DIRECTORY),
        }
    }

    /// Takes the directory named `key`, a file name. `busy` hears of it when somebody has to be waited for. A
    /// directory that is new is given to `fill` before anybody else sees it; when that fails there is none.
    ///
    /// # Errors
    /// What `fill` says, [`StoreError`], or [`Cancelled`] while waiting.
    pub fn acquire<E: From<StoreError> + From<Cancelled>>(
        &self,
        key: &str,
        how: CacheUse,
        cancel: &Cancel,
        busy: &dyn Fn(),
        fill: impl FnOnce(&Rootfs) -> Result<(), E>,
    ) -> Result<CacheMount, E> {
        let slot = match how {
            CacheUse::Shared => self.lock::<E>(key, FlockOperation::NonBlockingLockShared, cancel, busy)?,
            CacheUse::Locked => self.lock::<E>(key, FlockOperation::NonBlockingLockExclusive, cancel, busy)?,
            CacheUse::Private => self.lock_a_free_one::<E>(key, cancel)?,
        };
        if slot.path.join(ROOT).exists() {
            return Ok(slot.into_mount()?);
        }
        // Whoever fills it must be alone, and somebody else may have been faster.
        slot.wait::<E>(FlockOperation::NonBlockingLockExclusive, cancel, busy)?;
        if !slot.path.join(ROOT).exists() {
            slot.fill(fill)?;
        }
        if how == CacheUse::Shared {
            slot.wait::<E>(FlockOperation::NonBlockingLockShared, cancel, busy)?;
        }
        Ok(slot.into_mount()?)
    }

    fn lock<E: From<StoreError> + From<Cancelled>>(
        &self,
        key: &str,
        operation: FlockOperation,
        cancel: &Cancel,
        busy: &dyn Fn(),
    ) -> Result<Slot, E> {
        let slot = self.slot(key, 0)?;
        slot.wait::<E>(operation, cancel, busy)?;
        Ok(slot)
    }

    fn lock_a_free_one<E: From<StoreError> + From<Cancelled>>(&self, key: &str, cancel: &Cancel) -> Result<Slot, E> {
        for number in 1_u32.. {
            cancel.check()?;
            let slot = self.slot(key, number)?;
            if slot.try_lock(FlockOperation::NonBlockingLockExclusive)? {
                return Ok(slot);
            }
        }
        unreachable!("there are more numbers than steps")
    }

    fn slot(&self, key: &str, number: u32) -> Result<Slot, StoreError> {
        let path = self.path.join(key).join(number.to_string());
        let mut builder = DirBuilder::new();
        let created = builder.recursive(true).mode(0o700).create(&path);
        created.map_err(StoreError::io("create", &path))?;
        let lock = path.join(LOCK);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(&lock, flags, Mode::RUSR | Mode::WUSR).map_err(StoreError::errno("open", &lock))?;
        Ok(Slot {
            path,
            lock: File::from(file),
        })
    }
}

struct Slot {
    path: PathBuf,
    lock: File,
}

impl Slot {
    fn try_lock(&self, operation: FlockOperation) -> Result<bool, StoreError> {
        match rustix::fs::flock(&self.lock, operation) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(false),
            Err(errno) => Err(StoreError::errno("lock", self.path.join(LOCK))(errno)),
        }
    }

    /// Waits for the lock. One that is held already is given up meanwhile.
    fn wait<E: From<StoreError> + From<Cancelled>>(
        &self,
        operation: FlockOperation,
        cancel: &Cancel,
        busy: &dyn Fn(),
    ) -> Result<(), E> {
        if self.try_lock(operation)? {
            return Ok(());
        }
        busy();
        while !self.try_lock(operation)? {
            cancel.check()?;
            std::thread::sleep(INTERVAL);
        }
        Ok(())
    }

    fn fill<E: From<StoreError>>(&self, fill: impl FnOnce(&Rootfs) -> Result<(), E>) -> Result<(), E> {
        let incoming = self.path.join(INCOMING);
        self.remove_incoming()?;
        let root = Rootfs::create(&incoming).map_err(StoreError::io("create", &incoming))?;
        if let Err(error) = fill(&root) {
            // The next step tries again, from the start.
            let _ = self.remove_incoming();
            return Err(error);
        }
        fs::rename(&incoming, self.path.join(ROOT)).map_err(StoreError::io("rename", &incoming))?;
        Ok(())
    }

    /// Also what a killed build left.
    fn remove_incoming(&self) -> Result<(), StoreError> {
        let directory = File::open(&self.path).map_err(StoreError::io("open", &self.path))?;
        remove_tree(directory.as_fd(), INCOMING.as_ref())
            .map_err(|error| StoreError::io("remove", self.path.join(error.path))(error.source))
    }

    fn into_mount(self) -> Result<CacheMount, StoreError> {
        let path = self.path.join(ROOT);
        let root = Rootfs::open(&path).map_err(StoreError::io("open", &path))?;
        Ok(CacheMount { root, _lock: self.lock })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[derive(Debug)]
    struct Failed;

    impl From<StoreError> for Failed {
        fn from(error: StoreError) -> Self {
            panic!("{error}: {:?}", std::error::Error::source(&error))
        }
    }

    impl From<Cancelled> for Failed {
        fn from(_: Cancelled) -> Self {
            Self
        }
    }

    fn acquire(mounts: &CacheMounts, how: CacheUse, cancel: &Cancel) -> Result<CacheMount, Failed> {
        mounts.acquire("key", how, cancel, &|| (), |root| {
            fs::write(root.host_path().join("first"), "content").unwrap();
            Ok(())
        })
    }

    fn name(mount: &CacheMount) -> String {
        let slot = mount.root().host_path().parent().unwrap();
        slot.file_name().unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn l210_sharing_locked_private_shared() {
        let directory = tempfile::tempdir().unwrap();
        let mounts = CacheMounts::below(directory.path());
        let never = Cancel::default();
        let shared = acquire(&mounts, CacheUse::Shared, &never).unwrap();
        assert_eq!(fs::read(shared.root().host_path().join("first")).unwrap(), b"content");
        let other = acquire(&mounts, CacheUse::Shared, &never).unwrap();
        assert_eq!((name(&shared), name(&other)), ("0".to_owned(), "0".to_owned()));
        let private = acquire(&mounts, CacheUse::Private, &never).unwrap();
        let another = acquire(&mounts, CacheUse::Private, &never).unwrap();
        assert_eq!((name(&private), name(&another)), ("1".to_owned(), "2".to_owned()));
        drop(private);
        assert_eq!(name(&acquire(&mounts, CacheUse::Private, &never).unwrap()), "1");
        // Nobody who shares waits for one that has its own.
        let alone = mounts.acquire::<Failed>("new", CacheUse::Private, &never, &|| (), |_| Ok(()));
        let waited = || panic!("no reason to wait");
        let beside = mounts.acquire::<Failed>("new", CacheUse::Shared, &never, &waited, |_| Ok(()));
        assert_eq!(
            (name(&alone.unwrap()), name(&beside.unwrap())),
            ("1".to_owned(), "0".to_owned())
        );

        // Whoever wants it alone waits for the last of those who share it.
        let (done, locked) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let locked = acquire(&mounts, CacheUse::Locked, &never).unwrap();
                done.send(name(&locked)).unwrap();
            });
            drop(shared);
            std::thread::sleep(INTERVAL * 2);
            assert!(locked.try_recv().is_err());
            drop(other);
            assert_eq!(locked.recv().unwrap(), "0");
        });
    }

    #[test]
    fn waiting_ends_with_the_build_and_a_failure_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mounts = CacheMounts::below(directory.path());
        let cancel = Cancel::default();
        let failed = mounts.acquire("key", CacheUse::Shared, &cancel, &|| (), |_| Err(Failed));
        assert!(failed.is_err());
        let names: Vec<_> = fs::read_dir(directory.path().join("cache-mounts/key/0"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, [LOCK]);
        let held = acquire(&mounts, CacheUse::Locked, &cancel).unwrap();
        cancel.by_signal(15);
        assert!(acquire(&mounts, CacheUse::Locked, &cancel).is_err());
        drop(held);
    }
}
