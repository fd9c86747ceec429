//! Makes one object of an entry, with its content and all its metadata.
//!
//! Everything happens relative to the open directory that holds the object, and nothing is followed.
//! The order is data, owner, xattrs, mode, times: writes and chown clear setuid, setgid and
//! `security.capability`, and every change of content moves the mtime. Directories get their mtime when the
//! stream has ended, deepest first, and so do those that were not in the stream but had a child
//! made or removed: theirs is put back.

use std::fs::File;
use std::io::{self, BufRead};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use rustix::fs::{Gid, Mode, OFlags, Stat, Timestamps, Uid};

use super::attributes::{self, Attributes, XattrWarnings};
use super::content::Content;
use super::directories::Directories;
use super::entry::{Entry, EntryKind};
use super::error::{ApplyError, io_error};
use super::limits;
use super::parents::{Parent, Parents};
use super::read::TarReader;
use super::written::Written;
use crate::cancel::Cancel;
use crate::rootfs::xattr::Xattrs;
use crate::rootfs::{Dir, Kind, Metadata, Missing, Name, NewDir, Obstacle, Rootfs, RootfsPath, Timestamp};
use crate::snapshot::{Fingerprinter, Fingerprints};

/// Where an entry goes.
pub(super) struct Spot {
    pub(super) parent: Rc<Parent>,
    pub(super) name: Vec<u8>,
    /// The path without symlinks.
    pub(super) path: RootfsPath,
}

impl Spot {
    pub(super) fn new(parent: Rc<Parent>, name: Vec<u8>) -> Self {
        let path = parent.path.join(&name);
        Self { parent, name, path }
    }

    fn dir(&self) -> &Dir {
        &self.parent.dir
    }

    fn error(&self, operation: &'static str) -> impl FnOnce(io::Error) -> ApplyError {
        io_error(operation, &self.path)
    }
}

/// Places the entries of one stream in a rootfs.
pub(super) struct Placer<'a> {
    pub(super) rootfs: &'a Rootfs,
    pub(super) fingerprints: &'a mut Fingerprints,
    pub(super) warn: &'a dyn Fn(&str),
    pub(super) cancel: &'a Cancel,
    pub(super) attributes: Attributes,
    pub(super) xattr_warnings: &'a mut XattrWarnings,
    pub(super) written: Written,
    pub(super) unmade: Vec<RootfsPath>,
    parents: Parents,
    directories: Directories,
}

/// What a [`Placer`] needs from outside.
pub(super) struct Surroundings<'a> {
    pub(super) rootfs: &'a Rootfs,
    pub(super) fingerprints: &'a mut Fingerprints,
    pub(super) warn: &'a dyn Fn(&str),
    pub(super) cancel: &'a Cancel,
    pub(super) xattr_warnings: &'a mut XattrWarnings,
}

impl<'a> Placer<'a> {
    pub(super) fn new(surroundings: Surroundings<'a>, attributes: Attributes, written: Written) -> Self {
        let Surroundings {
            rootfs,
            fingerprints,
            warn,
            cancel,
            xattr_warnings,
        } = surroundings;
        Self {
            rootfs,
            fingerprints,
            warn,
            cancel,
            attributes,
            xattr_warnings,
            written,
            unmade: Vec::new(),
            parents: Parents::default(),
            directories: Directories::default(),
        }
    }

    /// The spot of `path`; directories that are missing are made with 0755 root:root and `mtime`.
    pub(super) fn spot(&mut self, parent: &RootfsPath, name: Vec<u8>, mtime: Timestamp) -> Result<Spot, ApplyError> {
        let parent = match self.known_parent(parent) {
            Some(found) => found,
            None => self.make_parent(parent, mtime)?,
        };
        Ok(Spot::new(parent, name))
    }

    /// The spot of `path` if its directory exists.
    pub(super) fn existing_spot(&mut self, parent: &RootfsPath, name: Vec<u8>) -> Result<Option<Spot>, ApplyError> {
        let found = self.existing_parent(parent)?;
        Ok(found.map(|parent| Spot::new(parent, name)))
    }

