//! Keeping the record of paths that somebody says were touched, without a walk.

use std::collections::BTreeMap;

use super::index::root_entry;
use super::record::{DirId, Directory, DirectoryBuilder, Entry, ROOT};
use super::scan::{fingerprint_other, io_error, number_of};
use super::{ChangeKind, ChangeSet, Index, SnapshotError};
use crate::rootfs::{Dir, Kind, Rootfs, RootfsPath};

/// What is known of a name before looking.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Touch {
    /// It, or something below it, was made or altered.
    Present,
    /// It is gone.
    Deleted,
}

/// Touched names by directory.
type Touched = BTreeMap<RootfsPath, BTreeMap<Vec<u8>, Touch>>;

impl Index {
    /// Records the present state of the paths in `changes`, and of the directories above them, without a walk.
    ///
    /// # Errors
    /// What the kernel says of one of the paths; an upsert must exist. The record may then be behind in
    /// parts, which a later [`Index::diff`] puts right.
    pub fn record(&mut self, rootfs: &Rootfs, changes: &ChangeSet) -> Result<(), SnapshotError> {
        let touched = touched(changes);
        let mut devices = std::mem::take(&mut self.devices);
        let root = root_entry(rootfs, &mut devices);
        self.devices = devices;
        self.root = root?;
        self.saw(self.root.ctime);
        let path = RootfsPath::root();
        let dir = rootfs.root().try_clone().map_err(io_error("open directory", &path))?;
        self.record_directory(&path, &dir, ROOT, &touched)
    }

    fn record_directory(
        &mut self,
        path: &RootfsPath,
        dir: &Dir,
        id: DirId,
        touched: &Touched,
    ) -> Result<(), SnapshotError> {
        let Some(names) = touched.get(path) else {
            return Ok(());
        };
        let recorded = std::mem::take(&mut self.dirs[id as usize]);
        let mut builder = DirectoryBuilder::default();
        let mut below = Vec::new();
        let outcome = self.join(path, dir, &recorded, names, &mut builder, &mut below);
        // What an error left out is put back, so that nothing recorded is lost.
        self.dirs[id as usize] = if outcome.is_ok() { builder.take() } else { recorded };
        outcome?;
        for (name, id) in below {
            let path = path.join(&name);
            if touched.contains_key(&path) {
                let dir = dir.open_dir(&name).map_err(io_error("open directory", &path))?;
                self.record_directory(&path, &dir, id, touched)?;
            }
        }
        Ok(())
    }

    /// Goes through the record and the touched names at once, both sorted.
    fn join(
        &mut self,
        path: &RootfsPath,
        dir: &Dir,
        recorded: &Directory,
        names: &BTreeMap<Vec<u8>, Touch>,
        builder: &mut DirectoryBuilder,
        below: &mut Vec<(Vec<u8>, DirId)>,
    ) -> Result<(), SnapshotError> {
        let mut old = recorded.iter().peekable();
        for (name, touch) in names {
            while let Some((name, entry)) = old.next_if(|(old, _)| *old < name.as_slice()) {
                builder.push(name, entry.clone());
            }
            let known = old.next_if(|(old, _)| *old == name.as_slice()).map(|(_, entry)| entry);
            let path = path.join(name);
            if self.options.excluded.contains(&path) {
                if let Some(entry) = known {
                    builder.push(name, entry.clone());
                }
                continue;
            }
            if *touch == Touch::Deleted {
                self.forget_below(known, None);
                continue;
            }
            let entry = self.present(&path, dir, name, known)?;
            below.extend(entry.directory().map(|id| (name.clone(), id)));
            builder.push(name, entry);
        }
        for (name, entry) in old {
            builder.push(name, entry.clone());
        }
        Ok(())
    }

    fn present(
        &mut self,
        path: &RootfsPath,
        dir: &Dir,
        name: &[u8],
        known: Option<&Entry>,
    ) -> Result<Entry, SnapshotError> {
        let metadata = dir.stat(name).map_err(io_error("stat", path))?;
        let metadata = metadata.ok_or_else(|| io_error("stat", path)(std::io::ErrorKind::NotFound.into()))?;
        let device = number_of(&mut self.devices, metadata.device);
        let fingerprint = match metadata.kind {
            Kind::File => None,
            kind => Some(fingerprint_other(dir, name, kind).map_err(io_error("read attributes of", path))?),
        };
        let mut entry = Entry::new(&metadata, device, fingerprint);
        self.saw(entry.ctime);
        self.forget_below(known, Some(&entry));
        if entry.is_dir() {
            let id = known.and_then(Entry::directory).unwrap_or_else(|| self.new_directory());
            entry.set_directory(id);
        }
        Ok(entry)
    }

    /// Forgets what is below a directory that is none any more.
    fn forget_below(&mut self, old: Option<&Entry>, new: Option<&Entry>) {
        if let Some(id) = old.and_then(Entry::directory)
            && !new.is_some_and(Entry::is_dir)
        {
            self.forget(id);
        }
    }

    fn new_directory(&mut self) -> DirId {
        let id = self.numbers.take();
        if self.dirs.len() <= id as usize {
            self.dirs.resize(id as usize + 1, Directory::default());
        }
        id
    }
}

fn touched(changes: &ChangeSet) -> Touched {
    let mut touched = Touched::new();
    for change in changes {
        let mut path = change.path.clone();
        let mut touch = match change.kind {
            ChangeKind::Upsert => Touch::Present,
            ChangeKind::Delete => Touch::Deleted,
        };
        while let Some((parent, name)) = path.split_last() {
            let known = touched.entry(parent.clone()).or_default().insert(name, touch);
            if known == Some(Touch::Present) {
                // All above it is noted already.
                break;
            }
            path = parent;
            touch = Touch::Present;
        }
    }
    touched
}
