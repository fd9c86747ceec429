//! Where a source goes: into a directory, or to a path of its own.

use std::collections::BTreeMap;

use rustix::io::Errno;

use super::parents::PathWithParents;
use super::source::{Found, Object};
use super::tree::{self, Filter, From, Top};
use super::write::{Entry, Keep, Policy, Sockets, Target, Writer};
use super::{Archives, Copied, CopyError, CopyRequest, Extraction, InlineFile, Mode, Owner, Parents, Source};
use crate::cancel::Cancel;
use crate::context::pattern::Pattern;
use crate::context::{IgnoreFile, RuleName};
use crate::rootfs::{Kind, Missing, NewDir, Obstacle, Place, Resolved, Rootfs, RootfsError, RootfsPath, Timestamp};
use crate::snapshot::Fingerprints;

/// The destination as written.
#[derive(Debug)]
struct Destination {
    path: RootfsPath,
    shape: Shape,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shape {
    /// Ends in `/` or `/.`.
    Directory,
    /// What is there, or what comes, decides.
    Open,
}

/// What a path or wildcard of the instruction came to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Matched {
    Nothing,
    Something,
}

/// Carries out one instruction.
pub(super) struct Copier<'a> {
    request: &'a CopyRequest<'a>,
    destination: Destination,
    writer: Writer<'a>,
    dated: Dated,
}

/// Directories whose time is set at the end, because every entry that is made in them moves it: the time of the source
/// that was merged into them last, or `None` if they were only made on the way.
pub(super) type Dated = BTreeMap<RootfsPath, Option<Timestamp>>;

impl<'a> Copier<'a> {
    pub(super) fn new(
        request: &'a CopyRequest<'a>,
        rootfs: &'a Rootfs,
        fingerprints: &'a mut Fingerprints,
        cancel: &'a Cancel,
        warn: &'a dyn Fn(&str),
    ) -> Result<Self, CopyError> {
        let policy = Policy {
            owner: match request.source {
                Source::Context(_) => Some(request.chown.unwrap_or_default()),
                Source::Tree(_) => request.chown,
            },
            chmod: request.chmod,
            xattrs: match request.source {
                Source::Context(_) => Keep::No,
                Source::Tree(_) => Keep::Yes,
            },
            sockets: Sockets::EmptyFiles,
        };
        Ok(Self {
            request,
            destination: Destination::parse(request.destination)?,
            writer: Writer::new(rootfs, policy, fingerprints, cancel, warn),
            dated: Dated::new(),
        })
    }

    /// Copies every source, in their order.
    pub(super) fn copy_all(&mut self) -> Result<(), CopyError> {
        for path in self.request.paths {
            self.copy_path(path)?;
        }
        for file in self.request.files {
            self.write_inline(file)?;
        }
        Ok(())
    }

    /// Copies all that one path or wildcard stands for.
    fn copy_path(&mut self, written: &[u8]) -> Result<(), CopyError> {
        let matched = match self.request.parents {
            Parents::Dropped => self.copy_matches(written, None)?,
            Parents::Kept => self.copy_with_parents(written)?,
        };
        if matched == Matched::Nothing {
            let remark = self.why_nothing(written)?;
            let written = String::from_utf8_lossy(written);
            (self.writer.warn)(&format!(
                "{written:?} matches nothing{remark}, so nothing is copied for it"
            ));
        }
        Ok(())
    }

    /// What may surprise about a wildcard that finds nothing.
    fn why_nothing(&self, written: &[u8]) -> Result<String, CopyError> {
        if self.request.parents == Parents::Kept {
            return Ok(" (--parents follows no symlinks)".to_owned());
        }
        let hider = self.request.source.hider(written)?;
        let name = |(file, rule): (&IgnoreFile, RuleName)| format!(" that {} leaves ({rule})", file.name);
        Ok(hider.map(name).unwrap_or_default())
    }

    fn copy_with_parents(&mut self, written: &[u8]) -> Result<Matched, CopyError> {
        let path = PathWithParents::parse(written)?;
        if let Some(literal) = path.literal()? {
            self.request.source.require(&literal)?;
        }
        self.copy_matches(path.start, path.pattern.as_ref())
    }

