//! The walk: all directories of a rootfs in parallel, each compared with its record by a merge join.
//!
//! Per directory one `open` and its `getdents64`, per entry one `statx`; nothing else for what is
//! unchanged. Directories wait on a shared stack, so that the walk goes deep before it goes wide and only
//! few parents are open at a time. Workers read the record and collect what differs; it is
//! applied when all are done, so an interrupted walk leaves the record as it was.

use std::io::{self, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::record::{DirId, Directory, DirectoryBuilder, Entry, ROOT};
use super::{Change, ChangeKind, Fingerprint, Fingerprinter, Fingerprints, SnapshotError, SnapshotOptions};
use crate::cancel::Cancel;
use crate::rootfs::{Dir, Kind, Metadata, Rootfs, RootfsPath};

/// What a walk looks at besides the rootfs.
#[derive(Clone, Copy)]
pub(super) struct Scan<'a> {
    pub(super) options: &'a SnapshotOptions,
    /// The recorded directories by their number.
    pub(super) dirs: &'a [Directory],
    /// Recorded entries from this ctime on may have been changed without a trace.
    pub(super) racy_from: Option<i64>,
    pub(super) purpose: Purpose<'a>,
    pub(super) cancel: &'a Cancel,
}

/// Why the walk is made.
#[derive(Clone, Copy)]
pub(super) enum Purpose<'a> {
    /// To record a rootfs for the first time; nobody asks for changes.
    Record(&'a Fingerprints),
    /// To find changes.
    Compare,
}

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) changes: Vec<Change>,
    /// New contents of directories that are not as recorded.
    pub(super) updates: Vec<(DirId, Directory)>,
    /// Records of directories that are gone; those of directories below them are not listed.
    pub(super) removed: Vec<DirId>,
    /// Names of directories that became used, and what stays free.
    pub(super) numbers: Numbers,
    pub(super) devices: Vec<(u32, u32)>,
    pub(super) newest_ctime: i64,
}

/// Numbers for new directories.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers {
    pub(super) free: Vec<DirId>,
    pub(super) next: DirId,
}

impl Numbers {
    pub(super) fn take(&mut self) -> DirId {
        self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        })
    }
}

/// A directory that waits for its turn.
struct Job {
    parent: Arc<Dir>,
    name: Box<[u8]>,
    path: RootfsPath,
    id: DirId,
    /// What it is compared with.
    baseline: Baseline,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Baseline {
    /// Its record.
    Recorded,
    /// Its record, which holds all its names: every name that comes or goes moves the ctime of its
    /// directory, and that stayed. So the directory need not be listed, which is a sixth of the walk.
    RecordedNames,
    /// Nothing: it is new, and so is everything in it.
    Empty,
}

/// What the workers share.
struct Shared<'a> {
    scan: Scan<'a>,
    root: Metadata,
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Devices in the order of their first appearance; entries hold the position.
    devices: Mutex<Vec<(u32, u32)>>,
}

struct Queue {
    jobs: Vec<Job>,
    /// Jobs that wait or are worked on; none left means the walk is over.
    open: usize,
    numbers: Numbers,
    failed: Option<SnapshotError>,
}

/// Walks all of `rootfs`.
pub(super) fn scan(
    rootfs: &Rootfs,
    scan: Scan<'_>,
    numbers: Numbers,
    devices: Vec<(u32, u32)>,
) -> Result<Findings, SnapshotError> {
    let path = RootfsPath::root();
    let root_dir = rootfs.root().try_clone().map_err(io_error("open directory", &path))?;
    let root = root_dir.metadata().map_err(io_error("stat", &path))?;
    let first = Job {
        parent: Arc::new(root_dir),
        name: b".".as_slice().into(),
        path,
        id: ROOT,
        baseline: Baseline::Recorded,
    };
    let shared = Shared {
        scan,
        root,
        queue: Mutex::new(Queue {
            jobs: vec![first],
            open: 1,
            numbers,
            failed: None,
        }),
        wake: Condvar::new(),
        devices: Mutex::new(devices),
    };
    let mut all = run_workers(&shared);
    let queue = shared.queue.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = queue.failed {
        return Err(error);
    }
    all.numbers = queue.numbers;
    all.devices = shared.devices.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(all)
}

fn run_workers(shared: &Shared<'_>) -> Findings {
    let threads = shared.scan.options.threads.map_or_else(
        || thread::available_parallelism().map_or(1, std::num::NonZero::get),
        std::num::NonZero::get,
    );
    thread::scope(|scope| {
        let work = || Worker::new(shared).run();
        // The calling thread works too; where the system gives no more threads it works alone.
        let others: Vec<_> = (1..threads)
            .filter_map(|_| {
                thread::Builder::new()
                    .name("scan".to_owned())
                    .spawn_scoped(scope, work)
                    .ok()
            })
            .collect();
        let mut all = work();
        for other in others {
            let findings = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            all.changes.extend(findings.changes);
            all.updates.extend(findings.updates);
            all.removed.extend(findings.removed);
            all.newest_ctime = all.newest_ctime.max(findings.newest_ctime);
        }
        all
    })
}

