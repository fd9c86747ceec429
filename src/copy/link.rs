//! `--link`: a copy that is made apart and then laid upon the rootfs, as a layer is.

use std::io;
use std::vec::IntoIter;

use super::destination::{Copier, Dated};
use super::{Copied, CopyError, CopyRequest};
use crate::cancel::Cancel;
use crate::rootfs::{Dir, Metadata, Rootfs, RootfsPath, Timestamp};
use crate::snapshot::Fingerprints;

/// The copies of one COPY or ADD with `--link`: made into an empty root, and laid upon the rootfs together.
///
/// So nothing depends on what is in the rootfs: its symlinks are not followed, what is in the way is replaced, and
/// every directory on the way to the destination gets the metadata of a new one. The root alone stays as it is.
#[derive(Debug)]
pub struct LinkedCopy<'a> {
    apart: &'a Rootfs,
    /// Directories whose time is set when all is copied.
    dated: Dated,
    /// The time of those that were made on the way, if the requests have one.
    made_at: Option<Timestamp>,
}

impl<'a> LinkedCopy<'a> {
    /// Begins with `apart`, which is empty and on the same filesystem as the rootfs. Directories are left in it.
    #[must_use]
    pub const fn new(apart: &'a Rootfs) -> Self {
        Self {
            apart,
            dated: Dated::new(),
            made_at: None,
        }
    }

    /// As [`copy()`](super::copy()), upon what the calls before have made. What is told holds for the rootfs, once this
    /// is laid upon it.
    ///
    /// # Errors
    /// [`CopyError`].
    pub fn copy(
        &mut self,
        request: &CopyRequest<'_>,
        fingerprints: &mut Fingerprints,
        cancel: &Cancel,
        warn: &dyn Fn(&str),
    ) -> Result<Copied, CopyError> {
        let dated = std::mem::take(&mut self.dated);
        let mut copier = Copier::new(request, self.apart, fingerprints, cancel, warn)?.going_on(dated);
        copier.copy_all()?;
        let (mut copied, dated) = copier.finish_apart();
        copied.written.retain(|path| !path.is_root());
        self.dated = dated;
        self.made_at = self.made_at.or(request.created_mtime);
        Ok(copied)
    }

    /// Moves everything onto `rootfs`, as a layer is applied.
    ///
    /// A directory that was made takes the newest time of what is in it, unless the requests have one: two copies of
    /// the same files are the same layer, whenever they are made.
    ///
    /// # Errors
    /// [`CopyError`]; then `rootfs` holds part of the copy.
    pub fn lay_upon(self, rootfs: &Rootfs, fingerprints: &mut Fingerprints, cancel: &Cancel) -> Result<(), CopyError> {
        // Directories come before what is in them.
        for (path, merged) in self.dated.iter().rev() {
            self.settle_time(path, *merged)?;
        }
        let merge = Merge {
            fingerprints,
            cancel,
            stack: Vec::new(),
        };
        merge.run(self.apart, rootfs)
    }

    fn settle_time(&self, path: &RootfsPath, merged: Option<Timestamp>) -> Result<(), CopyError> {
        let dir = self.apart.open_dir(path).map_err(CopyError::Write)?;
        let newest = || {
            let mut newest = Timestamp::from_seconds(0);
            for name in dir.names()? {
                newest = dir.stat(&name)?.map_or(newest, |entry| newest.max(entry.mtime));
            }
            Ok(newest)
        };
        let time = merged.or(self.made_at).map_or_else(newest, Ok);
        time.and_then(|time| dir.set_own_mtime(time))
            .map_err(|source: io::Error| CopyError::write("set the time of", path, source))
    }
}

/// A directory that exists on both sides.
struct Frame {
    from: Dir,
    to: Dir,
    path: RootfsPath,
    /// Of `from`.
    metadata: Metadata,
    names: IntoIter<Vec<u8>>,
}