    /// Copies what a path or wildcard finds; of directories nothing but what matches `only`.
    fn copy_matches(&mut self, written: &[u8], only: Option<&Pattern>) -> Result<Matched, CopyError> {
        let mut matched = Matched::Nothing;
        for candidate in &self.request.source.candidates(written)? {
            self.writer.cancel.check()?;
            let found = self.request.source.open(candidate)?;
            matched = matched.max(self.copy_found(found, only)?);
        }
        Ok(matched)
    }

    /// Writes a heredoc.
    fn write_inline(&mut self, file: &InlineFile) -> Result<(), CopyError> {
        let place = self.place_of_file(&file.name)?;
        let mtime = self.request.created_mtime;
        self.writer.write_inline(&file.content, mtime, place.target())
    }

    /// Ends the instruction.
    pub(super) fn finish(self) -> Result<Copied, CopyError> {
        for (path, merged) in &self.dated {
            let Some(mtime) = merged.or(self.request.created_mtime) else {
                continue;
            };
            let dir = self.writer.rootfs.open_dir(path).map_err(CopyError::Write)?;
            dir.set_own_mtime(mtime)
                .map_err(|source| CopyError::write("set the time of", path, source))?;
        }
        Ok(self.writer.copied.sorted())
    }

    /// Goes on with an instruction that has these directories to set the time of.
    pub(super) fn going_on(self, dated: Dated) -> Self {
        Self { dated, ..self }
    }

    /// As [`Self::finish`], for an instruction that goes on: with the directories whose time is still to be set.
    pub(super) fn finish_apart(self) -> (Copied, Dated) {
        (self.writer.copied.sorted(), self.dated)
    }

    fn copy_found(&mut self, found: Found, only: Option<&Pattern>) -> Result<Matched, CopyError> {
        match found.object {
            Object::Directory(dir) => {
                let source = From {
                    dir,
                    path: &found.path,
                    metadata: found.metadata,
                    mount: match self.request.source {
                        // People mount directories into their contexts.
                        Source::Context(_) => None,
                        Source::Tree(_) => Some(found.metadata.mount),
                    },
                };
                self.merge(source, only)
            }
            Object::Entry(ref dir, ref name) => {
                let entry = Entry {
                    dir,
                    name,
                    path: &found.path,
                    metadata: &found.metadata,
                };
                match self.request.mode {
                    Mode::Add(archives) if found.metadata.kind == Kind::File => {
                        self.add(archives, entry, &found.name)?;
                    }
                    Mode::Add(_) | Mode::Copy => self.copy_entry(entry, &found.name)?,
                }
                Ok(Matched::Something)
            }
        }
    }

    /// Merges a directory: the destination is a directory whatever it looks like.
    fn merge(&mut self, from: From<'_>, only: Option<&Pattern>) -> Result<Matched, CopyError> {
        let new = self.writer.new_dir(self.request.created_mtime);
        let resolved = self.directory(&new)?;
        let filter = Filter {
            ignore: self.request.source.ignore().map(|file| &file.patterns),
            exclude: self.request.exclude,
            only,
            hidden: self.request.source.hidden_objects(),
        };
        self.dated.insert(resolved.path.clone(), Some(from.metadata.mtime));
        let before = self.writer.copied.written.len();
        let name = from.path.display_absolute();
        let target = (resolved.dir, resolved.path);
        let seen = tree::merge(&mut self.writer, filter, from, target, Top::MtimeOnly, None)?;
        // The directory itself is always among what was written.
        let nothing = self.writer.copied.written.len() <= before + 1;
        match (nothing, only, self.request.source.ignore()) {
            (true, Some(_), _) => return Ok(Matched::Nothing),
            (true, None, Some(ignore)) if seen > 0 && self.request.exclude.is_none() => {
                (self.writer.warn)(&format!("all of {name} is excluded by {}", ignore.name));
            }
            _ => {}
        }
        Ok(Matched::Something)
    }

