//! The recorded state of a rootfs, and how it is kept.

use std::collections::HashSet;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::clock::{self, Probed};
use super::record::{DirId, Directory, Entry, ROOT};
use super::scan::{self, Findings, Numbers, Purpose, Scan, io_error};
use super::{Change, ChangeKind, ChangeSet, Fingerprint, Fingerprints};
use crate::cancel::{Cancel, Cancelled};
use crate::rootfs::{Rootfs, RootfsPath};

/// Why a rootfs could not be recorded or compared.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The kernel refused to show something.
    #[error("{operation} {}", path.display_absolute())]
    Io {
        /// The operation as a verb.
        operation: &'static str,
        /// The path inside the rootfs.
        path: RootfsPath,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The probe for the filesystem's clock could not be used.
    #[error("probe the clock of the filesystem at {}", path.display())]
    Probe {
        /// Where the probe should have been.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The build was interrupted.
    #[error("stopped")]
    Cancelled(#[from] Cancelled),
}

/// What a snapshot leaves out, and who does it.
#[derive(Clone, Debug, Default)]
pub struct SnapshotOptions {
    /// Paths that are the builder's own: never entered, never reported, as if they were mount points.
    pub excluded: Vec<RootfsPath>,
    /// Threads that walk; `None` takes as many as there are cores.
    pub threads: Option<NonZeroUsize>,
    /// `SOURCE_DATE_EPOCH`: times after it look alike in a layer, so they are not told apart here.
    pub clamp_mtime: Option<i64>,
}

/// Recorded state of a rootfs, by path.
///
/// It compares by ctime and is therefore worth nothing for a copy of the tree, or after a reboot of
/// the build into another directory: it lives as long as the process.
#[derive(Debug)]
pub struct Index {
    pub(super) options: SnapshotOptions,
    pub(super) root: Entry,
    /// By number; those that are free are empty.
    pub(super) dirs: Vec<Directory>,
    pub(super) numbers: Numbers,
    /// Devices by the number that entries hold.
    pub(super) devices: Vec<(u32, u32)>,
    newest_ctime: i64,
    /// Entries with this ctime or a later one may still change without a new ctime.
    racy_from: Option<i64>,
}

impl Index {
    /// Records the state of `rootfs` by one walk. `fingerprints` are those of the files, as taken while
    /// they were unpacked; all others are taken here.
    ///
    /// # Errors
    /// A directory cannot be listed, or the build was interrupted.
    pub fn build(
        rootfs: &Rootfs,
        fingerprints: &Fingerprints,
        options: SnapshotOptions,
        cancel: &Cancel,
    ) -> Result<Self, SnapshotError> {
        let mut devices = Vec::new();
        let root = root_entry(rootfs, &mut devices)?;
        let newest_ctime = root.ctime;
        let numbers = Numbers {
            free: Vec::new(),
            next: ROOT + 1,
        };
        let mut index = Self {
            options,
            root,
            dirs: vec![Directory::default()],
            numbers,
            devices,
            newest_ctime,
            racy_from: None,
        };
        let findings = index.scan(rootfs, Purpose::Record(fingerprints), cancel)?;
        index.apply(findings);
        Ok(index)
    }

    /// Walks `rootfs` once, says what is not as recorded, and records it.
    ///
    /// Fingerprints of files whose content may have changed are unknown afterwards: [`Index::learn`].
    ///
    /// # Errors
    /// As [`Index::build`]; the record is then as before.
    pub fn diff(&mut self, rootfs: &Rootfs, cancel: &Cancel) -> Result<ChangeSet, SnapshotError> {
        let mut devices = self.devices.clone();
        let mut root = root_entry(rootfs, &mut devices)?;
        root.set_directory(ROOT);
        let root_changed = !self.root.has_attributes_of(&root) || self.root.fingerprint() != root.fingerprint();
        let mut findings = self.scan(rootfs, Purpose::Compare, cancel)?;
        findings.newest_ctime = findings.newest_ctime.max(root.ctime);
        let mut changes = std::mem::take(&mut findings.changes);
        if root_changed {
            changes.push(Change {
                path: RootfsPath::root(),
                kind: ChangeKind::Upsert,
            });
        }
        self.root = root;
        self.apply(findings);
        self.add_other_names(&mut changes);
        Ok(ChangeSet::from_unsorted(changes))
    }

    /// Takes over fingerprints of files that have none; the layer writer takes them, since it reads
    /// every changed file anyway. To be called before the next [`Index::diff`] or [`Index::record`]: after that
    /// the fingerprints may be of content that is gone.
    pub fn learn(&mut self, fingerprints: &Fingerprints) {
        for entry in self.dirs.iter_mut().flat_map(Directory::entries_mut) {
            if entry.fingerprint().is_none() {
                entry.set_fingerprint(fingerprints.get(entry.inode()));
            }
        }
    }

    /// Waits until the filesystem's clock has moved past the newest recorded ctime, so that every
    /// later change shows. To be called before a command starts.
    ///
    /// The kernel stamps files with the time of its last tick, up to 10 ms ago: a file that is
    /// written, recorded and written again within one tick keeps its ctime. The probe, a nameless file in
    /// `probe_dir` (beside the rootfs, on the same filesystem), shows when that tick is over. Since Linux
    /// 6.13 a file whose time was asked for gets a finer stamp on the next change, and the first look
    /// at the probe suffices. Where the clock does not move soon (a granularity of a second on some
    /// network filesystems, a clock that was set back, another filesystem), the newest entries stay
    /// racy: the next walk compares their content.
    ///
    /// # Errors
    /// No file can be made in `probe_dir`.
    pub fn settle(&mut self, probe_dir: &Path) -> Result<(), SnapshotError> {
        let device = self.devices[usize::from(self.root.identity().0)];
        let probed = clock::wait_past(self.newest_ctime, device, probe_dir).map_err(|source| SnapshotError::Probe {
            path: probe_dir.to_owned(),
            source,
        })?;
        self.racy_from = match probed {
            Probed::Later => None,
            Probed::NotLater(now) => Some(now.min(self.newest_ctime)),
            Probed::Elsewhere => Some(self.newest_ctime),
        };
        Ok(())
    }

    /// How many paths are recorded, the root included.
    #[must_use]
    pub fn len(&self) -> usize {
        1 + self.dirs.iter().map(Directory::len).sum::<usize>()
    }

    /// Whether nothing but the root is recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 1
    }

    /// Bytes of memory that the record takes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let contents: usize = self.dirs.iter().map(Directory::heap_bytes).sum();
        contents + self.dirs.capacity() * size_of::<Directory>() + self.numbers.free.capacity() * size_of::<DirId>()
    }

    fn scan(&self, rootfs: &Rootfs, purpose: Purpose<'_>, cancel: &Cancel) -> Result<Findings, SnapshotError> {
        let walk = Scan {
            options: &self.options,
            dirs: &self.dirs,
            racy_from: self.racy_from,
            purpose,
            cancel,
        };
        scan::scan(rootfs, walk, self.numbers.clone(), self.devices.clone())
    }

    fn apply(&mut self, findings: Findings) {
        self.numbers = findings.numbers;
        self.devices = findings.devices;
        for id in findings.removed {
            self.forget(id);
        }
        self.dirs.resize(self.numbers.next as usize, Directory::default());
        for (id, directory) in findings.updates {
            self.dirs[id as usize] = directory;
        }
        self.saw(findings.newest_ctime);
    }

    /// Notes the newest ctime of a walk. Until the clock is known to have moved on, it is racy.
    pub(super) fn saw(&mut self, ctime: i64) {
        self.newest_ctime = self.newest_ctime.max(ctime);
        self.racy_from = Some(self.newest_ctime);
    }

    /// Frees the record of a directory and of those below it.
    pub(super) fn forget(&mut self, id: DirId) {
        let mut pending = vec![id];
        while let Some(id) = pending.pop() {
            let directory = std::mem::take(&mut self.dirs[id as usize]);
            pending.extend(directory.iter().filter_map(|(_, entry)| entry.directory()));
            self.numbers.free.push(id);
        }
    }

    /// Adds the unchanged names of changed files: a layer must hold all names of a file that it
    /// holds, or the links would be lost when it is applied.
    fn add_other_names(&self, changes: &mut Vec<Change>) {
        let upserts = changes.iter().filter(|change| change.kind == ChangeKind::Upsert);
        let changed: HashSet<_> = upserts
            .filter_map(|change| self.entry(&change.path))
            .filter(|entry| entry.has_other_names())
            .map(Entry::identity)
            .collect();
        if changed.is_empty() {
            return;
        }
        self.visit(ROOT, &RootfsPath::root(), &mut |directory, name, entry| {
            if entry.has_other_names() && changed.contains(&entry.identity()) {
                changes.push(Change {
                    path: directory.join(name),
                    kind: ChangeKind::Upsert,
                });
            }
        });
    }

    /// The entry at `path`, which is not the root.
    fn entry(&self, path: &RootfsPath) -> Option<&Entry> {
        let mut id = Some(ROOT);
        let mut found = None;
        for name in path.components() {
            let entry = self.dirs[id? as usize].find(name)?;
            id = entry.directory();
            found = Some(entry);
        }
        found
    }

    fn visit(&self, id: DirId, path: &RootfsPath, each: &mut dyn FnMut(&RootfsPath, &[u8], &Entry)) {
        for (name, entry) in self.dirs[id as usize].iter() {
            each(path, name, entry);
            if let Some(below) = entry.directory() {
                self.visit(below, &path.join(name), each);
            }
        }
    }
}

/// The present state of the root directory itself.
pub(super) fn root_entry(rootfs: &Rootfs, devices: &mut Vec<(u32, u32)>) -> Result<Entry, SnapshotError> {
    let path = RootfsPath::root();
    let metadata = rootfs.root().metadata().map_err(io_error("stat", &path))?;
    let xattrs = rootfs
        .root()
        .xattrs(None)
        .map_err(io_error("read attributes of", &path))?;
    let device = scan::number_of(devices, metadata.device);
    Ok(Entry::new(&metadata, device, Some(Fingerprint::of(b"", &xattrs))))
}