    /// The directory at `path` if there is one.
    pub(super) fn existing_parent(&mut self, path: &RootfsPath) -> Result<Option<Rc<Parent>>, ApplyError> {
        if let Some(found) = self.known_parent(path) {
            return Ok(Some(found));
        }
        match self.rootfs.resolve_dir(path, Missing::Fail, Obstacle::Fail) {
            Ok(resolved) => {
                let parent = Parent::new(resolved.dir, resolved.path);
                Ok(Some(self.parents.insert(path.clone(), parent)))
            }
            Err(error) if error.is_not_found() || error.source.kind() == io::ErrorKind::NotADirectory => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the object of `entry` at `spot`, replacing what is there. `key` is the path as the entry
    /// writes it, `target` what a hard link links to.
    pub(super) fn place<R: BufRead>(
        &mut self,
        entry: &Entry,
        key: &RootfsPath,
        spot: &Spot,
        tar: &mut TarReader<R>,
    ) -> Result<(), ApplyError> {
        match entry.kind {
            EntryKind::File => self.place_file(entry, spot, tar)?,
            EntryKind::Directory => self.place_directory(entry, key, spot)?,
            EntryKind::Symlink => self.place_symlink(entry, spot)?,
            EntryKind::CharDevice | EntryKind::BlockDevice | EntryKind::Fifo => self.place_node(entry, spot)?,
            // Links need their target resolved first: `place_link`.
            EntryKind::HardLink => {}
        }
        self.written.add(&spot.path);
        Ok(())
    }

    /// Gives the file at `target` the name of `spot` too. Metadata in the entry is not applied: it is the
    /// target's, or a lie about it.
    pub(super) fn place_link(&mut self, target: &RootfsPath, spot: &Spot) -> Result<(), ApplyError> {
        let entry = spot.path.display_absolute();
        let missing = || ApplyError::LinkTargetMissing {
            entry: entry.clone(),
            target: target.display_absolute(),
        };
        let is_directory = || ApplyError::LinkTargetDirectory {
            entry: entry.clone(),
            target: target.display_absolute(),
        };
        let (parent, name) = target.split_last().ok_or_else(is_directory)?;
        let at = self.existing_spot(&parent, name)?.ok_or_else(missing)?;
        self.link_spot(&at, spot, missing, is_directory)
    }

    /// As [`Placer::place_link`], to a file in a directory outside the rootfs.
    pub(super) fn link_spot(
        &mut self,
        target: &Spot,
        spot: &Spot,
        missing: impl FnOnce() -> ApplyError,
        is_directory: impl FnOnce() -> ApplyError,
    ) -> Result<(), ApplyError> {
        let found = target
            .dir()
            .stat(&target.name)
            .map_err(target.error("stat"))?
            .ok_or_else(missing)?;
        if found.is_dir() {
            return Err(is_directory());
        }
        let existing = spot.dir().stat(&spot.name).map_err(spot.error("stat"))?;
        let same = |there: Metadata| (there.device, there.inode) == (found.device, found.inode);
        if !existing.is_some_and(same) {
            self.create(spot, "link", |dir, name| {
                dir.create_hard_link(name, target.dir(), &target.name)
            })?;
        }
        self.written.add(&spot.path);
        Ok(())
    }

    /// Removes whatever is at `spot`, with all below it.
    pub(super) fn remove(&mut self, spot: &Spot) -> Result<(), ApplyError> {
        let Some(existing) = spot.dir().stat(&spot.name).map_err(spot.error("stat"))? else {
            return Ok(());
        };
        self.directories.record(&spot.parent)?;
        spot.dir().remove_all(&spot.name).map_err(spot.error("remove"))?;
        if existing.is_dir() {
            self.directories.forget_below(&spot.path);
        }
        if matches!(existing.kind, Kind::Directory | Kind::Symlink) {
            self.parents.clear();
        }
        Ok(())
    }

    /// Removes everything in a directory that this stream did not write.
    pub(super) fn remove_lower(&mut self, parent: &Rc<Parent>) -> Result<(), ApplyError> {
        let names = parent.dir.names().map_err(io_error("list", &parent.path))?;
        for name in names {
            let spot = Spot::new(Rc::clone(parent), name);
            if !self.written.contains(&spot.path) {
                self.remove(&spot)?;
            } else if let Ok(below) = parent.dir.open_dir(&spot.name) {
                self.remove_lower(&Rc::new(Parent::new(below, spot.path)))?;
            }
        }
        Ok(())
    }

    /// Applies an entry for the root itself, which exists.
    pub(super) fn place_root(&mut self, entry: &Entry) -> Result<(), ApplyError> {
        let path = RootfsPath::root();
        let opened = open_directory(self.rootfs.root(), b".").map_err(io_error("open directory", &path))?;
        self.dress_directory(&Dir::from(opened), &path, entry, Existed::Yes)
    }

    /// Gives directories their final modes and times.
    pub(super) fn finish(&mut self) -> Result<(), ApplyError> {
        self.directories.finish(self.rootfs)
    }

    fn known_parent(&mut self, path: &RootfsPath) -> Option<Rc<Parent>> {
        if let Some(found) = self.parents.get(path) {
            return Some(found);
        }
        // One step down from a directory that is open saves the walk from the root.
        let (above, name) = path.split_last()?;
        let above = self.parents.get(&above)?;
        let dir = above.dir.open_dir(&name).ok()?;
        let parent = Parent::new(dir, above.path.join(&name));
        Some(self.parents.insert(path.clone(), parent))
    }

    fn make_parent(&mut self, path: &RootfsPath, mtime: Timestamp) -> Result<Rc<Parent>, ApplyError> {
        let attributes = NewDir {
            mtime: Some(mtime),
            ..NewDir::default()
        };
        let resolved = self
            .rootfs
            .resolve_dir(path, Missing::Create(&attributes), Obstacle::Replace)?;
        for created in resolved.created {
            self.written.add(&created);
            self.directories.leave(created, mtime, None);
        }
        for (changed, mtime) in resolved.changed {
            self.directories.leave_unless_known(changed, mtime);
        }
        let parent = Parent::new(resolved.dir, resolved.path);
        Ok(self.parents.insert(path.clone(), parent))
    }

    /// Makes something at `spot` with `make`, which fails with `EEXIST` if there is something already.
    fn create<T>(
        &mut self,
        spot: &Spot,
        operation: &'static str,
        make: impl Fn(&Dir, &[u8]) -> io::Result<T>,
    ) -> Result<T, ApplyError> {
        self.directories.record(&spot.parent)?;
        match make(spot.dir(), &spot.name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            answer => return answer.map_err(spot.error(operation)),
        }
        self.remove(spot)?;
        make(spot.dir(), &spot.name).map_err(spot.error(operation))
    }

    fn place_file<R: BufRead>(&mut self, entry: &Entry, spot: &Spot, tar: &mut TarReader<R>) -> Result<(), ApplyError> {
        // Set-id bits wait for the owner; until then the file is nobody else's to run.
        let mode = if entry.mode > 0o777 {
            entry.mode & 0o700
        } else {
            entry.mode
        };
        let file = self.create(spot, "create file", |dir, name| dir.create_file(name, mode))?;
        let content = self.write_content(&file, entry, spot, tar)?;
        let stat = rustix::fs::fstat(&file).map_err(|errno| spot.error("stat")(errno.into()))?;
        let xattrs = self.dress(&file, &stat, entry, &spot.path, entry.mode)?;
        self.set_times(&file, entry, &spot.path)?;
        if let Some(content) = content {
            self.fingerprints.insert(stat.st_ino, content.finish(&xattrs));
        }
        Ok(())
    }

    fn write_content<R: BufRead>(
        &self,
        file: &File,
        entry: &Entry,
        spot: &Spot,
        tar: &mut TarReader<R>,
    ) -> Result<Option<Fingerprinter>, ApplyError> {
        let mut content = Content::default();
        while let Some(piece) = tar.next_piece()? {
            self.cancel.check()?;
            file.write_all_at(piece.bytes, piece.offset)
                .map_err(spot.error("write"))?;
            content.hole_up_to(piece.offset);
            content.data(piece.bytes);
        }
        if content.end() < entry.size {
            file.set_len(entry.size).map_err(spot.error("set size of"))?;
            content.hole_up_to(entry.size);
        }
        Ok(content.into_fingerprinter())
    }

    fn place_directory(&mut self, entry: &Entry, key: &RootfsPath, spot: &Spot) -> Result<(), ApplyError> {
        self.directories.record(&spot.parent)?;
        let mode = entry.mode & 0o777 | 0o700;
        let existed = match spot.dir().create_dir(&spot.name, mode) {
            Ok(()) => Existed::No,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let there = spot.dir().stat(&spot.name).map_err(spot.error("stat"))?;
                if there.is_some_and(|there| there.is_dir()) {
                    Existed::Yes
                } else {
                    self.remove(spot)?;
                    let made = spot.dir().create_dir(&spot.name, mode);
                    made.map_err(spot.error("create directory"))?;
                    Existed::No
                }
            }
            Err(error) => return Err(spot.error("create directory")(error)),
        };
        let opened = open_directory(spot.dir(), &spot.name).map_err(spot.error("open directory"))?;
        let dir = Dir::from(opened);
        self.dress_directory(&dir, &spot.path, entry, existed)?;
        let parent = Parent::new(dir, spot.path.clone());
        parent.recorded.set(true);
        self.parents.insert(key.clone(), parent);
        Ok(())
    }

    /// Applies the metadata of an entry to an open directory; mode and time are completed at the end.
    fn dress_directory(
        &mut self,
        dir: &Dir,
        path: &RootfsPath,
        entry: &Entry,
        existed: Existed,
    ) -> Result<(), ApplyError> {
        if existed == Existed::Yes {
            let stale = dir.xattrs(None).map_err(io_error("list attributes of", path))?;
            for name in stale.keys().filter(|name| !entry.xattrs.contains_key(*name)) {
                dir.remove_xattr(None, name)
                    .map_err(io_error("remove attribute of", path))?;
            }
        }
        let stat = rustix::fs::fstat(dir).map_err(|errno| io_error("stat", path)(errno.into()))?;
        // Children must be possible until the end, for others than root too.
        let mode = entry.mode | 0o700;
        self.dress(dir, &stat, entry, path, mode)?;
        let last_mode = (mode != entry.mode).then_some(entry.mode);
        let mtime = self.attributes.mtime(entry, self.warn);
        self.directories.leave(path.clone(), mtime, last_mode);
        Ok(())
    }

    fn place_symlink(&mut self, entry: &Entry, spot: &Spot) -> Result<(), ApplyError> {
        let length = entry.link.len();
        if length == 0 || length > limits::SYMLINK_TARGET || entry.link.contains(&0) {
            let entry = spot.path.display_absolute();
            return Err(ApplyError::SymlinkTarget { entry, length });
        }
        self.create(spot, "create symlink", |dir, name| {
            dir.create_symlink(name, &entry.link)
        })?;
        let (uid, gid) = self.attributes.owner(entry);
        spot.dir()
            .set_owner(&spot.name, uid, gid)
            .map_err(spot.error("set owner of"))?;
        self.dress_by_name(entry, spot)
    }

    fn place_node(&mut self, entry: &Entry, spot: &Spot) -> Result<(), ApplyError> {
        let Some(kind) = entry.kind.node() else {
            return Ok(());
        };
        self.directories.record(&spot.parent)?;
        self.remove(spot)?;
        match spot
            .dir()
            .create_node(&spot.name, kind, entry.mode & 0o777, entry.device)
        {
            Ok(()) => {}
            // Without CAP_MKNOD, or on a filesystem mounted with `nodev` in a user namespace.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && kind != Kind::Fifo => {
                (self.warn)(&format!(
                    "device node {} is not made: {error}",
                    spot.path.display_absolute()
                ));
                self.unmade.push(spot.path.clone());
                return Ok(());
            }
            Err(error) => return Err(spot.error("create node")(error)),
        }
        let (uid, gid) = self.attributes.owner(entry);
        let there = spot.dir().stat(&spot.name).map_err(spot.error("stat"))?;
        if there.is_none_or(|there| (there.uid, there.gid) != (uid, gid)) {
            spot.dir()
                .set_owner(&spot.name, uid, gid)
                .map_err(spot.error("set owner of"))?;
        }
        if there.is_none_or(|there| there.mode != entry.mode) {
            spot.dir()
                .set_mode(&spot.name, entry.mode)
                .map_err(spot.error("set mode of"))?;
        }
        self.dress_by_name(entry, spot)
    }