/// Moves a tree onto another one. Depth is bounded by the longest path, not by the stack.
struct Merge<'a> {
    fingerprints: &'a mut Fingerprints,
    cancel: &'a Cancel,
    stack: Vec<Frame>,
}

impl Merge<'_> {
    fn run(mut self, from: &Rootfs, to: &Rootfs) -> Result<(), CopyError> {
        let path = RootfsPath::root();
        let error = |operation| move |source: io::Error| CopyError::write(operation, &RootfsPath::root(), source);
        let root = to.root();
        let mtime = root.metadata().map_err(error("stat"))?.mtime;
        self.enter(
            from.root().try_clone().map_err(error("open directory"))?,
            root.try_clone().map_err(error("open directory"))?,
            path,
        )?;
        while let Some(frame) = self.stack.last_mut() {
            self.cancel.check()?;
            match frame.names.next() {
                Some(name) => self.visit(&name)?,
                None => self.leave()?,
            }
        }
        // The root only gained and lost names.
        root.set_own_mtime(mtime).map_err(error("set the time of"))
    }

    fn enter(&mut self, from: Dir, to: Dir, path: RootfsPath) -> Result<(), CopyError> {
        let names = from.names().map_err(|source| CopyError::write("list", &path, source))?;
        let metadata = from
            .metadata()
            .map_err(|source| CopyError::write("stat", &path, source))?;
        self.stack.push(Frame {
            from,
            to,
            path,
            metadata,
            names: names.into_iter(),
        });
        Ok(())
    }

    /// Puts the entry `name` of the uppermost frame in its place, or on the stack if both sides have a directory there.
    fn visit(&mut self, name: &[u8]) -> Result<(), CopyError> {
        let Some(frame) = self.stack.last() else {
            return Ok(());
        };
        let path = frame.path.join(name);
        let at = &path;
        let error = |operation| move |source: io::Error| CopyError::write(operation, at, source);
        let is_directory = |dir: &Dir| {
            let there = dir.stat(name).map_err(error("stat"))?;
            Ok::<_, CopyError>(there.map(|there| there.is_dir()))
        };
        match (is_directory(&frame.from)?, is_directory(&frame.to)?) {
            (Some(true), Some(true)) => {
                let from = frame.from.open_dir(name).map_err(error("open directory"))?;
                let to = frame.to.open_dir(name).map_err(error("open directory"))?;
                return self.enter(from, to, path);
            }
            (Some(false), Some(true)) => frame.to.remove_all(name).map_err(error("remove"))?,
            (Some(true), Some(false)) => frame.to.remove_file(name).map_err(error("remove"))?,
            // What is no directory takes the place of what is none.
            (Some(false), Some(false)) | (_, None) | (None, _) => {}
        }
        frame.from.rename(name, &frame.to, name).map_err(error("move"))
    }

    /// Takes the uppermost frame off and gives its directory the metadata of the one that was merged into it.
    fn leave(&mut self) -> Result<(), CopyError> {
        let Some(frame) = self.stack.pop() else {
            return Ok(());
        };
        if frame.path.is_root() {
            return Ok(());
        }
        // Its number will be another file's.
        self.fingerprints.remove(frame.metadata.inode);
        frame
            .dress()
            .map_err(|source| CopyError::write("set the metadata of", &frame.path, source))
    }
}

impl Frame {
    fn dress(&self) -> io::Result<()> {
        let metadata = &self.metadata;
        self.to.set_own_owner(metadata.uid, metadata.gid)?;
        let wanted = self.from.xattrs(None)?;
        for name in self.to.xattrs(None)?.keys().filter(|name| !wanted.contains_key(*name)) {
            self.to.remove_xattr(None, name)?;
        }
        for (name, value) in &wanted {
            self.to.set_xattr(None, name, value)?;
        }
        self.to.set_own_mtime(metadata.mtime)?;
        // The mode comes last, for it may forbid all that; it moves no mtime.
        self.to.set_own_mode(metadata.mode)
    }
}
