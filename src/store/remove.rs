//! Removes a directory tree fast, by file descriptors, without following anything out of it.
//!
//! Two threads share a stack of directories. Each directory is opened beneath its parent's
//! descriptor with `O_NOFOLLOW` and without crossing mounts, so neither a symlink nor a bind mount left
//! behind leads outside. The stack is last-in first-out and a directory too deep is first renamed up to the top:
//! descriptors and memory stay bounded however a build nested its directories.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags};
use rustix::io::Errno;

/// Two halve the time of one on ext4; a third waits for the journal.
const THREADS: usize = 2;

/// Levels of open descriptors before a directory is renamed to the top.
const MAX_DEPTH: u32 = 100;

/// What could not be removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot remove {}{}", path.display(), self.more())]
pub struct RemoveError {
    /// The first entry that resisted, relative to the parent of the tree.
    pub path: PathBuf,
    /// How many more did.
    pub others: usize,
    /// Why the first did.
    #[source]
    pub source: io::Error,
}

impl RemoveError {
    fn more(&self) -> String {
        match self.others {
            0 => String::new(),
            others => format!(" and {others} more"),
        }
    }
}

/// Removes `name` beneath `parent`, directory or not. What is not there counts as removed; what cannot be removed is
/// passed over, so that as much as possible goes.
///
/// # Errors
/// [`RemoveError`] names the first entry that stayed.
pub fn remove_tree(parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), RemoveError> {
    let failed = |errno: Errno| RemoveError {
        path: name.into(),
        others: 0,
        source: errno.into(),
    };
    let name = CString::new(name.as_bytes()).map_err(|_| failed(Errno::INVAL))?;
    match unlink(parent, &name) {
        Ok(Unlinked::Gone) => return Ok(()),
        Ok(Unlinked::IsDirectory) => {}
        Err(errno) => return Err(failed(errno)),
    }
    let top = open_directory(parent, &name).map_err(failed)?;
    let removal = Removal::new(top, name.to_string_lossy().as_ref().into());
    thread::scope(|scope| {
        for number in 1..THREADS {
            // Without the helper the caller's own thread does it all.
            let _ = thread::Builder::new()
                .name(format!("remove-{number}"))
                .spawn_scoped(scope, || removal.work());
        }
        removal.work();
    });
    removal.finish(parent, &name)
}

enum Unlinked {
    Gone,
    IsDirectory,
}

/// Linux answers `EISDIR` for a directory, POSIX `EPERM`, which may also be an immutable file.
fn unlink(parent: BorrowedFd<'_>, name: &CStr) -> Result<Unlinked, Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(Unlinked::Gone),
        Err(Errno::ISDIR) => Ok(Unlinked::IsDirectory),
        Err(Errno::ACCESS) if is_directory(parent, name) => Ok(Unlinked::IsDirectory),
        Err(errno) => Err(errno),
    }
}

fn is_directory(parent: BorrowedFd<'_>, name: &CStr) -> bool {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Opens a directory for reading and makes its entries removable, whatever its mode.
fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let fd = match open_beneath(parent, name, DIRECTORY) {
        Err(Errno::ACCESS) => {
            grant(parent, name)?;
            open_beneath(parent, name, DIRECTORY)?
        }
        other => other?,
    };
    if !rustix::process::geteuid().is_root() {
        // Reading it is not enough: unlinking needs write and search. What matters shows later.
        let _ = rustix::fs::fchmod(&fd, Mode::RWXU);
    }
    Ok(fd)
}

/// Gives the owner all rights on a directory that cannot even be opened. `fchmodat` follows symlinks and `O_PATH`
/// descriptors refuse `fchmod`, so it goes through `/proc`.
fn grant(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let fd = open_beneath(parent, name, DIRECTORY | OFlags::PATH)?;
    rustix::fs::chmod(format!("/proc/self/fd/{}", fd.as_raw_fd()), Mode::RWXU)
}

/// `openat2` refuses to cross a mount, bind mounts of the same filesystem included. Kernels before 5.6 and old seccomp
/// profiles lack it; there the mount ID tells.
fn open_beneath(parent: BorrowedFd<'_>, name: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match rustix::fs::openat2(parent, name, flags, Mode::empty(), resolve) {
        Err(Errno::NOSYS | Errno::PERM) => {}
        Err(Errno::XDEV) => return Err(Errno::BUSY),
        other => return other,
    }
    let fd = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    match mount_of(fd.as_fd())? == mount_of(parent)? {
        true => Ok(fd),
        false => Err(Errno::BUSY),
    }
}

/// `/proc/self/fdinfo` has told the mount of a descriptor since Linux 3.15.
fn mount_of(fd: BorrowedFd<'_>) -> Result<String, Errno> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()));
    let info = info.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let line = info.lines().find(|line| line.starts_with("mnt_id:"));
    line.map(str::to_owned).ok_or(Errno::NOSYS)
}