    /// Attributes and time of what cannot be opened.
    fn dress_by_name(&mut self, entry: &Entry, spot: &Spot) -> Result<(), ApplyError> {
        let set = |name: &[u8], value: &[u8]| spot.dir().set_xattr(Some(&spot.name), name, value);
        self.set_xattrs(entry, &spot.path, set)?;
        let mtime = self.attributes.mtime(entry, self.warn);
        spot.dir()
            .set_mtime(&spot.name, mtime)
            .map_err(spot.error("set time of"))
    }

    /// Owner, attributes and mode of an open file or directory; only what differs is set.
    fn dress(
        &mut self,
        object: &impl AsFd,
        stat: &Stat,
        entry: &Entry,
        path: &RootfsPath,
        mode: u32,
    ) -> Result<Xattrs, ApplyError> {
        let (uid, gid) = self.attributes.owner(entry);
        if (stat.st_uid, stat.st_gid) != (uid, gid) {
            rustix::fs::fchown(object, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
                .map_err(|errno| io_error("set owner of", path)(errno.into()))?;
        }
        let set = |name: &[u8], value: &[u8]| {
            let flags = rustix::fs::XattrFlags::empty();
            Ok(rustix::fs::fsetxattr(object, Name::new(name), value, flags)?)
        };
        let xattrs = self.set_xattrs(entry, path, set)?;
        // An access list changes the group bits.
        if stat.st_mode & 0o7777 != mode || !xattrs.is_empty() {
            rustix::fs::fchmod(object, Mode::from_raw_mode(mode))
                .map_err(|errno| io_error("set mode of", path)(errno.into()))?;
        }
        Ok(xattrs)
    }

    fn set_times(&self, file: &File, entry: &Entry, path: &RootfsPath) -> Result<(), ApplyError> {
        let mtime = self.attributes.mtime(entry, self.warn);
        let times = Timestamps {
            last_access: mtime.to_timespec(),
            last_modification: mtime.to_timespec(),
        };
        rustix::fs::futimens(file, &times).map_err(|errno| io_error("set time of", path)(errno.into()))?;
        if attributes::filesystem_may_clamp(mtime) {
            let stat = rustix::fs::fstat(file).map_err(|errno| io_error("stat", path)(errno.into()))?;
            if stat.st_mtime != mtime.seconds {
                let path = path.display_absolute();
                (self.warn)(&format!("the filesystem cannot hold the time of {path}, it is changed"));
            }
        }
        Ok(())
    }

    fn set_xattrs(
        &mut self,
        entry: &Entry,
        path: &RootfsPath,
        set: impl Fn(&[u8], &[u8]) -> io::Result<()>,
    ) -> Result<Xattrs, ApplyError> {
        if entry.xattrs.is_empty() {
            return Ok(Xattrs::new());
        }
        self.attributes
            .set_xattrs(entry, path, self.xattr_warnings, self.warn, set)
    }
}

/// Whether a directory was there before its entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Existed {
    Yes,
    No,
}

fn open_directory(parent: &Dir, name: &[u8]) -> io::Result<std::os::fd::OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, Name::new(name), flags, Mode::empty())?)
}
