//! Makes single objects in a rootfs, like others elsewhere.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Gid, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::{Copied, CopyError, Owner};
use crate::cancel::Cancel;
use crate::rootfs::xattr::Xattrs;
use crate::rootfs::{Chmod, Dir, Kind, Metadata, NewDir, Rootfs, RootfsPath, Timestamp};
use crate::snapshot::{Fingerprint, Fingerprinter, Fingerprints};

/// Largest file that is copied through user space, where its fingerprint is taken.
///
/// 512 MiB on ext4 in the page cache: 0.52 s by `copy_file_range`, 0.57 s by read and write, hashing not counted; where
/// the filesystem shares extents the former copies nothing. So few large files go without a fingerprint, and the
/// many small ones keep theirs. Writing the layer reads the large ones anyway.
const FINGERPRINTED: u64 = 1 << 20;

/// Bytes per read and write; larger ones gained nothing.
const BUFFER: usize = 128 << 10;

/// Bytes per `copy_file_range`, so that an interrupt does not wait for a whole file.
const RANGE: usize = 16 << 20;

/// What of the source's metadata is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy<'a> {
    /// Owner of all that is copied; `None` keeps the source's.
    pub owner: Option<Owner>,
    pub chmod: Option<&'a Chmod>,
    pub xattrs: Keep,
    pub sockets: Sockets,
}

/// Whether something of the source is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Keep {
    Yes,
    No,
}

/// A socket has no place in a layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sockets {
    /// Become empty files, as COPY in BuildKit does.
    EmptyFiles,
    /// Are left out.
    Dropped,
}

/// A non-directory of the source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub dir: &'a Dir,
    pub name: &'a [u8],
    pub path: &'a RootfsPath,
    pub metadata: &'a Metadata,
}

/// Where it goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub dir: &'a Dir,
    pub name: &'a [u8],
    /// Canonical.
    pub path: &'a RootfsPath,
}

/// Writes objects and takes note of them.
pub(super) struct Writer<'a> {
    pub rootfs: &'a Rootfs,
    pub policy: Policy<'a>,
    pub fingerprints: &'a mut Fingerprints,
    /// Fingerprints of the source by its inodes, if they are all valid now.
    pub known: Option<&'a Fingerprints>,
    pub cancel: &'a Cancel,
    pub warn: &'a dyn Fn(&str),
    pub copied: Copied,
    /// Shared by the writers that copy parts of one tree.
    pub links: Arc<Links>,
    buffer: Vec<u8>,
    xattrs_refused: bool,
}

/// Device and inode at the source.
type SourceFile = ((u32, u32), u64);

/// Copies of files that have several names at the source.
#[derive(Default)]
pub(super) struct Links {
    /// Held while a name of such a file is made, so that two threads do not copy one file twice.
    turn: Mutex<()>,
    known: Mutex<KnownLinks>,
}

#[derive(Default)]
struct KnownLinks {
    copies: HashMap<SourceFile, Linked>,
    /// Which of them an inode of the rootfs is the copy of.
    sources: HashMap<u64, SourceFile>,
}

/// The copy of a file that has several names at the source.
#[derive(Clone)]
struct Linked {
    path: RootfsPath,
    inode: u64,
}

impl Links {
    fn known(&self) -> MutexGuard<'_, KnownLinks> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, source: SourceFile) -> Option<Linked> {
        self.known().copies.get(&source).cloned()
    }

    fn insert(&self, source: SourceFile, inode: u64, path: &RootfsPath) {
        let linked = Linked {
            path: path.clone(),
            inode,
        };
        let mut known = self.known();
        known.copies.insert(source, linked);
        known.sources.insert(inode, source);
    }

    /// The next file may get the inode number of the one that was removed, and must not be taken for it.
    fn forget(&self, inode: u64, path: &RootfsPath) {
        let mut known = self.known();
        let Some(source) = known.sources.get(&inode).copied() else {
            return;
        };
        if known.copies.get(&source).is_some_and(|linked| linked.path == *path) {
            known.copies.remove(&source);
            known.sources.remove(&inode);
        }
    }
}