/// A directory whose entries are being removed. It goes itself when `pending` reaches zero.
struct Directory {
    fd: OwnedFd,
    path: PathBuf,
    depth: u32,
    parent: Option<(Arc<Directory>, CString)>,
    /// Subdirectories that are still there, and one for the listing of this directory.
    pending: AtomicUsize,
}

/// A directory that nobody has opened yet.
struct Task {
    parent: Arc<Directory>,
    name: CString,
}

struct Removal {
    top: Arc<Directory>,
    /// Guards the stack and who may still add to it.
    queue: Mutex<Queue>,
    changed: Condvar,
    failures: Mutex<Failures>,
    renamed: AtomicU32,
}

struct Queue {
    tasks: Vec<Task>,
    /// Threads that hold a task, and may push more.
    busy: usize,
    listed_top: bool,
}

#[derive(Default)]
struct Failures {
    first: Option<(PathBuf, Errno)>,
    /// A directory stays when something in it stays; only the cause is worth a word.
    blocked: BTreeSet<PathBuf>,
    others: usize,
}

impl Removal {
    fn new(fd: OwnedFd, path: PathBuf) -> Self {
        let top = Directory {
            fd,
            path,
            depth: 0,
            parent: None,
            pending: AtomicUsize::new(1),
        };
        Self {
            top: Arc::new(top),
            queue: Mutex::new(Queue {
                tasks: Vec::new(),
                busy: 0,
                listed_top: false,
            }),
            changed: Condvar::new(),
            failures: Mutex::default(),
            renamed: AtomicU32::new(0),
        }
    }

    fn work(&self) {
        let mut buffer = vec![MaybeUninit::uninit(); 64 * 1024];
        while let Some(task) = self.next() {
            match task {
                Next::Top => self.empty(&self.top, &mut buffer),
                Next::Task(task) => self.remove_directory(task, &mut buffer),
            }
            self.lock().busy -= 1;
            self.changed.notify_all();
        }
    }

    fn next(&self) -> Option<Next> {
        let mut queue = self.lock();
        loop {
            if !queue.listed_top {
                queue.listed_top = true;
                queue.busy += 1;
                return Some(Next::Top);
            }
            if let Some(task) = queue.tasks.pop() {
                queue.busy += 1;
                return Some(Next::Task(task));
            }
            if queue.busy == 0 {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn remove_directory(&self, task: Task, buffer: &mut [MaybeUninit<u8>]) {
        let Task { parent, name } = task;
        let path = parent.path.join(OsStr::from_bytes(name.to_bytes()));
        if parent.depth >= MAX_DEPTH {
            return self.rename_to_top(&parent, &name, path);
        }
        match open_directory(parent.fd.as_fd(), &name) {
            Ok(fd) => {
                let depth = parent.depth + 1;
                let directory = Directory {
                    fd,
                    path,
                    depth,
                    parent: Some((parent, name)),
                    pending: AtomicUsize::new(1),
                };
                self.empty(&Arc::new(directory), buffer);
            }
            Err(Errno::NOENT) => self.release(parent),
            Err(errno) => {
                self.note(path, errno);
                self.release(parent);
            }
        }
    }

    /// Unlinks what is no directory and stacks up what is one.
    fn empty(&self, directory: &Arc<Directory>, buffer: &mut [MaybeUninit<u8>]) {
        // `getdents64` moves on while entries are unlinked; Linux filesystems keep the cursor right.
        let mut entries = RawDir::new(&directory.fd, buffer);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(errno) => {
                    self.note(directory.path.clone(), errno);
                    break;
                }
            };
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let outcome = match entry.file_type() {
                FileType::Directory => Ok(Unlinked::IsDirectory),
                _ => unlink(directory.fd.as_fd(), name),
            };
            match outcome {
                Ok(Unlinked::Gone) => {}
                Ok(Unlinked::IsDirectory) => self.push(directory, name.to_owned()),
                Err(errno) => self.note(directory.path.join(OsStr::from_bytes(name.to_bytes())), errno),
            }
        }
        self.release(Arc::clone(directory));
    }

    fn push(&self, parent: &Arc<Directory>, name: CString) {
        parent.pending.fetch_add(1, Ordering::Relaxed);
        let parent = Arc::clone(parent);
        self.lock().tasks.push(Task { parent, name });
        self.changed.notify_one();
    }

    fn rename_to_top(&self, parent: &Arc<Directory>, name: &CStr, path: PathBuf) {
        let number = self.renamed.fetch_add(1, Ordering::Relaxed);
        let up = CString::new(format!(".deep-{}-{number}", std::process::id())).unwrap_or_default();
        let moved = rustix::fs::renameat(&parent.fd, name, &self.top.fd, &up).or_else(|_| {
            // A directory that changes its parent is written to itself.
            grant(parent.fd.as_fd(), name)?;
            rustix::fs::renameat(&parent.fd, name, &self.top.fd, &up)
        });
        match moved {
            Ok(()) => self.push(&self.top, up),
            Err(errno) => self.note(path, errno),
        }
        self.release(Arc::clone(parent));
    }

    /// Takes one off `pending`; whoever takes the last removes the directory, and so on upwards.
    fn release(&self, mut directory: Arc<Directory>) {
        while directory.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
            let Some((parent, name)) = &directory.parent else {
                return;
            };
            match rustix::fs::unlinkat(&parent.fd, name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => self.note(directory.path.clone(), errno),
            }
            let parent = Arc::clone(parent);
            directory = parent;
        }
    }

