//! The component walk: resolves a path beneath a root one name at a time.
//!
//! Each name is opened relative to the descriptor of its directory and never followed by the kernel;
//! symlinks are expanded here, `..` goes back on our own stack of descriptors. So a symlink that
//! is swapped while we walk changes which directory inside the root is found, never whether it is inside.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::{Dir, Metadata, Name, RootfsError, RootfsPath, Timestamp};

/// The kernel's own limit on symlinks in one lookup.
const MAX_SYMLINKS: usize = 40;

/// Attributes of directories that are made on the way.
#[derive(Clone, Copy, Debug)]
pub struct NewDir {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of last change; `None` leaves the current time.
    pub mtime: Option<Timestamp>,
}

impl Default for NewDir {
    fn default() -> Self {
        Self {
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: None,
        }
    }
}

/// What to do about a component that does not exist.
#[derive(Clone, Copy, Debug)]
pub enum Missing<'a> {
    /// Fail with `ENOENT`.
    Fail,
    /// Make a directory, also at the end of a dangling symlink.
    Create(&'a NewDir),
}

/// What to do about a component that is neither a directory nor a symlink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Fail with `ENOTDIR`.
    Fail,
    /// Remove it and make a directory, as layers want it.
    Replace,
}

/// A directory that was found or made.
#[derive(Debug)]
pub struct Resolved {
    /// The directory.
    pub dir: Dir,
    /// Its path without symlinks.
    pub path: RootfsPath,
    /// Directories that had to be made, topmost first.
    pub created: Vec<RootfsPath>,
    /// Directories that one of those was made in, with their mtime from before.
    pub changed: Vec<(RootfsPath, Timestamp)>,
}

/// Where a path leads: to a directory, or to a name in one that is or could become anything else.
#[derive(Debug)]
pub struct Place {
    /// The directory, or the one that holds `name`.
    pub dir: Dir,
    /// Its path without symlinks.
    pub path: RootfsPath,
    /// What is not a directory; it may not exist.
    pub name: Option<Vec<u8>>,
    /// Directories that had to be made, topmost first.
    pub created: Vec<RootfsPath>,
}

/// Position of a walk: the descriptors and names from the root down.
struct Position<'r> {
    root: &'r Dir,
    stack: Vec<(OwnedFd, Vec<u8>)>,
}

impl Position<'_> {
    fn dir(&self) -> std::os::fd::BorrowedFd<'_> {
        self.stack.last().map_or(self.root.as_fd(), |(fd, _)| fd.as_fd())
    }

    fn path(&self) -> RootfsPath {
        RootfsPath::from_components(self.stack.iter().map(|(_, name)| name.as_slice()))
    }

    /// The current directory and when it was last changed.
    fn mtime(&self) -> Result<(RootfsPath, Timestamp), RootfsError> {
        let path = self.path();
        match Metadata::at(self.dir(), Name::new(b""), AtFlags::EMPTY_PATH) {
            Ok(metadata) => Ok((path, metadata.mtime)),
            Err(source) => Err(RootfsError::new("stat", &path, source)),
        }
    }

    fn enter(&mut self, name: &[u8]) -> rustix::io::Result<()> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(self.dir(), Name::new(name), flags, Mode::empty())?;
        self.stack.push((fd, name.to_vec()));
        Ok(())
    }

    fn into_dir(mut self) -> io::Result<Dir> {
        match self.stack.pop() {
            Some((fd, _)) => Ok(Dir::from(fd)),
            None => self.root.try_clone(),
        }
    }
}

/// Components still to be walked, the next one last; counts the symlinks expanded into it.
struct Pending {
    components: Vec<Vec<u8>>,
    symlinks: usize,
}

impl Pending {
    fn new(path: &RootfsPath) -> Self {
        Self {
            components: path.components().rev().map(<[u8]>::to_vec).collect(),
            symlinks: 0,
        }
    }

    /// Puts a symlink's target before what is left, and says whether it starts at the root.
    fn expand(&mut self, target: &[u8]) -> Result<bool, Errno> {
        self.symlinks += 1;
        if self.symlinks > MAX_SYMLINKS {
            return Err(Errno::LOOP);
        }
        if target.is_empty() {
            return Err(Errno::NOENT);
        }
        let names = target.split(|b| *b == b'/').filter(|name| !matches!(*name, b"" | b"."));
        self.components.extend(names.rev().map(<[u8]>::to_vec));
        Ok(target[0] == b'/')
    }
}

/// Resolves the directory `path` beneath `root`.
pub(super) fn walk(
    root: &Dir,
    path: &RootfsPath,
    missing: Missing<'_>,
    obstacle: Obstacle,
) -> Result<Resolved, RootfsError> {
    let mut position = Position {
        root,
        stack: Vec::new(),
    };
    let mut pending = Pending::new(path);
    let mut created = Vec::new();
    let mut changed = Vec::new();
    while let Some(name) = pending.components.pop() {
        if name == b".." {
            position.stack.pop();
            continue;
        }
        match position.enter(&name) {
            Ok(()) => {}
            Err(Errno::NOENT) => match missing {
                Missing::Fail => return Err(RootfsError::new("open directory", path, Errno::NOENT)),
                Missing::Create(attributes) => {
                    changed.push(position.mtime()?);
                    created.push(make(&mut position, &name, attributes)?);
                }
            },
            // ENOTDIR for a symlink too, since it is not followed; ELOOP on some filesystems.
            Err(Errno::NOTDIR | Errno::LOOP) => match read_link(&position, &name) {
                Ok(target) => follow(&mut position, &mut pending, &target)
                    .map_err(|errno| RootfsError::new("open directory", path, errno))?,
                Err(Errno::INVAL) => match (obstacle, missing) {
                    (Obstacle::Fail, _) | (_, Missing::Fail) => {
                        return Err(RootfsError::new("open directory", path, Errno::NOTDIR));
                    }
                    (Obstacle::Replace, Missing::Create(attributes)) => {
                        changed.push(position.mtime()?);
                        rustix::fs::unlinkat(position.dir(), Name::new(&name), AtFlags::empty())
                            .map_err(|errno| RootfsError::new("remove", &position.path().join(&name), errno))?;
                        created.push(make(&mut position, &name, attributes)?);
                    }
                },
                Err(errno) => return Err(RootfsError::new("read symlink", path, errno)),
            },
            Err(errno) => return Err(RootfsError::new("open directory", path, errno)),
        }
    }
    let canonical = position.path();
    let dir = position
        .into_dir()
        .map_err(|source| RootfsError::new("open directory", path, source))?;
    Ok(Resolved {
        dir,
        path: canonical,
        created,
        changed,
    })
}

