//! A directory tree that we made, entered only through a file descriptor.
//!
//! Invariant: every path inside a rootfs is resolved beneath its descriptor. A symlink of an image,
//! a context or an archive is followed as if the rootfs were `/`; none reaches outside, whatever it
//! says and whoever changes it meanwhile. The final component of a path is never followed unless a
//! method says so. There are two resolvers that agree on every tree:
//!
//! - the kernel's: `openat2` with `RESOLVE_IN_ROOT` (Linux 5.6);
//! - a component walk ([`walk`]) where the kernel or a seccomp profile refuses that, and wherever the
//!   canonical path or the creation of missing directories is wanted.
//!
//! Metadata is applied in one order: data, owner, xattrs, mode, times. The kernel clears setuid,
//! setgid and `security.capability` on chown and on writes, and any write changes the mtime.

mod chmod;
mod content;
mod dir;
mod metadata;
mod path;
mod walk;
pub mod xattr;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

pub use chmod::{Chmod, ChmodError};
pub use content::ContentError;
pub use dir::{Dir, Name};
pub use metadata::{Kind, Metadata, ObjectId, Timestamp};
pub use path::{PathError, RootfsPath};
pub use walk::{Missing, NewDir, Obstacle, Place, Resolved};

/// What failed, to which path of which rootfs.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {}", path.display_absolute())]
pub struct RootfsError {
    /// The operation as a verb: "open", "create directory".
    pub operation: &'static str,
    /// The path inside the rootfs.
    pub path: RootfsPath,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

/// How deep a tree may be that is read with one descriptor for each level; a process often has 1024.
const DEEPEST: usize = 500;

/// Refuses the directory at `path`, the `depth`th that is open, if it is too deep.
pub(crate) fn check_depth(depth: usize, path: &RootfsPath) -> Result<(), RootfsError> {
    if depth <= DEEPEST {
        return Ok(());
    }
    let text = format!("directories are nested more than {DEEPEST} levels deep");
    Err(RootfsError::new("read", path, io::Error::other(text)))
}

impl RootfsError {
    /// An error about `path`.
    pub fn new(operation: &'static str, path: &RootfsPath, source: impl Into<io::Error>) -> Self {
        Self {
            operation,
            path: path.clone(),
            source: source.into(),
        }
    }