    fn copy_entry(&mut self, entry: Entry<'_>, name: &[u8]) -> Result<(), CopyError> {
        let place = self.place_of_file(name)?;
        self.writer.copy(entry, place.target())
    }

    /// Extracts an archive, or copies what is none.
    fn add(&mut self, archives: &dyn Archives, entry: Entry<'_>, name: &[u8]) -> Result<(), CopyError> {
        let open = || {
            let file = entry.dir.open_file(entry.name);
            file.map_err(|source| CopyError::read("open", entry.path, source))
        };
        let recognised = archives.recognise(&open()?);
        if !recognised.map_err(|source| CopyError::read("read", entry.path, source))? {
            return self.copy_entry(entry, name);
        }
        let Owner { uid, gid } = self.request.chown.unwrap_or_default();
        let resolved = self.directory(&NewDir {
            uid,
            gid,
            mtime: self.request.created_mtime,
            ..NewDir::default()
        })?;
        let extraction = Extraction {
            rootfs: self.writer.rootfs,
            into: &resolved.path,
            chown: self.request.chown,
        };
        let extracted = archives.extract(open()?, &extraction, self.writer.fingerprints, self.writer.cancel);
        let extracted = extracted.map_err(|source| CopyError::Extract {
            archive: entry.path.display_absolute(),
            into: resolved.path.clone(),
            source,
        })?;
        self.writer.copied.written.extend(extracted.written);
        self.writer.copied.removed.extend(extracted.removed);
        Ok(())
    }

    /// The destination as a directory, made if it is absent.
    fn directory(&mut self, new: &NewDir) -> Result<Resolved, CopyError> {
        let path = &self.destination.path;
        let resolved = self
            .writer
            .rootfs
            .resolve_dir(path, Missing::Create(new), Obstacle::Fail);
        let resolved = resolved.map_err(|error| self.blocked(error))?;
        self.note_created(&resolved.created);
        Ok(resolved)
    }

    /// Where a file called `name` goes: into the destination if that is a directory, else to its path.
    fn place_of_file(&mut self, name: &[u8]) -> Result<FilePlace, CopyError> {
        let new = self.writer.new_dir(self.request.created_mtime);
        let place = if self.destination.shape == Shape::Directory {
            let Resolved { dir, path, .. } = self.directory(&new)?;
            Place {
                dir,
                path,
                name: None,
                created: Vec::new(),
            }
        } else {
            let place = self.writer.rootfs.resolve_place(&self.destination.path, &new);
            place.map_err(CopyError::Write)?
        };
        self.note_created(&place.created);
        let name = place.name.unwrap_or_else(|| name.to_vec());
        Ok(FilePlace {
            path: place.path.join(&name),
            dir: place.dir,
            name,
        })
    }

    fn note_created(&mut self, created: &[RootfsPath]) {
        self.writer.copied.written.extend_from_slice(created);
        self.dated.extend(created.iter().map(|path| (path.clone(), None)));
    }

    /// Tells the destination that is a file from one that has a file on its way.
    fn blocked(&self, error: RootfsError) -> CopyError {
        if Errno::from_io_error(&error.source) != Some(Errno::NOTDIR) {
            return CopyError::Write(error);
        }
        match self.writer.rootfs.canonicalize(&self.destination.path) {
            Ok(path) => CopyError::NonDirectory { path },
            Err(_) => CopyError::Write(error),
        }
    }
}

/// The final path of a file.
struct FilePlace {
    dir: crate::rootfs::Dir,
    name: Vec<u8>,
    path: RootfsPath,
}

impl FilePlace {
    fn target(&self) -> Target<'_> {
        Target {
            dir: &self.dir,
            name: &self.name,
            path: &self.path,
        }
    }
}

impl Destination {
    fn parse(written: &[u8]) -> Result<Self, CopyError> {
        let directory = written.ends_with(b"/") || written.ends_with(b"/.") || written.is_empty() || written == b".";
        Ok(Self {
            path: RootfsPath::parse_clamped(written)?,
            shape: if directory { Shape::Directory } else { Shape::Open },
        })
    }
}
