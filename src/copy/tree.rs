//! Merges a directory of the source into one of the destination.
//!
//! Depth is bounded by the heap and by the longest path, not by the stack: the source is untrusted.

use std::vec::IntoIter;

use super::write::{Entry, Target, Writer};
use super::{CopyError, RootfsPath};
use crate::context::pattern::Pattern;
use crate::context::{Hits, IgnorePatterns};
use crate::rootfs::{Dir, Metadata, ObjectId};

/// `PATH_MAX` of Linux.
const LONGEST_PATH: usize = 4096;

/// Which entries of a tree are copied.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Filter<'a> {
    /// The ignore file leaves out; from the root of the context.
    pub ignore: Option<&'a IgnorePatterns>,
    /// `--exclude` leaves out; from the directory that is copied.
    pub exclude: Option<&'a IgnorePatterns>,
    /// Nothing is copied but what matches, with all below it; from the directory that is copied.
    pub only: Option<&'a Pattern>,
    /// Not there, for a copy.
    pub hidden: &'a [ObjectId],
}

impl Filter<'_> {
    /// Whether an entry is taken, if the directory that holds it is not.
    fn selects(&self, relative: &RootfsPath) -> bool {
        self.only.is_none_or(|only| only.matches(relative.as_bytes()))
    }

    /// Whether something below a directory that is not taken may be.
    fn may_select_below(&self, relative: &RootfsPath) -> bool {
        self.only.is_none_or(|only| only.may_match_below(relative.as_bytes()))
    }
}

/// A directory of the source.
#[derive(Debug)]
pub(super) struct From<'a> {
    pub dir: Dir,
    pub path: &'a RootfsPath,
    pub metadata: Metadata,
    /// Mount that the copy stays on; `None` crosses mounts.
    pub mount: Option<u64>,
}

/// What becomes of the metadata of the directory that the source is merged into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Top {
    /// It keeps its owner and mode, and takes the source's mtime; as BuildKit does.
    MtimeOnly,
    /// It becomes like the source.
    All,
}

/// How a tree is divided among threads: directories at `depth` are made and left to others, and those above cannot
/// be finished before them.
#[derive(Debug)]
pub(super) struct Division {
    pub depth: usize,
    pub left: Vec<Directory>,
    pub unfinished: Vec<Directory>,
}

/// A directory of the source and its path in both trees, should that be the same.
#[derive(Debug)]
pub(super) struct Directory {
    pub path: RootfsPath,
    pub metadata: Metadata,
}

/// A directory that is being copied.
struct Frame {
    source: Dir,
    metadata: Metadata,
    source_path: RootfsPath,
    /// Path below the directory that is copied.
    relative: RootfsPath,
    sieve: Sieve,
    names: IntoIter<Vec<u8>>,
    /// `None` while nothing of a directory that is itself left out was copied.
    target: Option<Dir>,
    target_path: RootfsPath,
}

impl Frame {
    fn into_directory(self) -> Directory {
        Directory {
            path: self.source_path,
            metadata: self.metadata,
        }
    }
}

/// What the filter said of a directory; its entries are judged with it.
struct Sieve {
    ignored: Hits,
    excluded: Hits,
    selected: bool,
}

struct Merge<'w, 'a> {
    writer: &'w mut Writer<'a>,
    filter: Filter<'w>,
    mount: Option<u64>,
    division: Option<&'w mut Division>,
    stack: Vec<Frame>,
    /// Entries met in the source, whether copied or not.
    seen: usize,
}

/// Whether an entry is copied.
enum Verdict {
    Copied(Sieve),
    /// The directory is left out, but something below may not be.
    Looked(Sieve),
    LeftOut,
}

/// Copies the entries of `from` into the directory `target`, and gives that the metadata that `top` says. Returns how
/// many entries it met, those left out included.
pub(super) fn merge(
    writer: &mut Writer<'_>,
    filter: Filter<'_>,
    from: From<'_>,
    target: (Dir, RootfsPath),
    top: Top,
    division: Option<&mut Division>,
) -> Result<usize, CopyError> {
    let ignored = filter.ignore.map(|ignore| ignore.judge_path(from.path).hits);
    let frame = Frame {
        names: names(&from.dir, from.path, &from.metadata, from.mount)?,
        source: from.dir,
        metadata: from.metadata,
        source_path: from.path.clone(),
        relative: RootfsPath::root(),
        sieve: Sieve {
            ignored: ignored.unwrap_or_default(),
            excluded: Hits::default(),
            selected: filter.only.is_none(),
        },
        target: Some(target.0),
        target_path: target.1,
    };
    let mut merge = Merge {
        writer,
        filter,
        mount: from.mount,
        division,
        stack: vec![frame],
        seen: 0,
    };
    merge.run(top)?;
    Ok(merge.seen)
}

impl Merge<'_, '_> {
    fn run(&mut self, top: Top) -> Result<(), CopyError> {
        while let Some(frame) = self.stack.last_mut() {
            match frame.names.next() {
                Some(name) => self.visit(&name)?,
                None => self.leave(top)?,
            }
        }
        Ok(())
    }