    /// Whether the path does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

/// Which resolver finds existing paths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Resolver {
    /// `openat2`.
    Kernel,
    /// The component walk.
    Walk,
}

/// A tree that plays `/` of an image, or of a build context.
#[derive(Debug)]
pub struct Rootfs {
    root: Dir,
    path: PathBuf,
    resolver: Resolver,
}

impl Rootfs {
    /// Opens the directory at `path` on the host as a root.
    ///
    /// # Errors
    /// The path is absent or no directory.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        let resolver = match openat2(fd.as_fd(), Name::new(b"."), OFlags::PATH) {
            Ok(_) => Resolver::Kernel,
            // ENOSYS: an old kernel. EPERM: an old seccomp profile that does not know the call.
            Err(_) => Resolver::Walk,
        };
        Ok(Self {
            root: Dir::from(fd),
            path: std::fs::canonicalize(path)?,
            resolver,
        })
    }

    /// Makes a new, empty directory with mode 0755 at `path` on the host and opens it as a root.
    ///
    /// # Errors
    /// The path exists already, or cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        rustix::fs::mkdirat(CWD, path, Mode::from_raw_mode(0o755))?;
        // The process's umask must not decide what an image looks like.
        rustix::fs::chmod(path, Mode::from_raw_mode(0o755))?;
        Self::open(path)
    }

    /// The same root, resolved by the component walk alone; for the comparison of both resolvers.
    #[must_use]
    pub fn without_openat2(self) -> Self {
        Self {
            resolver: Resolver::Walk,
            ..self
        }
    }

    /// The root directory.
    #[must_use]
    pub const fn root(&self) -> &Dir {
        &self.root
    }

    /// Where the tree is on the host. For mounts and messages, never for looking up paths inside.
    #[must_use]
    pub fn host_path(&self) -> &Path {
        &self.path
    }

    /// Opens the existing directory at `path`; every component may be a symlink.
    ///
    /// # Errors
    /// Absent, no directory, or a symlink loop.
    pub fn open_dir(&self, path: &RootfsPath) -> Result<Dir, RootfsError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        self.open_existing(path, flags)
            .map(Dir::from)
            .map_err(|errno| RootfsError::new("open directory", path, errno))
    }

    /// Opens the existing file at `path` for reading; every component may be a symlink.
    ///
    /// Opening a FIFO does not wait for its writer, and a device is not opened at all.
    ///
    /// # Errors
    /// Absent, no regular file, or a symlink loop.
    pub fn open_file(&self, path: &RootfsPath) -> Result<File, RootfsError> {
        let error = |errno: Errno| RootfsError::new("open", path, errno);
        let place = self.open_existing(path, OFlags::PATH).map_err(error)?;
        let stat = rustix::fs::fstat(&place).map_err(error)?;
        match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
            rustix::fs::FileType::RegularFile => {}
            rustix::fs::FileType::Directory => return Err(error(Errno::ISDIR)),
            _ => return Err(RootfsError::new("open", path, io::Error::other("not a regular file"))),
        }
        dir::reopen_file(&place).map(File::from).map_err(error)
    }

    /// Reads the small file at `path`, `None` if it does not exist.
    ///
    /// # Errors
    /// As [`Rootfs::open_file`]; also when the file is larger than `limit` bytes.
    pub fn read_small(&self, path: &RootfsPath, limit: u64) -> Result<Option<Vec<u8>>, RootfsError> {
        let file = match self.open_file(path) {
            Ok(file) => file,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut content = Vec::new();
        file.take(limit + 1)
            .read_to_end(&mut content)
            .map_err(|source| RootfsError::new("read", path, source))?;
        if content.len() as u64 > limit {
            let source = io::Error::other(format!("larger than {limit} bytes"));
            return Err(RootfsError::new("read", path, source));
        }
        Ok(Some(content))
    }

    /// Resolves the directory `path` to its descriptor and its canonical path; `missing` and
    /// `obstacle` say what happens to components that are absent or no directories.
    ///
    /// # Errors
    /// What the policies do not allow, or the kernel refuses.
    pub fn resolve_dir(
        &self,
        path: &RootfsPath,
        missing: Missing<'_>,
        obstacle: Obstacle,
    ) -> Result<Resolved, RootfsError> {
        walk::walk(&self.root, path, missing, obstacle)
    }

    /// Finds where something at `path` is or would be made; every component may be a symlink, the last one too, and a
    /// dangling one leads to what it names. Directories on the way are made with `attributes`.
    ///
    /// # Errors
    /// A component on the way is a file, a symlink loop, or the kernel refuses.
    pub fn resolve_place(&self, path: &RootfsPath, attributes: &NewDir) -> Result<Place, RootfsError> {
        walk::place(&self.root, path, attributes)
    }

    /// The canonical path of an existing object, its last component followed too.
    ///
    /// # Errors
    /// Absent, or a symlink loop.
    pub fn canonicalize(&self, path: &RootfsPath) -> Result<RootfsPath, RootfsError> {
        walk::canonicalize(&self.root, path)
    }

    /// What is at `path`, `None` if nothing is. Parents may be symlinks, the last component is not followed.
    ///
    /// # Errors
    /// What the kernel says, but for absence.
    pub fn metadata(&self, path: &RootfsPath) -> Result<Option<Metadata>, RootfsError> {
        let Some((parent, name)) = path.split_last() else {
            return self
                .root
                .metadata()
                .map(Some)
                .map_err(|source| RootfsError::new("stat", path, source));
        };
        match self.open_dir(&parent) {
            Ok(dir) => dir.stat(&name).map_err(|source| RootfsError::new("stat", path, source)),
            Err(error) if error.is_not_found() || error.source.raw_os_error() == Some(Errno::NOTDIR.raw_os_error()) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn open_existing(&self, path: &RootfsPath, flags: OFlags) -> Result<OwnedFd, Errno> {
        match self.resolver {
            Resolver::Kernel => openat2(self.root.as_fd(), path.as_name_or_dot(), flags),
            Resolver::Walk => walk::open_existing(&self.root, path, flags),
        }
    }
}

/// `openat2` beneath `root`, symlinks included.
fn openat2(root: BorrowedFd<'_>, path: Name<'_>, flags: OFlags) -> Result<OwnedFd, Errno> {
    // The kernel answers EAGAIN when a rename raced with a `..`; libpathrs retries as often.
    const RETRIES: usize = 128;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let mut answer = Err(Errno::AGAIN);
    for _ in 0..RETRIES {
        answer = rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve);
        if !matches!(answer, Err(Errno::AGAIN)) {
            break;
        }
    }
    answer
}

#[cfg(test)]
mod tests;