/// Finds where something at `path` is or would be, symlinks at the end followed; makes the directories on the way.
pub(super) fn place(root: &Dir, path: &RootfsPath, attributes: &NewDir) -> Result<Place, RootfsError> {
    let error = |errno: Errno| RootfsError::new("resolve", path, errno);
    let mut position = Position {
        root,
        stack: Vec::new(),
    };
    let mut pending = Pending::new(path);
    let mut created = Vec::new();
    let mut last = None;
    while let Some(name) = pending.components.pop() {
        if name == b".." {
            position.stack.pop();
            continue;
        }
        match position.enter(&name) {
            Ok(()) => {}
            Err(Errno::NOENT) if pending.components.is_empty() => last = Some(name),
            Err(Errno::NOENT) => created.push(make(&mut position, &name, attributes)?),
            Err(Errno::NOTDIR | Errno::LOOP) => match read_link(&position, &name) {
                Ok(target) => follow(&mut position, &mut pending, &target).map_err(error)?,
                Err(Errno::INVAL) if pending.components.is_empty() => last = Some(name),
                Err(Errno::INVAL) => return Err(error(Errno::NOTDIR)),
                Err(errno) => return Err(error(errno)),
            },
            Err(errno) => return Err(error(errno)),
        }
    }
    let canonical = position.path();
    let dir = position
        .into_dir()
        .map_err(|source| RootfsError::new("open directory", path, source))?;
    Ok(Place {
        dir,
        path: canonical,
        name: last,
        created,
    })
}

/// The canonical path of whatever exists at `path`, symlinks at the end followed.
pub(super) fn canonicalize(root: &Dir, path: &RootfsPath) -> Result<RootfsPath, RootfsError> {
    let error = |errno: Errno| RootfsError::new("resolve", path, errno);
    let (position, last) = find(root, path).map_err(error)?;
    Ok(match last {
        Some(name) => position.path().join(&name),
        None => position.path(),
    })
}

/// Opens whatever exists at `path` with `flags`, symlinks at the end followed.
pub(super) fn open_existing(root: &Dir, path: &RootfsPath, flags: OFlags) -> Result<OwnedFd, Errno> {
    let (position, last) = find(root, path)?;
    let name = last.as_deref().unwrap_or(b".");
    rustix::fs::openat(
        position.dir(),
        Name::new(name),
        flags | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// Finds an existing object: its directory and name, or no name when it is a directory itself.
fn find<'r>(root: &'r Dir, path: &RootfsPath) -> Result<(Position<'r>, Option<Vec<u8>>), Errno> {
    let mut position = Position {
        root,
        stack: Vec::new(),
    };
    let mut pending = Pending::new(path);
    while let Some(name) = pending.components.pop() {
        if name == b".." {
            position.stack.pop();
            continue;
        }
        match position.enter(&name) {
            Ok(()) => {}
            Err(Errno::NOTDIR | Errno::LOOP) => match read_link(&position, &name) {
                Ok(target) => follow(&mut position, &mut pending, &target)?,
                Err(Errno::INVAL) if pending.components.is_empty() => return Ok((position, Some(name))),
                Err(Errno::INVAL) => return Err(Errno::NOTDIR),
                Err(errno) => return Err(errno),
            },
            Err(errno) => return Err(errno),
        }
    }
    Ok((position, None))
}

fn read_link(position: &Position<'_>, name: &[u8]) -> Result<Vec<u8>, Errno> {
    Ok(rustix::fs::readlinkat(position.dir(), Name::new(name), Vec::new())?.into_bytes())
}

fn follow(position: &mut Position<'_>, pending: &mut Pending, target: &[u8]) -> Result<(), Errno> {
    if pending.expand(target)? {
        position.stack.clear();
    }
    Ok(())
}

fn make(position: &mut Position<'_>, name: &[u8], attributes: &NewDir) -> Result<RootfsPath, RootfsError> {
    let path = position.path().join(name);
    let error = |source: io::Error| RootfsError::new("create directory", &path, source);
    // Another thread may have made it meanwhile; then it is found, not made.
    match rustix::fs::mkdirat(position.dir(), Name::new(name), Mode::from_raw_mode(attributes.mode)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(error(errno.into())),
    }
    position.enter(name).map_err(|errno| error(errno.into()))?;
    let Some((fd, _)) = position.stack.last() else {
        return Ok(path);
    };
    let dir = Dir::from(fd.try_clone().map_err(error)?);
    dir.set_own_owner(attributes.uid, attributes.gid).map_err(error)?;
    dir.set_own_mode(attributes.mode).map_err(error)?;
    if let Some(mtime) = attributes.mtime {
        dir.set_own_mtime(mtime).map_err(error)?;
    }
    Ok(path)
}