    fn note(&self, path: PathBuf, errno: Errno) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let follows = errno == Errno::NOTEMPTY && failures.blocked.contains(&path);
        let ancestors = path.ancestors().skip(1).map(Into::into);
        failures.blocked.extend(ancestors);
        if follows {
            return;
        }
        match failures.first {
            None => failures.first = Some((path, errno)),
            Some(_) => failures.others += 1,
        }
    }

    fn finish(self, parent: BorrowedFd<'_>, name: &CStr) -> Result<(), RemoveError> {
        let path = self.top.path.clone();
        match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => self.note(path, errno),
        }
        let failures = self.failures.into_inner().unwrap_or_else(PoisonError::into_inner);
        let Some((path, errno)) = failures.first else {
            return Ok(());
        };
        Err(RemoveError {
            path,
            others: failures.others,
            source: errno.into(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Next {
    Top,
    Task(Task),
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use super::*;

    fn remove(parent: &Path, name: &str) -> Result<(), RemoveError> {
        remove_tree(File::open(parent).unwrap().as_fd(), OsStr::new(name))
    }

    /// `top` has everything that could lead out of it or resist; `canary` must survive.
    fn plant(root: &Path) {
        fs::create_dir_all(root.join("canary/inside")).unwrap();
        fs::write(root.join("canary/inside/file"), "alive").unwrap();
        for directory in ["a/b/c", "d", "e"] {
            fs::create_dir_all(root.join("top").join(directory)).unwrap();
        }
        for number in 0..300 {
            fs::write(root.join(format!("top/d/file-{number}")), "x").unwrap();
            fs::create_dir(root.join(format!("top/e/dir-{number}"))).unwrap();
        }
        symlink(root.join("canary"), root.join("top/a/absolute")).unwrap();
        symlink("../../canary", root.join("top/a/relative")).unwrap();
        symlink("/", root.join("top/root")).unwrap();
        fs::hard_link(root.join("canary/inside/file"), root.join("top/a/b/link")).unwrap();
        fs::write(root.join("top/a/b/c/deep"), "x").unwrap();
        for (directory, mode) in [
            ("top/a/b/c", 0o000),
            ("top/a/b", 0o555),
            ("top/a", 0o500),
            ("top", 0o000),
        ] {
            fs::set_permissions(root.join(directory), fs::Permissions::from_mode(mode)).unwrap();
        }
    }

    #[test]
    fn removes_all_of_it_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        plant(root.path());
        remove(root.path(), "top").unwrap();
        assert!(!root.path().join("top").exists());
        assert_eq!(
            fs::read_to_string(root.path().join("canary/inside/file")).unwrap(),
            "alive"
        );
    }

    #[test]
    fn a_symlink_goes_and_not_what_it_points_to() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("canary")).unwrap();
        symlink("canary", root.path().join("top")).unwrap();
        remove(root.path(), "top").unwrap();
        assert!(fs::symlink_metadata(root.path().join("top")).is_err());
        assert!(root.path().join("canary").exists());
        remove(root.path(), "absent").unwrap();
    }

    /// Deeper than there are descriptors, and than a path may be long.
    #[test]
    fn removes_what_is_nested_very_deep() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("top")).unwrap();
        let mut here: OwnedFd = File::open(root.path().join("top")).unwrap().into();
        for _ in 0..3_000 {
            rustix::fs::mkdirat(&here, "d", Mode::RWXU).unwrap();
            here = rustix::fs::openat(&here, "d", DIRECTORY, Mode::empty()).unwrap();
        }
        drop(here);
        remove(root.path(), "top").unwrap();
        assert!(!root.path().join("top").exists());
    }

    #[test]
    fn root_mounts_are_not_entered() {
        let root = tempfile::tempdir().unwrap();
        for directory in ["canary", "top/below/mount"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        fs::write(root.path().join("canary/file"), "alive").unwrap();
        let mount = root.path().join("top/below/mount");
        rustix::mount::mount_bind(root.path().join("canary"), &mount).unwrap();
        let removed = remove(root.path(), "top");
        rustix::mount::unmount(&mount, rustix::mount::UnmountFlags::DETACH).unwrap();
        let error = removed.unwrap_err();
        assert_eq!(error.path, Path::new("top/below/mount"));
        assert_eq!(error.others, 0, "{error}");
        assert_eq!(fs::read_to_string(root.path().join("canary/file")).unwrap(), "alive");
        remove(root.path(), "top").unwrap();
    }
}
