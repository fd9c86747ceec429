//! Copies a whole rootfs, for a stage that several others start from.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::CopyError;
use super::tree::{self, Directory, Division, Filter, From, Top};
use super::write::{Keep, Links, Policy, Sockets, Writer};
use crate::cancel::Cancel;
use crate::rootfs::{Dir, Metadata, Rootfs, RootfsPath};
use crate::snapshot::Fingerprints;

/// Threads that copy. Most of the work is the kernel's, which makes files in different directories at once: 5,400 files
/// of 122 MB on two busy cores took 1.25 s with one thread and 0.93 s with two (medians of five, in turn).
const THREADS: usize = 2;

/// Directories that lie so deep are shared out: in a Debian some 3,000 of very different size.
const DEPTH: usize = 3;

/// Makes `to`, which is empty, equal to `from`: content, owners, modes, attributes, hard links, devices and times, of
/// the root too. Sockets are left out; no layer can hold them. Mounts are not entered.
///
/// Fingerprints of `from` must all be valid now; they become those of the copies.
///
/// # Errors
/// [`CopyError`]; then `to` holds part of the copy.
pub fn copy_tree(
    from: (&Rootfs, &Fingerprints),
    to: (&Rootfs, &mut Fingerprints),
    cancel: &Cancel,
    warn: &(dyn Fn(&str) + Sync),
) -> Result<(), CopyError> {
    let root = Directory {
        metadata: root_metadata(from.0)?,
        path: RootfsPath::root(),
    };
    let whole = Whole {
        mount: root.metadata.mount,
        from: from.0,
        known: from.1,
        to: to.0,
        links: Arc::default(),
        cancel,
        warn,
    };
    let division = whole.copy_top(&root, to.1)?;
    let shares = whole.copy_rest(Mutex::new(division.left))?;
    for share in shares {
        to.1.absorb(share);
    }
    whole.finish(&division.unfinished, to.1)
}

/// What all threads share.
struct Whole<'a> {
    from: &'a Rootfs,
    known: &'a Fingerprints,
    to: &'a Rootfs,
    /// The one that `from` is on.
    mount: u64,
    links: Arc<Links>,
    cancel: &'a Cancel,
    warn: &'a (dyn Fn(&str) + Sync),
}

impl<'a> Whole<'a> {
    fn writer<'w>(&'w self, fingerprints: &'w mut Fingerprints) -> Writer<'w> {
        let policy = Policy {
            owner: None,
            chmod: None,
            xattrs: Keep::Yes,
            sockets: Sockets::Dropped,
        };
        let mut writer = Writer::new(self.to, policy, fingerprints, self.cancel, self.warn);
        writer.known = Some(self.known);
        writer.links = Arc::clone(&self.links);
        writer
    }

    /// Copies what lies above [`DEPTH`].
    fn copy_top(&self, root: &Directory, fingerprints: &mut Fingerprints) -> Result<Division, CopyError> {
        let mut division = Division {
            depth: DEPTH,
            left: Vec::new(),
            unfinished: Vec::new(),
        };
        self.merge(&mut self.writer(fingerprints), root, Some(&mut division))?;
        Ok(division)
    }

    /// Copies the directories in `queue`, and returns the fingerprints that each thread took.
    fn copy_rest(&self, queue: Mutex<Vec<Directory>>) -> Result<Vec<Fingerprints>, CopyError> {
        let queue = &queue;
        let next = move || queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let work = || {
            let mut fingerprints = Fingerprints::default();
            let mut writer = self.writer(&mut fingerprints);
            while let Some(directory) = next() {
                // The others find nothing more to do after an error.
                self.merge(&mut writer, &directory, None)
                    .inspect_err(|_| queue.lock().unwrap_or_else(PoisonError::into_inner).clear())?;
            }
            drop(writer);
            Ok(fingerprints)
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (1..THREADS).map(|_| scope.spawn(work)).collect();
            let own = work();
            let others = threads.into_iter().map(|thread| match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            std::iter::once(own).chain(others.collect::<Vec<_>>()).collect()
        })
    }

    /// Gives the directories above [`DEPTH`] their metadata.
    fn finish(&self, directories: &[Directory], fingerprints: &mut Fingerprints) -> Result<(), CopyError> {
        let mut writer = self.writer(fingerprints);
        for directory in directories {
            let (from, to) = self.open(directory)?;
            writer.finish_directory((&from, &directory.metadata), &to, &directory.path)?;
        }
        Ok(())
    }

    fn merge(
        &self,
        writer: &mut Writer<'_>,
        directory: &Directory,
        division: Option<&mut Division>,
    ) -> Result<(), CopyError> {
        let (from, to) = self.open(directory)?;
        let source = From {
            dir: from,
            path: &directory.path,
            metadata: directory.metadata,
            mount: Some(self.mount),
        };
        let target = (to, directory.path.clone());
        tree::merge(writer, Filter::default(), source, target, Top::All, division)?;
        // Nobody asks for the paths, and there may be millions.
        writer.copied.written.clear();
        Ok(())
    }

    /// A directory in both trees.
    fn open(&self, directory: &Directory) -> Result<(Dir, Dir), CopyError> {
        let from = self.from.open_dir(&directory.path).map_err(CopyError::Read)?;
        let to = self.to.open_dir(&directory.path).map_err(CopyError::Write)?;
        Ok((from, to))
    }
}

fn root_metadata(rootfs: &Rootfs) -> Result<Metadata, CopyError> {
    let metadata = rootfs.root().metadata();
    metadata.map_err(|source| CopyError::read("stat", &RootfsPath::root(), source))
}