impl Shared<'_> {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_job(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            if queue.failed.is_some() || queue.open == 0 {
                return None;
            }
            match queue.jobs.pop() {
                Some(job) => return Some(job),
                None => queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Ends a job: its subdirectories wait from now on.
    fn finish(&self, outcome: Result<Vec<Job>, SnapshotError>) {
        let mut queue = self.lock();
        match outcome {
            Ok(jobs) => {
                queue.open += jobs.len();
                queue.jobs.extend(jobs);
            }
            Err(error) => {
                queue.failed.get_or_insert(error);
            }
        }
        queue.open -= 1;
        if queue.open == 0 || queue.failed.is_some() || queue.jobs.len() > 1 {
            self.wake.notify_all();
        } else {
            self.wake.notify_one();
        }
    }

    /// Whether `metadata` belongs to something mounted into the rootfs.
    fn is_foreign(&self, metadata: &Metadata) -> bool {
        if self.root.mount != 0 && metadata.mount != 0 {
            return metadata.mount != self.root.mount;
        }
        // Before Linux 5.8 there is only the device; overlay shows files with that of their layer.
        metadata.is_dir() && metadata.device != self.root.device
    }
}

/// One thread of the walk, with buffers that it uses again for every directory.
struct Worker<'a> {
    shared: &'a Shared<'a>,
    names: Vec<u8>,
    /// Where each name is in `names`; sorted by name.
    ranges: Vec<(u32, u32)>,
    builder: DirectoryBuilder,
    /// The device seen last and its number: nearly always the only one.
    device: Option<((u32, u32), u16)>,
    findings: Findings,
}

/// The directory being worked on.
struct Current<'j> {
    dir: Arc<Dir>,
    path: &'j RootfsPath,
    /// Names in it that are left out.
    excluded: Vec<&'j [u8]>,
    subdirs: Vec<Job>,
    /// Whether the record must be replaced.
    differs: Differs,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Differs {
    No,
    Yes,
}

impl<'a> Worker<'a> {
    fn new(shared: &'a Shared<'a>) -> Self {
        Self {
            shared,
            names: Vec::new(),
            ranges: Vec::new(),
            builder: DirectoryBuilder::default(),
            device: None,
            findings: Findings {
                newest_ctime: i64::MIN,
                ..Findings::default()
            },
        }
    }

    fn run(mut self) -> Findings {
        while let Some(job) = self.shared.next_job() {
            let outcome = self.work(&job);
            self.shared.finish(outcome);
        }
        self.findings
    }

    fn work(&mut self, job: &Job) -> Result<Vec<Job>, SnapshotError> {
        let scan = self.shared.scan;
        scan.cancel.check()?;
        let dir = self.list(job)?;
        let excluded = scan.options.excluded.iter().filter_map(|path| {
            let name = path.name()?;
            path.parent().filter(|parent| *parent == job.path).map(|_| name)
        });
        let mut current = Current {
            dir: Arc::new(dir),
            path: &job.path,
            excluded: excluded.collect(),
            subdirs: Vec::new(),
            differs: Differs::No,
        };
        let empty = Directory::default();
        let recorded = match job.baseline {
            Baseline::Recorded | Baseline::RecordedNames => scan.dirs.get(job.id as usize).unwrap_or(&empty),
            Baseline::Empty => {
                current.differs = Differs::Yes;
                &empty
            }
        };
        self.join(&mut current, recorded)?;
        match current.differs {
            Differs::Yes => self.findings.updates.push((job.id, self.builder.take())),
            Differs::No => self.builder.clear(),
        }
        Ok(current.subdirs)
    }

    fn list(&mut self, job: &Job) -> Result<Dir, SnapshotError> {
        let (names, ranges) = (&mut self.names, &mut self.ranges);
        names.clear();
        ranges.clear();
        let mut add = |name: &[u8]| {
            let start = names.len();
            names.extend_from_slice(name);
            ranges.push((start as u32, names.len() as u32));
        };
        if let (Baseline::RecordedNames, Some(recorded)) = (job.baseline, self.shared.scan.dirs.get(job.id as usize)) {
            recorded.iter().for_each(|(name, _)| add(name));
            return job
                .parent
                .open_dir(&job.name)
                .map_err(io_error("open directory", &job.path));
        }
        let dir = job
            .parent
            .list_dir(&job.name, add)
            .map_err(io_error("list directory", &job.path))?;
        let name = |&(start, end): &(u32, u32)| &names[start as usize..end as usize];
        ranges.sort_unstable_by(|a, b| name(a).cmp(name(b)));
        Ok(dir)
    }