/// Metadata of a copy.
#[derive(Clone, Copy, Debug)]
struct Attributes {
    owner: Owner,
    mode: u32,
    mtime: Option<Timestamp>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        rootfs: &'a Rootfs,
        policy: Policy<'a>,
        fingerprints: &'a mut Fingerprints,
        cancel: &'a Cancel,
        warn: &'a dyn Fn(&str),
    ) -> Self {
        Self {
            rootfs,
            policy,
            fingerprints,
            known: None,
            cancel,
            warn,
            copied: Copied::default(),
            links: Arc::default(),
            buffer: Vec::new(),
            xattrs_refused: false,
        }
    }

    /// Copies a file, symlink, device or FIFO over whatever but a directory is at the target.
    pub(super) fn copy(&mut self, entry: Entry<'_>, target: Target<'_>) -> Result<(), CopyError> {
        if entry.metadata.kind == Kind::Socket && self.policy.sockets == Sockets::Dropped {
            return Ok(());
        }
        if entry.metadata.links <= 1 {
            return self.copy_object(entry, target).map(drop);
        }
        let links = Arc::clone(&self.links);
        let _turn = links.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if self.link(entry, target)? {
            return Ok(());
        }
        let inode = self.copy_object(entry, target)?;
        links.insert((entry.metadata.device, entry.metadata.inode), inode, target.path);
        Ok(())
    }

    /// Makes an object like `entry` and returns its inode number.
    fn copy_object(&mut self, entry: Entry<'_>, target: Target<'_>) -> Result<u64, CopyError> {
        let inode = match entry.metadata.kind {
            Kind::File => self.copy_file(entry, target)?,
            Kind::Socket => self.write_file(&[], self.attributes(entry.metadata), target)?,
            Kind::Symlink => self.copy_symlink(entry, target)?,
            Kind::CharDevice | Kind::BlockDevice | Kind::Fifo | Kind::Directory => self.copy_node(entry, target)?,
        };
        self.copied.written.push(target.path.clone());
        Ok(inode)
    }

    /// Writes a file that has no source.
    pub(super) fn write_inline(
        &mut self,
        content: &[u8],
        mtime: Option<Timestamp>,
        target: Target<'_>,
    ) -> Result<(), CopyError> {
        /// Mode of a heredoc without `--chmod`.
        const MODE: u32 = 0o644;
        let attributes = Attributes {
            owner: self.policy.owner.unwrap_or_default(),
            mode: self.policy.chmod.map_or(MODE, |chmod| chmod.apply(MODE, Kind::File)),
            mtime,
        };
        self.write_file(content, attributes, target)?;
        self.copied.written.push(target.path.clone());
        Ok(())
    }

    /// Opens the directory at the target, which is made if nothing is there.
    pub(super) fn directory(&mut self, target: Target<'_>) -> Result<Dir, CopyError> {
        match target.dir.create_dir(target.name, 0o700) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let there = target.dir.stat(target.name);
                let there = there.map_err(|source| CopyError::write("stat", target.path, source))?;
                if there.is_some_and(|there| !there.is_dir()) {
                    return Err(CopyError::NonDirectory {
                        path: target.path.clone(),
                    });
                }
            }
            Err(source) => return Err(CopyError::write("create directory", target.path, source)),
        }
        self.copied.written.push(target.path.clone());
        target
            .dir
            .open_dir(target.name)
            .map_err(|source| CopyError::write("open directory", target.path, source))
    }

    /// Gives a copied directory the metadata of its source; once it is complete, since every entry moves its mtime.
    pub(super) fn finish_directory(
        &mut self,
        from: (&Dir, &Metadata),
        dir: &Dir,
        path: &RootfsPath,
    ) -> Result<(), CopyError> {
        let (source, metadata) = from;
        let attributes = self.attributes(metadata);
        let error = |operation| move |source: io::Error| CopyError::write(operation, path, source);
        dir.set_own_owner(attributes.owner.uid, attributes.owner.gid)
            .map_err(error("chown"))?;
        let wanted = self.source_xattrs(source, None, path)?;
        self.set_xattrs(&wanted, dir, None, path);
        dir.set_own_mtime(metadata.mtime).map_err(error("set the time of"))?;
        // A directory that was there may have attributes of its own, and a new one may inherit an ACL.
        let there = dir.xattrs(None).map_err(error("read the attributes of"))?;
        let inode = dir.metadata().map_err(error("stat"))?.inode;
        // The mode comes last, for it may forbid all that; it moves no mtime.
        dir.set_own_mode(attributes.mode).map_err(error("chmod"))?;
        self.fingerprints.insert(inode, Fingerprint::of(&[], &there));
        Ok(())
    }

    /// Attributes of directories that have to be made on the way to the destination.
    pub(super) fn new_dir(&self, mtime: Option<Timestamp>) -> NewDir {
        let owner = self.policy.owner.unwrap_or_default();
        NewDir {
            mode: self.policy.chmod.map_or(0o755, Chmod::of_created_directories),
            uid: owner.uid,
            gid: owner.gid,
            mtime,
        }
    }

    /// Makes the target another name of an earlier copy of the same file. No if there is none any more.
    fn link(&mut self, entry: Entry<'_>, target: Target<'_>) -> Result<bool, CopyError> {
        let source = (entry.metadata.device, entry.metadata.inode);
        let Some(linked) = self.links.get(source) else {
            return Ok(false);
        };
        let Some((parent, name)) = linked.path.split_last() else {
            return Ok(false);
        };
        let parent = self.rootfs.open_dir(&parent).map_err(CopyError::Write)?;
        // A later source of the same instruction may have replaced the first name.
        let there = parent
            .stat(&name)
            .map_err(|source| CopyError::write("stat", &linked.path, source))?;
        if there.is_none_or(|there| there.inode != linked.inode) {
            return Ok(false);
        }
        if linked.path != *target.path {
            self.replace(target, "link", || {
                target.dir.create_hard_link(target.name, &parent, &name)
            })?;
            self.copied.written.push(target.path.clone());
        }
        Ok(true)
    }

    fn copy_file(&mut self, entry: Entry<'_>, target: Target<'_>) -> Result<u64, CopyError> {
        let from = entry.dir.open_file(entry.name);
        let mut from = from.map_err(|source| CopyError::read("open", entry.path, source))?;
        let mut to = self.replace(target, "create", || target.dir.create_file(target.name, 0o600))?;
        let known = self.known.and_then(|known| known.get(entry.metadata.inode));
        let taken = if entry.metadata.size > FINGERPRINTED || known.is_some() {
            self.copy_range((&mut from, entry.path), (&mut to, target.path))?
        } else {
            Some(self.copy_through((&mut from, entry.path), (&mut to, target.path))?)
        };
        let xattrs = self.source_xattrs(entry.dir, Some(entry.name), entry.path)?;
        self.finish_file(&to, self.attributes(entry.metadata), &xattrs, target, |set| {
            known.or_else(|| taken.map(|taken| taken.finish(set)))
        })
    }

    fn write_file(&mut self, content: &[u8], attributes: Attributes, target: Target<'_>) -> Result<u64, CopyError> {
        let mut to = self.replace(target, "create", || target.dir.create_file(target.name, 0o600))?;
        to.write_all(content)
            .map_err(|source| CopyError::write("write", target.path, source))?;
        self.finish_file(&to, attributes, &Xattrs::new(), target, |set| {
            Some(Fingerprint::of(content, set))
        })
    }

    /// Owner, attributes, mode and times of a complete file, in the order that the kernel's side effects need.
    fn finish_file(
        &mut self,
        file: &File,
        attributes: Attributes,
        xattrs: &Xattrs,
        target: Target<'_>,
        fingerprint: impl FnOnce(&Xattrs) -> Option<Fingerprint>,
    ) -> Result<u64, CopyError> {
        let error = |operation| move |errno: Errno| CopyError::write(operation, target.path, errno);
        let (uid, gid) = (Uid::from_raw(attributes.owner.uid), Gid::from_raw(attributes.owner.gid));
        rustix::fs::fchown(file, Some(uid), Some(gid)).map_err(error("chown"))?;
        let set = self.set_xattrs(xattrs, target.dir, Some(target.name), target.path);
        rustix::fs::fchmod(file, rustix::fs::Mode::from_raw_mode(attributes.mode)).map_err(error("chmod"))?;
        if let Some(mtime) = attributes.mtime {
            let time = Timespec {
                tv_sec: mtime.seconds,
                tv_nsec: mtime.nanoseconds.into(),
            };
            let times = Timestamps {
                last_access: time,
                last_modification: time,
            };
            rustix::fs::futimens(file, &times).map_err(error("set the time of"))?;
        }
        let inode = rustix::fs::fstat(file).map_err(error("stat"))?.st_ino;
        match fingerprint(&set) {
            Some(fingerprint) => self.fingerprints.insert(inode, fingerprint),
            // The number may have belonged to another file before.
            None => self.fingerprints.remove(inode),
        }
        Ok(inode)
    }

    fn copy_symlink(&mut self, entry: Entry<'_>, target: Target<'_>) -> Result<u64, CopyError> {
        let link = entry.dir.read_link(entry.name);
        let link = link.map_err(|source| CopyError::read("read symlink", entry.path, source))?;
        self.replace(target, "create symlink", || {
            target.dir.create_symlink(target.name, &link)
        })?;
        self.finish_other(&link, entry, target)
    }

    fn copy_node(&mut self, entry: Entry<'_>, target: Target<'_>) -> Result<u64, CopyError> {
        let metadata = entry.metadata;
        self.replace(target, "create", || {
            target.dir.create_node(target.name, metadata.kind, 0o600, metadata.rdev)
        })?;
        self.finish_other(&[], entry, target)
    }

    fn finish_other(&mut self, content: &[u8], entry: Entry<'_>, target: Target<'_>) -> Result<u64, CopyError> {
        let error = |operation| move |source: io::Error| CopyError::write(operation, target.path, source);
        let attributes = self.attributes(entry.metadata);
        let Owner { uid, gid } = attributes.owner;
        target.dir.set_owner(target.name, uid, gid).map_err(error("chown"))?;
        let xattrs = self.source_xattrs(entry.dir, Some(entry.name), entry.path)?;
        let set = self.set_xattrs(&xattrs, target.dir, Some(target.name), target.path);
        if entry.metadata.kind != Kind::Symlink {
            target
                .dir
                .set_mode(target.name, attributes.mode)
                .map_err(error("chmod"))?;
        }
        target
            .dir
            .set_mtime(target.name, entry.metadata.mtime)
            .map_err(error("set the time of"))?;
        let there = target.dir.stat(target.name).map_err(error("stat"))?;
        let inode = there.map_or(0, |there| there.inode);
        self.fingerprints.insert(inode, Fingerprint::of(content, &set));
        Ok(inode)
    }

    /// Makes the target with `make`, after removing what is in the way. A directory is never removed.
    fn replace<T>(
        &mut self,
        target: Target<'_>,
        operation: &'static str,
        mut make: impl FnMut() -> io::Result<T>,
    ) -> Result<T, CopyError> {
        let error = |operation| move |source: io::Error| CopyError::write(operation, target.path, source);
        match make() {
            Err(found) if found.kind() == io::ErrorKind::AlreadyExists => {}
            answer => return answer.map_err(error(operation)),
        }
        if let Some(there) = target.dir.stat(target.name).map_err(error("stat"))? {
            if there.is_dir() {
                return Err(CopyError::DirectoryInTheWay {
                    path: target.path.clone(),
                });
            }
            target.dir.remove_file(target.name).map_err(error("remove"))?;
            self.links.forget(there.inode, target.path);
        }
        make().map_err(error(operation))
    }

    fn attributes(&self, metadata: &Metadata) -> Attributes {
        Attributes {
            owner: self.policy.owner.unwrap_or(Owner {
                uid: metadata.uid,
                gid: metadata.gid,
            }),
            mode: match self.policy.chmod {
                Some(chmod) => chmod.apply(metadata.mode, metadata.kind),
                None => metadata.mode,
            },
            mtime: Some(metadata.mtime),
        }
    }

    fn source_xattrs(&self, dir: &Dir, name: Option<&[u8]>, path: &RootfsPath) -> Result<Xattrs, CopyError> {
        match self.policy.xattrs {
            Keep::No => Ok(Xattrs::new()),
            Keep::Yes => dir
                .xattrs(name)
                .map_err(|source| CopyError::read("read the attributes of", path, source)),
        }
    }

    /// Sets attributes as far as the filesystem takes them, and says which it took.
    fn set_xattrs(&mut self, xattrs: &Xattrs, dir: &Dir, name: Option<&[u8]>, path: &RootfsPath) -> Xattrs {
        let mut set = Xattrs::new();
        for (attribute, value) in xattrs {
            match dir.set_xattr(name, attribute, value) {
                Ok(()) => {
                    set.insert(attribute.clone(), value.clone());
                }
                Err(error) if !self.xattrs_refused => {
                    self.xattrs_refused = true;
                    let attribute = attribute.escape_ascii();
                    (self.warn)(&format!(
                        "{}: extended attribute {attribute} was not copied: {error}; further ones are left out silently",
                        path.display_absolute()
                    ));
                }
                Err(_) => {}
            }
        }
        set
    }

    /// Copies content through a buffer and takes its fingerprint.
    fn copy_through(
        &mut self,
        from: (&mut File, &RootfsPath),
        to: (&mut File, &RootfsPath),
    ) -> Result<Fingerprinter, CopyError> {
        let mut fingerprinter = Fingerprinter::default();
        self.buffer.resize(BUFFER, 0);
        loop {
            self.cancel.check()?;
            let read = match from.0.read(&mut self.buffer) {
                Ok(0) => return Ok(fingerprinter),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(CopyError::read("read", from.1, source)),
            };
            fingerprinter.update(&self.buffer[..read]);
            let written = to.0.write_all(&self.buffer[..read]);
            written.map_err(|source| CopyError::write("write", to.1, source))?;
        }
    }

    /// Copies content within the kernel, or as [`Writer::copy_through`] where the kernel will not.
    fn copy_range(
        &mut self,
        from: (&mut File, &RootfsPath),
        to: (&mut File, &RootfsPath),
    ) -> Result<Option<Fingerprinter>, CopyError> {
        let mut copied = 0;
        loop {
            self.cancel.check()?;
            match rustix::fs::copy_file_range(&*from.0, None, &*to.0, None, RANGE) {
                // Some filesystems answer 0 for what they cannot copy; reading on settles it.
                Ok(0) if copied == 0 => return self.copy_through(from, to).map(Some),
                Ok(0) => return Ok(None),
                Ok(count) => copied += count,
                Err(Errno::INTR) => {}
                Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) if copied == 0 => {
                    return self.copy_through(from, to).map(Some);
                }
                Err(errno) => return Err(CopyError::write("write", to.1, errno)),
            }
        }
    }
}
