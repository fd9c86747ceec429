//! Directories of `RUN --mount=type=cache`, which outlive builds and are shared by those that run at once.
//!
//! ```text
//! <state>/cache-mounts/<key>/
//!   lock       flock held while a step chooses one of the directories, and gives a new one its first content
//!   <n>/lock   flock held while a step uses the directory: shared by those who share it, else exclusive
//!   <n>/root   the directory; it is renamed to this name when its first content is complete
//! ```
//!
//! As in BuildKit, directory 0 is everybody's, and who finds it taken goes to a further one. Only a step that locks
//! waits for 0, so that steps which lock a cache never use it at once.

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
const INTERVAL: Duration = Duration::from_millis(20);

/// All cache mounts of a state directory.
#[derive(Clone, Debug)]
pub struct CacheMounts {
    path: PathBuf,
}

/// What a step does when others use the same directory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CacheUse {
    /// It takes part, or takes another one when they do not share.
    Shared,
    /// It takes another one.
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

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the directory that holds them all.
    pub(super) fn make(&self) -> Result<(), StoreError> {
        make_private(&self.path)
    }

    /// Takes a directory of the cache `key`, a file name. `busy` hears of it when somebody has to be waited for. A
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
        let cache = Cache::open(self.path.join(key))?;
        let mut patience = Patience { cancel, busy, looks: 0 };
        loop {
            if let Some(choosing) = cache.begin_to_choose()? {
                if let Some(slot) = cache.choose(how)? {
                    slot.make_whole(fill)?;
                    return Ok(slot.into_mount()?);
                }
                drop(choosing);
            }
            patience.wait()?;
        }
    }
}

/// Waiting that ends with the build, and is told of when it lasts.
struct Patience<'a> {
    cancel: &'a Cancel,
    busy: &'a dyn Fn(),
    looks: u32,
}

impl Patience<'_> {
    fn wait(&mut self) -> Result<(), Cancelled> {
        /// To choose takes a moment only; nobody needs to hear of that.
        const SILENT_LOOKS: u32 = 5;
        self.cancel.check()?;
        self.looks += 1;
        if self.looks == SILENT_LOOKS {
            (self.busy)();
        }
        std::thread::sleep(INTERVAL);
        Ok(())
    }
}

/// The directories of one cache.
struct Cache {
    path: PathBuf,
}

impl Cache {
    fn open(path: PathBuf) -> Result<Self, StoreError> {
        make_private(&path)?;
        Ok(Self { path })
    }

    /// As long as the file is open, nobody else takes a directory of this cache; `None` when somebody is choosing.
    fn begin_to_choose(&self) -> Result<Option<File>, StoreError> {
        try_lock(&self.path.join(LOCK), FlockOperation::NonBlockingLockExclusive)
    }

    /// Takes a directory; `None` when it has to be waited for.
    fn choose(&self, how: CacheUse) -> Result<Option<Slot>, StoreError> {
        let operation = match how {
            CacheUse::Shared => FlockOperation::NonBlockingLockShared,
            CacheUse::Private | CacheUse::Locked => FlockOperation::NonBlockingLockExclusive,
        };
        for number in 0_u32.. {
            let path = self.path.join(number.to_string());
            make_private(&path)?;
            match try_lock(&path.join(LOCK), operation)? {
                Some(lock) => return Ok(Some(Slot { path, lock })),
                None if how == CacheUse::Locked => return Ok(None),
                None => {}
            }
        }
        unreachable!("there are more numbers than steps")
    }
}

fn make_private(path: &Path) -> Result<(), StoreError> {
    let created = DirBuilder::new().recursive(true).mode(0o700).create(path);
    created.map_err(StoreError::io("create", path))
}

/// The lock, or `None` when others have it. It closes on exec, so that no child holds it.
fn try_lock(path: &Path, operation: FlockOperation) -> Result<Option<File>, StoreError> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map_err(StoreError::errno("open", path))?;
    match rustix::io::retry_on_intr(|| rustix::fs::flock(&file, operation)) {
        Ok(()) => Ok(Some(File::from(file))),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(StoreError::errno("lock", path)(errno)),
    }
}

struct Slot {
    path: PathBuf,
    lock: File,
}

impl Slot {
    /// Gives a directory that is new its first content. Only to be called while nobody else chooses.
    fn make_whole<E: From<StoreError>>(&self, fill: impl FnOnce(&Rootfs) -> Result<(), E>) -> Result<(), E> {
        if self.path.join(ROOT).exists() {
            return Ok(());
        }
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

    fn without_waiting(mounts: &CacheMounts, how: CacheUse) -> CacheMount {
        let waited = || panic!("no reason to wait");
        let taken = mounts.acquire::<Failed>("key", how, &Cancel::default(), &waited, |_| Ok(()));
        taken.unwrap()
    }

    #[test]
    fn l210_who_finds_the_first_directory_taken_goes_to_a_further_one() {
        let directory = tempfile::tempdir().unwrap();
        let mounts = CacheMounts::below(directory.path());
        let private = without_waiting(&mounts, CacheUse::Private);
        let others = [CacheUse::Shared, CacheUse::Private, CacheUse::Shared].map(|how| without_waiting(&mounts, how));
        assert_eq!(name(&private), "0");
        assert_eq!(others.each_ref().map(name), ["1", "2", "1"]);
        drop(private);
        let shared = [CacheUse::Shared, CacheUse::Shared].map(|how| without_waiting(&mounts, how));
        assert_eq!(shared.each_ref().map(name), ["0", "0"]);
        drop((others, shared));
        let locked = without_waiting(&mounts, CacheUse::Locked);
        let beside = [CacheUse::Shared, CacheUse::Private].map(|how| without_waiting(&mounts, how));
        assert_eq!(name(&locked), "0");
        assert_eq!(beside.each_ref().map(name), ["1", "2"]);
    }

    /// Steps of one build are threads, which all begin when the cache is new.
    #[test]
    fn l210_those_who_share_meet_in_a_new_cache_and_those_who_do_not_are_alone() {
        let directory = tempfile::tempdir().unwrap();
        let mounts = CacheMounts::below(directory.path());
        let at_once = |how| {
            let started = std::sync::Barrier::new(8);
            std::thread::scope(|scope| {
                let take = || {
                    started.wait();
                    let taken = acquire(&mounts, how, &Cancel::default()).unwrap();
                    started.wait();
                    assert_eq!(fs::read(taken.root().host_path().join("first")).unwrap(), b"content");
                    name(&taken)
                };
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(take)).collect();
                let mut names: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
                names.sort();
                names.dedup();
                names
            })
        };
        assert_eq!(at_once(CacheUse::Shared), ["0"]);
        assert_eq!(at_once(CacheUse::Private).len(), 8);
    }

    #[test]
    fn l210_whoever_locks_waits_for_the_last_of_those_who_share_and_for_one_that_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let mounts = CacheMounts::below(directory.path());
        for how in [CacheUse::Shared, CacheUse::Private] {
            let held = without_waiting(&mounts, how);
            let (waits, waiting) = mpsc::channel();
            std::thread::scope(|scope| {
                let locked = scope.spawn(|| {
                    let busy = || waits.send(()).unwrap();
                    mounts.acquire::<Failed>("key", CacheUse::Locked, &Cancel::default(), &busy, |_| Ok(()))
                });
                waiting.recv().unwrap();
                assert!(!locked.is_finished());
                drop(held);
                assert_eq!(name(&locked.join().unwrap().unwrap()), "0");
            });
        }
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