    /// Goes through the sorted names and the sorted record at once.
    fn join(&mut self, current: &mut Current<'_>, recorded: &Directory) -> Result<(), SnapshotError> {
        let names = std::mem::take(&mut self.names);
        let ranges = std::mem::take(&mut self.ranges);
        let mut at = 0;
        for &(start, end) in &ranges {
            let name = &names[start as usize..end as usize];
            while at < recorded.len() && recorded.name(at) < name {
                self.gone(current, recorded, at);
                at += 1;
            }
            let old = recorded.entry(at).filter(|_| recorded.name(at) == name);
            self.present(current, name, old)?;
            at += usize::from(old.is_some());
        }
        for at in at..recorded.len() {
            self.gone(current, recorded, at);
        }
        self.names = names;
        self.ranges = ranges;
        Ok(())
    }

    /// A recorded name that is there no more.
    fn gone(&mut self, current: &mut Current<'_>, recorded: &Directory, at: usize) {
        let (name, Some(old)) = (recorded.name(at), recorded.entry(at)) else {
            return;
        };
        if current.excluded.contains(&name) {
            self.builder.push(name, old.clone());
            return;
        }
        current.differs = Differs::Yes;
        self.findings.removed.extend(old.directory());
        // No layer ever held a socket.
        if old.kind() != Kind::Socket {
            self.report(current.path.join(name), ChangeKind::Delete);
        }
    }

    /// A name that is there, and what is recorded of it.
    fn present(&mut self, current: &mut Current<'_>, name: &[u8], old: Option<&Entry>) -> Result<(), SnapshotError> {
        if current.excluded.contains(&name) {
            self.keep(name, old);
            return Ok(());
        }
        let stat = current.dir.stat(name);
        let Some(metadata) = stat.map_err(|source| io_error("stat", &current.path.join(name))(source))? else {
            // Removed since it was listed: somebody is still at work. What is recorded of it stays, so
            // that the next walk reports it.
            self.keep(name, old);
            return Ok(());
        };
        if self.shared.is_foreign(&metadata) {
            self.keep(name, old);
            return Ok(());
        }
        let device = self.device_number(metadata.device);
        let mut new = Entry::new(&metadata, device, None);
        let mut baseline = Baseline::Recorded;
        self.findings.newest_ctime = self.findings.newest_ctime.max(new.ctime);
        match old {
            Some(old) if old.looks_like(&new) && !self.is_racy(old) => {
                new = old.clone();
                baseline = Baseline::RecordedNames;
            }
            Some(old) => self.look_closer(current, name, old, &mut new)?,
            None => {
                current.differs = Differs::Yes;
                let path = || current.path.join(name);
                let fingerprint = self.first_fingerprint(&current.dir, name, &new);
                new.set_fingerprint(fingerprint.map_err(|source| io_error("read", &path())(source))?);
                if matches!(self.shared.scan.purpose, Purpose::Compare) {
                    self.report(path(), ChangeKind::Upsert);
                }
            }
        }
        if new.is_dir() {
            self.descend(current, name, old.map(|old| (old, baseline)), &mut new);
        }
        self.builder.push(name, new);
        Ok(())
    }

    fn keep(&mut self, name: &[u8], old: Option<&Entry>) {
        if let Some(old) = old {
            self.builder.push(name, old.clone());
        }
    }

    fn is_racy(&self, old: &Entry) -> bool {
        self.shared.scan.racy_from.is_some_and(|from| old.ctime >= from)
    }

    /// Something about the inode is not as recorded; finds out whether it matters to the image.
    fn look_closer(
        &mut self,
        current: &mut Current<'_>,
        name: &[u8],
        old: &Entry,
        new: &mut Entry,
    ) -> Result<(), SnapshotError> {
        current.differs = Differs::Yes;
        let path = current.path.join(name);
        let same_metadata = self.has_same_metadata(old, new);
        let fingerprint = match new.kind() {
            // Reading a file is worth it only where that can still save it from the layer.
            Kind::File if !same_metadata || old.fingerprint().is_none() => None,
            Kind::File => Some(self.fingerprint_file(&current.dir, name, &path)?),
            _ => fingerprint_other(&current.dir, name, new.kind())
                .map(Some)
                .map_err(io_error("read", &path))?,
        };
        new.set_fingerprint(fingerprint);
        if old.directory().is_some() && !new.is_dir() {
            self.findings.removed.extend(old.directory());
        }
        let unchanged = same_metadata && fingerprint.is_some() && fingerprint == old.fingerprint();
        match (old.kind(), new.kind()) {
            (Kind::Socket, Kind::Socket) => {}
            // A layer has no entry for the socket that now hides the old object.
            (_, Kind::Socket) => self.report(path, ChangeKind::Delete),
            _ if unchanged => {}
            _ => self.report(path, ChangeKind::Upsert),
        }
        Ok(())
    }