    /// Copies the entry `name` of the uppermost frame, or puts it on top if it is a directory.
    fn visit(&mut self, name: &[u8]) -> Result<(), CopyError> {
        self.writer.cancel.check()?;
        self.seen += 1;
        let Some(frame) = self.stack.last() else {
            return Ok(());
        };
        let path = frame.source_path.join(name);
        if path.as_bytes().len() > LONGEST_PATH || frame.target_path.as_bytes().len() + name.len() >= LONGEST_PATH {
            return Err(CopyError::TooDeep {
                path: frame.source_path.clone(),
            });
        }
        // An entry that vanished meanwhile was never there.
        let metadata = frame
            .source
            .stat(name)
            .map_err(|source| CopyError::read("stat", &path, source))?;
        let Some(metadata) = metadata else {
            return Ok(());
        };
        match self.judge(frame, name, &path, &metadata) {
            Verdict::LeftOut => Ok(()),
            Verdict::Copied(sieve) if metadata.is_dir() => {
                self.enter(name, path, metadata, sieve)?;
                self.make_targets()?;
                self.leave_to_others();
                Ok(())
            }
            Verdict::Copied(_) => self.copy(name, &path, &metadata),
            Verdict::Looked(sieve) => self.enter(name, path, metadata, sieve),
        }
    }

    fn judge(&self, frame: &Frame, name: &[u8], path: &RootfsPath, metadata: &Metadata) -> Verdict {
        if self.filter.hidden.contains(&metadata.id()) {
            return Verdict::LeftOut;
        }
        let relative = frame.relative.join(name);
        let selected = frame.sieve.selected || self.filter.selects(&relative);
        if !selected && (!metadata.is_dir() || !self.filter.may_select_below(&relative)) {
            return Verdict::LeftOut;
        }
        let mut sieve = Sieve {
            ignored: Hits::default(),
            excluded: Hits::default(),
            selected,
        };
        let mut copied = selected;
        let rules = [
            (self.filter.ignore, path, &frame.sieve.ignored, &mut sieve.ignored),
            (
                self.filter.exclude,
                &relative,
                &frame.sieve.excluded,
                &mut sieve.excluded,
            ),
        ];
        for (patterns, path, above, hits) in rules {
            let Some(patterns) = patterns else { continue };
            let judgement = patterns.judge(above, path.as_bytes());
            if judgement.is_excluded() {
                if !metadata.is_dir() || !patterns.may_include_below(path.as_bytes()) {
                    return Verdict::LeftOut;
                }
                copied = false;
            }
            *hits = judgement.hits;
        }
        if copied {
            Verdict::Copied(sieve)
        } else {
            Verdict::Looked(sieve)
        }
    }

    fn enter(&mut self, name: &[u8], path: RootfsPath, metadata: Metadata, sieve: Sieve) -> Result<(), CopyError> {
        let Some(frame) = self.stack.last() else {
            return Ok(());
        };
        let source = frame.source.open_dir(name);
        let source = source.map_err(|source| CopyError::read("open directory", &path, source))?;
        let names = names(&source, &path, &metadata, self.mount)?;
        let frame = Frame {
            source,
            metadata,
            relative: frame.relative.join(name),
            sieve,
            names,
            target: None,
            target_path: frame.target_path.join(name),
            source_path: path,
        };
        self.stack.push(frame);
        Ok(())
    }

    fn copy(&mut self, name: &[u8], path: &RootfsPath, metadata: &Metadata) -> Result<(), CopyError> {
        self.make_targets()?;
        let Some(frame) = self.stack.last() else {
            return Ok(());
        };
        let Some(dir) = &frame.target else {
            return Ok(());
        };
        let entry = Entry {
            dir: &frame.source,
            name,
            path,
            metadata,
        };
        let target_path = frame.target_path.join(name);
        let target = Target {
            dir,
            name,
            path: &target_path,
        };
        self.writer.copy(entry, target)
    }

    /// Makes the directories of all frames that have none yet.
    fn make_targets(&mut self) -> Result<(), CopyError> {
        let made = self.stack.iter().rposition(|frame| frame.target.is_some()).unwrap_or(0);
        for at in made + 1..self.stack.len() {
            let [above, frame] = &mut self.stack[at - 1..=at] else {
                continue;
            };
            let (Some(dir), Some(name)) = (&above.target, frame.target_path.name()) else {
                continue;
            };
            frame.target = Some(self.writer.directory(Target {
                dir,
                name,
                path: &frame.target_path,
            })?);
        }
        Ok(())
    }

    /// Takes the uppermost frame off if other threads copy what is in it.
    fn leave_to_others(&mut self) {
        let Some(division) = &mut self.division else { return };
        if self.stack.len() > division.depth {
            division.left.extend(self.stack.pop().map(Frame::into_directory));
        }
    }

    /// Takes the uppermost frame off; its directory is complete.
    fn leave(&mut self, top: Top) -> Result<(), CopyError> {
        let Some(frame) = self.stack.pop() else {
            return Ok(());
        };
        let Some(target) = &frame.target else {
            return Ok(());
        };
        if let Some(division) = &mut self.division {
            division.unfinished.push(frame.into_directory());
            return Ok(());
        }
        if self.stack.is_empty() && top == Top::MtimeOnly {
            self.writer.copied.written.push(frame.target_path.clone());
            return target
                .set_own_mtime(frame.metadata.mtime)
                .map_err(|source| CopyError::write("set the time of", &frame.target_path, source));
        }
        let source = (&frame.source, &frame.metadata);
        self.writer.finish_directory(source, target, &frame.target_path)
    }
}

/// What is in a directory; nothing, if that is on another mount than `mount`: /proc and /sys are not of the image.
fn names(
    dir: &Dir,
    path: &RootfsPath,
    metadata: &Metadata,
    mount: Option<u64>,
) -> Result<IntoIter<Vec<u8>>, CopyError> {
    if mount.is_some_and(|mount| mount != metadata.mount) {
        return Ok(Vec::new().into_iter());
    }
    let names = dir.names().map_err(|source| CopyError::read("list", path, source))?;
    Ok(names.into_iter())
}