    /// Whether everything that an image keeps besides content and attributes is the same.
    fn has_same_metadata(&self, old: &Entry, new: &Entry) -> bool {
        if !old.has_attributes_of(new) {
            return false;
        }
        if new.is_dir() {
            // The mtime of a directory follows from its children.
            return true;
        }
        // Another inode may have another set of names; that the names did not change can no longer be told.
        let linked = old.has_other_names() || new.has_other_names();
        let same_group = old.identity() == new.identity() || !linked;
        let mtime = |entry: &Entry| match (self.shared.scan.options.clamp_mtime, entry.mtime()) {
            (Some(epoch), (seconds, _)) if seconds >= epoch => (epoch, 0),
            (_, mtime) => mtime,
        };
        same_group && mtime(old) == mtime(new)
    }

    /// Of an object that was not recorded: whatever costs no reading of content.
    fn first_fingerprint(&self, dir: &Dir, name: &[u8], new: &Entry) -> io::Result<Option<Fingerprint>> {
        match (new.kind(), self.shared.scan.purpose) {
            (Kind::File, Purpose::Record(fingerprints)) => Ok(fingerprints.get(new.inode())),
            (Kind::File, Purpose::Compare) => Ok(None),
            (kind, _) => fingerprint_other(dir, name, kind).map(Some),
        }
    }

    fn fingerprint_file(&self, dir: &Dir, name: &[u8], path: &RootfsPath) -> Result<Fingerprint, SnapshotError> {
        const BUFFER: usize = 128 << 10;
        let mut file = dir.open_file(name).map_err(io_error("open", path))?;
        let mut fingerprinter = Fingerprinter::default();
        let mut buffer = vec![0; BUFFER];
        loop {
            self.shared.scan.cancel.check()?;
            match file.read(&mut buffer).map_err(io_error("read", path))? {
                0 => break,
                count => fingerprinter.update(&buffer[..count]),
            }
        }
        let xattrs = dir.xattrs(Some(name)).map_err(io_error("read attributes of", path))?;
        Ok(fingerprinter.finish(&xattrs))
    }

    /// Lets the subdirectory wait for its turn.
    /// Queues a subdirectory; `old` is its record and what of that holds.
    fn descend(&mut self, current: &mut Current<'_>, name: &[u8], old: Option<(&Entry, Baseline)>, new: &mut Entry) {
        let (id, baseline) = match old.and_then(|(old, baseline)| Some((old.directory()?, baseline))) {
            Some(recorded) => recorded,
            None => (self.shared.lock().numbers.take(), Baseline::Empty),
        };
        new.set_directory(id);
        current.subdirs.push(Job {
            parent: Arc::clone(&current.dir),
            name: name.into(),
            path: current.path.join(name),
            id,
            baseline,
        });
    }

    fn report(&mut self, path: RootfsPath, kind: ChangeKind) {
        self.findings.changes.push(Change { path, kind });
    }

    fn device_number(&mut self, device: (u32, u32)) -> u16 {
        match self.device {
            Some((last, number)) if last == device => number,
            _ => {
                let mut devices = self.shared.devices.lock().unwrap_or_else(PoisonError::into_inner);
                let number = number_of(&mut devices, device);
                self.device = Some((device, number));
                number
            }
        }
    }
}

/// The number of `device` among `devices`, which it joins if it is new.
pub(super) fn number_of(devices: &mut Vec<(u32, u32)>, device: (u32, u32)) -> u16 {
    let position = devices.iter().position(|known| *known == device).unwrap_or_else(|| {
        devices.push(device);
        devices.len() - 1
    });
    // One filesystem shows a handful of devices. Were there more than 65,536, the last ones would be
    // told apart by inode and ctime alone.
    u16::try_from(position).unwrap_or(u16::MAX)
}

/// The fingerprint of anything but a file: cheap, since there is no content to be read.
pub(super) fn fingerprint_other(dir: &Dir, name: &[u8], kind: Kind) -> io::Result<Fingerprint> {
    let content = match kind {
        Kind::Symlink => dir.read_link(name)?,
        _ => Vec::new(),
    };
    Ok(Fingerprint::of(&content, &dir.xattrs(Some(name))?))
}

pub(super) fn io_error<'p>(
    operation: &'static str,
    path: &'p RootfsPath,
) -> impl FnOnce(io::Error) -> SnapshotError + 'p {
    move |source| SnapshotError::Io {
        operation,
        path: path.clone(),
        source,
    }
}
